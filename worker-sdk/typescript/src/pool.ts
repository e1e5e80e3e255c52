/**
 * Handlers in threads: one for each task in hand, made when it is needed and used again. Each loads the
 * program anew, up to its `run`, which then only runs handlers ({@link handle}). A thread whose handler does
 * not heed its cancellation is ended, whatever it does.
 */
import { isMainThread, parentPort, Worker as Thread, workerData } from "node:worker_threads";

import { Board, type HandlerData, type Posted, type Settings, type ToBroker, type ToHost } from "./bridge.js";
import { pause } from "./clock.js";
import { readEnvironment, type FilesOffer } from "./environment.js";
import { COPIES, removeCopies } from "./files.js";
import { Host } from "./host.js";
import { logger, type Logger } from "./log.js";
import { failed } from "./outcome.js";
import type { Plugin } from "./plugin.js";
import { loadTelemetry } from "./telemetry.js";
import { explain } from "./text.js";

/** How long a cancelled handler may go on before its thread is ended. */
const END_AFTER_MS = 1000;

interface Member {
  readonly thread: Thread;
  task: Posted | undefined;
  /** It has the settings of before: it takes no further task. */
  stale: boolean;
  ended: boolean;
}

export class Pool {
  readonly #members = new Set<Member>();
  /** Who has something stored under which number. */
  readonly #stores = new Map<number, { readonly member: Member; readonly n: number }>();
  #numbers = 0;
  #settings: Settings | undefined;
  #offer: FilesOffer | undefined;
  #closing = false;

  constructor(
    private readonly instance: string,
    private readonly board: Board,
    private readonly log: Logger,
    private readonly post: (message: ToBroker) => void,
  ) {}

  /** Takes a message that is about tasks; false for one that is for the program itself. */
  receive(message: ToHost): boolean {
    switch (message.is) {
      case "tasks":
        for (const task of message.tasks) this.#begin(task);
        return true;
      case "cancel":
        this.#cancel(message);
        return true;
      case "stored": {
        const store = this.#stores.get(message.n);
        this.#stores.delete(message.n);
        store?.member.thread.postMessage({ ...message, n: store.n });
        return true;
      }
      case "files":
        this.#offer = message.offer;
        this.#renew();
        return true;
      case "ask":
        if (message.question.what === "configure") {
          this.#settings = message.question.settings;
          this.#renew();
        }
        return false;
      case "over":
        return false;
    }
  }

  async close(): Promise<void> {
    this.#closing = true;
    await Promise.all([...this.#members].map((member) => this.#end(member)));
  }

  #begin(task: Posted): void {
    const idle = [...this.#members].find((member) => member.task === undefined && !member.stale);
    const member = idle ?? this.#start();
    member.task = task;
    member.thread.postMessage({ is: "tasks", tasks: [task] } satisfies ToHost);
  }

  #cancel(message: Extract<ToHost, { is: "cancel" }>): void {
    const member = [...this.#members].find(({ task }) => task?.id === message.id);
    if (member === undefined) return;
    member.thread.postMessage(message);
    void pause(END_AFTER_MS).then(() => {
      if (member.task?.id !== message.id || member.ended) return;
      this.log.warn("a handler hangs, its thread is ended", { cid: member.task.cid });
      return this.#end(member);
    });
  }

  /** Other settings are for other threads: those that run end with their tasks. */
  #renew(): void {
    for (const member of this.#members) {
      member.stale = true;
      if (member.task === undefined) void this.#end(member);
    }
  }

  #start(): Member {
    const data: HandlerData = {
      metafleetHandler: true, copies: COPIES, instance: this.instance, board: this.board.memory, settings: this.#settings, offer: this.#offer,
    };
    const thread = new Thread(process.argv[1] ?? "", { argv: process.argv.slice(2), workerData: data, name: "metafleet-handler" });
    const member: Member = { thread, task: undefined, stale: false, ended: false };
    this.#members.add(member);
    thread.on("message", (message: ToBroker) => this.#onMessage(member, message));
    thread.on("error", (error) => this.#lost(member, `crashed: ${explain(error)}`));
    thread.on("exit", (code) => {
      // A handler that ends its process means the process.
      if (!member.ended && !this.#closing) process.exit(code);
    });
    return member;
  }

  #onMessage(member: Member, message: ToBroker): void {
    if (member.ended) return;
    if (message.is === "store") {
      this.#numbers += 1;
      this.#stores.set(this.#numbers, { member, n: message.n });
      return this.post({ ...message, n: this.#numbers });
    }
    if (message.is === "done") {
      member.task = undefined;
      if (member.stale) void this.#end(member);
    }
    this.post(message);
  }

  /** A thread is gone, and with it what it ran: trying again can help. */
  #lost(member: Member, error: string): void {
    const { task } = member;
    void this.#end(member);
    if (task === undefined) return this.log.error("a thread is lost", { error });
    this.board.begin(task.slot, task.id, 0);
    this.board.end(task.slot, task.id);
    this.post({ is: "done", done: [{ id: task.id, ended: failed(error), tookMs: 0 }] });
  }

  async #end(member: Member): Promise<void> {
    const { threadId } = member.thread;
    member.ended = true;
    member.task = undefined;
    this.#members.delete(member);
    await member.thread.terminate();
    if (threadId > 0) await removeCopies(threadId);
  }
}

/** Whether this is a thread of a pool. */
export const isHandlerThread = (): boolean =>
  !isMainThread && (workerData as Partial<HandlerData> | null)?.metafleetHandler === true;

/** What `run` does in a thread of a pool: runs handlers until the thread is ended. */
export async function handle(plugin: Plugin): Promise<never> {
  const { instance, board, settings, offer } = workerData as HandlerData;
  const port = parentPort;
  await loadTelemetry();
  const log = logger({ plugin: plugin.manifest.id, instance });
  const host = new Host(plugin, instance, readEnvironment().paths, log, new Board(board), (message) => port?.postMessage(message));
  host.prepare(settings, offer);
  port?.on("message", (message: ToHost) => host.receive(message));
  return await new Promise<never>(() => {});
}
