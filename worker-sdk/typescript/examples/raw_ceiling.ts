// What the client itself can do, without the library: pulls from the consumer `noop_fast`, puts a record with
// the fence for each task, waits for its acknowledgement, acknowledges the task. `node raw_ceiling.js TASKS`
import { headers } from "@nats-io/nats-core";
import { connect } from "@nats-io/transport-node";

const [, , wanted = "20000"] = process.argv;
const total = Number(wanted);
const prefix = process.env["METAFLEET_PREFIX"] ?? "mf";
/** Tasks in hand at once, as the no-op plugin has. */
const PLACES = 128;

const nc = await connect({ servers: process.env["NATS_URL"] ?? "nats://127.0.0.1:4222" });
const inbox = `_INBOX.${crypto.randomUUID()}`;
const next = `$JS.API.CONSUMER.MSG.NEXT.${prefix.toUpperCase().replaceAll("-", "_")}_TASKS.noop_fast`;
/** Where to acknowledge each task, by the number of its record. */
const stored = new Map<string, string>();
let numbers = 0;
let held = 0;
let asked = 0;
let settled = 0;
let begun = 0;
let planned = false;
let end: () => void;
const finished = new Promise<void>((resolve) => (end = resolve));

/** Asks for as many tasks as there are free places, a fourth of all at least. */
function pull(): void {
  planned = false;
  const batch = PLACES - held - asked;
  if (batch < PLACES / 4 || settled >= total) return;
  asked += batch;
  nc.publish(next, `{"batch":${batch},"expires":5000000000}`, { reply: `${inbox}.pull` });
}

nc.subscribe(`${inbox}.*`, {
  callback: (_error, message) => {
    if (!message.subject.startsWith(inbox)) return task(message.subject, message.reply ?? "", message.string());
    const number = message.subject.slice(inbox.length + 1);
    if (number === "pull") {
      if ((message.headers?.code ?? 0) >= 400) {
        asked = Math.max(0, asked - Number(message.headers?.get("Nats-Pending-Messages") || PLACES));
        plan();
      }
      return;
    }
    const reply = stored.get(number);
    if (reply === undefined) return;
    const { error } = message.json<{ error?: { description: string } }>();
    if (error !== undefined) throw new Error(error.description);
    stored.delete(number);
    nc.publish(reply, "+ACK");
    held -= 1;
    settled += 1;
    if (settled === total) end();
    plan();
  },
});

function plan(): void {
  if (planned) return;
  planned = true;
  setImmediate(pull);
}

function task(subject: string, reply: string, text: string): void {
  if (begun === 0) begun = performance.now();
  asked -= 1;
  held += 1;
  const body = JSON.parse(text) as { taskId: string; fingerprint: string; recordRevision?: number };
  const token = subject.slice(subject.lastIndexOf(".") + 1);
  const record = {
    type: "metafleet.record.v1", taskId: body.taskId, pluginId: "noop", cid: token, status: "completed", durationMs: 0, attempt: 1,
    pluginVersion: "1.0.0", fingerprint: body.fingerprint, finishedAt: new Date().toISOString(), instance: "raw", meta: { "noop/done": "1" },
  };
  const fence = headers();
  fence.set("Nats-Expected-Last-Subject-Sequence", String(body.recordRevision ?? 0));
  numbers += 1;
  stored.set(String(numbers), reply);
  nc.publish(`$KV.${prefix}-records.${token}.noop`, JSON.stringify(record), { headers: fence, reply: `${inbox}.${numbers}` });
}

pull();
await finished;
await nc.flush();
const seconds = (performance.now() - begun) / 1000;
process.stdout.write(`${JSON.stringify({ tasks: total, seconds: Number(seconds.toFixed(3)), perSecond: Math.round(total / seconds) })}\n`);
await nc.close();
