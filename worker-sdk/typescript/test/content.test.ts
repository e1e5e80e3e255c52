import assert from "node:assert/strict";
import { test } from "node:test";

import { cidOf, sampleOf } from "../src/midhash.js";
import { mimeOf } from "../src/mime.js";
import { extensionOf } from "../src/submission.js";
import { table } from "./support/protocol.js";

test("content ids are those of the protocol's table", () => {
  const contents: Record<string, (bytes: number) => Buffer> = {
    nothing: () => Buffer.alloc(0),
    hello: () => Buffer.from("hello"),
    zeros: (bytes) => Buffer.alloc(bytes),
    "byte *i* = *i* mod 251": (bytes) => Buffer.from(Uint8Array.from({ length: bytes }, (_, at) => at % 251)),
  };
  for (const [what = "", bytes = "", cid] of table("midhash")) {
    const content = contents[what]?.(Number(bytes));
    assert.ok(content !== undefined && content.length === Number(bytes), what);
    const { offset, length } = sampleOf(content.length);
    assert.equal(cidOf(content.length, content.subarray(offset, offset + length)), cid);
  }
});

test("content decides, and the name helps where it is silent", () => {
  const ebml = (type: string): Buffer => Buffer.concat([Buffer.from("1a45dfa3a3428681014282", "hex"), Buffer.from([0x80 + type.length]), Buffer.from(type)]);
  const transport = (packet: number, from: number): Buffer => {
    const head = Buffer.alloc(packet * 5, 0xff);
    for (let n = 0; n < 5; n += 1) head[from + n * packet] = 0x47;
    return head;
  };
  const binary = Buffer.from([0, 1, 2, 3, 4, 5, 6, 7]);
  const rows: Array<[string, Buffer | string, string]> = [
    ["mkv", "", "inode/x-empty"],
    ["mkv", ebml("matroska"), "video/x-matroska"],
    ["mkv", ebml("webm"), "video/webm"],
    ["ts", transport(188, 0), "video/mp2t"],
    ["m2ts", transport(192, 4), "video/mp2t"],
    ["ts", "export const a = 1;\n", "text/plain"],
    ["txt", Buffer.from("89504e470d0a1a0a30", "hex"), "image/png"],
    ["mp3", Buffer.from("664c614300000022", "hex"), "audio/flac"],
    ["ogg", Buffer.from("OggS\0\0\0\0\x01vorbis", "latin1"), "audio/ogg"],
    ["ogg", Buffer.from("OggS\0\0\0\0\x80theora", "latin1"), "video/ogg"],
    ["srt", "1\r\n00:00:01,000 --> 00:00:02,000\r\nHi\r\n", "application/x-subrip"],
    ["txt", "\ufeff1\n00:00:01,000 --> 00:00:02,000\n", "application/x-subrip"],
    ["srt", Buffer.from("fffe31000a00", "hex"), "application/x-subrip"],
    ["vtt", "WEBVTT\n\n", "text/vtt"],
    ["ass", "[Script Info]\n", "text/x-ssa"],
    ["smi", "<SAMI>\n", "application/x-sami"],
    ["sub", "{0}{25}Hello\n", "text/x-microdvd"],
    ["nfo", '<?xml version="1.0"?><movie/>', "text/xml"],
    ["nfo", "Some release notes", "text/x-nfo"],
    ["svg", '<?xml version="1.0"?><svg/>', "image/svg+xml"],
    ["json", '{"a": 1}', "application/json"],
    ["bak", Buffer.from("1\nna\xefve caf\xe9 text here\n", "latin1"), "text/plain"],
    ["mp4", "this is not a film", "text/plain"],
    ["txt", binary, "application/octet-stream"],
    ["", binary, "application/octet-stream"],
    ["avi", binary, "video/x-msvideo"],
    ["txt", `a${"é".repeat(4096)}`, "text/plain"],
  ];
  for (const [extension, head, expected] of rows) {
    assert.equal(mimeOf(extension, Buffer.from(head as Buffer).subarray(0, 8192)), expected, `${extension} ${String(head).slice(0, 20)}`);
  }
});

test("the extension is what follows the last dot", () => {
  const rows: Array<[string, string]> = [["a.TXT", "txt"], ["a.tar.gz", "gz"], [".hidden", ""], ["none", ""], ["a.", ""]];
  for (const [name, extension] of rows) assert.equal(extensionOf(name), extension, name);
});
