import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { Fleet, MANIFEST, until, type Process } from "./support/fleet.js";

let fleet: Fleet;
let plugin: Process;

before(async () => {
  fleet = await Fleet.start();
  plugin = fleet.plugin("conformance", "one");
  await fleet.life("one", (entry) => entry.state === "ready");
});
after(async () => await fleet.stop());

test("a paused instance pulls nothing until it is resumed", async () => {
  assert.deepEqual(await fleet.control({ action: "pause" }), { success: true, instance: "one" });
  await fleet.life("one", (entry) => entry.state === "paused");
  const path = fleet.script("complete");
  const cid = await fleet.submit(path);
  assert.equal((await fleet.control({ action: "ping" }, "one")).success, true);
  assert.equal(fleet.calls(path).length, 0);
  await fleet.control({ action: "resume" }, "one");
  assert.equal((await fleet.record(cid)).status, "completed");
});

test("settings that are refused are shown, and nothing is pulled with them", async () => {
  const answer = await fleet.control({ action: "configure", settings: { mode: "bad" } });
  assert.deepEqual(answer, { success: false, error: "mode bad is not served", instance: "one" });
  const entry = await fleet.life("one", ({ state }) => state === "failed");
  assert.equal(entry.error, "mode bad is not served");
  const path = fleet.script("complete");
  const cid = await fleet.submit(path);
  assert.equal((await fleet.control({ action: "configure", settings: { mode: "good" } })).success, true);
  assert.equal((await fleet.record(cid)).status, "completed");
});

test("what cannot be obeyed is answered with the reason", async () => {
  assert.match((await fleet.control({ action: "dance" })).error ?? "", /unknown action "dance"/);
  assert.equal((await fleet.control({ action: "configure" })).success, false);
  assert.equal((await fleet.control("x")).success, false);
  assert.equal((await fleet.control({ action: "announce" })).success, true);
});

test("after the broker was killed it reconnects, announces itself, and pulls again", async () => {
  const path = fleet.script(`wait ${join(fleet.folder, "back")}`);
  const cid = await fleet.submit(path);
  await until("the call", () => fleet.calls(path).length === 1);
  await fleet.server.kill();
  await until("the worker to notice", () => plugin.output().includes("is lost, reconnecting"));
  // The task ends while nobody is there to hear of it.
  writeFileSync(join(fleet.folder, "back"), "");
  await fleet.startServer();
  await until("the worker to be back", () => plugin.output().includes("connected to the broker again"));
  const record = await fleet.record(cid, "conformance", 30_000);
  assert.equal(record.status, "completed");
  assert.equal(fleet.calls(path).length, 1, "the running attempt went on");
  assert.equal((await fleet.outcome("complete")).record.status, "completed");
});

test("a plugin that the coordinator rejects ends with 5 and says why", async () => {
  const rejected = fleet.plugin("conformance", "rejected", {}, { ...MANIFEST, id: "rejected", priority: 5 });
  assert.equal(await rejected.exit, 5);
  assert.match(rejected.output(), /priority: 5 must be/);
});

test("a wrong environment ends with 2, credentials that are refused with 4", async () => {
  const wrong = fleet.plugin("conformance", "wrong", { METAFLEET_GRACE: "soon" });
  assert.equal(await wrong.exit, 2);
  assert.match(wrong.output(), /METAFLEET_GRACE: `soon` must be seconds/);
  const other = fleet.plugin("conformance", "other", { METAFLEET_PLUGIN: "tmdb" });
  assert.equal(await other.exit, 2);
  assert.match(other.output(), /this is the plugin conformance, not tmdb/);
  const nowhere = fleet.plugin("conformance", "nowhere", { NATS_URL: "http://nas:hush@[x" });
  assert.equal(await nowhere.exit, 2);
  assert.doesNotMatch(nowhere.output(), /hush/);
});

test("told to drain, it ends", async () => {
  assert.equal((await fleet.control({ action: "drain" }, "one")).success, true);
  assert.equal(await plugin.exit, 0);
});

test("a signal before the broker is there ends it as drained", async () => {
  const early = fleet.plugin("conformance", "early", { NATS_URL: "nats://127.0.0.1:1" });
  await until("an attempt", () => early.output().includes("the broker is not there"));
  early.signal("SIGINT");
  assert.equal(await early.exit, 0);
});
