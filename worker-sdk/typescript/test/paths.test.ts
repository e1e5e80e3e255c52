import assert from "node:assert/strict";
import { test } from "node:test";

import { fromTheWire, mapPath, onTheWire, parsePathMap, percentEncoded, sidecarPath, unmapPath, usable } from "../src/paths.js";

const bytes = (text: string): Buffer => Buffer.from(text);
const latin = Buffer.from("/library/caf\xe9", "latin1");

test("a path is looked for under the longest folder that holds it", () => {
  const map = parsePathMap("/library=/mnt/all:/library/films=/mnt/films/:/=/root-of-all");
  const table: Array<[string, string]> = [
    ["/library/films/a.mkv", "/mnt/films/a.mkv"],
    ["/library/films", "/mnt/films"],
    ["/library/filmsx/a", "/mnt/all/filmsx/a"],
    ["/library", "/mnt/all"],
    ["/libraryx", "/root-of-all/libraryx"],
    ["/other/a", "/root-of-all/other/a"],
  ];
  for (const [path, expected] of table) assert.equal(mapPath(map, bytes(path)).toString(), expected);
  assert.equal(mapPath(parsePathMap(""), bytes("/a")).toString(), "/a");
  assert.equal(mapPath(parsePathMap("//a/=/b=c//"), bytes("/a/d")).toString(), "/b=c/d");
  assert.equal(mapPath(parsePathMap("/a=/"), bytes("/a/b")).toString(), "/b");
  assert.equal(mapPath(parsePathMap("/a=/"), bytes("/a")).toString(), "/");
});

test("what a worker hands in is mapped back by the longest target", () => {
  const map = parsePathMap("/library=/mnt:/films=/mnt/films");
  assert.equal(unmapPath(map, bytes("/mnt/films/a")).toString(), "/films/a");
  assert.equal(unmapPath(map, bytes("/mnt/music/a")).toString(), "/library/music/a");
  assert.equal(unmapPath(map, bytes("/elsewhere")).toString(), "/elsewhere");
  assert.equal(unmapPath(parsePathMap("/first=/mnt:/second=/mnt"), bytes("/mnt/a")).toString(), "/first/a", "the first of equals");
});

test("paths are bytes, not text", () => {
  const map = parsePathMap("/library=/mnt");
  const mapped = mapPath(map, latin);
  assert.equal(mapped.toString("latin1"), "/mnt/caf\xe9");
  assert.ok(Buffer.isBuffer(usable(mapped)));
  assert.equal(usable(bytes("/mnt/café")), "/mnt/café");
  const message = onTheWire(latin);
  assert.equal(message.filePath, "/library/caf\ufffd");
  assert.deepEqual(fromTheWire(message), latin);
  assert.deepEqual(onTheWire(bytes("/a")), { filePath: "/a" });
});

test("pairs that are none are refused", () => {
  for (const text of ["/a", "/a=b", "a=/b", "=", "/a=/b:", "/a/../b=/c", "/a=/b/.", "/a=/b:/a/=/c"]) assert.throws(() => parsePathMap(text), /`.*` must /, text);
});

test("everything but a few characters is percent-encoded", () => {
  assert.equal(percentEncoded(Buffer.concat([latin, bytes("/a b~-_.%é")])), "/library/caf%E9/a%20b~-_.%25%C3%A9");
});

test("a sidecar lies beside its file or one folder above", () => {
  const path = bytes("/library/Show/Season 1/e.mkv");
  assert.equal(sidecarPath(path, "e.nfo")?.toString(), "/library/Show/Season 1/e.nfo");
  assert.equal(sidecarPath(path, "../tvshow.nfo")?.toString(), "/library/Show/tvshow.nfo");
  for (const name of ["", "..", "../..", "../../x", "a/b", "/etc/passwd", "../", "a\0b", "."]) assert.equal(sidecarPath(path, name), undefined, name);
});
