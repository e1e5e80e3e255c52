/**
 * Pulls the tasks of both queues for one set of places.
 *
 * `share.ts` says what to ask for; here the requests are sent, answers counted, and silence noticed.
 *
 * A request that nobody has ended in time may still be answered: a broker that stalls reads it later, and every other one.
 * So its places stay promised until the broker has answered a ping, and if it is not ended then, until the broker has
 * confirmed that it knows the inbox no more. What the inbox brings until then is taken.
 */
import type { Msg } from "@nats-io/nats-core";

import { now, within } from "./clock.js";
import { parsePlace } from "./delivery.js";
import { Line } from "./line.js";
import type { Link } from "./link.js";
import type { Logger } from "./log.js";
import { QUEUES, type Names, type QueueName } from "./names.js";
import { freePlaces, newSide, noteTurns, plan, type Policy, type Sides } from "./share.js";

/** How often overdue requests are looked for. */
const TICK_MS = 500;
/** Without a task for so long, requests may wait longer. */
const QUIET_AFTER_MS = 10_000;
/** How long deliveries on their way are waited for when pulling ends. */
const LAST_ANSWERS_MS = 500;

export interface PullerOptions {
  readonly names: Names;
  readonly plugin: string;
  readonly home: QueueName;
  readonly policy: Policy;
  /** Whether to pull at the moment, and for how many places. */
  readonly gate: () => { readonly pulling: boolean; readonly places: number };
  /** Takes a delivery, which holds a place of its queue until `release`. */
  readonly deliver: (message: Msg, queue: QueueName) => void;
  /** Told when a consumer seems to be gone. */
  readonly lost: () => void;
}

export class Puller {
  readonly #sides: Sides = { fast: newSide(), background: newSide() };
  readonly #lines: Record<QueueName, Line>;
  readonly #tick: NodeJS.Timeout;
  /** Queues whose requests may be lost: the broker was pinged. */
  readonly #doubting = new Set<QueueName>();
  #lane: string;
  #home: QueueName;
  #tokens = 0;
  #wake: { readonly at: number; readonly timer: NodeJS.Timeout } | undefined;
  #stopped = false;

