import assert from "node:assert/strict";
import { test } from "node:test";

import { decode, Dict, MAX_DEPTH, type Value } from "../src/bencode.js";
import { encode, type Plain } from "./make.js";

const read = (text: string): Value => decode(Buffer.from(text, "latin1"));

/** A value in the words of the tests. */
function plain(value: Value): unknown {
  if (value instanceof Dict) return Object.fromEntries([...value.members].map(([key, member]) => [key, plain(member)]));
  if (Buffer.isBuffer(value)) return value.toString("latin1");
  return Array.isArray(value) ? value.map(plain) : value;
}

test("values are read as they are written", () => {
  const table: Array<[string, unknown]> = [
    ["i0e", 0n], ["i-7e", -7n], ["i9223372036854775807e", 9223372036854775807n],
    ["0:", ""], ["3:a\xffb", "a\xffb"], ["le", []], ["li1eli2eee", [1n, [2n]]],
    ["de", {}], ["d1:ai1e0:1:xe", { a: 1n, "": "x" }], ["d1:bi1e1:ai2ee", { b: 1n, a: 2n }], ["i1e\n", 1n], ["i1e\r\n", 1n],
  ];
  for (const [text, expected] of table) assert.deepEqual(plain(read(text)), expected, text);
});

test("a dictionary knows the bytes that it was read from", () => {
  const top = read("d4:infod1:b1:xe3:two2:xxe");
  assert.ok(top instanceof Dict);
  assert.equal(top.dict("info")?.bytes.toString(), "d1:b1:xe");
  assert.equal(top.bytes.toString(), "d4:infod1:b1:xe3:two2:xxe");
  assert.deepEqual([top.string("info"), top.integer("two"), top.list("x"), top.dict("__proto__")], [undefined, undefined, undefined, undefined]);
});

test("what is not bencode is refused with the place", () => {
  const table: Array<[string, RegExp]> = [
    ["", /neither .* at the end/], ["x", /neither a number.*at byte 0/], ["i", /neither/], ["ie", /neither/], ["i1", /not the end of a number, at the end/],
    ["i01e", /begins with 0/], ["i-0e", /minus zero/], ["i--1e", /neither/], ["i1.5e", /not the end of a number/], [`i${"9".repeat(21)}e`, /more than 20 digits/],
    ["5:abc", /a text of 5 bytes where 3 are left/], ["99999999999999999999:a", /where 1 are left/], [`${"1".repeat(5000)}:a`, /more than 20 digits/],
    ["01:a", /begins with 0/], ["-1:a", /neither/], ["3abc", /not `:` after a length/], ["l", /neither/], ["li1e", /neither/],
    ["d", /neither/], ["d1:a", /neither/], ["di1ei2ee", /neither/], ["d1:ai1e1:ai2ee", /the key "a" is there twice/],
    ["i1ei2e", /something follows the end/], ["i1e\n\n\n", /something follows/],
  ];
  for (const [text, problem] of table) assert.throws(() => read(text), problem, text.slice(0, 40));
});

test("nesting and numbers of values are bounded", () => {
  const nested = (depth: number): string => "l".repeat(depth) + "e".repeat(depth);
  assert.ok(read(nested(MAX_DEPTH + 1)));
  assert.throws(() => read(nested(MAX_DEPTH + 2)), /nested more than 100 deep/);
  assert.throws(() => read("l".repeat(10_000_000)), /nested more than 100 deep/);
  assert.throws(() => read("d1:a".repeat(1_000_000)), /nested more than 100 deep/);
  assert.throws(() => read(`l${"i1e".repeat(600_000)}e`), /more than 500000 values/);
});

test("whatever the bytes are, it ends with a value or an error of its own", () => {
  let seed = 4711;
  const random = (below: number): number => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((seed / 2_147_483_648) * below);
  };
  const sample: Plain = { a: [1, "two", { b: -3 }], info: { name: "x", pieces: Buffer.alloc(40), files: [{ length: 1, path: ["p", "q"] }] } };
  const good = encode(sample);
  let errors = 0;
  for (let round = 0; round < 5000; round += 1) {
    const bytes = Buffer.from(good);
    for (let change = 0; change <= random(3); change += 1) bytes[random(bytes.length)] = random(4) === 0 ? random(256) : good[random(good.length)] ?? 0;
    try {
      decode(bytes.subarray(0, random(5) === 0 ? random(bytes.length) : bytes.length));
    } catch (error) {
      assert.equal((error as Error).name, "BencodeError", String(error));
      errors += 1;
    }
  }
  assert.ok(errors > 500);
});
