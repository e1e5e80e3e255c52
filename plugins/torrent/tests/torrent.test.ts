import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";

import { magnetLink, readTorrent } from "../src/torrent.js";
import { encode, PIECES, single, type Plain } from "./make.js";

const root = Buffer.alloc(32, 9);
/** A file in a tree of version 2. */
const leaf = (length: number): Plain => ({ "": { length, "pieces root": root } });
test("a torrent of one file", () => {
  const bytes = encode({
    announce: "udp://one.example:80", "announce-list": [["udp://one.example:80", "http://two.example/a"], ["http://three.example"]], comment: "A – B",
    "created by": "maker 1.0", "creation date": 1_700_000_000, "url-list": "http://seed.example/a.iso",
    info: { name: "a b.iso", length: 20_000, "piece length": 16_384, pieces: Buffer.alloc(40), private: 1, source: "X" },
  });
  const found = readTorrent(bytes);
  const from = bytes.indexOf("4:info") + 6;
  const length = encode({ name: "a b.iso", length: 20_000, "piece length": 16_384, pieces: Buffer.alloc(40), private: 1, source: "X" }).length;
  const infoHash = createHash("sha1").update(bytes.subarray(from, from + length)).digest("hex");
  assert.deepEqual(found, {
    version: "1", name: "a b.iso", infoHash, files: [{ path: "a b.iso", size: 20_000n }], size: 20_000n, pieceLength: 16_384n,
    trackers: ["udp://one.example:80", "http://two.example/a", "http://three.example"], webSeeds: ["http://seed.example/a.iso"], isPrivate: true,
    source: "X", comment: "A – B", createdBy: "maker 1.0", createdAt: "2023-11-14T22:13:20Z",
  });
  assert.equal(
    magnetLink(found),
    `magnet:?xt=urn:btih:${infoHash}&dn=a%20b.iso&xl=20000&tr=udp%3A%2F%2Fone.example%3A80&tr=http%3A%2F%2Ftwo.example%2Fa&tr=http%3A%2F%2Fthree.example`,
  );
});

test("a known torrent has its known hash", () => {
  // As `sha1sum` says of the bytes of the info dictionary.
  const bytes = Buffer.from("d4:infod6:lengthi5e4:name5:hello12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee");
  assert.equal(readTorrent(bytes).infoHash, "961d86b2d565bb5cfd7d6481f22e4d3ff541c806");
});

test("files in folders, without those that only pad", () => {
  const files = [
    { length: 10_000, path: ["one", "a.mkv"] }, { length: 6384, path: [".pad", "6384"], attr: "p" }, { length: 16_384, path: ["b.srt"], attr: "x" },
  ];
  const found = readTorrent(encode({ info: { name: "set", files, "piece length": 16_384, pieces: Buffer.alloc(40) } }));
  assert.deepEqual(found.files, [{ path: "one/a.mkv", size: 10_000n }, { path: "b.srt", size: 16_384n }]);
  assert.equal(found.size, 26_384n);
  assert.equal(found.problem, undefined, "padding counts for pieces");
});

test("version 2, and both at once", () => {
  const tree = { "a.mkv": leaf(5), folder: { "b.mkv": leaf(7), deeper: { "c.txt": leaf(0) } } };
  const second = readTorrent(encode({ info: { name: "two", "meta version": 2, "file tree": tree, "piece length": 16_384 } }));
  assert.equal(second.version, "2");
  assert.equal(second.infoHash, undefined);
  assert.match(second.infoHashV2 ?? "", /^[0-9a-f]{64}$/);
  assert.deepEqual(second.files.map(({ path, size }) => `${path} ${size}`), ["a.mkv 5", "folder/b.mkv 7", "folder/deeper/c.txt 0"]);
  assert.match(magnetLink(second), /^magnet:\?xt=urn:btmh:1220[0-9a-f]{64}&dn=two&xl=12$/);
  const both = readTorrent(single({ "meta version": 2, "file tree": { "a.iso": leaf(1000) } }));
  assert.equal(both.version, "hybrid");
  assert.match(magnetLink(both), /^magnet:\?xt=urn:btih:[0-9a-f]{40}&xt=urn:btmh:1220[0-9a-f]{64}&/);
});

