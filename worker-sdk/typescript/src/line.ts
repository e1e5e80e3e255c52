/** The requests to one queue's consumer: what was sent, what may still be answered. */
import type { Msg, Subscription } from "@nats-io/nats-core";

import type { Link } from "./link.js";
import type { QueueName } from "./names.js";
import type { Ask } from "./share.js";

/** How long a request waits, by kind: a place that is promised to one queue cannot serve the other. */
const LONG_MS = 2000;
const SHORT_MS = 500;
/** How long a request waits when nothing has come for a while. */
const QUIET_MS = 5000;
/** How often the server says that a quiet request still waits; two in a row must not be missed. */
const HEARTBEAT_MS = 1500;
/** After this much more than its time a request is over, answered or not. */
const MARGIN_MS = 2000;
/** Pause before an empty queue is looked at again, and after the server refused; they double. */
const LOOK_MS = { first: 20, longest: 500 };
const REFUSED_MS = { first: 100, longest: 5000 };

/** A request that may still be answered. */
interface Sent {
  readonly token: number;
  readonly batch: number;
  readonly over: number;
  readonly heartbeat: boolean;
  readonly look: boolean;
}

/** What a status says about the request that it ends. */
export interface Over {
  /** How many tasks it did not get. */
  readonly left: number;
  /** Whether it only looked what is there. */
  readonly look: boolean;
}

export class Line {
  /** When a task came last. */
  last: number;
  notBefore = 0;
  nextLook = 0;
  #heard: number;
  #refusedMs = 0;
  #lookMs = LOOK_MS.first;
  #sent: Sent[] = [];
  #inbox = "";
  /** Nothing while there is no inbox: it is not asked then. */
  #answers: Subscription | undefined;
  /** Ends when the inbox that is on its way out brings nothing more. */
  #ending: Promise<void> | undefined;

  constructor(
    readonly queue: QueueName,
    /** Where requests go. */
    public next: string,
    private readonly link: Link,
    private readonly onAnswer: (line: Line, message: Msg) => void,
    now: number,
  ) {
    this.last = now;
    this.#heard = now;
    this.open(now);
  }

  /** Whether it may be asked. */
  get isOpen(): boolean {
    return this.#answers !== undefined;
  }

  /** Takes a fresh inbox, on which nothing was asked yet. */
  open(now: number): void {
    this.#sent = [];
    this.#heard = now;
    this.#inbox = `_INBOX.${crypto.randomUUID().replaceAll("-", "")}`;
    this.#answers = this.link.nc.subscribe(`${this.#inbox}.*`, {
      callback: (error, message) => {
        if (error === null) this.onAnswer(this, message);
      },
    });
  }

  /** Gives the inbox up; ends when the broker has confirmed that, or is gone, and all that was on its way has come. */
  close(): Promise<void> {
    const old = this.#answers;
    this.#answers = undefined;
    if (old === undefined || this.link.nc.isClosed()) return this.#ending ?? Promise.resolve();
    this.#ending = old.drain().catch(() => {
      // The connection went; nothing is on its way any more.
    });
    return this.#ending;
  }

  send(ask: Ask, token: number, quiet: boolean, now: number): void {
    const { batch, wait } = ask;
    const lasts = wait === "no" ? 0 : wait === "turn" ? SHORT_MS : quiet ? QUIET_MS : wait === "short" ? SHORT_MS : LONG_MS;
    const heartbeat = lasts === QUIET_MS;
    this.link.tell(this.next, pullRequest(batch, lasts, heartbeat ? HEARTBEAT_MS : 0), { reply: `${this.#inbox}.${token}` });
    if (heartbeat) this.#heard = now;
    this.#sent.push({ token, batch, over: now + lasts + MARGIN_MS, heartbeat, look: wait === "no" });
  }

  heard(now: number): void {
    this.#heard = now;
  }

  /**
   * Whether more tasks are promised than the requests account for that are not over. If not, those that are over were
   * answered, and are struck off.
   */
  isOverdue(now: number, promised: number): boolean {
    const sent = this.#sent.filter(({ over }) => over > now);
    if (promised > sent.reduce((sum, { batch }) => sum + batch, 0)) return true;
    this.#sent = sent;
    return false;
  }

  /** Whether the server has missed two heartbeats. */
  isSilent(now: number): boolean {
    return this.#sent.some((sent) => sent.heartbeat) && now > this.#heard + HEARTBEAT_MS * 2.4;
  }

  /** Every request is answered in full. */
  allAnswered(): void {
    this.#sent.length = 0;
  }

  /** Strikes off the request that a status ends. */
  over(message: Msg): Over | undefined {
    const token = Number(message.subject.slice(message.subject.lastIndexOf(".") + 1));
    const at = this.#sent.findIndex((sent) => sent.token === token);
    const sent = this.#sent[at];
    if (sent === undefined) return undefined;
    this.#sent.splice(at, 1);
    const left = Number.parseInt(message.headers?.get("Nats-Pending-Messages") ?? "", 10);
    return { look: sent.look, left: Number.isNaN(left) ? sent.batch : left };
  }

  foundSomething(now: number): void {
    this.#refusedMs = 0;
    this.#lookMs = LOOK_MS.first;
    this.last = now;
    this.nextLook = now;
  }

  foundNothing(now: number): void {
    this.nextLook = now + this.#lookMs;
    this.#lookMs = Math.min(this.#lookMs * 2, LOOK_MS.longest);
  }

  accepted(): void {
    this.#refusedMs = 0;
    this.notBefore = 0;
  }

  refused(now: number): void {
    this.#refusedMs = this.#refusedMs === 0 ? REFUSED_MS.first : Math.min(this.#refusedMs * 2, REFUSED_MS.longest);
    this.notBefore = now + this.#refusedMs;
  }
}

/** PURE. The body of a pull request; its times are nanoseconds. */
export function pullRequest(batch: number, lastsMs: number, heartbeatMs: number): string {
  if (lastsMs === 0) return `{"batch":${batch},"no_wait":true}`;
  const heartbeat = heartbeatMs === 0 ? "" : `,"idle_heartbeat":${heartbeatMs * 1e6}`;
  return `{"batch":${batch},"expires":${lastsMs * 1e6}${heartbeat}}`;
}
