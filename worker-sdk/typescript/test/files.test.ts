import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";

import type { Posted } from "../src/bridge.js";
import { TaskContext, type Port } from "../src/context.js";
import { COPIES, Files, type FilesOptions } from "../src/files.js";
import { RetryableError } from "../src/outcome.js";
import { parsePathMap } from "../src/paths.js";
import type { Task } from "../src/wire.js";
import { Fleet, until } from "./support/fleet.js";
import { RangeServer } from "./support/range-server.js";

const SIZE = (5 << 20) + 123;
const content = Buffer.alloc(SIZE, Buffer.from("0123456789abcdef!"));
const path = Buffer.from("/library/caf\xe9 1.bin", "latin1");
const TASK = { taskId: "t", cid: "c", filePath: "/library/x" } as Task;
const ENCODED = "/library/caf%E9%201.bin";

let server: RangeServer;
let folder: string;

before(async () => {
  server = await RangeServer.start();
  folder = mkdtempSync(join(tmpdir(), "metafleet-ts-"));
});
beforeEach(() => {
  server.put(ENCODED, content);
  server.cutAfter = Number.POSITIVE_INFINITY;
  server.status = undefined;
  server.held = undefined;
  server.requests.length = 0;
});
after(async () => {
  await server.stop();
  rmSync(folder, { recursive: true });
});

const files = (more: Partial<FilesOptions> = {}): Files =>
  new Files({ paths: [], offer: { url: server.url, token: server.token }, signal: () => new AbortController().signal, fetched: () => {}, ...more });

const retryable = (text: RegExp) => (error: Error): boolean => {
  assert.ok(error instanceof RetryableError, String(error));
  assert.match(`${error.message} ${String(error.cause)}`, text);
  return true;
};

test("a file that is not here is read by ranges, ahead but in pieces", async () => {
  let fetched = 0;
  const all = files({ fetched: (bytes) => (fetched += bytes) });
  const reader = await all.open(path, SIZE);
  assert.equal(reader.isLocal, false);
  assert.equal(reader.size, SIZE);
  assert.deepEqual(await reader.read(0, 10), content.subarray(0, 10));
  assert.deepEqual(await reader.read(100, 1000), content.subarray(100, 1100));
  assert.deepEqual(server.requests, ["HEAD", "GET bytes=0-1048575"], "the second read was read ahead");
  assert.deepEqual(await reader.read(SIZE - 5, 100), content.subarray(SIZE - 5));
  assert.deepEqual(await reader.read(1_048_570, 2_097_160), content.subarray(1_048_570, 3_145_730));
  assert.equal((await reader.read(SIZE, 10)).length, 0);
  const hash = createHash("sha256");
  for await (const piece of reader.stream({ start: 7, end: SIZE - 9 }) as AsyncIterable<Buffer>) {
    assert.ok(piece.length <= 1 << 20);
    hash.update(piece);
  }
  assert.equal(hash.digest("hex"), createHash("sha256").update(content.subarray(7, SIZE - 9)).digest("hex"));
  assert.ok(fetched > SIZE);
  await all.close();
});

test("an empty file has no bytes", async () => {
  server.put("/empty", Buffer.alloc(0));
  const all = files();
  const reader = await all.open(Buffer.from("/empty"), 0);
  assert.equal(reader.size, 0);
  assert.equal((await reader.read(0, 10)).length, 0);
  assert.equal((await reader.stream().toArray()).length, 0);
  await all.close();
});

test("parts of two versions never mix", async () => {
  const all = files();
  const reader = await all.open(path, SIZE);
  await reader.read(0, 10);
  server.put(ENCODED, Buffer.alloc(SIZE), '"2"');
  await assert.rejects(reader.read(3 << 20, 10), retryable(/changed meanwhile \(412\)/));
  await all.close();
});

