/** The tasks that this instance holds: from their delivery to the host and back, with leases and deadlines. */
import type { Msg } from "@nats-io/nats-core";

import type { Done, Posted, TraceHeaders } from "./bridge.js";
import { now } from "./clock.js";
import { ack, parsePlace, progress, type Place } from "./delivery.js";
import { attemptOf, runningList, type Held } from "./held.js";
import { Leases, type Lease } from "./lease.js";
import type { QueueName, TaskAddress } from "./names.js";
import { failed } from "./outcome.js";
import type { Rim } from "./rim.js";
import { Settler } from "./settle.js";
import { MOST_PLACES } from "./standing.js";
import { Stores, type Store } from "./stores.js";
import { progressLimit, readTask, timeLimit, unreadableTask, type PluginManifest } from "./task.js";
import { explain } from "./text.js";
import type { Running, Task } from "./wire.js";

/** How often leases and deadlines are looked at. */
const TICK_MS = 50;
/** Without a task for so long, nothing is looked at. */
const IDLE_MS = 1000;
/** The lease goes on this long after the deadline, for the handler to clean up. */
const AFTER_DEADLINE_MS = 2000;
/** Time for a handler to end once it is cancelled. */
const CLEAN_UP_MS = 100;
/** A host that has not begun a task for so long is blocked: it gets no more of them. */
const BLOCKED_MS = 250;
/** Shortest time between two reports of progress of one task. */
const PROGRESS_EVERY_MS = 1000;

export class Tasks {
  /** Whether the host is blocked by a handler. */
  blocked = false;
  /** Deliveries are given back instead of being run. */
  stopping = false;
  readonly #leases = new Leases<Held>();
  readonly #byId = new Map<number, Held>();
  /** Attempts that were taken back before they began: until the host has come to them, it is blocked. */
  readonly #revoked = new Set<number>();
  readonly #told = new WeakMap<Held, number>();
  readonly #settler: Settler;
  readonly #stores: Stores;
  #free = Array.from({ length: MOST_PLACES }, (_, slot) => MOST_PLACES - 1 - slot);
  #batch: Posted[] = [];
  #ids = 0;
  #lastHeld = 0;
  #ticker: NodeJS.Timeout | undefined;
  #waiting: Array<() => void> = [];

  constructor(
    private readonly rim: Rim,
    /** A place of this queue is free again. */
    private readonly release: (queue: QueueName) => void,
  ) {
    this.#settler = new Settler(rim, (held, settled) => this.#end(held, settled));
    this.#stores = new Stores(rim, (id) => this.#byId.get(id));
  }

  /** Takes a delivery, which holds a place of `queue`. */
  deliver(message: Msg, queue: QueueName): void {
    const { rim } = this;
    const reply = message.reply ?? "";
    const place = parsePlace(reply);
    if (place === undefined) return this.release(queue);
    const address = rim.names.parseTask(message.subject);
    if (address === undefined) {
      rim.log.error("a task whose subject makes no sense is ended", { subject: message.subject });
      rim.link.tell(reply, "+TERM the subject makes no sense");
      return this.release(queue);
    }
    const at = now();
    const body = message.string();
    let problem: string | undefined;
    let task: Task;
    try {
      task = readTask(body, address);
    } catch (error) {
      problem = `the task cannot be read: ${explain(error)}`;
      task = unreadableTask(address, rim.manifest as PluginManifest);
    }
    const make = (lease: Lease): Held => this.#hold(lease, place, address, queue, task, message);
    // A handler that blocks may keep others from beginning, but not for ever.
    const limitMs = timeLimit(rim.manifest, task.deadlineMs);
    this.#leases.leaseMs = rim.leaseMs;
    const begun = this.#leases.begin(message.subject, reply, place, at, make, at + limitMs * 2 + AFTER_DEADLINE_MS);
    if (begun.is !== "new") {
      if (begun.is === "settled") rim.link.tell(reply, ack);
      return this.release(queue);
    }
    const { held } = begun;
    this.#byId.set(held.id, held);
    this.#ticker ??= setInterval(() => this.#tick(now()), TICK_MS);
    if (problem !== undefined) return this.#settler.settle({ held, tookMs: 0, trace: held.trace }, failed(problem, true));
    if (task.pluginVersion && task.pluginVersion !== rim.version) return this.#settler.leaveToOther(held);
    if (this.stopping || held.slot === undefined) return this.#settler.giveBack(held);
    this.#post(held, body);
  }

