/** Files that a plugin hands in: those it made, and those it passes on; see section 16 of PROTOCOL.md. */
import { open } from "node:fs/promises";
import { resolve } from "node:path";

import { cidOfFile } from "./midhash.js";
import { HEAD_BYTES, mimeOf } from "./mime.js";
import { PermanentError, RetryableError, type PathInput } from "./outcome.js";
import { onTheWire, pathBytes, readable, unmapPath, type PathMap } from "./paths.js";
import type { FileFacts, Submission, Task } from "./wire.js";

/** How many plugins may make files from files on the way to one. */
const MAX_DEPTH = 8;

/** PURE. Hands the file of `task` to another plugin. */
export function forwardTo(plugin: string, task: Task, cid: string, origin: string): Submission {
  const { filePath, filePathBytes, file } = task;
  return {
    type: "metafleet.submission.v1",
    cid,
    filePath,
    ...(filePathBytes ? { filePathBytes } : {}),
    ...(file === undefined ? {} : { file }),
    only: [plugin],
    ...lineage(task, origin),
  };
}

/** Looks at the file that this worker has at `file`, and makes the message that hands it in. */
export async function submissionOf(file: PathInput, task: Task, origin: string, map: PathMap): Promise<Submission> {
  const from = lineage(task, origin);
  const path = absolute(file);
  const { cid, facts } = await lookAt(path);
  return { type: "metafleet.submission.v1", cid, ...onTheWire(unmapPath(map, path)), file: facts, ...from };
}

/** PURE. Where a file comes from; throws where that was too often. */
function lineage(task: Task, origin: string): Pick<Submission, "origin" | "depth" | "scanId"> {
  const depth = (task.depth ?? 0) + 1;
  if (depth > MAX_DEPTH) throw new PermanentError(`files were made from files ${depth} times on the way here`);
  return { origin, depth, ...(task.scanId ? { scanId: task.scanId } : {}) };
}

function absolute(file: PathInput): Buffer {
  const bytes = pathBytes(file);
  if (bytes[0] === 0x2f) return bytes;
  return typeof file === "string" ? Buffer.from(resolve(file)) : Buffer.concat([Buffer.from(`${process.cwd()}/`), bytes]);
}

/** What can be said of a file by looking at it, the same as a scan says. */
export async function lookAt(path: Buffer): Promise<{ cid: string; facts: FileFacts }> {
  try {
    const file = await open(path, "r");
    try {
      const found = await file.stat();
      if (!found.isFile()) throw new Error("it is not a regular file");
      const cid = await cidOfFile(file, found.size);
      const { buffer, bytesRead } = await file.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
      const name = readable(path.subarray(path.lastIndexOf(0x2f) + 1));
      const extension = extensionOf(name);
      const mime = mimeOf(extension, buffer.subarray(0, bytesRead));
      return { cid, facts: { size: found.size, mime, name, extension, modified: found.mtime.toISOString() } };
    } finally {
      await file.close();
    }
  } catch (error) {
    throw new RetryableError(`could not read ${readable(path)}`, { cause: error });
  }
}

/** PURE. What follows the last dot of a name, lower case; a name may begin with a dot and have none. */
export function extensionOf(name: string): string {
  const dot = name.lastIndexOf(".");
  return dot > 0 ? name.slice(dot + 1).toLowerCase() : "";
}
