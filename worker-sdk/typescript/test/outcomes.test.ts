import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Fleet, until, type Process } from "./support/fleet.js";

let fleet: Fleet;
let plugin: Process;

before(async () => {
  fleet = await Fleet.start();
  plugin = fleet.plugin("conformance", "one");
  await fleet.life("one", (entry) => entry.state === "ready");
});
after(async () => await fleet.stop());

test("a completed task leaves its record", async () => {
  const { record } = await fleet.outcome('complete {"script/set": ["b", "a", "b"], "script/text/0/n": 7}');
  assert.equal(record.status, "completed");
  assert.equal(record.instance, "one");
  assert.equal(record.pluginVersion, "1.0.0");
  assert.deepEqual(record.meta, {
    "script/attempt": "1", "script/cid": record.cid, "script/existing": {}, "script/set": ["a", "b"], "script/text/0/n": "7",
  });
});

test("a skipped task leaves its reason", async () => {
  const { record } = await fleet.outcome("skip nothing in it");
  assert.equal(record.status, "skipped");
  assert.equal(record.reason, "nothing in it");
});

test("a retryable failure comes again, and the attempt that settles it counts", async () => {
  const { record, path } = await fleet.outcome("retry busy", "crash a bug", "complete");
  assert.equal(record.attempt, 3);
  assert.deepEqual(fleet.calls(path).map(({ attempt }) => attempt), [1, 2, 3]);
});

test("a permanent failure is a dead letter at once", async () => {
  const { record, path } = await fleet.outcome("fail broken");
  assert.equal(record.status, "failed");
  assert.equal(record.error, "broken");
  assert.equal(fleet.calls(path).length, 1);
});

test("a failure without a further attempt says so", async () => {
  const signals = fleet.signals();
  const { record, path } = await fleet.outcome("retry busy");
  assert.equal(record.status, "failed");
  assert.equal(fleet.calls(path).length, 3);
  const failed = await until("the signal", () => signals.find(({ kind }) => kind === "failed"));
  assert.equal(failed.body["permanent"], false);
  assert.equal(failed.body["attempt"], 3);
  assert.match(failed.message.headers?.get("Nats-Msg-Id") ?? "", /^failed\.[0-9]+\.3\.[0-9a-f-]{36}$/);
  assert.equal(signals.filter(({ kind }) => kind === "retrying").length, 2);
});

test("a task that is told to wait comes again without losing an attempt", async () => {
  const { record, path } = await fleet.outcome("later 200", "complete");
  assert.equal(record.attempt, 1);
  const [first, second] = fleet.calls(path);
  assert.ok(first !== undefined && second !== undefined && second.at - first.at >= 200);
});

test("a task is forwarded to another file", async () => {
  const target = fleet.script("complete");
  const signals: string[] = [];
  fleet.nc.subscribe("mf.submit.*", { callback: (_error, message) => void signals.push(message.string()) });
  const { record } = await fleet.outcome(`forward ${target}`);
  assert.equal(record.status, "skipped");
  assert.equal(record.reason, `forwarded to ${target}`);
  const submitted = JSON.parse(await until("the submission", () => signals.find((text) => text.includes('"origin"')))) as { cid: string; depth: number };
  assert.equal(submitted.depth, 1);
  assert.equal((await fleet.record(submitted.cid)).status, "completed");
});

test("a file that the plugin made is processed, too", async () => {
  const target = fleet.script("complete", `# ${Date.now()}`);
  const heard: string[] = [];
  fleet.nc.subscribe("mf.submit.*", { callback: (_error, message) => void heard.push(message.string()) });
  const { record } = await fleet.outcome(`submit ${target}`);
  assert.equal(record.status, "completed");
  const submitted = JSON.parse(await until("the submission", () => heard.find((text) => text.includes('"origin"')))) as { cid: string };
  assert.equal((await fleet.record(submitted.cid)).status, "completed");
});

test("a key that the dataSchema does not allow fails permanently and is named", async () => {
  const { record } = await fleet.outcome('complete {"other/key": "x"}');
  assert.equal(record.status, "failed");
  assert.equal(record.error, "key `other/key` is not in the dataSchema of conformance");
});

test("an error is cut at a character, a record that is too large fails permanently", async () => {
  const { record } = await fleet.outcome("error 10000");
  assert.ok(Buffer.byteLength(record.error ?? "") <= 4096);
  assert.match(record.error ?? "", /^é+…$/);
  const large = await fleet.outcome("large 5000000");
  assert.match(large.record.error ?? "", /the record has [0-9]+ bytes/);
  assert.equal((await fleet.outcome("large 200000")).record.status, "completed");
});

test("ids in any script, fields that nobody knows, and the headers of a trace go through", async () => {
  const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  const path = fleet.script("complete");
  const more = { cid: "日本 😀.*>", unheard: { of: 1 } } as object;
  const cid = await fleet.submit(path, more, { traceparent, tracestate: "a=b" });
  const message = await until("the record", () => fleet.recordMessage(cid));
  assert.equal(message.json<{ meta: Record<string, string> }>().meta["script/cid"], cid);
  assert.equal(message.headers?.get("traceparent").split("-")[1], traceparent.split("-")[1]);
  assert.equal(message.headers?.get("tracestate"), "a=b");
});

test("the process is still the first one", () => {
  assert.equal(plugin.child.exitCode, null, plugin.output());
});
