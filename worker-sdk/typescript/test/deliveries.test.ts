// Tasks as a coordinator would not publish them, or only rarely: made by hand, once it has made the consumers.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { encodeToken } from "../src/codec.js";
import { Fleet, MANIFEST, until, type Process } from "./support/fleet.js";

let fleet: Fleet;
let plugin: Process;
let numbers = 0;

before(async () => {
  fleet = await Fleet.start();
  plugin = fleet.plugin("conformance", "one");
  await fleet.life("one", (entry) => entry.state === "ready");
});
after(async () => await fleet.stop());

/** Publishes a task by hand; returns its content id. */
function publish(path: string, more: object = {}, queue = "fast"): string {
  numbers += 1;
  const cid = `by hand:${numbers}`;
  const task = {
    type: "metafleet.task.v1", taskId: `00000000-0000-0000-0000-${String(numbers).padStart(12, "0")}`, runId: 1, pluginId: "other", cid: "other",
    filePath: path, fingerprint: "f", deadlineMs: 0, retry: { maxAttempts: 3, delaysMs: [50] }, ...more,
  };
  fleet.nc.publish(`mf.task.${queue}.conformance.${encodeToken(cid)}`, JSON.stringify(task));
  return cid;
}

async function consumer(queue = "fast"): Promise<{ waiting: number; held: number }> {
  const answer = await fleet.nc.request(`$JS.API.CONSUMER.INFO.MF_TASKS.conformance_${queue}`, "", { timeout: 5000 });
  const info = answer.json<{ num_pending: number; num_ack_pending: number }>();
  return { waiting: info.num_pending, held: info.num_ack_pending };
}

const nothingHeld = async (): Promise<void> => {
  await until("the answers", async () => {
    const { waiting, held } = await consumer();
    return waiting + held === 0;
  });
};

test("the coordinator stops, and what it made is still served", async () => {
  await fleet.stopCoordinator();
  const cid = publish(fleet.script("complete"));
  const record = await fleet.record(cid);
  assert.deepEqual([record.cid, record.pluginId, record.fingerprint], [cid, "conformance", "f"], "identity comes from the subject");
  await nothingHeld();
});

test("a body that is no task fails for good, with the identity of its subject", async () => {
  const signals = fleet.signals();
  for (const body of ["", "{", "[]", JSON.stringify({ type: "metafleet.task.v2" })]) {
    fleet.nc.publish(`mf.task.fast.conformance.${encodeToken(`broken:${body}`)}`, body);
    const failed = await until("the signal", () => signals.find((signal) => signal.body["cid"] === `broken:${body}`));
    assert.equal(failed.kind, "failed");
    assert.equal(failed.body["permanent"], true);
    assert.match(String(failed.body["error"]), /^the task cannot be read: /);
  }
  await nothingHeld();
});

test("a task for another version is left to it, and ended on its last attempt", async () => {
  const path = fleet.script("complete");
  publish(path, { pluginVersion: "9.9.9", retry: { maxAttempts: 1, delaysMs: [] } });
  await nothingHeld();
  publish(path, { pluginVersion: "9.9.9", retry: { maxAttempts: 2, delaysMs: [] } });
  await nothingHeld();
  assert.equal(fleet.calls(path).length, 0);
  const cid = publish(path, { pluginVersion: "1.0.0" });
  assert.equal((await fleet.record(cid)).status, "completed");
});

test("the outcome of a trial goes beside the records", async () => {
  const cid = publish(fleet.script("complete"), { trial: true });
  const record = await fleet.record(cid, "conformance_next");
  assert.equal(record.status, "completed");
  assert.equal(await fleet.recordMessage(cid), undefined);
});

test("an outcome that comes second is acknowledged and changes nothing", async () => {
  const cid = publish(fleet.script("complete"), { recordRevision: 12_345 });
  await fleet.life("one", ({ totals }) => totals?.superseded === 1);
  assert.equal(await fleet.recordMessage(cid), undefined);
  await nothingHeld();
});

test("a failure whose delay is long is deferred with the attempts that it used", async () => {
  const signals = fleet.signals();
  const cid = publish(fleet.script("retry later"), { retry: { maxAttempts: 3, delaysMs: [70_000] }, unheard: { of: [1] } });
  const { kind, body } = await until("the signal", () => signals.find((signal) => signal.body["cid"] === cid));
  assert.deepEqual([kind, body["delayMs"], body["attemptsUsed"], body["reason"]], ["deferred", 70_000, 1, "later"]);
  assert.deepEqual((body["task"] as { unheard: unknown }).unheard, { of: [1] }, "it goes back as it came");
  await nothingHeld();
});

test("it never holds more than it can run", async () => {
  const path = fleet.script(`wait ${join(fleet.folder, "go")}`);
  const cids = Array.from({ length: 20 }, () => publish(path));
  cids.push(...Array.from({ length: 20 }, () => publish(path, {}, "background")));
  await until("four calls", () => fleet.calls(path).length === 4);
  for (let look = 0; look < 20; look += 1) {
    const held = (await consumer()).held + (await consumer("background")).held;
    assert.ok(held <= 4, `${held} are held`);
  }
  assert.equal(fleet.calls(path).length, 4);
  writeFileSync(join(fleet.folder, "go"), "");
  for (const cid of cids) await fleet.record(cid);
});

test("a path that is not UTF-8 is opened by its bytes", async () => {
  const path = Buffer.concat([Buffer.from(`${fleet.folder}/`), Buffer.from("caf\xe9", "latin1")]);
  writeFileSync(path, "read\n");
  const cid = publish(path.toString("utf8"), { filePathBytes: path.toString("base64") });
  const record = await fleet.record(cid);
  assert.equal((record.meta as Record<string, string>)["script/text/0/size"], "5");
});

test("it is the same process still, and drains", async () => {
  plugin.signal("SIGTERM");
  assert.equal(await plugin.exit, 0);
});

test("one that serves a route that nobody knows pulls nothing and says so", async () => {
  await fleet.startCoordinator([]);
  const routed = fleet.plugin("conformance", "routed", { METAFLEET_ROUTE: "gpu" }, MANIFEST);
  const entry = await fleet.life("routed", ({ state }) => state === "paused");
  assert.equal(entry.route, "gpu");
  routed.signal("SIGTERM");
  assert.equal(await routed.exit, 0);
});
