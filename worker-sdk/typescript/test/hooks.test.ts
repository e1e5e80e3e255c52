import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { Fleet, MOODY, Process, until } from "./support/fleet.js";
import { RangeServer } from "./support/range-server.js";

let fleet: Fleet;
let files: RangeServer;
let plugin: Process;
let folder: string;

before(async () => {
  [fleet, files] = await Promise.all([Fleet.start(), RangeServer.start()]);
  folder = join(fleet.folder, "moody");
  mkdirSync(folder);
  plugin = start("moody-1");
  await fleet.life("moody-1", (entry) => entry.state === "ready");
});
after(async () => {
  await fleet.stop();
  await files.stop();
});

const notes = (): string[] => readFileSync(join(folder, "notes"), "utf8").trim().split("\n");
const noted = (what: string): Promise<string> => until(`the note ${what}`, () => notes().find((note) => note.startsWith(what)));

function start(instance: string): Process {
  const environment = { NATS_URL: fleet.url, METAFLEET_INSTANCE: instance, METAFLEET_FILES_URL: files.url, METAFLEET_FILES_TOKEN: files.token };
  return Process.start(process.execPath, [MOODY, folder], join(fleet.folder, `${instance}.log`), environment);
}

test("the plugin is told of settings, pauses and resumptions, once for each change", async () => {
  for (const action of ["pause", "pause", "resume", "resume"]) await fleet.control({ action }, "moody-1");
  assert.deepEqual(notes(), ["configure good", "pause", "resume"]);
});

test("what its health check finds is shown, and it goes on", async () => {
  writeFileSync(join(folder, "ill"), "the disk is full");
  const ill = await fleet.life("moody-1", ({ healthy }) => healthy === false);
  assert.deepEqual([ill.state, ill.error], ["ready", "the disk is full"]);
  rmSync(join(folder, "ill"));
  const well = await fleet.life("moody-1", ({ healthy }) => healthy === true);
  assert.equal(well.error ?? undefined, undefined);
});

test("a copy is gone when its attempt has ended, also one that hangs", async () => {
  files.put("/away/a.txt", Buffer.from("ends"));
  const record = await fleet.record(await fleet.submit("/away/a.txt"));
  const copy = (record.meta as Record<string, string>)["copy/path"] ?? "";
  assert.match(copy, /\/metafleet-\w+-0-\w+\/a\.txt$/);
  assert.equal(existsSync(copy), false);
  files.put("/away/hangs.txt", Buffer.from("hang"));
  await fleet.submit("/away/hangs.txt");
  const hanging = (await until("the copy", () => notes().find((note) => note.endsWith("hangs.txt")))).slice("copy ".length);
  assert.equal(existsSync(hanging), true);
  await until("the copy to go", () => !existsSync(hanging));
});

test("a plugin that thinks about its settings does not keep the worker from pausing and draining", async () => {
  void fleet.control({ action: "configure", settings: { mode: "slow" } }, "moody-1").catch(() => {});
  await noted("configure slow");
  assert.deepEqual(await fleet.control({ action: "pause" }, "moody-1"), { success: true, instance: "moody-1" });
  await fleet.life("moody-1", ({ state }) => state === "paused");
  plugin.signal("SIGTERM");
  assert.equal(await plugin.exit, 0);
  assert.equal(notes().at(-1), "stop");
});

test("an error that nobody catches ends the process with 1 after what runs is finished", async () => {
  const stray = start("moody-2");
  files.put("/away/stray.txt", Buffer.from("stray"));
  const record = await fleet.record(await fleet.submit("/away/stray.txt"));
  assert.equal(record.status, "completed");
  assert.equal(await stray.exit, 1);
  assert.match(stray.output(), /an error that nobody caught, draining.*nobody catches this/);
});
