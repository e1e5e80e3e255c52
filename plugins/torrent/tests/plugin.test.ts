/** The plugin on real files, as a worker would run it, without a broker. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import { runOnFile, type TestResult } from "@metafleet/worker/testing";

import plugin from "../src/plugin.js";
import { encode, PIECES, single } from "./make.js";

const folder = mkdtempSync(join(tmpdir(), "plugin-"));
after(() => rmSync(folder, { recursive: true }));

async function run(content: string | Buffer, settings = {}): Promise<TestResult> {
  const path = join(folder, "a.torrent");
  writeFileSync(path, content);
  return await runOnFile(plugin, path, { settings });
}

test("a torrent becomes metadata", async () => {
  const result = await run(single({}, { "creation date": 1 }));
  assert.ok(result.status === "completed", JSON.stringify(result));
  const { "torrent/infoHash": infoHash, "torrent/magnet": magnet, ...rest } = result.meta;
  assert.match(String(infoHash), /^[0-9a-f]{40}$/);
  assert.equal(magnet, `magnet:?xt=urn:btih:${String(infoHash)}&dn=a.iso&xl=1000&tr=http%3A%2F%2Ftracker.example%2Fannounce`);
  assert.deepEqual(rest, {
    "torrent/name": "a.iso", "torrent/version": "1", "torrent/size": "1000", "torrent/fileCount": "1", "torrent/pieceLength": "16384",
    "torrent/trackers": ["http://tracker.example/announce"], "torrent/private": "false", "torrent/createdAt": "1970-01-01T00:00:01Z",
    "torrent/files/0/path": "a.iso", "torrent/files/0/size": "1000",
  });
});

test("as many files are listed as the setting says", async () => {
  const files = Array.from({ length: 700 }, (_, at) => ({ length: 1, path: [`${at}`] }));
  const torrent = encode({ info: { name: "many", files, "piece length": 1024, pieces: PIECES } });
  const listed = async (settings: object): Promise<number> => {
    const result = await run(torrent, settings);
    assert.ok(result.status === "completed", JSON.stringify(result));
    assert.equal(result.meta["torrent/fileCount"], "700");
    return Object.keys(result.meta).filter((key) => key.endsWith("/path")).length;
  };
  assert.deepEqual([await listed({}), await listed({ maxFiles: 3 }), await listed({ maxFiles: 0 })], [500, 3, 0]);
  for (const maxFiles of [-1, 1.5, "many", 5001]) await assert.rejects(run("", { maxFiles }), /maxFiles must be/);
});

test("what is no torrent fails for good and says why", async () => {
  for (const [content, error] of [
    ["not a torrent", /^it is no torrent: neither a number.*at byte 0$/],
    ["", /^it is no torrent: .*at the end$/],
    [single().subarray(0, 50), /^it is no torrent: a text of [0-9]+ bytes where [0-9]+ are left, at byte/],
    ["d4:info999999999999:x", /where 1 are left/],
  ] as const) {
    const result = await run(content);
    assert.ok(result.status === "failed" && result.permanent, JSON.stringify(result));
    assert.match(result.error, error);
  }
});

test("a file that is too large is not read", async () => {
  const path = join(folder, "large.torrent");
  writeFileSync(path, "");
  truncateSync(path, (32 << 20) + 1);
  const result = await runOnFile(plugin, path);
  assert.ok(result.status === "failed" && result.permanent && /more than 33554432 are not read/.test(result.error), JSON.stringify(result));
});
