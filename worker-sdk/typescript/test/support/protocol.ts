// The tables of PROTOCOL.md that are marked for tests.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

const TEXT = readFileSync(new URL("../../../../../broker-config/PROTOCOL.md", import.meta.url), "utf8");

/** The rows of the table behind `<!-- mark -->`, without its head, backticks taken off. */
export function table(mark: string): string[][] {
  const at = TEXT.indexOf(`<!-- ${mark} -->`);
  assert.ok(at >= 0, `PROTOCOL.md has a table ${mark}`);
  const lines = TEXT.slice(at).split("\n").slice(1);
  const end = lines.findIndex((line) => !line.startsWith("|"));
  const rows = lines.slice(2, end).map((line) => line.split(" | ").map((cell) => cell.replaceAll(/^\| ?| ?\|$/g, "").replaceAll("`", "")));
  assert.ok(rows.length > 0, `the table ${mark} has rows`);
  return rows;
}

/** Every JSON example of one kind of message. */
export function examples(kind: string): string[] {
  const found = [...TEXT.matchAll(/<!-- example: ([a-z-]+) -->\n```json\n([^]*?)```/g)].filter(([, name]) => name === kind);
  assert.ok(found.length > 0, `PROTOCOL.md has an example of ${kind}`);
  return found.map(([, , text]) => text ?? "");
}
