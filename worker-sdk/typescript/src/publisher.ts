/** Publishes what must not be lost: waits for the stream's answer, and tries again until it has it. */
import { randomUUID } from "node:crypto";

import { headers as newHeaders } from "@nats-io/nats-core";
import type { Msg, Subscription } from "@nats-io/nats-core";

import { now, pause, pauses } from "./clock.js";
import type { Link } from "./link.js";
import type { Logger } from "./log.js";

/** How long the stream may take to answer. */
const ANSWER_MS = 5000;
const SWEEP_MS = 250;
/** In the ids of messages: whoever could guess one could have the message taken for a repetition. */
export const SECRET = randomUUID();
const WRONG_LAST_SEQUENCE = 10071;
/** What headers take beside their names and values: their first line and their end, and the rest of each line. */
const HEADER_HEAD = "NATS/1.0\r\n\r\n".length;
const PER_HEADER = ": \r\n".length;

export type Stored =
  | { readonly is: "stored" }
  /** Somebody else has written this record since the task was made. */
  | { readonly is: "superseded" }
  | { readonly is: "too large"; readonly bytes: number; readonly limit: number }
  /** Trying again can help; `perhaps` it is stored all the same. */
  | { readonly is: "unsure"; readonly error: string; readonly perhaps: boolean };

type Unsure = Extract<Stored, { is: "unsure" }>;

export interface Message {
  readonly subject: string;
  readonly body: string | Uint8Array;
  readonly headers: Readonly<Record<string, string | undefined>>;
}

export class Publisher {
  /** The largest message that the coordinator allows. */
  maxPayload = 1 << 20;
  readonly #pending = new Map<number, { readonly end: number; readonly done: (stored: Stored) => void }>();
  readonly #inbox: string;
  readonly #answers: Subscription;
  readonly #sweep: NodeJS.Timeout;
  #last = 0;

  constructor(
    private readonly link: Link,
    private readonly log: Logger,
  ) {
    this.#inbox = `_INBOX.${crypto.randomUUID().replaceAll("-", "")}`;
    this.#answers = link.nc.subscribe(`${this.#inbox}.*`, { callback: (_error, message) => this.#onAnswer(message) });
    this.#sweep = setInterval(() => this.#giveUp(now()), SWEEP_MS);
  }

  /** Publishes once; `done` is called exactly once. */
  publish(message: Message, done: (stored: Stored) => void): void {
    const body = typeof message.body === "string" ? Buffer.from(message.body, "utf8") : message.body;
    const headers = newHeaders();
    let bytes = body.length + HEADER_HEAD;
    for (const key in message.headers) {
      const value = message.headers[key];
      if (value === undefined) continue;
      headers.append(key, value);
      bytes += key.length + Buffer.byteLength(value) + PER_HEADER;
    }
    const limit = Math.min(this.maxPayload, this.link.nc.info?.max_payload ?? Number.POSITIVE_INFINITY);
    if (bytes > limit) return done({ is: "too large", bytes, limit });
    this.#last += 1;
    const token = this.#last;
    this.#pending.set(token, { end: now() + ANSWER_MS, done });
    this.link.tell(message.subject, body, { headers, reply: `${this.#inbox}.${token}` });
  }

  /** Publishes until it is stored, refused for good, or no longer `worth` it; waits while the broker is away. */
  firmly(message: Message, worth: () => boolean, done: (stored: Stored) => void): void {
    if (!this.link.connected) return void this.#again(message, worth, { is: "unsure", error: "the broker is away", perhaps: false }).then(done);
    this.publish(message, (stored) => {
      if (stored.is !== "unsure") done(stored);
      else void this.#again(message, worth, stored).then(done);
    });
  }

  async close(): Promise<void> {
    clearInterval(this.#sweep);
    this.#giveUp(Number.POSITIVE_INFINITY);
    if (!this.link.nc.isClosed()) this.#answers.unsubscribe();
    await Promise.resolve();
  }

  async #again(message: Message, worth: () => boolean, first: Unsure): Promise<Stored> {
    const isOver = (): boolean => !worth() || this.link.nc.isClosed();
    let { error, perhaps } = first;
    for (const wait of pauses(200, 5000)) {
      if (isOver()) break;
      this.log.debug("not stored yet, trying again", { subject: message.subject, error });
      await pause(wait);
      await this.link.whenConnected();
      if (isOver()) break;
      const stored = await new Promise<Stored>((resolve) => this.publish(message, resolve));
      // The fence is most likely that of the earlier try, whose answer was lost.
      if (stored.is === "superseded" && perhaps) return { is: "stored" };
      if (stored.is !== "unsure") return stored;
      error = stored.error;
      perhaps ||= stored.perhaps;
    }
    return { is: "unsure", error, perhaps };
  }

  #onAnswer(message: Msg): void {
    const token = Number(message.subject.slice(this.#inbox.length + 1));
    const pending = this.#pending.get(token);
    if (pending === undefined) return;
    this.#pending.delete(token);
    pending.done(readAnswer(message.string(), message.headers?.code ?? 0));
  }

  #giveUp(at: number): void {
    for (const [token, { end, done }] of this.#pending) {
      if (end > at) continue;
      this.#pending.delete(token);
      done({ is: "unsure", error: `no answer within ${ANSWER_MS} ms`, perhaps: true });
    }
  }
}

/** PURE. What a stream says to a publish, see section 24 of PROTOCOL.md. */
export function readAnswer(text: string, code: number): Stored {
  if (code === 503) return { is: "unsure", error: "no stream takes it at the moment", perhaps: false };
  if (text.startsWith('{"stream":') && !text.includes('"error"')) return { is: "stored" };
  try {
    const { error, seq } = JSON.parse(text) as { error?: { err_code?: number; description?: string }; seq?: number };
    if (error?.err_code === WRONG_LAST_SEQUENCE) return { is: "superseded" };
    if (error !== undefined) return { is: "unsure", error: error.description ?? "the stream refuses", perhaps: false };
    if (typeof seq === "number") return { is: "stored" };
  } catch {
    // Said below.
  }
  return { is: "unsure", error: "the answer makes no sense", perhaps: true };
}
