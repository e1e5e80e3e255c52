import assert from "node:assert/strict";
import { test } from "node:test";

import { nak, parsePlace, term } from "../src/delivery.js";
import { pullRequest } from "../src/line.js";
import { readAnswer } from "../src/publisher.js";
import { verdict, type Verdict } from "../src/retry.js";
import { isPulling, places, shown, type Standing } from "../src/standing.js";
import { cut, explain, short } from "../src/text.js";
import { readTask, timeLimit } from "../src/task.js";
import { PermanentError } from "../src/outcome.js";
import { addresses } from "../src/link.js";
import { readControl } from "../src/control.js";
import { examples } from "./support/protocol.js";

test("what follows from a failure", () => {
  const table: Array<[number, number[], number, boolean, Verdict]> = [
    [3, [1000, 2000], 1, false, { what: "retry", delayMs: 1000 }],
    [3, [1000, 2000], 2, false, { what: "retry", delayMs: 2000 }],
    [3, [1000, 2000], 3, false, { what: "give up" }],
    [3, [1000, 2000], 7, false, { what: "give up" }],
    [9, [1000, 2000], 7, false, { what: "retry", delayMs: 2000 }],
    [3, [], 1, false, { what: "retry", delayMs: 1000 }],
    [3, [0], 1, false, { what: "retry", delayMs: 1 }],
    [3, [60_000], 1, false, { what: "retry", delayMs: 60_000 }],
    [3, [60_001], 1, false, { what: "defer", delayMs: 60_001 }],
    [3, [1000], 1, true, { what: "give up" }],
  ];
  for (const [maxAttempts, delaysMs, attempt, permanent, expected] of table) {
    assert.deepEqual(verdict({ maxAttempts, delaysMs }, attempt, permanent), expected);
  }
});

test("both forms of a reply subject are read", () => {
  const place = { delivered: 2, sequence: 17, storedAt: "1719992702186105579", pending: 5 };
  assert.deepEqual(parsePlace("$JS.ACK.MF_TASKS.a_fast.2.17.9.1719992702186105579.5"), place);
  assert.deepEqual(parsePlace("$JS.ACK.hub.acc.MF_TASKS.a_fast.2.17.9.1719992702186105579.5"), place);
  assert.deepEqual(parsePlace("$JS.ACK.hub.acc.MF_TASKS.a_fast.2.17.9.1719992702186105579.5.random"), place);
  for (const reply of ["", "_INBOX.a.b", "$JS.ACK.a.b", "$JS.ACK.s.c.x.1.1.1.1", "$JS.ACK.s.c.1.1.1.1.1.1"]) {
    assert.equal(parsePlace(reply), undefined, reply);
  }
});

test("answers are written in nanoseconds, and reasons within their limit", () => {
  assert.equal(nak(100), '-NAK {"delay": 100000000}');
  assert.equal(nak(60_000), '-NAK {"delay": 60000000000}');
  assert.equal(term("a\nb\u0007"), "+TERM a b ");
  assert.ok(Buffer.byteLength(term("é".repeat(500))) <= 256 + "+TERM ".length);
  assert.equal(pullRequest(4, 0, 0), '{"batch":4,"no_wait":true}');
  assert.equal(pullRequest(1, 5000, 1500), '{"batch":1,"expires":5000000000,"idle_heartbeat":1500000000}');
});

test("texts are cut at a character", () => {
  for (const text of ["x".repeat(4096), "é".repeat(2048), "日".repeat(1365)]) assert.equal(short(text), text);
  for (const text of ["x".repeat(4097), "é".repeat(3000), "😀".repeat(2000), `${"a".repeat(4093)}😀`]) {
    const cutText = short(text);
    assert.ok(Buffer.byteLength(cutText) <= 4096 && cutText.endsWith("…") && !cutText.includes("\ufffd"), cutText.slice(-3));
  }
  assert.equal(cut("abcdef", 5), "ab…");
});

test("an error is told with its causes, once each", () => {
  const cause = new Error("ENOENT: no such file");
  assert.equal(explain(new Error("could not open it", { cause })), "could not open it: ENOENT: no such file");
  assert.equal(explain(new TypeError("x is not a function")), "TypeError: x is not a function");
  assert.equal(explain(new PermanentError("broken")), "broken");
  assert.equal(explain("text"), "text");
  assert.equal(explain(undefined), "an error without a text");
  const ring = new Error("ring");
  ring.cause = ring;
  assert.equal(explain(ring), "ring");
});

