// A plugin with every hook: notes what it is told, and does what the files in its folder say.
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { completed, run } from "@metafleet/worker";

const [, , folder = "."] = process.argv;
const note = (what: string): void => appendFileSync(join(folder, "notes"), `${what}\n`);

await run({
  manifest: {
    id: "conformance", name: "Moody", version: "1.0.0", priority: 50, queue: "fast", timeout: 3000, concurrency: 2,
    dataSchema: { "copy/path": {}, "copy/again": {} }, configSchema: { mode: { default: "good" } },
  },
  configure: async (settings) => {
    note(`configure ${String(settings["mode"])}`);
    if (settings["mode"] === "slow") await new Promise(() => {});
  },
  health: () => (existsSync(join(folder, "ill")) ? { healthy: false, why: readFileSync(join(folder, "ill"), "utf8") } : { healthy: true }),
  onPause: () => note("pause"),
  onResume: () => note("resume"),
  onStop: () => note("stop"),
  async process(ctx) {
    const copy = String(await ctx.localPath());
    const text = readFileSync(copy, "utf8");
    note(`copy ${copy}`);
    if (text === "hang") await new Promise(() => {});
    if (text === "stray") setTimeout(() => { throw new Error("nobody catches this"); }, 1);
    return completed({ "copy/path": copy });
  },
});
