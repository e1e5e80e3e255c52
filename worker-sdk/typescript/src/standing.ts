/** PURE. Whether an instance may serve, and what it says of itself. */
import type { InstanceState } from "./wire.js";

/** Everything that decides whether tasks are pulled. */
export interface Standing {
  /** What came of the settings; nothing before the first. */
  configured?: { readonly ok: true } | { readonly ok: false; readonly error: string };
  paused: boolean;
  draining: boolean;
  /** Why the plugin's own health check is not content. */
  unhealthy?: string | undefined;
  places: number;
  lane: string;
}

/** What the instance is doing, and the error that people should see. */
export function shown(standing: Standing): { state: InstanceState; error?: string } {
  const { configured, unhealthy } = standing;
  if (!standing.draining && configured?.ok === false) return { state: "failed", error: configured.error };
  const state = standing.draining ? "draining" : configured === undefined ? "starting" : standing.paused ? "paused" : "ready";
  return unhealthy === undefined ? { state } : { state, error: unhealthy };
}

/** Whether to pull. */
export const isPulling = (standing: Standing): boolean => shown(standing).state === "ready";

/** Tasks at once: what the environment says, else the operator, else the manifest, else one per processor. */
export function places(environment?: number | null, operator?: number | null, manifest?: number | null, processors = 1): number {
  const found = [environment, operator, manifest].find((wanted) => typeof wanted === "number" && wanted >= 1);
  return Math.min(MOST_PLACES, Math.floor(found ?? Math.max(1, processors)));
}

/** More tasks at once than this would only wait for one another. */
export const MOST_PLACES = 4096;
