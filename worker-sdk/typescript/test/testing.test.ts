import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import {
  completed, definePlugin, forwardFile, forwardPlugin, PermanentError, retryLater, RetryableError, skipped,
  type Context, type Outcome, type Plugin,
} from "@metafleet/worker";
import { runOnFile, type TestOptions, type TestResult } from "@metafleet/worker/testing";

let folder: string;
let file: string;

before(() => {
  folder = mkdtempSync(join(tmpdir(), "metafleet-ts-"));
  file = join(folder, "three lines.txt");
  writeFileSync(file, "a\nb\nc\n");
});
after(() => rmSync(folder, { recursive: true }));

const plugin = (process: (ctx: Context) => Outcome | void | Promise<Outcome | void>, more: Partial<Plugin> = {}): Plugin =>
  definePlugin({
    manifest: {
      id: "lines", name: "Lines", version: "1.0.0", priority: 50, queue: "fast", timeout: 5000,
      dataSchema: { "text/lines": {}, "text/{n}/*": {} }, configSchema: { encoding: { default: "utf-8" } },
    },
    process,
    ...more,
  });

const run = async (process: (ctx: Context) => Outcome | void | Promise<Outcome | void>, options: TestOptions = {}): Promise<TestResult> =>
  await runOnFile(plugin(process), file, options);

/** A result without what is there for each. */
const brief = ({ durationMs: _, progress: __, submitted: ___, artifacts: ____, ...result }: TestResult): object => result;

test("every outcome is told as it is", async () => {
  assert.deepEqual(brief(await run(() => completed({ "text/lines": 3 }))), { status: "completed", meta: { "text/lines": "3" } });
  assert.deepEqual(brief(await run(() => {})), { status: "completed", meta: {} });
  assert.deepEqual(brief(await run(() => skipped("why"))), { status: "skipped", reason: "why" });
  assert.deepEqual(brief(await run(() => retryLater(5, "wait"))), { status: "later", afterMs: 5, reason: "wait" });
  assert.deepEqual(brief(await run(() => { throw new PermanentError("no"); })), { status: "failed", error: "no", permanent: true });
  assert.deepEqual(brief(await run(() => { throw new RetryableError("no"); })), { status: "failed", error: "no", permanent: false });
  assert.deepEqual(brief(await run(async () => await Promise.reject(new TypeError("bug")))), { status: "failed", error: "TypeError: bug", permanent: false });
  assert.match(JSON.stringify(await run(() => ({ what: 1 }) as never)), /returned something that is no outcome/);
  assert.match(JSON.stringify(await run(() => completed({ other: 1 }))), /key `other` is not in the dataSchema of lines/);
  assert.match(JSON.stringify(await run(() => { throw undefined; })), /an error without a text/);
});

test("the context is that of the file", async () => {
  const log: string[] = [];
  const result = await run(async (ctx) => {
    assert.equal(ctx.path, file);
    assert.equal(ctx.file.mime, "text/plain");
    assert.equal(ctx.file.extension, "txt");
    assert.equal(ctx.attempt, 2);
    assert.equal(ctx.settings["encoding"], "latin-1");
    assert.equal(ctx.existingText("a/b"), "c");
    assert.equal(ctx.existingText("toString"), undefined);
    assert.ok(ctx.remaining() > 1000 && ctx.remaining() <= 5000);
    assert.equal(ctx.signal.aborted, false);
    const reader = await ctx.open();
    assert.equal((await reader.read(2, 2)).toString(), "b\n");
    assert.equal(await ctx.localPath(), file);
    await assert.rejects(ctx.openSidecar("a.nfo"), /not in the list of sidecars/);
    ctx.progress(7, "far");
    ctx.log.info("hello", { n: 1 });
  }, { settings: { encoding: "latin-1" }, existing: { "a/b": "c" }, attempt: 2, log: (line) => void log.push(line) });
  assert.equal(result.status, "completed", JSON.stringify(result));
  assert.deepEqual(result.progress, [{ fraction: 1, note: "far" }]);
  assert.match(log.join(), /INFO {2}hello plugin=lines taskId=\S+ cid=b\w+ n=1/);
});

