/** The half of a worker that runs the plugin's code, in the thread of whoever called `run`. */
import type { Artifact } from "./artifact.js";
import type { Board, Done, Posted, Question, Settings, ToBroker, ToHost, ToStore } from "./bridge.js";
import { now, within } from "./clock.js";
import { TaskContext, type Port } from "./context.js";
import type { FilesOffer } from "./environment.js";
import { Files } from "./files.js";
import type { Logger } from "./log.js";
import { failed, PermanentError, RetryableError, type PathInput } from "./outcome.js";
import type { PathMap } from "./paths.js";
import { perform } from "./perform.js";
import type { Plugin } from "./plugin.js";
import { submissionOf } from "./submission.js";
import { readTask } from "./task.js";
import { activeTrace, traced } from "./telemetry.js";
import { explain, short } from "./text.js";

/** What is over is told together, but not later than this after it was. */
const TOGETHER_MS = 2;
/** How long a cancelled attempt may need its files. */
const CLEAN_UP_MS = 1000;

export class Host implements Port {
  settings: Settings = {};
  readonly #running = new Map<number, TaskContext>();
  readonly #stores = new Map<number, (answer: Extract<ToHost, { is: "stored" }>) => void>();
  #offer: FilesOffer | undefined;
  /** Why the plugin cannot serve with the settings that it was started with. */
  #ready: Promise<string | undefined> | undefined;
  #done: Done[] = [];
  #doneSince = 0;
  #numbers = 0;

  constructor(
    private readonly plugin: Plugin,
    readonly instance: string,
    readonly paths: PathMap,
    readonly log: Logger,
    private readonly board: Board,
    private readonly post: (message: ToBroker) => void,
  ) {}

  /** Takes what others were told before this host was there; tasks wait for it. */
  prepare(settings: Settings | undefined, offer: FilesOffer | undefined): void {
    this.#offer = offer;
    if (settings !== undefined) this.#ready = this.#configured(settings);
  }

  receive(message: ToHost): void {
    switch (message.is) {
      case "tasks":
        return void this.#begin(message.tasks);
      case "cancel":
        return this.#cancel(message.id, message.why);
      case "ask":
        return void this.#answer(message.n, message.question);
      case "files":
        this.#offer = message.offer;
        return;
      case "stored":
        this.#stores.get(message.n)?.(message);
        return;
      case "over":
        // For whoever started the thread.
        return;
    }
  }

