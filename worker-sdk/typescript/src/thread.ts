/**
 * The half of a worker that speaks the protocol, in a thread of its own: a handler that blocks the event
 * loop stops neither the renewal of leases nor the signs of life.
 */
import { parentPort, workerData, type MessagePort } from "node:worker_threads";

import { announce } from "./announce.js";
import { Board, type Question, type ThreadData, type ToBroker, type ToHost } from "./bridge.js";
import { pause, timestamp, within } from "./clock.js";
import { listen } from "./control.js";
import { EnvironmentError } from "./environment.js";
import { ConnectError, isRefusal, Link } from "./link.js";
import { logger } from "./log.js";
import { Names, type QueueName } from "./names.js";
import { Presence } from "./presence.js";
import { Publisher } from "./publisher.js";
import { Puller } from "./puller.js";
import { LATE, newCounts, type Rim } from "./rim.js";
import { isPulling, type Standing } from "./standing.js";
import { Tasks } from "./tasks.js";
import { explain } from "./text.js";

/** How long running tasks may take to notice that they were stopped. */
const STOPPING_MS = 1000;
/** How long the last messages may take to leave. */
const FLUSH_MS = 3000;
/** Shortest time between two announcements. */
const REST_MS = 500;

/** Exit codes, see section 2 of PROTOCOL.md. */
const DRAINED = 0;
const FAILED = 1;
const USAGE = 2;
const UNREACHABLE = 4;
const REJECTED = 5;

class Engine {
  readonly #drain = new AbortController();
  readonly #abort = new AbortController();
  readonly #leave = new AbortController();
  readonly #questions = new Map<number, (error: string | undefined) => void>();
  #numbers = 0;
  #again: (() => void) | undefined;
  #announceSoon = false;
  #tasks: Tasks | undefined;
  #puller: Puller | undefined;
  #rim: Rim | undefined;
  #presence: Presence | undefined;

