/** PURE. What follows from a failed attempt, see sections 10 and 13 of PROTOCOL.md. */
import type { RetryPolicy } from "./wire.js";

/** Longer delays wait in the broker's scheduler and hold no delivery. */
export const LONGEST_NAK_MS = 60_000;

export type Verdict =
  | { readonly what: "retry"; readonly delayMs: number }
  | { readonly what: "defer"; readonly delayMs: number }
  | { readonly what: "give up" };

/** Decides for the failed attempt number `attempt`, counted from 1. */
export function verdict(retry: RetryPolicy, attempt: number, permanent: boolean): Verdict {
  if (permanent || isLast(retry, attempt)) return { what: "give up" };
  const delayMs = delayAfter(retry, attempt);
  return { what: delayMs > LONGEST_NAK_MS ? "defer" : "retry", delayMs };
}

/** Whether there is no further attempt after this one. */
export function isLast(retry: RetryPolicy, attempt: number): boolean {
  return attempt >= retry.maxAttempts;
}

/** How long to wait after failed attempt number `attempt`; never nothing. */
export function delayAfter(retry: RetryPolicy, attempt: number): number {
  const delay = retry.delaysMs[attempt - 1] ?? retry.delaysMs.at(-1) ?? 1000;
  return Math.max(1, delay);
}
