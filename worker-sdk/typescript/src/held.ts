/** One delivery in the hands of this instance. */
import type { TraceHeaders } from "./bridge.js";
import type { Lease } from "./lease.js";
import type { QueueName, TaskAddress } from "./names.js";
import type { Running, Task } from "./wire.js";

/** Most tasks that a sign of life lists. */
const LISTED = 16;

export interface Held extends Lease {
  readonly id: number;
  /** Its place on the board; none where it was never to run. */
  readonly slot: number | undefined;
  readonly queue: QueueName;
  readonly address: TaskAddress;
  readonly task: Task;
  /** Attempts that were used up before the task was published. */
  readonly used: number;
  /** Sequence of the task in its stream. */
  readonly sequence: number;
  readonly trace: TraceHeaders;
  readonly limitMs: number;
  readonly progressMs: number | undefined;
  /** When progress was reported last. */
  gotOn: number;
  fraction?: number;
  settling: boolean;
  /** Why and when it was told to end. */
  cancelled?: { readonly at: number; readonly why: string; readonly stop: boolean };
}

/** Number of this attempt, from 1: deliveries, and what was used up before a deferral. */
export const attemptOf = (held: Held): number => Math.max(1, held.delivered + held.used);

/** PURE. What runs, oldest first as far as listed. */
export function runningList(all: readonly Held[], now: number): Running[] {
  const oldest = all.filter((held) => held.slot !== undefined).sort((a, b) => a.since - b.since).slice(0, LISTED);
  return oldest.map(({ task, address, since, fraction }) => ({
    taskId: task.taskId,
    cid: address.cid,
    forMs: Math.max(0, Math.round(now - since)),
    ...(fraction === undefined ? {} : { fraction }),
  }));
}
