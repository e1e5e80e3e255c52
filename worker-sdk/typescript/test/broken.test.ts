// Workers whose connection, or whose broker, does not do what it should.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { Fleet, MANIFEST, NAPPER, until } from "./support/fleet.js";

let fleet: Fleet;

before(async () => {
  fleet = await Fleet.start();
});
after(async () => await fleet.stop());

const file = (name: string): string => join(fleet.folder, name);

test("a failure that is told too late does not end the delivery of another worker", async () => {
  // Its process is stopped meanwhile, and hears nothing of the end of its lease.
  const manifest = { ...MANIFEST, timeout: 12_000, retry: { maxAttempts: 2, delaysMs: [50] } };
  const first = fleet.plugin("conformance", "first", {}, manifest);
  await fleet.life("first", (entry) => entry.state === "ready");
  const path = fleet.script("wait /none/there", `wait ${file("finish")}`);
  const cid = await fleet.submit(path);
  await until("the first attempt", () => fleet.calls(path).length === 1);
  first.signal("SIGSTOP");
  const stopped = Date.now();
  const second = fleet.plugin("conformance", "second", {}, manifest);
  await until("the second attempt", () => fleet.calls(path).length === 2);
  await sleep(stopped + manifest.timeout - Date.now());
  first.signal("SIGCONT");
  await until("the end of the first attempt", () => first.output().includes("the attempt failed, trying again"));
  await sleep(2000);
  assert.equal(await fleet.recordMessage(cid), undefined, "it was settled while it ran");
  writeFileSync(file("finish"), "");
  const record = await fleet.record(cid);
  assert.deepEqual([record.status, record.attempt, record.instance], ["completed", 2, "second"]);
  for (const plugin of [first, second]) {
    plugin.signal("SIGTERM");
    assert.equal(await plugin.exit, 0);
  }
});

test("a broker that stalls gives nobody more than it has places for", async () => {
  const manifest = { ...MANIFEST, id: "naps", concurrency: 2 };
  const worker = fleet.plugin(NAPPER, "naps", {}, manifest);
  await fleet.life("naps", (entry) => entry.state === "ready", "naps");
  const cids = Array.from({ length: 20 }, (_, n) => `nap:${n}`);
  // Nothing is there, so requests wait, and are over one after the other while the broker reads none of them.
  await fleet.stallServer(9000, () => {
    for (const [n, cid] of cids.entries()) {
      const submission = { type: "metafleet.submission.v1", cid, filePath: "/none", only: ["naps"], overrideQueue: true };
      fleet.nc.publish(`mf.submit.${n % 2 === 0 ? "background" : "fast"}`, JSON.stringify(submission));
    }
  });
  const most: number[] = [];
  for (const cid of cids) most.push(Number(((await fleet.record(cid, "naps")).meta as Record<string, string>)["script/attempt"]));
  assert.equal(Math.max(...most), 2);
  assert.doesNotMatch(worker.output(), /is lost/);
});
