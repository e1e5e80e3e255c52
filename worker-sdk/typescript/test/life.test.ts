import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { Fleet, MANIFEST, until } from "./support/fleet.js";

let fleet: Fleet;

before(async () => {
  fleet = await Fleet.start();
});
after(async () => await fleet.stop());

const file = (name: string): string => join(fleet.folder, name);

test("a handler that blocks the event loop keeps its lease and its sign of life", async () => {
  const plugin = fleet.plugin("conformance", "blocked");
  await fleet.life("blocked", (entry) => entry.state === "ready");
  const path = fleet.script(`block ${file("unblock")}`);
  const cid = await fleet.submit(path);
  await until("the call", () => fleet.calls(path).length === 1);
  const began = Date.now();
  // Longer than the lease, which is 8 s.
  const entry = await fleet.life("blocked", ({ running }) => (running?.[0]?.forMs ?? 0) > 8_500);
  assert.ok(Date.now() - began > 8000);
  assert.equal(entry.state, "ready");
  // Control is answered meanwhile, too.
  assert.deepEqual(await fleet.control({ action: "ping" }, "blocked"), { success: true, instance: "blocked" });
  writeFileSync(file("unblock"), "");
  const record = await fleet.record(cid);
  assert.equal(record.attempt, 1);
  assert.equal(fleet.calls(path).length, 1);
  plugin.signal("SIGTERM");
  assert.equal(await plugin.exit, 0);
});

test("a handler that hangs over its deadline fails that attempt, whether it blocks or waits", async () => {
  const manifest = { ...MANIFEST, timeout: 700, retry: { maxAttempts: 2, delaysMs: [50] } };
  const [one, two] = [fleet.plugin("conformance", "hangs", {}, manifest), fleet.plugin("conformance", "other", {}, manifest)];
  await fleet.life("hangs", (entry) => entry.state === "ready");
  await fleet.life("other", (entry) => entry.state === "ready");
  for (const word of ["wait", "block"]) {
    const path = fleet.script(`${word} ${file("never")}`);
    const record = await fleet.record(await fleet.submit(path));
    assert.equal(record.status, "failed");
    assert.equal(record.error, "timed out after 700 ms");
    assert.equal(fleet.calls(path).length, 2, "the second attempt ran as well");
  }
  writeFileSync(file("never"), "");
  one.signal("SIGTERM");
  two.signal("SIGTERM");
  assert.deepEqual(await Promise.all([one.exit, two.exit]), [0, 0]);
});

test("an attempt without progress fails before its deadline", async () => {
  const manifest = { ...MANIFEST, progressTimeout: 400, retry: { maxAttempts: 1, delaysMs: [] } };
  const plugin = fleet.plugin("conformance", "stalls", {}, manifest);
  await fleet.life("stalls", (entry) => entry.state === "ready");
  const signals = fleet.signals();
  const stalls = await fleet.record(await fleet.submit(fleet.script(`block ${file("no-progress")}`)));
  assert.equal(stalls.error, "timed out: no progress for 400 ms");
  writeFileSync(file("no-progress"), "");
  const waits = await fleet.submit(fleet.script(`wait ${file("progress")}`));
  const progress = await until("progress", () => signals.find(({ kind, body }) => kind === "progress" && body["cid"] === waits));
  assert.equal(progress.body["fraction"], 0.5);
  assert.equal(progress.body["note"], "waiting");
  writeFileSync(file("progress"), "");
  assert.equal((await fleet.record(waits)).status, "completed");
  plugin.signal("SIGTERM");
  assert.equal(await plugin.exit, 0);
});

test("SIGTERM finishes what runs, and the instance says goodbye", async () => {
  const plugin = fleet.plugin("conformance", "drains");
  await fleet.life("drains", (entry) => entry.state === "ready");
  const path = fleet.script(`wait ${file("drain")}`);
  const cid = await fleet.submit(path);
  await until("the call", () => fleet.calls(path).length === 1);
  plugin.signal("SIGTERM");
  await fleet.life("drains", (entry) => entry.state === "draining");
  // What comes now is not for this instance.
  const later = await fleet.submit(fleet.script("complete"));
  writeFileSync(file("drain"), "");
  assert.equal((await fleet.record(cid)).attempt, 1);
  assert.equal(await plugin.exit, 0);
  assert.ok(await until("its entry to go", () => fleet.isGone("drains")));
  assert.equal(await fleet.recordMessage(later), undefined);
  const next = fleet.plugin("conformance", "next");
  assert.equal((await fleet.record(later)).instance, "next");
  next.signal("SIGTERM");
  assert.equal(await next.exit, 0);
});

test("what runs when the grace period is over is given back, also on its last attempt", async () => {
  const manifest = { ...MANIFEST, retry: { maxAttempts: 1, delaysMs: [] } };
  const plugin = fleet.plugin("conformance", "late", { METAFLEET_GRACE: "200ms" }, manifest);
  await fleet.life("late", (entry) => entry.state === "ready");
  const path = fleet.script(`wait ${file("grace")}`, "complete");
  const cid = await fleet.submit(path);
  await until("the call", () => fleet.calls(path).length === 1);
  plugin.signal("SIGTERM");
  assert.equal(await plugin.exit, 0);
  const next = fleet.plugin("conformance", "taker", {}, manifest);
  const record = await fleet.record(cid);
  assert.equal(record.status, "completed");
  assert.equal(record.instance, "taker");
  next.signal("SIGTERM");
  assert.equal(await next.exit, 0);
});

test("a second signal ends at once, and another instance takes over what was killed", async () => {
  const first = fleet.plugin("conformance", "first");
  await fleet.life("first", (entry) => entry.state === "ready");
  const path = fleet.script(`wait ${file("kill")}`, "complete");
  const cid = await fleet.submit(path);
  await until("the call", () => fleet.calls(path).length === 1);
  const second = fleet.plugin("conformance", "second");
  await fleet.life("second", (entry) => entry.state === "ready");
  first.signal("SIGTERM");
  await fleet.life("first", (entry) => entry.state === "draining");
  first.signal("SIGTERM");
  assert.equal(await first.exit, 130);
  const record = await fleet.record(cid);
  assert.equal(record.instance, "second");
  assert.equal(record.attempt, 2);
  await second.kill();
});
