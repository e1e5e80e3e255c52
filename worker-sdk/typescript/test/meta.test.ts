import assert from "node:assert/strict";
import { test } from "node:test";

import { checkMeta, isKey, matchesPattern } from "../src/meta.js";
import type { JsonValue } from "../src/wire.js";

test("patterns match as the protocol says", () => {
  const table: Array<[string, string, boolean]> = [
    ["genres", "genres", true],
    ["genres", "genres/0", false],
    ["a/{n}/b", "a/12/b", true],
    ["a/{n}/b", "a/x/b", false],
    ["a/{n}/*", "a/0/c/d", true],
    ["a/{n}/*", "a/0", false],
    ["a/*/c", "a/b/c", true],
    ["a/*/c", "a/b/d", false],
    ["a/*/c", "a/b/c/d", false],
    ["*", "anything/at/all", true],
  ];
  for (const [pattern, key, expected] of table) assert.equal(matchesPattern(pattern, key), expected, `${pattern} ${key}`);
});

test("keys have no empty segments, no control characters and 512 bytes at most", () => {
  for (const key of ["a", "a/b", "日本/語", "x".repeat(512)]) assert.equal(isKey(key), true, key);
  for (const key of ["", "/a", "a/", "a//b", "a\nb", "a\u0085b", "x".repeat(513), "é".repeat(257)]) assert.equal(isKey(key), false, key);
});

test("values come in the form of the wire", () => {
  const schema = { t: {}, s: { type: "set" }, j: { type: "json" }, "f/{n}/*": { type: "string" }, named: { pattern: "p/*" } } as const;
  const inputs = {
    t: 7, s: new Set(["b", "a"]), j: { deep: [1] }, "f/0/x": true, "p/q": 10n, named: "",
  };
  assert.deepEqual(checkMeta(schema, "x", inputs), {
    ok: true, meta: { t: "7", s: ["a", "b"], j: { deep: [1] }, "f/0/x": "true", "p/q": "10", named: "" },
  });
  assert.deepEqual(checkMeta(schema, "x", { s: [], t: undefined, j: 5 }), { ok: true, meta: { j: 5 } });
  assert.deepEqual(checkMeta(schema, "x", { j: [] }), { ok: true, meta: { j: [] } });
});

test("everything that is wrong is named", () => {
  const schema = { t: {}, s: { type: "set" } } as const;
  const checked = checkMeta(schema, "x", { t: ["a"], s: "a", "f/x": 1, "": 1, toString: "x", constructor: "y" });
  assert.deepEqual(checked.ok ? [] : checked.problems.map((problem) => problem.slice(0, 34)), [
    "key `t` must be a string",
    "key `s` must be a set",
    "key `f/x` is not in the dataSchema",
    "metadata key `` must be `/`-separa",
    "key `toString` is not in the dataS",
    "key `constructor` is not in the da",
  ]);
  assert.equal(checkMeta(schema, "x", { t: null }).ok, false);
  assert.equal(checkMeta(schema, "x", { s: [1] as unknown as string[] }).ok, false);
});

test("what nests too deep to be read again is named", () => {
  const schema = { j: { type: "json" } } as const;
  const nested = (depth: number, around: (inner: JsonValue) => JsonValue) => {
    let value: JsonValue = 1;
    for (let at = 0; at < depth; at++) value = around(value);
    return checkMeta(schema, "x", { j: value });
  };
  const holdsItself: JsonValue[] = [];
  holdsItself.push(holdsItself);
  for (const around of [(inner: JsonValue) => [inner], (inner: JsonValue) => ({ a: inner })]) {
    assert.equal(nested(64, around).ok, true);
    assert.deepEqual(nested(65, around), { ok: false, problems: ["key `j` nests deeper than 64"] });
  }
  assert.equal(checkMeta(schema, "x", { j: holdsItself }).ok, false);
  assert.equal(checkMeta(schema, "x", { j: "[".repeat(100) }).ok, true);
});
