/** What a handler says about a task. */
import type { JsonValue } from "./wire.js";

/** A value of metadata as a handler may write it; `undefined` is left out, sets without members, too. */
export type MetaInput =
  | JsonValue
  | bigint
  | ReadonlySet<string>
  | readonly string[]
  | { readonly [key: string]: unknown }
  | undefined;

/** Metadata, key to value; it replaces what the plugin wrote about the file before. */
export type MetaInputs = Readonly<Record<string, MetaInput>>;

/** A path: text, or the exact bytes of one that is not UTF-8. */
export type PathInput = string | Buffer;

export type Outcome =
  | { readonly outcome: "completed"; readonly meta: MetaInputs }
  | { readonly outcome: "skipped"; readonly reason: string }
  | { readonly outcome: "retryLater"; readonly afterMs: number; readonly reason: string }
  | { readonly outcome: "forward"; readonly file: PathInput; readonly meta?: MetaInputs }
  | { readonly outcome: "forward"; readonly plugin: string; readonly meta?: MetaInputs };

/** The metadata of this file; numbers and booleans become text, as the protocol wants it. */
export const completed = (meta: MetaInputs = {}): Outcome => ({ outcome: "completed", meta });

/** Nothing to say about this file. */
export const skipped = (reason: string): Outcome => ({ outcome: "skipped", reason });

/** Not now: an outside service asks to wait. Costs no attempt. */
export const retryLater = (afterMs: number, reason: string): Outcome => ({ outcome: "retryLater", afterMs, reason });

/** The work goes on with another file, e.g. one that the plugin has just written. */
export const forwardFile = (file: PathInput, meta?: MetaInputs): Outcome =>
  meta === undefined ? { outcome: "forward", file } : { outcome: "forward", file, meta };

/** The work goes on with another plugin, whose filter still applies. */
export const forwardPlugin = (plugin: string, meta?: MetaInputs): Outcome =>
  meta === undefined ? { outcome: "forward", plugin } : { outcome: "forward", plugin, meta };

/** Thrown: the same call may succeed later. Every error that is no {@link PermanentError} counts as this. */
export class RetryableError extends Error {
  override name = "RetryableError";
}

/** Thrown: trying again cannot help. The task becomes a dead letter for a person. */
export class PermanentError extends Error {
  override name = "PermanentError";
}

/** What came of a handler, checked, as it crosses to the part that speaks to the broker. */
export type Ended =
  /** `meta` is JSON already. */
  | { readonly is: "completed"; readonly meta: string }
  | { readonly is: "skipped"; readonly reason: string }
  | { readonly is: "later"; readonly afterMs: number; readonly reason: string }
  | { readonly is: "forward"; readonly submission: string; readonly reason: string; readonly meta: string }
  | { readonly is: "failed"; readonly error: string; readonly permanent: boolean };

export const failed = (error: string, permanent = false): Ended => ({ is: "failed", error, permanent });
