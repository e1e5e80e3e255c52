/**
 * PURE. Which queue the next tasks are pulled from: fast first, background never starved.
 *
 * A place is *held* by a task that runs, *promised* to a pull request that may still be answered, or
 * *free*; held + promised + free never exceeds the places of the instance, so no more is ever
 * delivered than can run.
 */
import type { QueueName } from "./names.js";

export type Policy = "share" | "strict";

/** Of how many turns, and of how many places, one is for the background queue. */
const BACKGROUND_SHARE = 4;

/** What is known of one queue. */
export interface Side {
  /** Tasks that wait, as of the last delivery; 0 after a pull found nothing. */
  waiting: number;
  held: number;
  promised: number;
  /** Turns it got while both queues had tasks waiting. */
  turns: number;
  /** Whether it may be asked again although it was found empty. */
  due: boolean;
}

export type Sides = Record<QueueName, Side>;

/** How long a pull request waits; `turn`: it is the only place, and the other queue is to get its turn. */
export type Wait = "no" | "turn" | "short" | "long";

/** One pull request to send. */
export interface Ask {
  readonly queue: QueueName;
  readonly batch: number;
  readonly wait: Wait;
}

export const newSide = (): Side => ({ waiting: 0, held: 0, promised: 0, turns: 0, due: false });

/** Places that nobody holds and that are promised to no request. */
export function freePlaces(places: number, { fast, background }: Sides): number {
  return Math.max(0, places - fast.held - fast.promised - background.held - background.promised);
}

/** Splits `free` of `places` between two queues that both have tasks waiting. */
export function split(policy: Policy, free: number, places: number, sides: Sides): Record<QueueName, number> {
  if (policy === "strict") return { fast: free, background: 0 };
  const { fast, background: side } = sides;
  const due = Math.floor((fast.turns + side.turns + free) / BACKGROUND_SHARE) - side.turns;
  // Background tasks may be long: by turns alone they would come to hold every place.
  const most = Math.max(1, Math.floor(places / BACKGROUND_SHARE));
  const room = most - side.held - side.promised;
  const background = Math.max(0, Math.min(due, room, free));
  return { fast: free - background, background };
}

/** Lists the pull requests to send now; `home` is where an idle instance waits with more than one place. */
export function plan(policy: Policy, places: number, home: QueueName, sides: Sides): Ask[] {
  const free = freePlaces(places, sides);
  if (free === 0) return [];
  const fast = isBusy(sides.fast);
  const background = isBusy(sides.background);
  if (fast && background) {
    const wanted = split(policy, free, places, sides);
    return [...grab("fast", wanted.fast, places, sides), ...grab("background", wanted.background, places, sides)];
  }
  if (fast) return oneBusy("fast", free, places, sides);
  if (background) return oneBusy("background", free, places, sides);
  return idle(home, free, places, sides);
}

/** Counts the turns that `asks` give; a queue that was alone for a while has no claim from that. */
export function noteTurns(sides: Sides, asks: readonly Ask[]): void {
  const contested = isBusy(sides.fast) && isBusy(sides.background);
  for (const queue of ["fast", "background"] as const) {
    const given = asks.reduce((sum, ask) => sum + (ask.queue === queue ? ask.batch : 0), 0);
    sides[queue].turns = contested ? sides[queue].turns + given : 0;
  }
}

const isBusy = (side: Side): boolean => side.waiting > side.promised;
const other = (queue: QueueName): QueueName => (queue === "fast" ? "background" : "fast");

/** Everything for the busy queue, after a look at the other one when that is due. */
function oneBusy(busy: QueueName, free: number, places: number, sides: Sides): Ask[] {
  const away = sides[other(busy)];
  const look: Ask[] = away.due && away.promised === 0 ? [{ queue: other(busy), batch: 1, wait: "no" }] : [];
  return [...look, ...grab(busy, free - look.length, places, sides)];
}

/**
 * A request for one more place is put off while an earlier one is unanswered, until a fourth of all
 * places are free: under load one request fetches many tasks.
 */
function grab(queue: QueueName, wanted: number, places: number, sides: Sides): Ask[] {
  const side = sides[queue];
  const batch = Math.min(wanted, Math.max(0, side.waiting - side.promised));
  const worthIt = side.promised === 0 || batch >= Math.max(1, Math.floor(places / 4));
  return batch > 0 && worthIt ? [{ queue, batch, wait: "no" }] : [];
}

/** Nothing is known to wait: a request waits at both queues, so that the next task begins at once. */
function idle(home: QueueName, free: number, places: number, sides: Sides): Ask[] {
  const away = other(home);
  if (places === 1) {
    return [sides[away].due ? { queue: away, batch: 1, wait: "no" } : { queue: home, batch: 1, wait: "turn" }];
  }
  const asks: Ask[] = [];
  const wanted = Math.max(1, Math.floor(places / 4));
  const { promised } = sides[home];
  let left = free;
  if (promised * 2 <= wanted - 1) {
    const batch = Math.min(wanted - promised, left);
    left -= batch;
    asks.push({ queue: home, batch, wait: "long" });
  }
  if (left > 0 && sides[away].promised === 0) asks.push({ queue: away, batch: 1, wait: "short" });
  return asks;
}
