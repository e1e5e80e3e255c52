import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

import { VERSION } from "@metafleet/worker";

import { Fleet, Process } from "./support/fleet.js";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const text = (path: string): string => readFileSync(join(ROOT, path), "utf8");

test("the types are those of the schemas", async () => {
  const { generate } = (await import(pathToFileURL(join(ROOT, "scripts/generate-types.mjs")).href)) as { generate(): string };
  assert.equal(text("src/wire.ts"), generate(), "run `npm run generate`");
});

test("the package says what it is, and names no registry", () => {
  const manifest = JSON.parse(text("package.json")) as { version: string; license: string; engines: { node: string } };
  assert.equal(manifest.version, VERSION);
  assert.equal(manifest.license, "Apache-2.0");
  assert.equal(manifest.engines.node, ">=20");
  assert.doesNotMatch(text("package-lock.json"), /"resolved"|https?:\/\/[^"]*registry/);
});

test("what is packed is the library, with its types, and nothing else", () => {
  const output = execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], { cwd: ROOT, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  const [packed] = JSON.parse(output) as [{ files: Array<{ path: string }> }];
  const files = packed.files.map(({ path }) => path);
  for (const file of ["README.md", "LICENSE", "package.json", "dist/src/index.js", "dist/src/index.d.ts", "dist/src/testing.js", "dist/src/thread.js"]) {
    assert.ok(files.includes(file), file);
  }
  assert.deepEqual(files.filter((file) => !file.startsWith("dist/src/") && !["README.md", "LICENSE", "package.json"].includes(file)), []);
});

test("sources are short", () => {
  for (const folder of ["src", "test", "test/support", "examples", "scripts"]) {
    for (const file of readdirSync(join(ROOT, folder)).filter((name) => /\.m?ts$|\.mjs$/.test(name) && name !== "wire.ts")) {
      const lines = text(join(folder, file)).split("\n").length - 1;
      assert.ok(lines <= 300, `${folder}/${file} has ${lines} lines`);
    }
  }
});

test("the plugin of the README counts lines in a fleet", async () => {
  const fleet = await Fleet.start();
  try {
    const code = /```ts\n([^]*?)```/.exec(text("README.md"))?.[1] ?? "";
    assert.ok(code.split("\n").length <= 23, "it is short");
    const folder = join(fleet.folder, "plugin");
    mkdirSync(join(folder, "node_modules/@metafleet"), { recursive: true });
    symlinkSync(ROOT, join(folder, "node_modules/@metafleet/worker"));
    // It is JavaScript, too.
    writeFileSync(join(folder, "main.mjs"), code);
    const plugin = Process.start(process.execPath, [join(folder, "main.mjs")], join(folder, "log"), { NATS_URL: fleet.url, METAFLEET_INSTANCE: "lines-1" });
    await fleet.life("lines-1", ({ state }) => state === "ready", "lines");
    writeFileSync(join(folder, "three.txt"), "a\nb\nc\n");
    writeFileSync(join(folder, "empty.txt"), "");
    const three = await fleet.record(await fleet.submit(join(folder, "three.txt")), "lines");
    assert.deepEqual(three.meta, { "text/lines": "3" });
    const empty = await fleet.record(await fleet.submit(join(folder, "empty.txt")), "lines");
    assert.equal(empty.reason, "the file is empty");
    plugin.signal("SIGTERM");
    assert.equal(await plugin.exit, 0);
  } finally {
    await fleet.stop();
  }
});
