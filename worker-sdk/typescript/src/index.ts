/** Write a MetaFleet plugin: a manifest, a `process` function, and `run`. */
export type { Artifact } from "./artifact.js";
export type { Settings } from "./bridge.js";
export type { Context } from "./context.js";
export { EnvironmentError, readEnvironment, type WorkerOptions } from "./environment.js";
export type { FileReader } from "./files.js";
export type { Fields, Logger } from "./log.js";
export {
  completed,
  forwardFile,
  forwardPlugin,
  PermanentError,
  retryLater,
  RetryableError,
  skipped,
  type MetaInput,
  type MetaInputs,
  type Outcome,
  type PathInput,
} from "./outcome.js";
export { definePlugin, loadManifest, type Health, type Plugin } from "./plugin.js";
export type { PluginManifest } from "./task.js";
export { VERSION } from "./version.js";
export type { DataField, FileFacts, JsonValue, Manifest, Sidecar, Task } from "./wire.js";
export { run, Worker, type Ended } from "./worker.js";
