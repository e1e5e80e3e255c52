/** PURE. A task as it came, and what stands for one that cannot be read; see section 9 of PROTOCOL.md. */
import { createHash } from "node:crypto";

import type { TaskAddress } from "./names.js";
import type { Manifest, Task } from "./wire.js";

/** What the manifest of every plugin must have; the coordinator checks the rest. */
export interface PluginManifest extends Manifest {
  id: string;
  name: string;
  version: string;
  priority: number;
  queue: string;
  dataSchema: NonNullable<Manifest["dataSchema"]>;
}

/** Time for one attempt where neither the task nor the manifest says one. */
const DEFAULT_TIMEOUT_MS = 30_000;

/** Whose task it is, and about which file: what its subject says, whatever the body says. */
export type Identity = Pick<TaskAddress, "plugin" | "cid">;

/** Reads a task, with the identity that its subject says; throws where it is none. Fields that nobody knows stay in it. */
export function readTask(body: string, { plugin, cid }: Identity): Task {
  const task = JSON.parse(body) as Partial<Task> | null;
  if (typeof task !== "object" || task === null) throw new Error("it is no object");
  if (task.type !== "metafleet.task.v1") throw new Error(`its type is ${JSON.stringify(task.type)}, not metafleet.task.v1`);
  for (const field of ["taskId", "filePath", "fingerprint"] as const) {
    if (typeof task[field] !== "string") throw new Error(`${field} must be text`);
  }
  if (typeof task.deadlineMs !== "number") throw new Error("deadlineMs must be a number");
  const retry = task.retry;
  if (typeof retry !== "object" || retry === null || !(retry.maxAttempts >= 1) || !Array.isArray(retry.delaysMs)) {
    throw new Error("retry must have maxAttempts and delaysMs");
  }
  return Object.assign(task as Task, { pluginId: plugin, cid });
}

/** Stands for a task that cannot be read, so that its failure can be told. */
export function unreadableTask({ plugin, cid }: Identity, manifest: PluginManifest): Task {
  const hex = createHash("sha256").update(`${plugin} ${cid}`).digest("hex");
  const taskId = `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-9${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
  return {
    type: "metafleet.task.v1",
    taskId,
    runId: 0,
    pluginId: plugin,
    cid,
    filePath: "",
    fingerprint: "",
    deadlineMs: timeLimit(manifest, 0),
    retry: { maxAttempts: 1, delaysMs: [] },
  };
}

/** The time that one attempt may take: what the task says, or else the manifest. */
export const timeLimit = (manifest: Manifest, deadlineMs: number): number =>
  deadlineMs > 0 ? deadlineMs : (manifest.timeout ?? DEFAULT_TIMEOUT_MS);

/** How long an attempt may go on without a report of progress, where that is limited. */
export const progressLimit = (manifest: Manifest, task: Task): number | undefined =>
  task.progressTimeoutMs ?? manifest.progressTimeout ?? undefined;
