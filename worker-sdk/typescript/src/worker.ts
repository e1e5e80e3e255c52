/** Starts a worker: the broker's thread and the host, and what ends them. */
import { randomBytes } from "node:crypto";
import { Worker as Thread } from "node:worker_threads";

import { Board, type ThreadData, type ToBroker, type ToHost } from "./bridge.js";
import { EnvironmentError, readEnvironment, type WorkerOptions } from "./environment.js";
import { isInstanceId } from "./ids.js";
import { Host } from "./host.js";
import { logger, type Logger } from "./log.js";
import { manifestProblem, type Plugin } from "./plugin.js";
import { handle, isHandlerThread, Pool } from "./pool.js";
import { MOST_PLACES } from "./standing.js";
import { loadTelemetry } from "./telemetry.js";
import { explain } from "./text.js";
import { VERSION } from "./version.js";

/** Exit codes, see section 2 of PROTOCOL.md. */
const FAILED = 1;
const USAGE = 2;
const INTERRUPTED = 130;

/** How a worker ended. */
export interface Ended {
  readonly code: number;
  readonly error?: string;
}

/** A worker inside another program, e.g. a test; a plugin's program uses {@link run}. */
export class Worker {
  readonly instance: string;
  readonly #log: Logger;
  #thread: Thread | undefined;
  #draining = false;
  #aborting = false;

  constructor(
    private readonly plugin: Plugin,
    private readonly options: WorkerOptions,
  ) {
    const { manifest } = plugin;
    const problem = manifestProblem(manifest);
    if (problem !== undefined) throw new EnvironmentError("manifest", problem);
    if (options.plugin !== undefined && options.plugin !== manifest.id) {
      throw new EnvironmentError("METAFLEET_PLUGIN", `this is the plugin ${manifest.id}, not ${options.plugin}`);
    }
    const madeUp = `${manifest.id}-${process.pid}-${randomBytes(4).toString("hex")}`;
    this.instance = options.instance ?? (isInstanceId(madeUp) ? madeUp : `worker-${randomBytes(8).toString("hex")}`);
    this.#log = logger({ plugin: manifest.id, instance: this.instance });
  }

  /** Serves until it is told to drain, or cannot go on. */
  async serve(): Promise<Ended> {
    await loadTelemetry();
    const { plugin, options, instance } = this;
    const board = Board.sized(MOST_PLACES);
    const sdk = `typescript ${VERSION}`;
    const checksHealth = plugin.health !== undefined;
    const data: ThreadData = { options, manifest: plugin.manifest, instance, sdk, checksHealth, board: board.memory };
    this.#log.info("starting", { version: plugin.manifest.version });
    const thread = new Thread(new URL("./thread.js", import.meta.url), { name: "metafleet-broker", workerData: data });
    this.#thread = thread;
    const post = (message: ToBroker): void => thread.postMessage(message);
    const host = new Host(plugin, instance, options.paths, this.#log, board, post);
    const pool = plugin.executor === "threads" ? new Pool(instance, board, this.#log, post) : undefined;
    const take = (message: ToHost): void => {
      // The hooks are those of the program itself; a pool takes what is about tasks.
      if (pool?.receive(message) !== true) host.receive(message);
    };
    try {
      return await new Promise<Ended>((resolve) => {
        let ended: Ended = { code: FAILED, error: "the broker's thread ended without a word" };
        thread.on("message", (message: ToHost) => {
          if (message.is !== "over") return take(message);
          ended = message.error === undefined ? { code: message.code } : { code: message.code, error: message.error };
          // Whatever it still waits for, nobody needs it any more.
          void thread.terminate();
        });
        thread.on("error", (error) => (ended = { code: FAILED, error: `the broker's thread failed: ${explain(error)}` }));
        thread.on("exit", () => resolve(ended));
        if (this.#aborting) post({ is: "abort" });
        else if (this.#draining) post({ is: "drain" });
      });
    } finally {
      this.#thread = undefined;
      await Promise.all([host.close(), pool?.close()]);
    }
  }

  /** Pulls no more, finishes what runs, and ends. */
  drain(): void {
    this.#draining = true;
    this.#thread?.postMessage({ is: "drain" } satisfies ToBroker);
  }

  /** Ends at once: what runs is given back. */
  abort(): void {
    this.#aborting = true;
    this.#thread?.postMessage({ is: "abort" } satisfies ToBroker);
  }
}

/**
 * Serves a plugin until the process is told to stop: the one line of a plugin's program.
 *
 * Reads `NATS_*` and `METAFLEET_*` from the environment. The first SIGTERM or SIGINT drains, a second one
 * ends at once. Ends the process: 0 drained, 1 failed, also by an error that nobody caught, 2 the environment
 * is wrong, 4 the broker does not let us in, 5 the coordinator does not accept the plugin, 130 ended at once.
 */
export async function run(plugin: Plugin): Promise<never> {
  if (isHandlerThread()) return await handle(plugin);
  const log = logger();
  let worker: Worker;
  try {
    worker = new Worker(plugin, readEnvironment());
  } catch (error) {
    log.error("the worker cannot serve", { error: explain(error) });
    process.exit(error instanceof EnvironmentError ? USAGE : FAILED);
  }
  let signals = 0;
  for (const name of ["SIGTERM", "SIGINT"] as const) {
    process.on(name, () => {
      signals += 1;
      if (signals > 1) {
        log.info("told to stop a second time, ending at once");
        process.exit(INTERRUPTED);
      }
      log.info("told to stop, draining");
      worker.drain();
    });
  }
  let broken = false;
  process.on("uncaughtException", (error) => {
    // Nobody knows what state the program is in: what runs is finished, and whoever watches starts it anew.
    log.error("an error that nobody caught, draining", { error: explain(error), stack: error instanceof Error ? error.stack : undefined });
    broken = true;
    worker.drain();
  });
  const { code, error } = await worker.serve();
  if (error !== undefined) log.error("the worker cannot serve", { error });
  // A handler that hangs must not keep the process.
  process.exit(code === 0 && broken ? FAILED : code);
}
