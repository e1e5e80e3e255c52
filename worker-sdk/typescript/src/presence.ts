/** The sign of life of this instance, refreshed until it leaves. */
import { hostname } from "node:os";

import { headers } from "@nats-io/nats-core";

import { now, pause, timestamp } from "./clock.js";
import { LATE, hide, type Rim } from "./rim.js";
import { shown } from "./standing.js";
import { short } from "./text.js";
import type { Instance, Running } from "./wire.js";

/** How long a plugin may think about its health. */
const HEALTH_MS = 2000;
/** A heartbeat that has changed counts after so long at the latest. */
const LOOK_MS = 500;

/** Shows a sign of life at every heartbeat and whenever `showNow` is called, until `stop`. */
export class Presence {
  #soon = false;
  #shownAt = 0;

  constructor(
    private readonly rim: Rim,
    private readonly running: () => Running[],
    private readonly stop: AbortSignal,
  ) {
    void this.#beat();
  }

  /** Shows one soon; many calls in one turn of the loop are one. */
  showNow(): void {
    if (this.#soon) return;
    this.#soon = true;
    setImmediate(() => {
      this.#soon = false;
      if (!this.stop.aborted) this.#show();
    });
  }

  /** Says that this instance is gone, so that nobody waits for its entry to expire. */
  leave(): void {
    const del = headers();
    del.append("KV-Operation", "DEL");
    if (this.rim.link.connected) this.rim.link.tell(this.#subject, "", { headers: del });
  }

  get #subject(): string {
    return this.rim.names.signOfLife(this.rim.plugin, this.rim.instance);
  }

  /** The next one is due a heartbeat after the last, whatever the heartbeat was then. */
  async #beat(): Promise<void> {
    this.#show();
    while (!this.stop.aborted) {
      const due = this.#shownAt + this.rim.heartbeatMs - now();
      if (due > 0) {
        await pause(Math.min(due, LOOK_MS), this.stop);
        continue;
      }
      // A plugin whose loop is blocked does not hold up the sign of life.
      if (this.rim.checksHealth) void this.#checkHealth();
      this.#show();
    }
  }

  async #checkHealth(): Promise<void> {
    const answer = await this.rim.ask({ what: "health" }, HEALTH_MS);
    const unhealthy = answer === LATE ? "the health check does not answer" : answer === undefined ? undefined : short(hide(this.rim, answer));
    if (this.rim.standing.unhealthy === unhealthy) return;
    this.rim.standing.unhealthy = unhealthy;
    this.rim.changed();
  }

  #show(): void {
    const { rim } = this;
    this.#shownAt = now();
    if (!rim.link.connected) return;
    const { state, error } = shown(rim.standing);
    const entry: Instance = {
      type: "metafleet.instance.v1",
      pluginId: rim.plugin,
      instance: rim.instance,
      state,
      ...(error === undefined ? {} : { error }),
      healthy: rim.standing.unhealthy === undefined,
      version: rim.version,
      ...(rim.options.route === undefined ? {} : { route: rim.options.route }),
      host: hostname(),
      pid: process.pid,
      startedAt: rim.startedAt,
      at: timestamp(),
      concurrency: rim.standing.places,
      running: this.running(),
      totals: { ...rim.totals, busyMs: Math.round(rim.totals.busyMs) },
    };
    rim.link.tell(this.#subject, JSON.stringify(entry));
  }
}
