// What plugins make beside metadata, with a real broker: where it is kept, when, and what is refused.
import assert from "node:assert/strict";
import { createHash, randomUUID } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import type { Msg } from "@nats-io/nats-core";
import { PermanentError } from "@metafleet/worker";

import { describe } from "../src/artifact.js";
import { encodeToken } from "../src/codec.js";
import { Names } from "../src/names.js";
import { Fleet, KEEPER, MANIFEST, until, type Process } from "./support/fleet.js";
import { table } from "./support/protocol.js";

const NAMES = ["still é.jpg", "a.b c/日本 😀.*>", "=", "x".repeat(128)];
const EXECUTORS = ["loop", "threads"] as const;
const BUCKET = "KV_mf-artifacts";
const names = new Names("mf");
const trace = { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", tracestate: "a=b" };

let fleet: Fleet;
let started = 0;

before(async () => void (fleet = await Fleet.start()));
after(async () => await fleet.stop());

const subjectOf = (cid: string, name: string, trial = false): string => names.artifact(encodeToken(cid), "conformance", name, trial);
const kept = async (cid: string, name: string, trial = false): Promise<Msg | undefined> => await fleet.stored(BUCKET, subjectOf(cid, name, trial));
const script = (what: unknown): string => fleet.script(JSON.stringify(what));

/** Runs `work` with a worker for each way to run handlers. */
async function each(more: object, work: (plugin: Process, executor: string) => Promise<void>): Promise<void> {
  for (const executor of EXECUTORS) {
    started += 1;
    const instance = `${executor}-${started}`;
    const manifest = { ...MANIFEST, dataSchema: { kept: { type: "json" } }, ...more };
    const plugin = fleet.plugin(KEEPER, instance, { EXECUTOR: executor }, manifest);
    await fleet.life(instance, (entry) => entry.state === "ready");
    await work(plugin, executor);
    plugin.signal("SIGTERM");
    await plugin.exit;
  }
}

test("the metadata says what there is, with the fields of the protocol", () => {
  const said = describe("still.jpg", "image/jpeg", Buffer.from("hello"));
  const sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
  assert.deepEqual(said, { artifact: "still.jpg", mediaType: "image/jpeg", size: 5, sha256 });
  assert.deepEqual(Object.keys(said), table("artifact").filter((row) => row[3] === "required").map(([field]) => field));
});

test("names and media types are held against the protocol", () => {
  for (const name of NAMES) assert.equal(describe(name, "text/plain; charset=utf-8", Buffer.of()).artifact, name);
  for (const name of ["", "x".repeat(129), "é".repeat(65), "a\nb", "a\x7f", "a\x85", "\udcff"]) {
    assert.throws(() => describe(name, "image/png", Buffer.of()), (error) => error instanceof PermanentError && /cannot be called/.test(error.message), name);
  }
  for (const type of [
    "image/jpeg", "application/vnd.a+b.c-d_e", "text/plain; charset=utf-8", "text/plain ;x=y", "text/plain;",
    'text/plain; title="a; b/c"', `a/${"x".repeat(253)}`,
  ]) {
    assert.equal(describe("a", type, Buffer.of()).mediaType, type);
  }
  for (const type of [
    "", "jpeg", "/", "a/", "/b", "a/b/c", "a b/c", "a/b c", " image/png", "image/png ", "image/png\n", "text/plain; ", "é/x",
    "text/plain; x=é", "a\r\nMf-Dead-Letter: 1", "text/plain\r\nX: y", "text/plain; x\ty", `a/${"x".repeat(254)}`,
  ]) {
    assert.throws(() => describe("a", type, Buffer.of()), (error) => error instanceof PermanentError && /is no media type/.test(error.message), type);
  }
});

test("artefacts are stored before the record that speaks of them", async () => {
  const heard: string[] = [];
  const listening = fleet.nc.subscribe("$KV.*.*.>", { callback: (_error, { subject }) => void heard.push(subject) });
  await each({}, async (_, executor) => {
    // The last one takes the place of the first.
    const wanted = [...NAMES.map((name, at) => ({ name, size: 70_000 + at })), { name: NAMES[0], size: 3, type: "text/plain; x=y", of: "z" }];
    const cid = await fleet.submit(script(wanted), {}, trace);
    const record = await fleet.record(cid);
    assert.equal(record.status, "completed", JSON.stringify(record));
    const said = record.meta?.["kept"] as unknown as Array<{ artifact: string; mediaType: string; size: number; sha256: string }>;
    assert.deepEqual(said.map(({ artifact }) => artifact), [...NAMES, NAMES[0]]);
    for (const { artifact, mediaType, size, sha256 } of said.slice(1)) {
      const message = await kept(cid, artifact);
      assert.ok(message !== undefined, `${artifact} of ${executor}`);
      assert.deepEqual([message.data.length, createHash("sha256").update(message.data).digest("hex")], [size, sha256]);
      assert.equal(message.headers?.get("Content-Type"), mediaType);
      for (const [name, value] of Object.entries(trace)) assert.equal(message.headers?.get(name), value, executor);
    }
    assert.equal((await kept(cid, NAMES[0] ?? ""))?.string(), "zzz");
    const own = names.record(encodeToken(cid), "conformance");
    await until("the record", () => heard.includes(own));
    assert.ok(Math.max(...NAMES.map((name) => heard.indexOf(subjectOf(cid, name)))) < heard.indexOf(own), executor);
  });
  listening.unsubscribe();
});

test("what a trial makes lies in a place of its own", async () => {
  await each({}, async (_, executor) => {
    const cid = `tried:${executor}`;
    const task = {
      type: "metafleet.task.v1", taskId: randomUUID(), runId: 1, pluginId: "conformance", cid, filePath: script([{ name: "still.jpg", size: 9 }]),
      fingerprint: "f", deadlineMs: 20_000, trial: true, retry: { maxAttempts: 1, delaysMs: [100] },
    };
    await fleet.nc.request(names.task("fast", "conformance", "main", cid), JSON.stringify(task), { timeout: 5000 });
    await until("the outcome of the trial", () => fleet.recordMessage(cid, "conformance_next"));
    assert.equal((await kept(cid, "still.jpg", true))?.string(), "x".repeat(9));
    assert.equal(await kept(cid, "still.jpg"), undefined);
  });
});

test("what cannot be kept is a permanent failure that says why", async () => {
  await each({}, async () => {
    for (const [wanted, words] of [
      [{ name: "big", size: 5_000_000 }, /the artefact `big` of 5000000 bytes: the message has [0-9]+ bytes, over [0-9]+/],
      [{ name: "a\nb", size: 1 }, /an artefact cannot be called `a\nb`/],
      [{ name: "a", size: 1, type: "a\nb" }, /`a\nb` is no media type/],
    ] as const) {
      const record = await fleet.record(await fleet.submit(script([wanted])));
      assert.deepEqual([record.status, record.attempt], ["failed", 1], JSON.stringify(record));
      assert.match(record.error ?? "", words);
    }
  });
});

test("the largest that fits is kept, and one byte more is not", async () => {
  await each({}, async () => {
    const most = fleet.nc.info?.max_payload ?? 0;
    // No trace: the headers are the media type alone.
    const room = most - "NATS/1.0\r\nContent-Type: image/jpeg\r\n\r\n".length;
    const fits = await fleet.submit(script([{ name: "most", size: room }]));
    assert.equal((await fleet.record(fits)).status, "completed");
    const over = await fleet.record(await fleet.submit(script([{ name: "more", size: room + 1 }])));
    assert.match(over.error ?? "", new RegExp(`the message has ${most + 1} bytes, over ${most}`));
  });
});

/** Has the stream of artefacts take nothing for as long as `work` takes; one that is deleted is made anew by the coordinator. */
async function withoutBucket(work: () => Promise<void>): Promise<void> {
  const { config } = (await fleet.nc.request(`$JS.API.STREAM.INFO.${BUCKET}`)).json<{ config: object }>();
  await fleet.nc.request(`$JS.API.STREAM.UPDATE.${BUCKET}`, JSON.stringify({ ...config, max_msg_size: 1 }));
  try {
    await work();
  } finally {
    await fleet.nc.request(`$JS.API.STREAM.UPDATE.${BUCKET}`, JSON.stringify(config));
  }
}

/** How often an artefact was not stored. */
const tries = (plugin: Process, cid: string): number =>
  plugin.output().split("\n").filter((line) => line.includes("trying again") && line.includes(subjectOf(cid, "late"))).length;

test("it is tried until it is stored", async () => {
  await each({}, async (plugin) => {
    const cid = `late:${randomUUID()}`;
    await withoutBucket(async () => {
      await fleet.submit(script([{ name: "late", size: 9 }]), { cid });
      await until("a second try", () => tries(plugin, cid) > 1);
    });
    const record = await fleet.record(cid);
    assert.deepEqual([record.status, record.attempt], ["completed", 1], JSON.stringify(record));
    assert.equal((await kept(cid, "late"))?.string(), "x".repeat(9));
  });
});

test("it is tried no longer than the task has time", async () => {
  await each({ timeout: 3000, retry: { maxAttempts: 1 } }, async (plugin) => {
    const wanted = script([{ name: "late", size: 9 }]);
    await withoutBucket(async () => {
      const cid = await fleet.submit(wanted);
      assert.equal((await fleet.record(cid)).error, "timed out after 3000 ms");
      const told = /not kept.*the broker did not take the artefact `late` of 9 bytes: timed out/;
      await until("the handler that waits for it to come back", () => told.test(plugin.output()));
      const before = tries(plugin, cid);
      // In the time of two others the former one would have been tried again.
      for (let other = 0; other < 2; other += 1) assert.match((await fleet.record(await fleet.submit(wanted))).error ?? "", /timed out/);
      assert.equal(tries(plugin, cid), before);
    });
  });
});

test("what outlives its task stores nothing for the next one", async () => {
  await each({ concurrency: 1 }, async (_, executor) => {
    const late = join(fleet.folder, `late-${executor}`);
    const first = await fleet.submit(script({ stray: late }));
    await fleet.record(first);
    const release = join(fleet.folder, `release-${executor}`);
    const second = await fleet.submit(script({ wait: release }));
    writeFileSync(late, "");
    const said = await until("what comes of it", () => readFileSync(late, "utf8") || undefined);
    assert.match(said, /the attempt is over/);
    writeFileSync(release, "");
    await fleet.record(second);
    for (const cid of [first, second]) assert.equal(await kept(cid, "stray"), undefined);
  });
});