test("sidecars are read by their names", async () => {
  writeFileSync(join(folder, "a.nfo"), "nfo");
  const task = { file: { sidecars: [{ name: "a.nfo", size: 3 }, { name: "../../etc/passwd" }] } };
  const result = await run(async (ctx) => {
    assert.equal((await (await ctx.openSidecar("a.nfo")).read(0, 9)).toString(), "nfo");
    assert.equal(await ctx.localSidecar("a.nfo"), join(folder, "a.nfo"));
    await assert.rejects(ctx.openSidecar("../../etc/passwd"), /not in the list/);
  }, { task });
  assert.equal(result.status, "completed", JSON.stringify(result));
});

test("a handler over its deadline fails, whether it heeds the signal or not", async () => {
  const options = { deadlineMs: 50 };
  const error = { status: "failed", error: "timed out after 50 ms", permanent: false };
  assert.deepEqual(brief(await run(async (ctx) => await sleep(60_000, undefined, { signal: ctx.signal }), options)), error);
  assert.deepEqual(brief(await run(() => new Promise(() => {}), options)), error);
  const stalled = await run(async (ctx) => await sleep(60_000, undefined, { signal: ctx.signal }), { task: { progressTimeoutMs: 50 } });
  assert.deepEqual(brief(stalled), { status: "failed", error: "timed out: no progress for 50 ms", permanent: false });
});

test("files and plugins are handed on with where they come from", async () => {
  const made = join(folder, "made.srt");
  writeFileSync(made, "1\n00:00:01,000 --> 00:00:02,000\nHi\n");
  const file = await run(() => forwardFile(made), { task: { depth: 2, scanId: "s" } });
  assert.ok(file.status === "forwarded");
  const { submission } = file;
  assert.deepEqual([submission.filePath, submission.origin, submission.depth, submission.scanId], [made, "lines", 3, "s"]);
  assert.deepEqual([submission.file?.mime, submission.file?.extension, submission.file?.size], ["application/x-subrip", "srt", 35]);
  const other = await run(() => forwardPlugin("ffmpeg", { "text/lines": 1 }));
  assert.ok(other.status === "forwarded");
  assert.deepEqual([other.submission.only, other.submission.filePath, other.meta], [["ffmpeg"], file.submission.filePath.replace("made.srt", "three lines.txt"), { "text/lines": "1" }]);
  const deep = await run(() => forwardFile(made), { task: { depth: 8 } });
  assert.ok(deep.status === "failed" && deep.permanent && /9 times/.test(deep.error));
  const submitted = await run(async (ctx) => await ctx.submit(made));
  assert.equal(submitted.submitted[0]?.filePath, made);
  const gone = await run(async (ctx) => await ctx.submit(join(folder, "gone")));
  assert.ok(gone.status === "failed" && !gone.permanent && /could not read .*gone.*ENOENT/.test(gone.error));
});

test("artefacts are shown, as they were when they were kept", async () => {
  const bytes = Buffer.from("hello");
  let said: unknown;
  const result = await run(async (ctx) => {
    said = await ctx.putArtifact("still.jpg", "image/jpeg", bytes);
    bytes.fill("x");
  });
  assert.equal(result.status, "completed", JSON.stringify(result));
  const [shown, ...more] = result.artifacts;
  assert.deepEqual([shown?.artifact, Buffer.from(shown?.bytes ?? []).toString(), more], [said, "hello", []]);
  const refused = await run(async (ctx) => void (await ctx.putArtifact("a\0b", "image/jpeg", bytes)));
  assert.ok(refused.status === "failed" && refused.permanent && refused.artifacts.length === 0, JSON.stringify(refused));
  const text = await run(async (ctx) => void (await ctx.putArtifact("a", "text/plain", "text" as never)));
  assert.ok(text.status === "failed" && /is a Uint8Array or a Buffer/.test(text.error), JSON.stringify(text));
});

test("settings come from the configSchema, and what a plugin refuses is thrown", async () => {
  let seen: unknown;
  await runOnFile(plugin(() => {}, { configure: (settings) => void (seen = settings) }), file);
  assert.deepEqual(seen, { encoding: "utf-8" });
  const refuses = plugin(() => {}, { configure: () => { throw new Error("not served"); } });
  await assert.rejects(runOnFile(refuses, file), /not served/);
  const broken = { ...plugin(() => {}), manifest: { ...plugin(() => {}).manifest, version: "" } };
  await assert.rejects(runOnFile(broken, file), /needs `version`/);
});
