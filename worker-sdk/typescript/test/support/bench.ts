// The no-op plugin beside the raw ceiling of the client, on the same server with the same tasks:
// `npm run bench [-- TASKS [ROUNDS]]`. The coordinator makes the consumers and is stopped then, so that it takes
// no part in what is measured; the announcement is answered from here.
import { Fleet, until } from "./fleet.js";

const [, , tasks = "20000", rounds = "3"] = process.argv;
const total = Number(tasks);
const manifest = {};

const fleet = await Fleet.start();
try {
  const first = fleet.plugin("noop", "first", {}, manifest);
  await fleet.life("first", (entry) => entry.state === "ready", "noop");
  first.signal("SIGTERM");
  await first.exit;
  await fleet.stopCoordinator();
  const accepted = { status: "accepted", settings: {}, leaseMs: 8000, heartbeatMs: 5000, maxPayload: 4_194_304 };
  fleet.nc.subscribe("mf.signal.noop.announce", { callback: (_error, message) => void message.respond(JSON.stringify(accepted)) });
  for (let round = 1; round <= Number(rounds); round += 1) {
    const raw = await measure(`raw${round}`, () => fleet.plugin("raw_ceiling", `raw${round}`, {}, manifest, [tasks]));
    const sdk = await measure(`sdk${round}`, () => fleet.plugin("noop", `sdk${round}`, { METAFLEET_LOG: "info" }, manifest));
    const line = { tasks: total, round, rawPerSecond: raw, sdkPerSecond: sdk, share: Number((sdk / raw).toFixed(3)) };
    process.stdout.write(`${JSON.stringify(line)}\n`);
  }
} finally {
  await fleet.stop();
}

/** Tasks per second, from the first delivery to the last acknowledgement. */
async function measure(name: string, start: () => { signal(name: NodeJS.Signals): void; exit: Promise<unknown> }): Promise<number> {
  await publish(name);
  const before = await state();
  const worker = start();
  const begun = await until("the first delivery", async () => ((await state()).delivered > before.delivered ? performance.now() : undefined));
  await until("the last acknowledgement", async () => (await state()).open === 0, 120_000);
  const seconds = (performance.now() - begun) / 1000;
  worker.signal("SIGTERM");
  await worker.exit;
  return Math.round(total / seconds);
}

async function publish(name: string): Promise<void> {
  for (let n = 0; n < total; n += 1) {
    const cid = `${name}-${n}`;
    const task = {
      type: "metafleet.task.v1", taskId: crypto.randomUUID(), runId: n + 1, pluginId: "noop", cid,
      filePath: `/library/Films/Film ${n} (1999)/Film ${n} (1999).mkv`,
      file: { size: 123_456_789, mime: "video/x-matroska", name: `Film ${n} (1999).mkv`, extension: "mkv", modified: "2024-05-01T12:00:00Z" },
      fingerprint: "5d41402abc4b2a76b9719d911017c592", deadlineMs: 30_000, retry: { maxAttempts: 3, delaysMs: [1000, 2000] }, pluginVersion: "1.0.0",
    };
    fleet.nc.publish(`mf.task.fast.noop.${cid}`, JSON.stringify(task));
    if (n % 500 === 499) await fleet.nc.flush();
  }
  await until("the tasks", async () => (await state()).open === total);
}

async function state(): Promise<{ open: number; delivered: number }> {
  const answer = await fleet.nc.request("$JS.API.CONSUMER.INFO.MF_TASKS.noop_fast", "", { timeout: 5000 });
  const info = answer.json<{ num_pending: number; num_ack_pending: number; delivered: { consumer_seq: number } }>();
  return { open: info.num_pending + info.num_ack_pending, delivered: info.delivered.consumer_seq };
}