  /** Removes what attempts have left that did not end. */
  async close(): Promise<void> {
    await within(CLEAN_UP_MS, Promise.allSettled([...this.#running.values()].map((ctx) => ctx.close())), undefined);
  }

  files(signal: () => AbortSignal): Files {
    const fetched = (bytes: number): void => this.post({ is: "fetched", bytes });
    return new Files({ paths: this.paths, offer: this.#offer, signal, fetched });
  }

  progress(id: number, fraction: number, note: string): void {
    this.post({ is: "progress", id, fraction, note: short(note) });
  }

  async submit(ctx: TaskContext, file: PathInput): Promise<void> {
    const submission = await submissionOf(file, ctx.task, this.plugin.manifest.id, this.paths);
    await this.#store(ctx, submission.filePath, { kind: "submission", body: JSON.stringify(submission) });
  }

  async keep(ctx: TaskContext, artifact: Artifact, bytes: Uint8Array): Promise<void> {
    await this.#store(ctx, `the artefact \`${artifact.artifact}\` of ${artifact.size} bytes`, { kind: "artifact", artifact, bytes });
  }

  /** Has the broker's thread store something; ends with the attempt at the latest. */
  async #store(ctx: TaskContext, called: string, what: ToStore): Promise<void> {
    this.#numbers += 1;
    const n = this.#numbers;
    const { id, trace } = ctx.posted;
    const { signal } = ctx;
    const own = activeTrace() ?? trace;
    const over = new AbortController();
    try {
      const { error, permanent } = await new Promise<{ error?: string; permanent?: boolean }>((resolve) => {
        const abandon = (): void => resolve({ error: explain(signal.reason) });
        if (signal.aborted) return abandon();
        signal.addEventListener("abort", abandon, { signal: over.signal });
        this.#stores.set(n, resolve);
        this.post({ is: "store", n, id, what, ...(own === undefined ? {} : { trace: own }) });
      });
      if (error === undefined) return;
      const text = `the broker did not take ${called}: ${error}`;
      throw permanent === true ? new PermanentError(text) : new RetryableError(text);
    } finally {
      over.abort();
      this.#stores.delete(n);
    }
  }

  async #begin(tasks: readonly Posted[]): Promise<void> {
    for (const posted of tasks) {
      this.#run(posted);
      // What ended at once is told before the next one begins, which may block.
      await Promise.resolve();
      if (this.#done.length > 0 && now() > this.#doneSince + TOGETHER_MS) this.#flush();
    }
  }

  #run(posted: Posted): void {
    const begun = now();
    const { id, slot } = posted;
    // It was taken back; whoever counts threads hears that it is over.
    if (!this.board.begin(slot, id, begun)) return this.#tell({ id, ended: failed("it was taken back"), tookMs: 0 });
    void this.#attempt(posted).then(({ ended, trace }) => {
      this.#running.delete(id);
      this.board.end(slot, id);
      this.#tell({ id, ended, tookMs: now() - begun, ...(trace === undefined ? {} : { trace }) });
    });
  }

  async #attempt(posted: Posted): ReturnType<typeof traced> {
    try {
      const refused = this.#ready === undefined ? undefined : await this.#ready;
      if (refused !== undefined) return { ended: failed(refused) };
      const task = readTask(posted.body, { plugin: this.plugin.manifest.id, cid: posted.cid });
      const ctx = new TaskContext(this, posted, task);
      this.#running.set(posted.id, ctx);
      const attributes = {
        "messaging.system": "nats", "plugin.id": this.plugin.manifest.id, "file.cid": posted.cid, "queue": posted.queue,
        "attempt": posted.attempt, "task.id": task.taskId, "run.id": task.runId,
      };
      return await traced(posted.trace, attributes, () => perform(this.plugin, ctx, this.paths));
    } catch (error) {
      return { ended: failed(explain(error)) };
    }
  }

  /** Tells an attempt to end, and takes its files from it if it does not. */
  #cancel(id: number, why: string): void {
    const ctx = this.#running.get(id);
    if (ctx === undefined) return;
    ctx.cancel(why);
    setTimeout(() => {
      if (this.#running.delete(id)) void ctx.close();
    }, CLEAN_UP_MS).unref();
  }

  #tell(done: Done): void {
    if (this.#done.length === 0) {
      this.#doneSince = now();
      setImmediate(() => this.#flush());
    }
    this.#done.push(done);
  }

  #flush(): void {
    if (this.#done.length === 0) return;
    this.post({ is: "done", done: this.#done });
    this.#done = [];
  }

  async #configured(settings: Settings): Promise<string | undefined> {
    try {
      return await this.#ask({ what: "configure", settings });
    } catch (cause) {
      return short(explain(cause));
    }
  }

  async #answer(n: number, question: Question): Promise<void> {
    let error: string | undefined;
    try {
      error = await this.#ask(question);
    } catch (cause) {
      error = short(explain(cause));
    }
    this.post(error === undefined ? { is: "answer", n } : { is: "answer", n, error });
  }

  async #ask(question: Question): Promise<string | undefined> {
    const { plugin } = this;
    switch (question.what) {
      case "configure":
        this.settings = question.settings;
        return void (await plugin.configure?.(question.settings));
      case "health": {
        const health = (await plugin.health?.()) ?? { healthy: true };
        return health.healthy ? undefined : health.why;
      }
      case "pause":
        return void (await plugin.onPause?.());
      case "resume":
        return void (await plugin.onResume?.());
      case "stop":
        return void (await plugin.onStop?.());
    }
  }
}
