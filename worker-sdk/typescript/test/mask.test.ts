import assert from "node:assert/strict";
import { test } from "node:test";

import { Mask } from "../src/mask.js";

test("a secret is masked however it is written", () => {
  const mask = new Mask(['p@ss/wörd "+1\n']);
  const table: Array<[string, string, string]> = [
    ["as it is", 'key=p@ss/wörd "+1\n!', "key=***!"],
    ["percent", "?key=p%40ss%2Fw%C3%B6rd%20%22%2B1%0A&x=1", "?key=***&x=1"],
    ["percent, lower, slash kept", "?key=p%40ss/w%c3%b6rd%20%22%2b1%0a", "?key=***"],
    ["form", "key=p%40ss%2Fw%C3%B6rd+%22%2B1%0A", "key=***"],
    ["JSON", String.raw`{"key":"p@ss/wörd \"+1\n"}`, '{"key":"***"}'],
    ["JSON in ASCII", String.raw`{"key":"p@ss\/w\u00f6rd \"+1\n"}`, '{"key":"***"}'],
    ["JSON in JSON", String.raw`"{\"key\":\"p@ss/wörd \\\"+1\\n\"}"`, String.raw`"{\"key\":\"***\"}"`],
    ["hexadecimal", "7040 704073732f77c3b6726420222b310a", "7040 ***"],
    ["HEXADECIMAL", "704073732F77C3B6726420222B310A.", "***."],
    ["base64", "cEBzcy93w7ZyZCAiKzEK", "***"],
    ["base64 after one", "YXBAc3Mvd8O2cmQgIisxCg", "YX***g"],
    ["nothing", String.raw`p@ss/word and w%C3%B6rd, \u00f6 \x`, String.raw`p@ss/word and w%C3%B6rd, \u00f6 \x`],
  ];
  for (const [name, text, expected] of table) assert.equal(mask.text(text), expected, name);
  assert.equal(new Mask(["key😀🔑"]).text(String.raw`=key\ud83d\ude00\ud83d\udd11;`), "=***;");
});

test("the secrets are all settings that the manifest does not say are none", () => {
  const schema = { key: { secret: true }, parts: { secret: true }, pin: { secret: true }, site: {} };
  const settings = { key: "hush-more", parts: '{"a": ["inner-1"]}', pin: 123_456, site: "example", unknown: "who?" };
  const mask = Mask.of(schema, settings);
  assert.equal(mask.text("example hush-more inner-1 123456 who? x"), "example *** *** *** *** x");
  assert.equal(new Mask(["abc"]).text("abc"), "abc", "too short to be told from other words");
});
