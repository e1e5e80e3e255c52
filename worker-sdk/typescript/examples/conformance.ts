// Does what each file says, for the conformance kit: `node conformance.js MANIFEST`.
//
// Each line of a file is for one call, the last one for all further calls.
import { createHash } from "node:crypto";
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import {
  completed, forwardFile, loadManifest, PermanentError, retryLater, RetryableError, run, skipped,
  type Context, type JsonValue, type Outcome,
} from "@metafleet/worker";

const [, , manifestFile] = process.argv;
if (manifestFile === undefined) {
  process.stderr.write("usage: conformance MANIFEST\n");
  process.exit(2);
}

await run({
  // What a file tells it to do may block, and must not keep the others; `EXECUTOR=loop` is for tests of just that.
  ...(process.env["EXECUTOR"] === "loop" ? {} : { executor: "threads" }),
  manifest: loadManifest(manifestFile),
  configure(settings) {
    if (settings["mode"] === "bad") throw new Error("mode bad is not served");
  },
  async process(ctx) {
    const line = await nextLine(ctx);
    const space = line.indexOf(" ");
    const [word, rest] = space < 0 ? [line, ""] : [line.slice(0, space), line.slice(space + 1)];
    return await act(ctx, word, rest);
  },
});

/** Notes the call, and returns the line that is for it. */
async function nextLine(ctx: Context): Promise<string> {
  const file = await ctx.open();
  const lines = (await file.read(0, file.size)).toString("utf8").split("\n").filter((line) => line.trim() !== "");
  let before = 0;
  if (file.isLocal) {
    const calls = Buffer.concat([ctx.pathBytes, Buffer.from(".calls")]);
    if (existsSync(calls)) before = readFileSync(calls, "utf8").split("\n").length - 1;
    appendFileSync(calls, `${ctx.instance} ${ctx.attempt} ${Date.now()}\n`);
  }
  return lines[Math.min(before, lines.length - 1)] ?? "complete";
}

async function act(ctx: Context, word: string, rest: string): Promise<Outcome> {
  switch (word) {
    case "complete":
      return done(ctx, rest === "" ? {} : (JSON.parse(rest) as Record<string, JsonValue>));
    case "skip":
      return skipped(rest);
    case "retry":
      throw new RetryableError(rest);
    case "fail":
      throw new PermanentError(rest);
    case "later":
      return retryLater(Number(rest), "told to wait");
    case "wait":
      ctx.progress(0.5, "waiting");
      while (!existsSync(rest)) await sleep(10, undefined, { signal: ctx.signal });
      return done(ctx);
    case "block":
      while (!existsSync(rest)) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
      return done(ctx);
    case "crash":
      throw new TypeError(rest);
    case "exit":
      return process.exit(Number(rest));
    case "error":
      throw new PermanentError("é".repeat(Math.floor(Number(rest) / 2)));
    case "large":
      return done(ctx, { "script/text/0/large": "x".repeat(Number(rest)) });
    case "forward":
      return forwardFile(rest);
    case "submit":
      await ctx.submit(rest);
      return done(ctx);
    case "read":
      return done(ctx, await digest(ctx));
    default:
      throw new PermanentError(`no such word: ${word}`);
  }
}

function done(ctx: Context, more: Record<string, JsonValue> = {}): Outcome {
  const { cid } = ctx.task;
  return completed({ "script/attempt": ctx.attempt, "script/cid": cid, "script/existing": { ...ctx.existing }, ...more });
}

async function digest(ctx: Context): Promise<Record<string, JsonValue>> {
  const file = await ctx.open();
  const hash = createHash("sha256");
  for await (const piece of file.stream() as AsyncIterable<Buffer>) hash.update(piece);
  return { "script/text/0/sha256": hash.digest("hex"), "script/text/0/size": file.size };
}
