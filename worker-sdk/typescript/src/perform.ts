/** Runs a handler once: survives its errors, checks what it wrote. */
import type { TaskContext } from "./context.js";
import { checkMeta } from "./meta.js";
import { failed, PermanentError, type Ended, type MetaInputs, type Outcome, type PathInput } from "./outcome.js";
import { pathBytes, readable, type PathMap } from "./paths.js";
import type { Plugin } from "./plugin.js";
import { forwardTo, submissionOf } from "./submission.js";
import { explain, short } from "./text.js";

/** Never throws: an error of the handler is how the attempt ended. */
export async function perform(plugin: Plugin, ctx: TaskContext, paths: PathMap): Promise<Ended> {
  try {
    return await conclude(plugin, ctx, paths, await plugin.process(ctx));
  } catch (error) {
    return failed(short(explain(error)), error instanceof PermanentError);
  } finally {
    // What cannot be closed or removed is no reason to fail a task that is done.
    await ctx.close()?.catch(() => {});
  }
}

async function conclude(plugin: Plugin, ctx: TaskContext, paths: PathMap, outcome: Outcome | void): Promise<Ended> {
  const said = outcome ?? { outcome: "completed", meta: {} };
  switch (said.outcome) {
    case "completed":
      return { is: "completed", meta: metaText(plugin, said.meta) };
    case "skipped":
      return { is: "skipped", reason: short(String(said.reason)) };
    case "retryLater":
      if (!Number.isFinite(said.afterMs)) throw new PermanentError("retryLater needs a number of milliseconds");
      return { is: "later", afterMs: Math.max(1, said.afterMs), reason: short(String(said.reason)) };
    case "forward": {
      const meta = metaText(plugin, said.meta ?? {});
      const { id } = plugin.manifest;
      if ("plugin" in said) {
        const submission = JSON.stringify(forwardTo(said.plugin, ctx.task, ctx.posted.cid, id));
        return { is: "forward", submission, reason: `forwarded to ${said.plugin}`, meta };
      }
      const submission = JSON.stringify(await submissionOf(said.file, ctx.task, id, paths));
      return { is: "forward", submission, reason: short(`forwarded to ${shownPath(said.file)}`), meta };
    }
    default:
      throw new PermanentError("`process` returned something that is no outcome; use completed(…), skipped(…) and the like");
  }
}

function metaText(plugin: Plugin, meta: MetaInputs): string {
  const checked = checkMeta(plugin.manifest.dataSchema, plugin.manifest.id, meta);
  if (!checked.ok) throw new PermanentError(checked.problems.join("; "));
  return JSON.stringify(checked.meta);
}

const shownPath = (path: PathInput): string => readable(pathBytes(path));
