// A plugin that keeps artefacts: those that the file wants, as `[{"name", "type", "size", "of"}, …]`. With `{"stray": PATH}` it
// leaves something running that tries to keep one when there is a file at PATH, and writes what comes of it there; with
// `{"wait": PATH}` it ends when there is one.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import { completed, loadManifest, run, type Artifact, type Context } from "@metafleet/worker";

interface Wanted {
  readonly name: string;
  readonly size: number;
  readonly type?: string;
  readonly of?: string;
}

const [, , manifest = ""] = process.argv;

await run({
  ...(process.env["EXECUTOR"] === "loop" ? {} : { executor: "threads" }),
  manifest: loadManifest(manifest),
  async process(ctx) {
    const wanted = JSON.parse(readFileSync(ctx.path, "utf8")) as Wanted[] | { stray?: string; wait?: string };
    if (!Array.isArray(wanted)) {
      const { stray, wait } = wanted;
      if (stray !== undefined) void keepLate(ctx, stray);
      while (wait !== undefined && !existsSync(wait)) await sleep(10);
      return completed();
    }
    const kept: Artifact[] = [];
    try {
      for (const { name, size, type = "image/jpeg", of = "x" } of wanted) kept.push(await ctx.putArtifact(name, type, Buffer.alloc(size, of)));
    } catch (error) {
      ctx.log.info("not kept", { error: String(error) });
      throw error;
    }
    return completed({ kept });
  },
});

async function keepLate(ctx: Context, path: string): Promise<void> {
  while (!existsSync(path)) await sleep(10);
  const said = await ctx.putArtifact("stray", "text/plain", Buffer.from("late")).then(() => "stored", String);
  writeFileSync(path, said);
}