test("texts are UTF-8, the code page that is named, or Latin 1", () => {
  const name = (more: { [key: string]: Plain }, top: { [key: string]: Plain } = {}): string => readTorrent(single(more, top)).name;
  assert.equal(name({ name: "日本 😀" }), "日本 😀");
  assert.equal(name({ name: Buffer.from("caf\xe9", "latin1") }), "café");
  assert.equal(name({ name: Buffer.from([0xc4, 0xe3, 0xba, 0xc3]) }, { encoding: "GBK" }), "你好");
  assert.equal(name({ name: Buffer.from("caf\xe9", "latin1") }, { encoding: "no-such-page" }), "café");
  assert.equal(name({ name: "old", "name.utf-8": "new" }), "new");
  assert.equal(name({ name: "a\u0007b" }), "a b");
  for (const char of ["x", "日", "😀"]) {
    const comment = readTorrent(single({}, { comment: char.repeat(100_000) })).comment ?? "";
    assert.equal(comment, `${char.repeat(4096)}…`);
  }
});

test("what does not fit together is said", () => {
  assert.equal(readTorrent(single({ length: 40_000 })).problem, "there are hashes of 1 pieces where 3 are needed");
  assert.equal(readTorrent(single({ "piece length": 0 })).problem, "the length of a piece makes no sense");
  assert.equal(readTorrent(single({ pieces: PIECES.subarray(1) })).problem, "there are hashes of 0 pieces where 1 are needed");
});

test("what means harm, or is no torrent, is refused", () => {
  const files = (path: Plain, length: Plain = 1): Plain => ({ files: [{ length, path }], name: "x", "piece length": 1, pieces: PIECES });
  const table: Array<[Plain | Buffer, RegExp]> = [
    [[], /it is no dictionary/], [{}, /no info dictionary/], [{ info: "x" }, /no info dictionary/], [{ info: {} }, /neither `pieces` nor/],
    [{ info: { pieces: PIECES } }, /neither `files` nor/], [{ info: files(["..", "etc"]) }, /a path has the part "\.\."/],
    [{ info: files(["/etc/passwd"]) }, /a path has the part/], [{ info: files(["a\\b"]) }, /a path has the part/], [{ info: files([""]) }, /a path has the part ""/],
    [{ info: files(["a\0b"]) }, /a path has the part/], [{ info: files([]) }, /a file has no path/], [{ info: files("a") }, /a file has no path/], [{ info: files([1]) }, /no text/],
    [{ info: files(["a"], -1) }, /no length that makes sense/], [{ info: files(["a"], 2n ** 63n) }, /no length that makes sense/], [{ info: files(["a"], "1") }, /no length/],
    [{ info: { ...(files(["a"]) as object), files: ["x"] } }, /no dictionary/],
    [{ info: { "meta version": 2, "file tree": { "..": leaf(1) } } }, /a path has the part "\.\."/],
    [{ info: { "meta version": 2, "file tree": { a: "x" } } }, /entry of the file tree/],
  ];
  for (const [value, problem] of table) assert.throws(() => readTorrent(encode(value as Plain)), problem);
  const good = single();
  for (let length = 0; length < good.length; length += 1) assert.throws(() => readTorrent(good.subarray(0, length)), `cut off at ${length}`);
});

test("a tree of many folders within folders ends", () => {
  let tree: Plain = leaf(1);
  for (let depth = 0; depth < 200; depth += 1) tree = { d: tree };
  assert.throws(() => readTorrent(encode({ info: { "meta version": 2, "file tree": tree } })), /nested more than 100 deep/);
  const trackers = Array.from({ length: 10_000 }, (_, at) => [`http://t${at}.example`]);
  assert.equal(readTorrent(single({}, { "announce-list": trackers })).trackers.length, 200);
});
