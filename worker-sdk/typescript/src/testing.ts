/** Runs a plugin on a file without a broker: the same deadline, errors and dataSchema check as in a fleet. */
import { randomUUID } from "node:crypto";

import type { Artifact } from "./artifact.js";
import type { Posted, Settings } from "./bridge.js";
import { now, within } from "./clock.js";
import { TaskContext, type Port } from "./context.js";
import { Files } from "./files.js";
import { logger, type Logger } from "./log.js";
import type { PathInput } from "./outcome.js";
import { onTheWire, pathBytes } from "./paths.js";
import { perform } from "./perform.js";
import { manifestProblem, type Plugin } from "./plugin.js";
import { lookAt, submissionOf } from "./submission.js";
import { progressLimit, timeLimit } from "./task.js";
import type { JsonValue, Submission, Task } from "./wire.js";

/** What the run is to be like; all of it has a sensible default. */
export interface TestOptions {
  readonly settings?: Settings;
  /** What other plugins have written about the file. */
  readonly existing?: Readonly<Record<string, JsonValue>>;
  readonly attempt?: number;
  /** Time for the attempt; else what the manifest says. */
  readonly deadlineMs?: number;
  /** More of the task, e.g. `file: {sidecars: […]}`. */
  readonly task?: Partial<Task>;
  /** Takes log lines; else they are dropped. */
  readonly log?: (line: string) => void;
}

interface Seen {
  /** What was reported on the way. */
  readonly progress: ReadonlyArray<{ readonly fraction: number; readonly note: string }>;
  /** What was handed in on the way. */
  readonly submitted: readonly Submission[];
  /** What was kept of the file, in order. */
  readonly artifacts: ReadonlyArray<{ readonly artifact: Artifact; readonly bytes: Uint8Array }>;
  readonly durationMs: number;
}

/** What came of it. */
export type TestResult = Seen &
  (
    | { readonly status: "completed"; readonly meta: Record<string, JsonValue> }
    | { readonly status: "skipped"; readonly reason: string }
    | { readonly status: "later"; readonly afterMs: number; readonly reason: string }
    | { readonly status: "forwarded"; readonly submission: Submission; readonly meta: Record<string, JsonValue> }
    | { readonly status: "failed"; readonly error: string; readonly permanent: boolean }
  );

/** Configures `plugin` and runs it on `file`; throws only where the file or the manifest cannot be used. */
export async function runOnFile(plugin: Plugin, file: PathInput, options: TestOptions = {}): Promise<TestResult> {
  const problem = manifestProblem(plugin.manifest);
  if (problem !== undefined) throw new Error(problem);
  const path = pathBytes(file);
  const { cid, facts } = await lookAt(path);
  const task: Task = {
    type: "metafleet.task.v1",
    taskId: randomUUID(),
    runId: 1,
    pluginId: plugin.manifest.id,
    cid,
    ...onTheWire(path),
    existingMeta: { ...options.existing },
    fingerprint: "",
    deadlineMs: options.deadlineMs ?? 0,
    retry: { maxAttempts: 3, delaysMs: [1000, 2000] },
    ...options.task,
    file: { ...facts, ...options.task?.file },
  };
  const bench = new Bench(plugin, { ...defaults(plugin), ...options.settings }, options.log);
  await plugin.configure?.(bench.settings);
  return await bench.run(task, options.attempt ?? 1);
}

/** PURE. What the manifest's configSchema says where nobody says otherwise. */
function defaults(plugin: Plugin): Record<string, JsonValue> {
  const fields = Object.entries(plugin.manifest.configSchema ?? {});
  return Object.fromEntries(fields.flatMap(([key, field]) => (field.default === undefined ? [] : [[key, field.default]])));
}

class Bench implements Port {
  readonly instance = "test";
  readonly paths = [];
  readonly log: Logger;
  readonly #progress: Array<{ fraction: number; note: string }> = [];
  readonly #submitted: Submission[] = [];
  readonly #artifacts: Array<{ artifact: Artifact; bytes: Uint8Array }> = [];
  #gotOn = 0;

  constructor(
    private readonly plugin: Plugin,
    readonly settings: Settings,
    log?: (line: string) => void,
  ) {
    this.log = logger({ plugin: plugin.manifest.id }, { METAFLEET_LOG: "debug" }, log ?? (() => {}));
  }

  files(signal: () => AbortSignal): Files {
    return new Files({ paths: [], offer: undefined, signal, fetched: () => {} });
  }

  progress(_id: number, fraction: number, note: string): void {
    this.#gotOn = now();
    this.#progress.push({ fraction, note });
  }

  async submit(ctx: TaskContext, file: PathInput): Promise<void> {
    this.#submitted.push(await submissionOf(file, ctx.task, this.plugin.manifest.id, []));
  }

  async keep(_ctx: TaskContext, artifact: Artifact, bytes: Uint8Array): Promise<void> {
    this.#artifacts.push({ artifact, bytes });
    await Promise.resolve();
  }

  async run(task: Task, attempt: number): Promise<TestResult> {
    const { manifest } = this.plugin;
    const limitMs = timeLimit(manifest, task.deadlineMs);
    const posted: Posted = { id: 1, slot: 0, cid: task.cid, queue: manifest.queue === "fast" ? "fast" : "background", attempt, limitMs, body: "" };
    const ctx = new TaskContext(this, posted, task);
    const begun = now();
    this.#gotOn = begun;
    const watch = this.#watch(ctx, limitMs, progressLimit(manifest, task));
    const ended = await Promise.race([perform(this.plugin, ctx, []), watch.late]);
    watch.stop();
    const durationMs = Math.round(now() - begun);
    const seen: Seen = { progress: this.#progress, submitted: this.#submitted, artifacts: this.#artifacts, durationMs };
    if (ended === "late") return { ...seen, status: "failed", error: watch.why(), permanent: false };
    switch (ended.is) {
      case "completed":
        return { ...seen, status: "completed", meta: read(ended.meta) };
      case "skipped":
        return { ...seen, status: "skipped", reason: ended.reason };
      case "later":
        return { ...seen, status: "later", afterMs: ended.afterMs, reason: ended.reason };
      case "forward":
        return { ...seen, status: "forwarded", submission: JSON.parse(ended.submission) as Submission, meta: read(ended.meta) };
      case "failed":
        return { ...seen, status: "failed", error: watch.why() || ended.error, permanent: ended.permanent && watch.why() === "" };
    }
  }

  /** Cancels the attempt when it takes too long; `late` comes if it does not heed that. */
  #watch(ctx: TaskContext, limitMs: number, progressMs: number | undefined): { late: Promise<"late">; stop(): void; why(): string } {
    const end = now() + limitMs;
    let why = "";
    let tell: (late: "late") => void;
    const late = new Promise<"late">((resolve) => (tell = resolve));
    const timer = setInterval(() => {
      if (why !== "") return;
      if (now() >= end) why = `timed out after ${limitMs} ms`;
      else if (progressMs !== undefined && now() >= this.#gotOn + progressMs) why = `timed out: no progress for ${progressMs} ms`;
      else return;
      ctx.cancel(why);
      void within(100, new Promise<never>(() => {}), "late" as const).then(tell);
    }, 5);
    return { late, stop: () => clearInterval(timer), why: () => why };
  }
}

const read = (meta: string): Record<string, JsonValue> => JSON.parse(meta) as Record<string, JsonValue>;

