/** What all parts of the broker's thread share. */
import type { Board, Question, Settings, ThreadData, ToHost } from "./bridge.js";
import type { FilesOffer } from "./environment.js";
import type { Link } from "./link.js";
import type { Logger } from "./log.js";
import { Mask } from "./mask.js";
import type { Names } from "./names.js";
import type { Publisher } from "./publisher.js";
import type { Standing } from "./standing.js";
import type { Totals } from "./wire.js";

/** What is said for a plugin that does not answer in time. */
export const LATE = "the plugin does not answer";

/** What was done since the start; `fetchedBytes` came over HTTP. */
export type Counts = { -readonly [K in keyof Required<Totals>]: number } & { fetchedBytes: number };

export const newCounts = (): Counts => ({
  started: 0, completed: 0, skipped: 0, failed: 0, retried: 0, deferred: 0, superseded: 0, busyMs: 0, fetchedBytes: 0,
});

/** A text for people without the secrets among the settings. */
export const hide = (rim: Rim, text: string): string => Mask.of(rim.manifest.configSchema, rim.settings ?? {}).text(text);

export interface Rim extends Omit<ThreadData, "board"> {
  readonly plugin: string;
  readonly version: string;
  readonly names: Names;
  readonly log: Logger;
  readonly link: Link;
  readonly publisher: Publisher;
  readonly board: Board;
  readonly standing: Standing;
  readonly totals: Counts;
  readonly startedAt: string;
  settings: Settings | undefined;
  files: FilesOffer | undefined;
  leaseMs: number;
  heartbeatMs: number;
  /** Says something to the host. */
  readonly post: (message: ToHost) => void;
  /** Lets the plugin do something; says what went wrong, or nothing. */
  readonly ask: (question: Question, withinMs: number) => Promise<string | undefined>;
  /** The standing has changed. */
  readonly changed: () => void;
  /** There is reason to announce again. */
  readonly announce: () => void;
  readonly drain: () => void;
}
