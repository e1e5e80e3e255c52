// Handlers in threads: what one of them does, the others do not feel.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { Fleet, MANIFEST, until, type Process } from "./support/fleet.js";

let fleet: Fleet;
let plugin: Process;

before(async () => {
  fleet = await Fleet.start();
  plugin = fleet.plugin("conformance", "one", { EXECUTOR: "threads" }, { ...MANIFEST, timeout: 3000 });
  await fleet.life("one", (entry) => entry.state === "ready");
});
after(async () => await fleet.stop());

const file = (name: string): string => join(fleet.folder, name);

test("a handler that blocks for ever is ended, and the next attempt runs in the same worker", async () => {
  const hangs = fleet.script(`block ${file("never")}`, "complete");
  const cid = await fleet.submit(hangs);
  await until("the call", () => fleet.calls(hangs).length === 1);
  // Others run beside it.
  const others = await Promise.all([1, 2, 3].map(async () => await fleet.outcome("complete")));
  assert.ok(others.every(({ record }) => record.status === "completed"));
  assert.equal(fleet.calls(hangs).length, 1);
  const record = await fleet.record(cid);
  assert.equal(record.attempt, 2);
  assert.equal(record.instance, "one");
  await until("the end of the thread", () => plugin.output().includes("a handler hangs, its thread is ended"));
});

test("outcomes, progress, submissions and errors come through", async () => {
  const signals = fleet.signals();
  assert.equal((await fleet.outcome("skip nothing")).record.reason, "nothing");
  assert.equal((await fleet.outcome("crash a bug", "complete")).record.attempt, 2);
  assert.equal((await fleet.outcome("fail broken")).record.error, "broken");
  const target = fleet.script("complete", `# ${Date.now()}`);
  assert.equal((await fleet.outcome(`submit ${target}`)).record.status, "completed");
  await until("the call of what was submitted", () => fleet.calls(target).length === 1);
  const waits = await fleet.submit(fleet.script(`wait ${file("go")}`));
  await until("progress", () => signals.some(({ kind, body }) => kind === "progress" && body["cid"] === waits));
  writeFileSync(file("go"), "");
  assert.equal((await fleet.record(waits)).attempt, 1);
});

test("settings are taken by the program, and by the threads that come after", async () => {
  assert.equal((await fleet.control({ action: "configure", settings: { mode: "bad" } })).success, false);
  assert.equal((await fleet.control({ action: "configure", settings: { mode: "good" } })).success, true);
  assert.equal((await fleet.outcome("complete")).record.status, "completed");
});

test("a deadline is kept by a handler that heeds it, too", async () => {
  const { record } = await fleet.outcome(`wait ${file("deadline")}`, "complete");
  assert.equal(record.attempt, 2);
});

test("SIGTERM drains, and gives back what blocks", async () => {
  const plugin2 = fleet.plugin("conformance", "two", { EXECUTOR: "threads", METAFLEET_GRACE: "300ms" });
  plugin.signal("SIGTERM");
  assert.equal(await plugin.exit, 0);
  await fleet.life("two", (entry) => entry.state === "ready");
  const path = fleet.script(`block ${file("blocks")}`, "complete");
  const cid = await fleet.submit(path);
  await until("the call", () => fleet.calls(path).length === 1);
  plugin2.signal("SIGTERM");
  assert.equal(await plugin2.exit, 0, "a thread that blocks does not keep the process");
  const plugin3 = fleet.plugin("conformance", "three", { EXECUTOR: "threads" });
  assert.equal((await fleet.record(cid)).instance, "three");
  await fleet.submit(fleet.script("exit 7"));
  assert.equal(await plugin3.exit, 7, "a handler that ends its process ends it");
});