test("an instance shows its state and pulls only when it is ready", () => {
  const ok = { ok: true } as const;
  const refused = { ok: false, error: "apiKey is required" } as const;
  const table: Array<[Partial<Standing>, string]> = [
    [{}, "starting"],
    [{ paused: true }, "starting"],
    [{ configured: ok }, "ready"],
    [{ configured: ok, paused: true }, "paused"],
    [{ configured: ok, paused: true, draining: true }, "draining"],
    [{ configured: refused }, "failed"],
    [{ configured: refused, paused: true }, "failed"],
    [{ configured: refused, draining: true }, "draining"],
  ];
  for (const [part, state] of table) {
    const standing: Standing = { paused: false, draining: false, places: 1, lane: "main", ...part };
    assert.equal(shown(standing).state, state);
    assert.equal(isPulling(standing), state === "ready");
    assert.equal(shown(standing).error, state === "failed" ? "apiKey is required" : undefined);
    assert.equal(shown({ ...standing, unhealthy: "ill" }).error, state === "failed" ? "apiKey is required" : "ill");
  }
});

test("the environment goes before the operator, the manifest and the processors", () => {
  assert.equal(places(2, 3, 4, 5), 2);
  assert.equal(places(undefined, 3, 4, 5), 3);
  assert.equal(places(undefined, null, 4, 5), 4);
  assert.equal(places(undefined, 0, undefined, 5), 5);
  assert.equal(places(undefined, undefined, undefined, 0), 1);
  assert.equal(places(100_000), 4096);
});

test("what a stream says to a publish", () => {
  assert.deepEqual(readAnswer('{"stream":"KV_mf-records","seq":1}', 0), { is: "stored" });
  assert.deepEqual(readAnswer('{"stream":"MF_SIGNALS","seq":1,"duplicate":true}', 0), { is: "stored" });
  assert.deepEqual(readAnswer('{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 3"}}', 0), { is: "superseded" });
  assert.equal(readAnswer('{"error":{"code":503,"err_code":10077,"description":"disk full"}}', 0).is, "unsure");
  assert.equal(readAnswer("", 503).is, "unsure");
  assert.equal(readAnswer("+OK", 0).is, "unsure");
});

test("the protocol's tasks are read, and what is none is refused with the reason", () => {
  const about = { plugin: "ffmpeg", cid: "a" };
  for (const text of examples("task")) assert.equal(readTask(text, about).deadlineMs, 30_000);
  const good = JSON.parse(examples("task")[0] ?? "") as object;
  const table: Array<[object | string | null, RegExp]> = [
    ["{", /JSON/],
    [null, /no object/],
    [{ ...good, type: "metafleet.task.v2" }, /its type is "metafleet.task.v2"/],
    [{ ...good, taskId: 7 }, /taskId must be text/],
    [{ ...good, retry: { maxAttempts: 0, delaysMs: [] } }, /retry must have/],
    [{ ...good, retry: undefined }, /retry must have/],
    [{ ...good, deadlineMs: "30" }, /deadlineMs/],
  ];
  for (const [body, problem] of table) {
    assert.throws(() => readTask(typeof body === "string" ? body : JSON.stringify(body), about), problem);
  }
  assert.equal((readTask(JSON.stringify({ ...good, unheard: 1 }), about) as { unheard?: number }).unheard, 1);
  const { pluginId, cid } = readTask(JSON.stringify({ ...good, pluginId: "other", cid: "b" }), about);
  assert.deepEqual([pluginId, cid], ["ffmpeg", "a"], "the subject says what a task is about");
  assert.equal(timeLimit({ timeout: 5 }, 0), 5);
  assert.equal(timeLimit({}, 0), 30_000);
  assert.equal(timeLimit({ timeout: 5 }, 7), 7);
});

test("control requests are read", () => {
  for (const text of examples("control")) assert.equal(readControl(text).action, "configure");
  for (const text of ["", "null", "{}", '{"action":"PAUSE"}', '{"action":"configure","settings":[]}']) assert.throws(() => readControl(text), text);
});

test("what proves who we are may stand in the address", () => {
  assert.deepEqual(addresses(["nats://u:p%40@a:1", "b"]), { servers: ["nats://a:1", "nats://b"], login: { user: "u", pass: "p@" } });
  assert.deepEqual(addresses(["tls://secret@a:1"]).login, { token: "secret" });
  for (const url of ["nats://user:hush@[nas", "http://u:hush@b", "nats://u:hush@b:port"]) {
    assert.throws(() => addresses([url]), (error: Error) => /is not the address/.test(error.message) && !error.message.includes("hush"), url);
  }
});
