/**
 * What the two halves of a worker say to each other: the broker's thread, which speaks the protocol, and
 * the host, which runs the plugin's code. A host that is blocked says nothing; what must be known of it
 * all the same stands on the {@link Board} that both share.
 */
import type { Artifact } from "./artifact.js";
import type { FilesOffer, WorkerOptions } from "./environment.js";
import type { QueueName } from "./names.js";
import type { Ended } from "./outcome.js";
import type { JsonValue, Manifest } from "./wire.js";

export type Settings = Readonly<Record<string, JsonValue>>;

/** The headers of a trace, copied from the task to what is published about it. */
export interface TraceHeaders {
  readonly traceparent?: string;
  readonly tracestate?: string;
}

/** One attempt that the host is to run. */
export interface Posted {
  readonly id: number;
  readonly slot: number;
  readonly cid: string;
  readonly queue: QueueName;
  readonly attempt: number;
  readonly limitMs: number;
  /** The task as it came. */
  readonly body: string;
  readonly trace?: TraceHeaders;
}

/** What came of it; with headers of its own where the host makes spans. */
export interface Done {
  readonly id: number;
  readonly ended: Ended;
  readonly tookMs: number;
  readonly trace?: TraceHeaders;
}

export type Question =
  | { readonly what: "configure"; readonly settings: Settings }
  | { readonly what: "health" }
  | { readonly what: "pause" }
  | { readonly what: "resume" }
  | { readonly what: "stop" };

export type ToHost =
  | { readonly is: "tasks"; readonly tasks: readonly Posted[] }
  | { readonly is: "cancel"; readonly id: number; readonly why: string }
  | { readonly is: "ask"; readonly n: number; readonly question: Question }
  | { readonly is: "files"; readonly offer: FilesOffer | undefined }
  | { readonly is: "stored"; readonly n: number; readonly error?: string; readonly permanent?: boolean }
  | { readonly is: "over"; readonly code: number; readonly error?: string };

/** What a handler has the broker store while it runs. */
export type ToStore =
  | { readonly kind: "submission"; readonly body: string }
  | { readonly kind: "artifact"; readonly artifact: Artifact; readonly bytes: Uint8Array };

export type ToBroker =
  | { readonly is: "done"; readonly done: readonly Done[] }
  | { readonly is: "progress"; readonly id: number; readonly fraction: number; readonly note: string }
  | { readonly is: "store"; readonly n: number; readonly id: number; readonly what: ToStore; readonly trace?: TraceHeaders }
  | { readonly is: "answer"; readonly n: number; readonly error?: string }
  | { readonly is: "fetched"; readonly bytes: number }
  | { readonly is: "drain" }
  | { readonly is: "abort" };

/** What the broker's thread is started with. */
export interface ThreadData {
  readonly options: WorkerOptions;
  readonly manifest: Manifest;
  readonly instance: string;
  readonly sdk: string;
  /** Whether the plugin has a health check of its own. */
  readonly checksHealth: boolean;
  readonly board: SharedArrayBuffer;
}

/** What a thread that runs handlers is started with, see `pool.ts`. */
export interface HandlerData {
  readonly metafleetHandler: true;
  /** Begins the names of folders with copies in this process. */
  readonly copies: string;
  readonly instance: string;
  readonly board: SharedArrayBuffer;
  readonly settings: Settings | undefined;
  readonly offer: FilesOffer | undefined;
}

/** States of a slot of the board. */
const POSTED = 0;
const BEGUN = 1;
const ENDED = 2;
const REVOKED = 3;

/** The state of a slot, and whose it is: an attempt that was taken back must not begin as the one that has its slot now. */
const word = (id: number, state: number): number => (id << 2) | state;

/** Which of the posted attempts have begun and ended: one slot for each place. */
export class Board {
  readonly #states: Int32Array;
  readonly #begunAt: Float64Array;

  constructor(readonly memory: SharedArrayBuffer) {
    const slots = memory.byteLength / 16;
    this.#begunAt = new Float64Array(memory, 0, slots);
    this.#states = new Int32Array(memory, slots * 8, slots);
  }

  static sized(slots: number): Board {
    return new Board(new SharedArrayBuffer(slots * 16));
  }

  /** The broker's thread hands an attempt over. */
  post(slot: number, id: number): void {
    Atomics.store(this.#states, slot, word(id, POSTED));
  }

  /** The host begins an attempt; false if it was taken back. */
  begin(slot: number, id: number, at: number): boolean {
    const posted = word(id, POSTED);
    if (Atomics.load(this.#states, slot) !== posted) return false;
    this.#begunAt[slot] = at;
    return Atomics.compareExchange(this.#states, slot, posted, word(id, BEGUN)) === posted;
  }

  /** The host is through with it. */
  end(slot: number, id: number): void {
    Atomics.compareExchange(this.#states, slot, word(id, BEGUN), word(id, ENDED));
  }

  /** The broker's thread takes an attempt back that has not begun; false if it has. */
  revoke(slot: number, id: number): boolean {
    return Atomics.compareExchange(this.#states, slot, word(id, POSTED), word(id, REVOKED)) === word(id, POSTED);
  }

  /** When the attempt began; nothing while it has not. */
  begunAt(slot: number): number | undefined {
    return (Atomics.load(this.#states, slot) & 3) === POSTED ? undefined : this.#begunAt[slot];
  }

  isRunning(slot: number): boolean {
    return (Atomics.load(this.#states, slot) & 3) === BEGUN;
  }
}