  /** What the host says of attempts that are over. */
  done(all: readonly Done[]): void {
    for (const { id, ended, tookMs, trace } of all) {
      if (this.#revoked.delete(id) && this.#byId.size === 0) this.#unblock();
      const held = this.#byId.get(id);
      if (held === undefined || held.settling) continue;
      this.rim.totals.busyMs += tookMs;
      const over = { held, tookMs, trace: trace ?? held.trace };
      if (held.cancelled === undefined || ended.is !== "failed") this.#settler.settle(over, ended);
      else if (held.cancelled.stop) this.#settler.giveBack(held);
      else this.#settler.settle(over, failed(held.cancelled.why));
    }
  }

  progress(id: number, fraction: number, note: string): void {
    const held = this.#byId.get(id);
    if (held === undefined || held.settling) return;
    const at = now();
    held.gotOn = at;
    held.fraction = fraction;
    if (at < (this.#told.get(held) ?? 0) + PROGRESS_EVERY_MS) return;
    this.#told.set(held, at);
    this.#settler.progress(held, fraction, note);
  }

  /** Stores something that the handler of a task made. */
  store(store: Store): void {
    this.#stores.store(store);
  }

  /** Ends what still runs, because the worker stops at once: it is given back. */
  abort(): void {
    for (const held of [...this.#byId.values()]) {
      if (held.settling) continue;
      if (held.slot !== undefined && this.rim.board.revoke(held.slot, held.id)) this.#settler.giveBack(held);
      else this.#cancel(held, "the worker was stopped", true);
    }
  }

  /** Resolves when nothing is held. */
  empty(): Promise<void> {
    if (this.#byId.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  get size(): number {
    return this.#byId.size;
  }

  running(): Running[] {
    return runningList([...this.#byId.values()], now());
  }

  #hold(lease: Lease, place: Place, address: TaskAddress, queue: QueueName, task: Task, message: Msg): Held {
    const headers = message.headers;
    const used = Number.parseInt(headers?.get("Mf-Attempts-Used") || "0", 10);
    this.#ids += 1;
    this.rim.totals.started += 1;
    return Object.assign(lease, {
      id: this.#ids,
      slot: this.#free.pop(),
      queue,
      address,
      task,
      used: Number.isSafeInteger(used) ? used : 0,
      sequence: place.sequence,
      trace: traceOf(headers?.get("traceparent"), headers?.get("tracestate")),
      limitMs: timeLimit(this.rim.manifest, task.deadlineMs),
      progressMs: progressLimit(this.rim.manifest, task),
      gotOn: lease.since,
      settling: false,
    });
  }

  /** Hands a task to the host; what comes in one go goes on in one go. */
  #post(held: Held, body: string): void {
    const { id, slot, queue, address, limitMs, trace } = held;
    if (slot === undefined) return;
    this.rim.board.post(slot, id);
    if (this.#batch.length === 0) setImmediate(() => this.#flush());
    this.#batch.push({ id, slot, cid: address.cid, queue, attempt: attemptOf(held), limitMs, body, trace });
  }

  #flush(): void {
    this.rim.post({ is: "tasks", tasks: this.#batch });
    this.#batch = [];
  }

  #tick(at: number): void {
    const { rim } = this;
    if (this.#byId.size > 0) this.#lastHeld = at;
    else if (at > this.#lastHeld + IDLE_MS) {
      clearInterval(this.#ticker);
      this.#ticker = undefined;
    }
    this.#leases.leaseMs = rim.leaseMs;
    for (const held of this.#leases.due(at, TICK_MS)) {
      rim.link.tell(held.reply, progress);
      if (rim.link.connected) this.#leases.told(held, at);
    }
    let blocked = false;
    for (const held of [...this.#byId.values()]) {
      if (held.settling || held.slot === undefined) continue;
      const begunAt = rim.board.begunAt(held.slot);
      if (begunAt === undefined) {
        blocked ||= at > held.since + BLOCKED_MS;
        // It had its time without having begun: whoever runs it now, this worker does not.
        if (at > held.until && rim.board.revoke(held.slot, held.id)) {
          this.#revoked.add(held.id);
          this.#end(held, false);
        }
        continue;
      }
      this.#watch(held, begunAt, at);
    }
    if (blocked) this.blocked = true;
    else this.#unblock();
  }

  #unblock(): void {
    const was = this.blocked;
    this.blocked = this.#revoked.size > 0;
    if (was && !this.blocked) this.rim.changed();
  }

  /** Ends an attempt that takes too long. */
  #watch(held: Held, begunAt: number, at: number): void {
    const end = begunAt + held.limitMs;
    held.until = end + AFTER_DEADLINE_MS;
    if (held.cancelled !== undefined) {
      if (at > held.cancelled.at + CLEAN_UP_MS) this.#endCancelled(held, at - begunAt);
      return;
    }
    // One that has ended is only not heard of yet.
    if (held.slot === undefined || !this.rim.board.isRunning(held.slot)) return;
    const gotOn = Math.max(begunAt, held.gotOn);
    if (at >= end) this.#cancel(held, `timed out after ${held.limitMs} ms`, false);
    else if (held.progressMs !== undefined && at >= gotOn + held.progressMs) {
      this.#cancel(held, `timed out: no progress for ${held.progressMs} ms`, false);
    }
  }

  #cancel(held: Held, why: string, stop: boolean): void {
    held.cancelled = { at: now(), why, stop };
    this.rim.post({ is: "cancel", id: held.id, why });
  }

  /** The handler does not heed it: whatever it says now, it had its time. */
  #endCancelled(held: Held, tookMs: number): void {
    if (held.cancelled?.stop === true) return this.#settler.giveBack(held);
    this.rim.totals.busyMs += tookMs;
    this.#settler.settle({ held, tookMs, trace: held.trace }, failed(held.cancelled?.why ?? "timed out"));
  }

  #end(held: Held, settled: boolean): void {
    if (settled) this.#leases.remember(held);
    this.#leases.end(held);
    this.#byId.delete(held.id);
    if (held.slot !== undefined) this.#free.push(held.slot);
    this.release(held.queue);
    if (this.#byId.size > 0) return;
    this.#unblock();
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}

/** PURE. The headers of a trace, as far as they are there. */
function traceOf(traceparent: string | undefined, tracestate: string | undefined): TraceHeaders {
  return { ...(traceparent ? { traceparent } : {}), ...(tracestate ? { tracestate } : {}) };
}