test("whatever the server does wrong is a retryable failure that says what", async () => {
  const table: Array<[number, RegExp]> = [[401, /refuses the token/], [403, /outside of the coordinator's libraries/], [404, /no such file/], [500, /answers 500/], [302, /answers 302/]];
  for (const [status, text] of table) {
    server.status = status;
    const all = files();
    await assert.rejects(all.open(path, SIZE), retryable(text));
    await all.close();
  }
  server.status = undefined;
  const wrong = files({ offer: { url: server.url, token: "other" } });
  await assert.rejects(wrong.open(path, SIZE), (error: Error) => retryable(/401/)(error) && !error.message.includes("other"));
  const nobody = files({ offer: { url: "http://127.0.0.1:1/files", token: "x" } });
  await assert.rejects(nobody.open(path, SIZE), retryable(/ECONNREFUSED/));
  const all = files();
  const reader = await all.open(path, SIZE);
  server.cutAfter = 1000;
  await assert.rejects(reader.read(0, 5000), retryable(/cut short|aborted|hang up/));
  await all.close();
});

test("an answer that does not say which version it is of is refused", async () => {
  server.put(ENCODED, content, "");
  const all = files();
  await assert.rejects(all.open(path, SIZE), retryable(/does not say which version it is/));
  await all.close();
});

/** The folders with copies of this process. */
const copies = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith(COPIES));
const OVER = /the attempt is over|is closed|could not read .* from the coordinator/;
/** Looks that a copy fails because its attempt is over, and that nothing of it is left. */
async function ends(copying: Promise<unknown>): Promise<void> {
  await assert.rejects(copying, retryable(OVER));
  assert.deepEqual(copies(), []);
}

test("a copy whose size is being asked for when the attempt ends is not made", async () => {
  let release = (): void => {};
  server.held = new Promise((resolve) => (release = resolve));
  const all = files();
  const copying = ends(all.local(path, SIZE));
  await until("the request", () => server.requests.includes("HEAD"));
  await all.close();
  release();
  await copying;
  assert.deepEqual(server.requests, ["HEAD"]);
  await assert.rejects(all.open(path, SIZE), retryable(/the attempt is over/));
});

test("a copy that is being made when the attempt ends is removed, at each of its steps", async () => {
  let ended = 0;
  for (let step = 0; step < 80; step += 1) {
    const all = files();
    const copying = all.local(path, SIZE).catch((error: unknown) => {
      retryable(OVER)(error as Error);
      ended += 1;
    });
    for (let turn = 0; turn < step; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    await all.close();
    await copying;
    assert.deepEqual(copies(), [], `step ${step}`);
  }
  assert.ok(ended >= 5, `${ended} copies were being made`);
});

test("what is closed asks for nothing more", async () => {
  const all = files();
  const reader = await all.open(path, SIZE);
  await all.close();
  await assert.rejects(reader.read(0, 10), retryable(/is closed/));
  assert.deepEqual(server.requests, ["HEAD"]);
});

test("what is first opened after the attempt is not left open either", async () => {
  const all = files();
  const task = { ...TASK, filePathBytes: path.toString("base64") };
  const port = { settings: {}, paths: [], files: () => all } as unknown as Port;
  const ctx = new TaskContext(port, { limitMs: 20_000 } as Posted, task);
  await ctx.close();
  await ends(ctx.localPath());
});

test("a cancelled attempt reads no more", async () => {
  const abort = new AbortController();
  const all = files({ signal: () => abort.signal });
  const reader = await all.open(path, SIZE);
  abort.abort();
  await assert.rejects(reader.read(0, 10), retryable(/abort/i));
  await all.close();
});

test("the file on this machine goes first, if it is the one that is meant", async () => {
  const paths = parsePathMap(`/library=${folder}`);
  const film = Buffer.from("/library/film.txt");
  writeFileSync(join(folder, "film.txt"), "here");
  mkdirSync(join(folder, "a-folder"), { recursive: true });
  const all = files({ paths });
  const reader = await all.open(film, 4);
  assert.equal(reader.isLocal, true);
  assert.equal((await reader.read(1, 2)).toString(), "er");
  assert.equal((await reader.read(2, 100)).toString(), "re");
  assert.equal(Buffer.concat((await reader.stream().toArray()) as Buffer[]).toString(), "here");
  assert.equal(await all.local(film, 4), join(folder, "film.txt"));
  server.put("/library/film.txt", Buffer.from("other size"));
  assert.equal((await (await all.open(film, 10)).read(0, 100)).toString(), "other size");
  server.put("/library/a-folder", Buffer.from("bytes"));
  assert.equal((await (await all.open(Buffer.from("/library/a-folder"), 5)).read(0, 100)).toString(), "bytes");
  await all.close();
  const alone = files({ paths, offer: undefined });
  await assert.rejects(alone.open(Buffer.from("/library/gone"), 0), retryable(/could not open.*ENOENT/));
  await assert.rejects(alone.open(Buffer.from("/library/a-folder"), 0), retryable(/is not a regular file/));
  const sizes = /film\.txt has 4 bytes, but had 10 when it was found; a scan hands it in anew/;
  for (const work of [alone.open(film, 10), alone.local(film, 10)]) await assert.rejects(work, retryable(sizes));
  assert.equal((await alone.open(film, 0)).size, 4, "a size that nobody has said");
  await alone.close();
});

test("a copy has the file's own name and goes with the attempt", async () => {
  const all = files();
  const copy = await all.local(path, SIZE);
  assert.ok(Buffer.isBuffer(copy) && copy.toString("latin1").endsWith("/caf\xe9 1.bin"));
  assert.deepEqual(readFileSync(copy), content);
  await all.close();
  assert.equal(existsSync(copy), false);
});

test("in a fleet a worker without the mount reads by HTTP, with another one by its own path", async () => {
  const fleet = await Fleet.start();
  try {
    const environment = { METAFLEET_FILES_URL: server.url, METAFLEET_FILES_TOKEN: server.token };
    const plugin = fleet.plugin("conformance", "remote", environment);
    await fleet.life("remote", (entry) => entry.state === "ready");
    const script = Buffer.from(`read\n${"#".repeat(3_000_000)}`);
    server.put("/nowhere/caf%E9", script);
    const away = { filePathBytes: Buffer.from("/nowhere/caf\xe9", "latin1").toString("base64") };
    const record = await fleet.record(await fleet.submit("/nowhere/caf\ufffd", away));
    assert.equal(record.status, "completed", record.error ?? "");
    assert.equal((record.meta as Record<string, string>)["script/text/0/sha256"], createHash("sha256").update(script).digest("hex"));
    assert.equal((record.meta as Record<string, string>)["script/text/0/size"], String(script.length));
    const life = await fleet.life("remote", ({ totals }) => ((totals as { fetchedBytes?: number } | undefined)?.fetchedBytes ?? 0) >= script.length);
    assert.equal(life.totals?.completed, 1);
    plugin.signal("SIGTERM");
    assert.equal(await plugin.exit, 0);

    const mapped = fleet.plugin("conformance", "mapped", { METAFLEET_PATHS: `/films=${fleet.folder}` });
    const made = fleet.script("complete", "made by a plugin");
    writeFileSync(join(fleet.folder, "film"), `submit ${made}\n`);
    const heard: string[] = [];
    fleet.nc.subscribe("mf.submit.*", { callback: (_error, message) => void heard.push(message.json<{ filePath: string }>().filePath) });
    const second = await fleet.record(await fleet.submit("/films/film"));
    assert.equal(second.status, "completed", second.error ?? "");
    assert.equal(second.instance, "mapped");
    assert.ok(heard.includes(made.replace(fleet.folder, "/films")), heard.join());
    mapped.signal("SIGTERM");
    assert.equal(await mapped.exit, 0);
  } finally {
    await fleet.stop();
  }
});
