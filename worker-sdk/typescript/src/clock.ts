/** PURE but for the clocks. Times that hold in every thread of this process. */
import { performance } from "node:perf_hooks";

const ORIGIN = performance.timeOrigin;

/** Milliseconds that only ever rise, on a scale that all threads of this process share. */
export const now = (): number => ORIGIN + performance.now();

let lastMs = 0;
let lastText = "";

/** The time of the day as messages carry it. */
export function timestamp(): string {
  const ms = Date.now();
  if (ms !== lastMs) {
    lastMs = ms;
    lastText = new Date(ms).toISOString();
  }
  return lastText;
}

/** Resolves after `ms`, or at once when `signal` is aborted; never rejects. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done, { once: true });
  });
}

/** Growing pauses with some chance in them, in milliseconds, without end. */
export function* pauses(first: number, longest: number): Generator<number, never> {
  for (let ms = first; ; ms = Math.min(longest, ms * 2)) yield ms * (0.75 + Math.random() / 2);
}

/** What came first: the promise, or `ms` (then `late`). */
export async function within<T, L>(ms: number, promise: Promise<T>, late: L): Promise<T | L> {
  const over = new AbortController();
  try {
    return await Promise.race([promise, pause(ms, over.signal).then(() => late)]);
  } finally {
    over.abort();
  }
}
