/** What the author of a plugin writes. */
import { readFileSync } from "node:fs";

import type { Settings } from "./bridge.js";
import type { Context } from "./context.js";
import type { Outcome } from "./outcome.js";
import type { PluginManifest } from "./task.js";

type Maybe<T> = T | Promise<T>;

/** What a plugin's own health check finds. */
export type Health = { readonly healthy: true } | { readonly healthy: false; readonly why: string };

/** A plugin: its manifest, what it does with a file, and hooks that are all optional. */
export interface Plugin {
  readonly manifest: PluginManifest;
  /**
   * `threads`: each task in hand runs in a thread of its own, which loads the program anew and is ended when its
   * handler hangs. Without it, all handlers share the event loop of the program.
   */
  readonly executor?: "threads";
  /**
   * Works on one file. Returns an outcome, or nothing, which is `completed()`. Throws `PermanentError` where
   * trying again cannot help; every other error is tried again.
   */
  process(ctx: Context): Maybe<Outcome | void>;
  /** Takes settings, before the first task and whenever they change; throws where it cannot serve with them. */
  configure?(settings: Settings): Maybe<void>;
  /** Whether the plugin can do its work; asked at every sign of life. */
  health?(): Maybe<Health>;
  onPause?(): Maybe<void>;
  onResume?(): Maybe<void>;
  /** The worker has ended; clean up. */
  onStop?(): Maybe<void>;
}

/** The same plugin, with its types checked where it is written. */
export const definePlugin = <P extends Plugin>(plugin: P): P => plugin;

/** Reads a manifest, e.g. `loadManifest(new URL("../manifest.json", import.meta.url))`. */
export function loadManifest(file: URL | string): PluginManifest {
  const manifest = JSON.parse(readFileSync(file, "utf8")) as PluginManifest;
  const problem = manifestProblem(manifest);
  if (problem !== undefined) throw new Error(`${String(file)}: ${problem}`);
  return manifest;
}

/** PURE. What keeps a worker from announcing this manifest; the coordinator checks the rest. */
export function manifestProblem(manifest: PluginManifest): string | undefined {
  if (typeof manifest !== "object" || manifest === null) return "the manifest must be an object";
  for (const field of ["id", "name", "version", "queue"] as const) {
    if (typeof manifest[field] !== "string" || manifest[field] === "") return `the manifest needs \`${field}\``;
  }
  if (typeof manifest.dataSchema !== "object" || manifest.dataSchema === null) return "the manifest needs `dataSchema`";
  return undefined;
}