  constructor(
    private readonly data: ThreadData,
    private readonly port: MessagePort,
  ) {
    port.on("message", (message: ToBroker) => this.#receive(message));
  }

  /** Serves until drained; returns the exit code. */
  async serve(): Promise<{ code: number; error?: string }> {
    const { data } = this;
    const id = data.manifest.id ?? "";
    const log = logger({ plugin: id, instance: data.instance });
    const link = await Link.open(data.options, data.instance, log, this.#drain.signal);
    if (link === undefined) return { code: DRAINED };
    const rim = this.#makeRim(link, log, id);
    this.#tasks = new Tasks(rim, (queue) => this.#puller?.release(queue));
    this.#presence = new Presence(rim, () => this.#tasks?.running() ?? [], this.#leave.signal);
    const subscriptions = listen(rim);
    link.onReconnect = () => {
      this.#puller?.startAnew();
      rim.announce();
      rim.changed();
    };
    const ended = await Promise.race([this.#pull(rim), link.closed.then((error) => closed(error))]);
    if (ended.code !== UNREACHABLE && !link.nc.isClosed()) await this.#finish(rim);
    for (const subscription of subscriptions) if (!link.nc.isClosed()) subscription.unsubscribe();
    await this.#farewell(rim);
    return ended;
  }

  #makeRim(link: Link, log: Rim["log"], plugin: string): Rim {
    const { data } = this;
    const standing: Standing = { paused: false, draining: false, places: 1, lane: data.options.route ?? "main" };
    const rim: Rim = {
      ...data,
      board: new Board(data.board),
      plugin,
      version: data.manifest.version ?? "",
      names: new Names(data.options.prefix),
      log,
      link,
      publisher: new Publisher(link, log),
      standing,
      totals: newCounts(),
      startedAt: timestamp(),
      settings: undefined,
      files: undefined,
      leaseMs: 3000,
      heartbeatMs: 5000,
      post: (message) => this.#post(message),
      ask: (question, withinMs) => this.#ask(question, withinMs),
      changed: () => {
        this.#presence?.showNow();
        this.#puller?.moveTo(standing.lane);
        this.#puller?.ask();
      },
      announce: () => {
        this.#announceSoon = true;
        this.#again?.();
      },
      drain: () => this.#drain.abort(),
    };
    this.#rim = rim;
    return rim;
  }

  /** Announces, pulls, and announces again, until the drain or until the fleet says no. */
  async #pull(rim: Rim): Promise<{ code: number; error?: string }> {
    const stop = this.#drain.signal;
    const drained = new Promise<undefined>((resolve) => {
      if (stop.aborted) resolve(undefined);
      stop.addEventListener("abort", () => resolve(undefined), { once: true });
    });
    for (;;) {
      this.#announceSoon = false;
      // A plugin that thinks about its settings does not keep the worker from draining.
      const reasons = await Promise.race([announce(rim, stop), drained]);
      if (reasons !== undefined) return { code: REJECTED, error: `the coordinator does not accept the plugin: ${reasons.join("; ")}` };
      if (stop.aborted) return { code: DRAINED };
      this.#puller ??= this.#openPuller(rim);
      await pause(REST_MS, stop);
      const reason = new Promise<void>((resolve) => (this.#again = resolve));
      if (!this.#announceSoon) await Promise.race([reason, drained]);
      if (stop.aborted) return { code: DRAINED };
    }
  }

  #openPuller(rim: Rim): Puller {
    const tasks = this.#tasks;
    const { standing, names, plugin, manifest, options } = rim;
    const home: QueueName = manifest.queue === "background" ? "background" : "fast";
    return new Puller(rim.link, rim.log, {
      names,
      plugin,
      home,
      policy: options.queues,
      gate: () => ({ pulling: isPulling(standing) && tasks?.blocked === false, places: standing.places }),
      deliver: (message, queue) => tasks?.deliver(message, queue),
      lost: () => rim.announce(),
    }, standing.lane);
  }

  /** Finishes what runs, within the grace period, and gives the rest back. */
  async #finish(rim: Rim): Promise<void> {
    const tasks = this.#tasks;
    this.#drain.abort();
    rim.standing.draining = true;
    rim.changed();
    if (tasks === undefined) return;
    tasks.stopping = true;
    rim.log.info("draining", { running: tasks.size });
    await this.#puller?.stop();
    const over = await Promise.race([
      within(rim.options.graceMs, tasks.empty().then(() => "empty"), "late"),
      new Promise<string>((resolve) => this.#abort.signal.addEventListener("abort", () => resolve("aborted"), { once: true })),
    ]);
    if (over === "empty") return;
    rim.log.warn("the grace period is over, running tasks are given back", { running: tasks.size });
    tasks.abort();
    await within(STOPPING_MS, tasks.empty(), undefined);
  }

  async #farewell(rim: Rim): Promise<void> {
    this.#leave.abort();
    this.#presence?.leave();
    if (!rim.link.nc.isClosed()) await within(FLUSH_MS, rim.link.flush().catch(() => {}), undefined);
    await this.#ask({ what: "stop" }, STOPPING_MS);
    await rim.publisher.close();
    if (!rim.link.nc.isClosed()) await within(FLUSH_MS, rim.link.nc.close(), undefined);
    rim.log.info("stopped");
  }

  #receive(message: ToBroker): void {
    switch (message.is) {
      case "done":
        return this.#tasks?.done(message.done);
      case "progress":
        return this.#tasks?.progress(message.id, message.fraction, message.note);
      case "store":
        return this.#tasks?.store(message);
      case "answer":
        this.#questions.get(message.n)?.(message.error);
        return;
      case "fetched":
        if (this.#rim !== undefined) this.#rim.totals.fetchedBytes += message.bytes;
        return;
      case "drain":
        return this.#drain.abort();
      case "abort":
        this.#drain.abort();
        return this.#abort.abort();
    }
  }

  async #ask(question: Question, withinMs: number): Promise<string | undefined> {
    this.#numbers += 1;
    const n = this.#numbers;
    const answer = new Promise<string | undefined>((resolve) => this.#questions.set(n, resolve));
    this.#post({ is: "ask", n, question });
    const said = await within(withinMs, answer, LATE);
    this.#questions.delete(n);
    return said;
  }

  #post(message: ToHost): void {
    this.port.postMessage(message);
  }
}

/** PURE. Why the connection is closed for good. */
function closed(error: Error | undefined): { code: number; error: string } {
  const code = isRefusal(error) ? UNREACHABLE : FAILED;
  return { code, error: `the connection to the broker is closed: ${error === undefined ? "for good" : explain(error)}` };
}

if (parentPort !== null) {
  const port = parentPort;
  const over = (message: { code: number; error?: string }): void => {
    port.postMessage({ is: "over", ...message } satisfies ToHost);
    port.close();
  };
  new Engine(workerData as ThreadData, port).serve().then(over, (error: unknown) => {
    const code = error instanceof EnvironmentError ? USAGE : error instanceof ConnectError ? UNREACHABLE : FAILED;
    over({ code, error: explain(error) });
  });
}