  constructor(
    private readonly link: Link,
    private readonly log: Logger,
    private readonly options: PullerOptions,
    lane: string,
  ) {
    this.#lane = lane;
    this.#home = options.home;
    const open = (queue: QueueName): Line =>
      new Line(queue, this.#consumer(queue), link, (line, message) => this.#onAnswer(line, message), now());
    this.#lines = { fast: open("fast"), background: open("background") };
    this.#tick = setInterval(() => this.#sweep(), TICK_MS);
    this.ask();
  }

  /** Looks soon what to ask for; many calls in one turn of the loop are one look. */
  ask(): void {
    if (!this.#stopped) this.link.soon(this.#askNow);
  }

  /** Gives the place of a delivery back. */
  release(queue: QueueName): void {
    const side = this.#sides[queue];
    side.held = Math.max(0, side.held - 1);
    this.ask();
  }

  /** Goes over to the tasks of another lane; what is still on its way is delivered. */
  moveTo(lane: string): void {
    if (lane === this.#lane) return;
    this.#lane = lane;
    for (const queue of QUEUES) this.#lines[queue].next = this.#consumer(queue);
    this.startAnew();
  }

  /** Asks again with fresh inboxes: after a reconnect the server may have forgotten who was waiting. */
  startAnew(): void {
    if (this.#stopped) return;
    for (const queue of QUEUES) {
      this.#lines[queue].accepted();
      if (this.#lines[queue].isOpen) void this.#renew(queue);
    }
  }

  /** Takes a fresh inbox when nothing more can come on the old one. */
  async #renew(queue: QueueName): Promise<void> {
    const line = this.#lines[queue];
    await line.close();
    if (this.#stopped || this.link.nc.isClosed()) return;
    line.open(now());
    this.#sides[queue].promised = 0;
    this.#sides[queue].waiting = 0;
    this.ask();
  }

  /** Has the broker say that it is there; what it has not ended even then is asked anew. */
  async #doubt(queue: QueueName): Promise<void> {
    if (this.#doubting.has(queue)) return;
    this.#doubting.add(queue);
    // Without the connection there is no answer, and the next one begins anew.
    const answered = await this.link.flush().then(() => true, () => false);
    this.#doubting.delete(queue);
    const line = this.#lines[queue];
    if (!answered || this.#stopped || !line.isOpen || !this.#inDoubt(queue)) return this.ask();
    this.log.warn("the broker forgot a pull request, asking again", { queue });
    await this.#renew(queue);
  }

  #inDoubt(queue: QueueName): boolean {
    const line = this.#lines[queue];
    return line.isSilent(now()) || line.isOverdue(now(), this.#sides[queue].promised);
  }

  /** Asks no more; ends when what was on its way has been delivered. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#tick);
    clearTimeout(this.#wake?.timer);
    // Without a connection nothing more will come, and nothing would end the wait.
    await within(LAST_ANSWERS_MS, Promise.all(QUEUES.map((queue) => this.#lines[queue].close())), undefined);
  }

  #consumer(queue: QueueName): string {
    const { names, plugin } = this.options;
    return names.pull(names.consumer(plugin, this.#lane, queue));
  }

  /** Sends what the plan says. */
  readonly #askNow = (): void => {
    if (this.#stopped) return;
    const at = now();
    const { pulling, places } = this.options.gate();
    if (!pulling || !this.link.connected) return;
    for (const queue of QUEUES) this.#sides[queue].due = this.#lines[queue].nextLook <= at;
    const quiet = QUEUES.every((queue) => at > this.#lines[queue].last + QUIET_AFTER_MS);
    const asks = plan(this.options.policy, places, this.#home, this.#sides);
    noteTurns(this.#sides, asks);
    for (const ask of asks) {
      const line = this.#lines[ask.queue];
      if (line.notBefore > at || !line.isOpen || this.#doubting.has(ask.queue)) continue;
      this.#tokens += 1;
      line.send(ask, this.#tokens, quiet, at);
      this.#sides[ask.queue].promised += ask.batch;
    }
    if (freePlaces(places, this.#sides) > 0) this.#wakeUp(at);
  };

  /** Looks again when a queue is due or no longer refused, as far as that is before the next tick. */
  #wakeUp(at: number): void {
    const times = QUEUES.flatMap((queue) => [this.#lines[queue].nextLook, this.#lines[queue].notBefore]);
    const next = Math.min(...times.filter((time) => time > at));
    if (next > at + TICK_MS || (this.#wake !== undefined && this.#wake.at <= next)) return;
    clearTimeout(this.#wake?.timer);
    const timer = setTimeout(() => {
      this.#wake = undefined;
      this.ask();
    }, next - at);
    this.#wake = { at: next, timer };
  }

  #onAnswer(line: Line, message: Msg): void {
    const at = now();
    const side = this.#sides[line.queue];
    line.heard(at);
    const code = message.subject.startsWith("_INBOX.") ? (message.headers?.code ?? 0) : 0;
    const place = code === 0 ? parsePlace(message.reply ?? "") : undefined;
    if (place !== undefined) {
      side.promised = Math.max(0, side.promised - 1);
      if (side.promised === 0) line.allAnswered();
      line.foundSomething(at);
      side.waiting = place.pending;
      side.held += 1;
      this.#home = line.queue;
      this.options.deliver(message, line.queue);
    } else if (code !== 100 && code !== 0) {
      this.#onStatus(line, message, code, at);
    }
    this.ask();
  }

  #onStatus(line: Line, message: Msg, code: number, at: number): void {
    const side = this.#sides[line.queue];
    const over = line.over(message);
    side.promised = Math.max(0, side.promised - (over?.left ?? 0));
    side.waiting = 0;
    if (code === 404 || code === 408) {
      line.accepted();
      if (over?.look === true) line.foundNothing(at);
      return;
    }
    const why = message.headers?.description ?? "";
    this.log.debug("the broker refused a pull request", { queue: line.queue, status: code, why });
    line.refused(at);
    if (code === 503 || why.includes("Deleted")) this.options.lost();
  }

  /** Looks for requests that nobody has ended in time, and for what has gone silent. */
  #sweep(): void {
    for (const queue of QUEUES) {
      if (this.link.connected && this.#lines[queue].isOpen && this.#inDoubt(queue)) void this.#doubt(queue);
    }
    this.ask();
  }
}
