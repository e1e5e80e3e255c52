/**
 * From what a handler said to what the broker is told, in an order that loses nothing: the outcome is
 * stored first, and the broker answered when that is acknowledged, never before. What cannot be stored
 * although it was tried again and again is left to the lease: the task is delivered again.
 */
import type { TraceHeaders } from "./bridge.js";
import { now, timestamp } from "./clock.js";
import { ack, nak, term } from "./delivery.js";
import { attemptOf, type Held } from "./held.js";
import { failed, type Ended } from "./outcome.js";
import { SECRET, type Message, type Stored } from "./publisher.js";
import { isLast, verdict } from "./retry.js";
import { hide, type Rim } from "./rim.js";
import { short } from "./text.js";
import type { Record as FileRecord } from "./wire.js";

/** How long settling may take, a restart of the broker included; the lease is renewed so long. */
const PATIENCE_MS = 600_000;
/** Delay before a task that is given back is delivered elsewhere. */
const GIVE_BACK_MS = 100;
/** How long a task for another version stays away. */
const OTHER_VERSION_MS = 1000;

/** One attempt that is over. */
export interface Over {
  readonly held: Held;
  readonly tookMs: number;
  readonly trace: TraceHeaders;
}

export class Settler {
  constructor(
    private readonly rim: Rim,
    /** The delivery is no longer held; `settled` where it must not be run again. */
    private readonly end: (held: Held, settled: boolean) => void,
  ) {}

  settle(over: Over, ended: Ended): void {
    over.held.settling = true;
    over.held.until = now() + PATIENCE_MS;
    switch (ended.is) {
      case "completed":
        return this.#record(over, "completed", ended.meta);
      case "skipped":
        return this.#record(over, "skipped", "{}", ended.reason);
      case "later":
        this.rim.totals.deferred += 1;
        // Waiting costs no attempt.
        return this.#defer(over, ended.afterMs, ended.reason, attemptOf(over.held) - 1);
      case "forward":
        return this.#forward(over, ended);
      case "failed":
        return this.#fail(over, ended.error, ended.permanent);
    }
  }

  /**
   * Gives a task back, because this worker stops. From its last attempt on it goes over the
   * coordinator: naks could use up its deliveries.
   */
  giveBack(held: Held): void {
    held.settling = true;
    const attempt = attemptOf(held);
    if (!isLast(held.task.retry, attempt)) return this.#nak(held, GIVE_BACK_MS);
    this.#defer({ held, tookMs: 0, trace: held.trace }, GIVE_BACK_MS, "the worker was stopped", attempt - 1);
  }

  /** Does not run a task that is for another version; the last delivery ends here, whoever wants it publishes it anew. */
  leaveToOther(held: Held): void {
    held.settling = true;
    if (isLast(held.task.retry, attemptOf(held))) this.#answer(held, ack, true);
    else this.#nak(held, OTHER_VERSION_MS);
  }

