/**
 * PURE but for the time it is told. The deliveries that this instance holds.
 *
 * The broker lends a delivery for the length of the lease; unless it is renewed the task goes to another
 * worker. Renewal ends when the task has had its time ({@link Lease.until}): a handler that hangs for
 * ever must lose the task. The broker may deliver a task again that still runs here; the running attempt
 * then answers to the newest delivery. One that was settled here a moment ago is answered once more.
 */
import type { Place } from "./delivery.js";

/** Settled tasks that are remembered: some seconds' worth for a busy worker. */
const REMEMBERED = 16_384;

/** What every held delivery has; times are milliseconds of one clock. */
export interface Lease {
  readonly subject: string;
  readonly message: string;
  readonly since: number;
  reply: string;
  delivered: number;
  renewedAt: number;
  /** Until when it is surely ours; stays where it is once that has passed, for somebody else may have the task then. */
  sure: number;
  until: number;
}

/** What is to be done with a delivery: run it, nothing because it runs, or answer once more. */
export type Begun<T> = { readonly is: "new"; readonly held: T } | { readonly is: "running" } | { readonly is: "settled" };

export class Leases<T extends Lease> {
  /** How long a lease is; the coordinator says so. */
  leaseMs = 3000;
  readonly #held = new Map<string, T>();
  /** What was settled last, and what was before that. */
  #settled = new Set<string>();
  #earlier = new Set<string>();

  /** Begins to hold a delivery, which `make` builds; an attempt that has had its time does not count as running. */
  begin(subject: string, reply: string, place: Place, now: number, make: (lease: Lease) => T, until: number): Begun<T> {
    const message = `${place.sequence} ${place.storedAt}`;
    if (this.#settled.has(message) || this.#earlier.has(message)) return { is: "settled" };
    const running = this.#held.get(subject);
    if (running !== undefined && running.message === message && running.until > now) {
      running.reply = reply;
      running.delivered = place.delivered;
      running.renewedAt = now;
      running.sure = now + this.#surelyMs;
      return { is: "running" };
    }
    const sure = now + this.#surelyMs;
    const lease = { subject, message, since: now, reply, delivered: place.delivered, renewedAt: now, sure, until };
    const held = make(lease);
    this.#held.set(subject, held);
    return { is: "new", held };
  }

  /** Remembers that a delivery was settled. */
  remember(held: T): void {
    this.#settled.add(held.message);
    if (this.#settled.size < REMEMBERED / 2) return;
    this.#earlier = this.#settled;
    this.#settled = new Set();
  }

  /** Ends the renewal; a later delivery that took its place is left alone. */
  end(held: T): void {
    if (this.#held.get(held.subject) === held) this.#held.delete(held.subject);
  }

  /** The leases that would be renewed too late at the next look, in `tickMs`; they count as renewed. */
  due(now: number, tickMs: number): T[] {
    const due: T[] = [];
    for (const held of this.#held.values()) {
      if (held.until <= now || held.renewedAt + this.leaseMs / 3 > now + tickMs) continue;
      held.renewedAt = now;
      due.push(held);
    }
    return due;
  }

  /** The broker hears now that a lease is renewed. */
  told(held: T, now: number): void {
    if (held.sure > now) held.sure = now + this.#surelyMs;
  }

  /** For how long a lease holds for sure once it was begun or renewed: less what the way takes. */
  get #surelyMs(): number {
    return (this.leaseMs * 7) / 8;
  }

  get size(): number {
    return this.#held.size;
  }

  /** For tests: how many settled ones are remembered. */
  get remembered(): number {
    return this.#settled.size + this.#earlier.size;
  }
}