  #record(over: Over, status: "completed" | "skipped", meta: string, reason?: string): void {
    const { rim } = this;
    const { held, tookMs, trace } = over;
    const { task, address } = held;
    const head: FileRecord = {
      type: "metafleet.record.v1",
      taskId: task.taskId,
      pluginId: rim.plugin,
      cid: address.cid,
      status,
      durationMs: Math.round(tookMs),
      attempt: attemptOf(held),
      pluginVersion: rim.version,
      fingerprint: task.fingerprint,
      finishedAt: timestamp(),
      instance: rim.instance,
      ...(reason === undefined ? {} : { reason: short(hide(rim, reason)) }),
    };
    const text = JSON.stringify(head);
    const body = meta === "{}" ? text : `${text.slice(0, -1)},"meta":${meta}}`;
    const subject = rim.names.record(address.token, rim.plugin, task.trial === true);
    const headers = { "Nats-Expected-Last-Subject-Sequence": String(task.recordRevision ?? 0), ...trace };
    this.#firmly(held, { subject, body, headers }, (stored) => this.#onRecord(over, status, stored));
  }

  #onRecord(over: Over, status: "completed" | "skipped", stored: Stored): void {
    const { totals } = this.rim;
    switch (stored.is) {
      case "stored":
        totals[status] += 1;
        return this.#answer(over.held, ack, true);
      case "superseded":
        totals.superseded += 1;
        return this.#answer(over.held, ack, true);
      case "too large":
        return this.#fail(over, `the record has ${stored.bytes} bytes, a message may have ${stored.limit}`, true);
      case "unsure":
        return this.#leave(over.held, stored.error);
    }
  }

  #forward(over: Over, forward: Extract<Ended, { is: "forward" }>): void {
    const { rim } = this;
    const { held } = over;
    const headers = { "Nats-Msg-Id": `forward.${held.sequence}.${SECRET}`, ...over.trace };
    this.#firmly(held, { subject: rim.names.submission(held.queue), body: forward.submission, headers }, (stored) => {
      if (stored.is === "unsure") return this.#leave(held, stored.error);
      if (stored.is !== "stored") return this.settle(over, failed("the submission is too large", true));
      if (forward.meta === "{}") this.#record(over, "skipped", "{}", forward.reason);
      else this.#record(over, "completed", forward.meta);
    });
  }

  #fail(over: Over, text: string, permanent: boolean): void {
    const { rim } = this;
    const { held } = over;
    const attempt = attemptOf(held);
    const error = short(hide(rim, text));
    const durationMs = Math.round(over.tookMs);
    const next = verdict(held.task.retry, attempt, permanent);
    const fields = { taskId: held.task.taskId, cid: held.address.cid, attempt, error };
    switch (next.what) {
      case "retry":
        rim.totals.retried += 1;
        rim.log.debug("the attempt failed, trying again", { ...fields, delayMs: next.delayMs });
        // For people only: the nak says the same to the broker.
        rim.link.tell(rim.names.signal(rim.plugin, "retrying"), this.#signal(held, { kind: "retrying", error, delayMs: next.delayMs, durationMs }));
        return this.#nak(held, next.delayMs);
      case "defer":
        rim.totals.retried += 1;
        rim.log.debug("the attempt failed, trying again later", { ...fields, delayMs: next.delayMs });
        return this.#defer(over, next.delayMs, error, attempt);
      case "give up":
        rim.totals.failed += 1;
        rim.log.info("the task failed", { ...fields, permanent });
        return this.#stored(over, { kind: "failed", error, permanent, durationMs, task: held.task }, () =>
          this.#answer(held, term(error), true));
    }
  }

  #defer(over: Over, afterMs: number, reason: string, attemptsUsed: number): void {
    const delayMs = Math.max(1, Math.round(afterMs));
    const { held } = over;
    this.#stored(over, { kind: "deferred", reason: short(hide(this.rim, reason)), delayMs, attemptsUsed, task: held.task }, () =>
      this.#answer(held, ack, true));
  }

  /** Publishes a signal that must not be lost. Where the task makes it too large, what others wrote is left out. */
  #stored(over: Over, what: Record<string, unknown> & { kind: string }, then: () => void): void {
    const { rim } = this;
    const { held } = over;
    held.until = Math.max(held.until, now() + PATIENCE_MS);
    const subject = rim.names.signal(rim.plugin, what.kind);
    const headers = { "Nats-Msg-Id": `${what.kind}.${held.sequence}.${attemptOf(held)}.${SECRET}`, ...over.trace };
    const publish = (body: string, done: (stored: Stored) => void): void => this.#firmly(held, { subject, body, headers }, done);
    publish(this.#signal(held, what), (stored) => {
      if (stored.is === "stored") return then();
      if (stored.is !== "too large") return this.#leave(held, stored.is === "unsure" ? stored.error : stored.is);
      const task = { ...held.task, existingMeta: {} };
      publish(this.#signal(held, { ...what, task }), (second) =>
        second.is === "stored" ? then() : this.#leave(held, second.is));
    });
  }

  /** Publishes for as long as settling may take. */
  #firmly(held: Held, message: Message, done: (stored: Stored) => void): void {
    this.rim.publisher.firmly(message, () => now() <= held.until, done);
  }

  #signal(held: Held, what: object): string {
    const about = {
      type: "metafleet.signal.v1",
      taskId: held.task.taskId,
      cid: held.address.cid,
      queue: held.queue,
      attempt: attemptOf(held),
      instance: this.rim.instance,
      at: timestamp(),
    };
    return JSON.stringify({ ...about, ...what });
  }

  /** For people, and best effort. */
  progress(held: Held, fraction: number, note: string): void {
    const what = { kind: "progress", fraction, note: short(hide(this.rim, note)) };
    this.rim.link.tell(this.rim.names.signal(this.rim.plugin, "progress"), this.#signal(held, what));
  }

  /**
   * Asks for the task again, as long as it is surely ours and the broker hears of it now. Later somebody else may have it,
   * whose delivery a nak would end; the last one would become a dead letter while it runs. Else the lease runs out, which
   * has the same effect.
   */
  #nak(held: Held, delayMs: number): void {
    const { link, log } = this.rim;
    if (link.connected && held.sure > now()) link.tell(held.reply, nak(delayMs));
    else log.info("somebody else may have the task by now, leaving it to its lease", { taskId: held.task.taskId });
    this.end(held, false);
  }

  #answer(held: Held, answer: string, settled: boolean): void {
    this.rim.link.tell(held.reply, answer);
    this.end(held, settled);
  }

  /** Says nothing to the broker: the lease runs out and the task comes again. */
  #leave(held: Held, error: string): void {
    this.rim.log.warn("could not settle, leaving the task to its lease", { taskId: held.task.taskId, error });
    this.end(held, false);
  }
}
