// Generated from broker-config/schema by `npm run generate`. Do not edit.

/** Anything that JSON can say. */
export type JsonValue = string | number | boolean | null | JsonValue[] | { [key: string]: JsonValue };

/** The request on `mf.signal.<plugin>.announce`, sent once connected and after every reconnect. */
export type Announce = {
  /** `metafleet.announce.v1` */
  type: AnnounceType;
  /** This process. */
  instance: InstanceId;
  /** What the plugin says about itself. */
  manifest: Manifest;
  /** The machine it runs on, for people. */
  host?: string;
  /** Its process id there, for people. */
  pid?: number;
  /** The SDK and its version, for people. */
  sdk?: string;
  /** Whether it pulls from the lane that the answer names, and keeps trials apart. */
  lanes?: boolean;
  /** The route whose tasks it does; absent = the tasks that go no route. */
  route?: RouteName | null;
};

/** The answer to an announcement. */
export type AnnounceReply = {
  status: "accepted";
  /** Values for the manifest's configSchema, defaults filled in. */
  settings: { [key: string]: JsonValue };
  /** How long a delivery belongs to its worker without renewal, in milliseconds. */
  leaseMs: number;
  /** How often the sign of life is due, in milliseconds. */
  heartbeatMs: number;
  /** Largest message in bytes. */
  maxPayload: number;
  /** Tasks at once that the operator allows this instance; absent = the plugin decides. */
  concurrency?: number | null;
  /** Whether the plugin's consumers are paused at the moment. */
  paused?: boolean;
  /**
   * Whose tasks it is to pull: `main`, those of the current version; `next`, those of the
   * one that is tried; else those of the route of this name.
   */
  lane?: Lane;
  /** Where to get the bytes of files that the worker cannot see; absent = nobody offers them. */
  files?: FilesOffer | null;
} | {
  status: "rejected";
  /** For people. */
  reasons: Array<string>;
};

/** `metafleet.announce.v1` */
export type AnnounceType = "metafleet.announce.v1";

/** How delays grow. */
export type Backoff = "exponential" | "fixed";

/**
 * The content id of a file: what all its metadata is filed under, whatever its paths.
 *
 * Any text without control characters; [`crate::codec`] makes it a token.
 */
export type Cid = string;

/** One setting that a plugin asks for. */
export type ConfigField = {
  /** The kind of value. */
  type?: ConfigType;
  /** For people. */
  label?: string;
  /** More for people. */
  description?: string | null;
  /** Whether the plugin cannot serve without it. */
  required?: boolean;
  /** Whether the value is never shown. */
  secret?: boolean;
  /** The value when none is given. */
  default?: JsonValue;
  /** The choices of a `select`. */
  options?: Array<ConfigOption>;
};

/** One choice of a `select`. */
export type ConfigOption = {
  /** What the plugin gets. */
  value: string;
  /** For people. */
  label?: string;
};

/** The kind of a setting. */
export type ConfigType = "string" | "select" | "boolean" | "number";

/** A request on `mf.control.<plugin>` or `mf.control.<plugin>.<instance>`. */
export type Control = {
  action: "pause";
} | {
  action: "resume";
} | {
  action: "drain";
} | {
  action: "configure";
  /** All values, defaults filled in. */
  settings: { [key: string]: JsonValue };
} | {
  action: "announce";
} | {
  action: "ping";
};

/** The answer to a [`Control`]. */
export type ControlReply = {
  /** Whether it was done. */
  success: boolean;
  /** Why not. */
  error?: string | null;
  /** Who answers. */
  instance: InstanceId;
};

/** One key, or one family of keys, that a plugin writes. */
export type DataField = {
  /** For people. */
  label?: string;
  /** The kind of value. */
  type?: DataType;
  /** Whether people should not edit it. */
  readonly?: boolean;
  /** The keys, when it is a family: `{n}` is a number, `*` any segment. */
  pattern?: string | null;
  /** More for people. */
  hint?: string | null;
};

/** The kind of a value. */
export type DataType = "string" | "json" | "set";

/** How to start a plugin as a process. */
export type EntryPoint = {
  /** The program, relative to the plugin's folder. */
  main: string;
  /** Its arguments. */
  args?: Array<string>;
};

/** What the finder of a file says about it; filters decide on these. */
export type FileFacts = {
  /** Size in bytes. */
  size?: number;
  /** Media type by content, then by extension; `application/octet-stream` when unknown. */
  mime?: string;
  /** The last component of the path, readable. */
  name?: string;
  /** What follows the last dot of the name, lower case, without the dot; empty when there is none. */
  extension?: string;
  /** Modification time, RFC 3339; empty when unknown. */
  modified?: string;
  /** Files beside it that belong to it, by name. */
  sidecars?: Array<Sidecar>;
};

/** Where an instance gets the bytes of files that it cannot see; `Debug` does not print the token. */
export type FilesOffer = {
  /** Where to ask, `http://host:port/files`. */
  url: string;
  /** What to show there. */
  token: string;
};

/** Criteria that must all hold; an absent one always holds. */
export type Filter = {
  /** Media types; `video/*` matches every video. Any one must match. */
  mimeTypes?: Array<string> | null;
  /** File name extensions without the dot, case ignored. Any one must match. */
  extensions?: Array<string> | null;
  /** Smallest size in bytes. */
  minSize?: number | null;
  /** Largest size in bytes. */
  maxSize?: number | null;
};

/** The value of key `<plugin>.<instance>` in the bucket of instances. */
export type Instance = {
  /** `metafleet.instance.v1` */
  type: InstanceType;
  /** The plugin. */
  pluginId: PluginId;
  /** The instance. */
  instance: InstanceId;
  /** What it is doing. */
  state: InstanceState;
  /** Why it cannot serve, or that its own health check failed. */
  error?: string | null;
  /** Whether the plugin's own health check is content. */
  healthy?: boolean;
  /** The plugin's version. */
  version: string;
  /** The route that it serves; absent = the tasks that go no route. */
  route?: RouteName | null;
  /** The machine. */
  host?: string;
  /** The process id there. */
  pid?: number;
  /** Start, RFC 3339. */
  startedAt?: string;
  /** This sign of life, RFC 3339. */
  at?: string;
  /** How many tasks it runs at once. */
  concurrency?: number;
  /** What runs now, at most 16 entries. */
  running?: Array<Running>;
  /** Totals since the start. */
  totals?: Totals;
};

/** Names one running process or container of a plugin, e.g. `plugin-ffmpeg-1-4f2a`. */
export type InstanceId = string;

/** What an instance is doing. */
export type InstanceState = "starting" | "ready" | "paused" | "draining" | "failed";

/** `metafleet.instance.v1` */
export type InstanceType = "metafleet.instance.v1";

/**
 * Which of a plugin's tasks: those of its current version, those of the one that is tried, or those
 * of a route.
 */
export type Lane = string;

/** A plugin's description of itself, as written; see [`Manifest`] for the checks. */
export type Manifest = {
  id?: string | null;
  name?: string | null;
  version?: string | null;
  priority?: number | null;
  queue?: string | null;
  dataSchema?: { [key: string]: DataField } | null;
  description?: string | null;
  author?: string | null;
  repository?: string | null;
  website?: string | null;
  license?: string | null;
  tags?: Array<string>;
  type?: string | null;
  timeout?: number | null;
  progressTimeout?: number | null;
  dependencies?: Array<string>;
  reads?: Array<string> | null;
  filter?: Filter | null;
  configSchema?: { [key: string]: ConfigField } | null;
  retry?: RetryOptions;
  onDependencyFailure?: OnDependencyFailure;
  concurrency?: number | null;
  maxInFlight?: number | null;
  entryPoint?: EntryPoint | null;
  protocol?: number | null;
  minEngineVersion?: string | null;
  maxEngineVersion?: string | null;
  capabilities?: { [key: string]: boolean };
  permissions?: Array<string>;
  ui?: JsonValue;
};

/**
 * The path of one property, e.g. `fileinfo/streamdetails/video/0/codec`.
 *
 * One or more segments joined by `/`; no segment is empty and none holds a control character.
 */
export type MetaKey = string;

/**
 * The value of one property.
 *
 * On the wire: a string is text, an array of strings is a set, anything else is JSON.
 */
export type MetaValue = string | Array<string> | JsonValue;

/** Whether a plugin runs although something it depends on has failed. */
export type OnDependencyFailure = "run" | "skip";

/** `metafleet-package.json`: the first entry of a package, the list of what is in it. */
export type Package = {
  type: "metafleet.package.v1";
  /** The plugin, as its manifest says. */
  id: string;
  /** Its version, as its manifest says. */
  version: string;
  /** The first version of MetaFleet that it works with, as its manifest says. */
  minEngineVersion?: string | null;
  /** The last one, as its manifest says. */
  maxEngineVersion?: string | null;
  /** All files that follow, each once; `manifest.json` is among them. */
  files: Array<{
    /** Relative, `/` between its parts; no `.`, `..`, backslash or control character. */
    path: string;
    /** Its bytes. */
    size: number;
    /** Of its bytes, in lower-case hexadecimal digits. */
    sha256: string;
    /** Whether it is a program: mode 0755 instead of 0644. */
    executable: boolean;
  }>;
};

/** `metafleet-package.sig`: the second entry of a package that is signed. */
export type PackageSignature = {
  type: "metafleet.package-signature.v1";
  /** The public part of an nkey. */
  key: string;
  /** The Ed25519 signature of the bytes of `metafleet-package.json`, in base64. */
  signature: string;
};

/** Names a plugin, e.g. `ffmpeg`; safe as a token of a subject, a consumer or a container name. */
export type PluginId = string;

/** Which queue a task waits in; `fast` goes first, `background` still gets its share. */
export type Queue = "fast" | "background";

/** The value of key `<cid>.<plugin>` in the bucket of records. */
export type Record = {
  /** `metafleet.record.v1` */
  type: RecordType;
  /** The task it answers. */
  taskId: TaskId;
  /** Repeats the key, for people. */
  pluginId: PluginId;
  /** Repeats the key, for people. */
  cid: Cid;
  /** How the task ended. */
  status: RecordStatus;
  /** How long the last attempt took, in milliseconds. */
  durationMs?: number;
  /** Number of the attempt that settled it, from 1. */
  attempt?: number;
  /** Version of the plugin that wrote it. */
  pluginVersion?: string;
  /** The task's fingerprint, unchanged; by it the coordinator knows what is up to date. */
  fingerprint?: string;
  /** When it was written, RFC 3339. */
  finishedAt?: string;
  /** The worker that wrote it. */
  instance?: InstanceId | null;
  /** Why it failed. */
  error?: string | null;
  /** Why it was skipped. */
  reason?: string | null;
  /** The metadata. */
  meta?: { [key: string]: MetaValue };
  /** Keys that the person wants not to see; only in the `user` record. */
  hidden?: Array<MetaKey>;
};

/** How a task ended. */
export type RecordStatus = "completed" | "skipped" | "failed";

/** `metafleet.record.v1` */
export type RecordType = "metafleet.record.v1";

/** The policy as a manifest or `plugins.yml` writes it. */
export type RetryOptions = {
  /** Attempts in all, the first included. */
  maxAttempts?: number;
  /** How delays grow when `delaysMs` does not list them. */
  backoff?: Backoff;
  /** The first delay in milliseconds. */
  initialDelay?: number;
  /** The longest delay in milliseconds. */
  maxDelay?: number;
  /** The delays themselves, in milliseconds; overrides the three fields above. */
  delaysMs?: Array<number> | null;
};

/** How often and after which delays a task is tried; part of every task. */
export type RetryPolicy = {
  /** Attempts in all, the first included. */
  maxAttempts: number;
  /** Delays in milliseconds before the 2nd, 3rd, … attempt; the last one repeats. */
  delaysMs: Array<number>;
};

/**
 * Names a route of a plugin, e.g. `gpu`; safe as a part of a token of a subject or a consumer.
 *
 * It is kept in place, filled up with zeros, so that a [`super::Lane`] can be copied.
 */
export type RouteName = string;

/** One pass of one file through the graph: the stream sequence of the submission that opened it. */
export type RunId = number;

/** A task that an instance holds. */
export type Running = {
  /** The task. */
  taskId: TaskId;
  /** Its file. */
  cid: Cid;
  /** For how long already, in milliseconds. */
  forMs: number;
  /** The last reported progress, from 0 to 1. */
  fraction?: number | null;
};

/** A file beside another one that describes or completes it: subtitles, `.nfo`. */
export type Sidecar = {
  /**
   * File name, in the folder of the file it belongs to; `../tvshow.nfo` for the show of an
   * episode in the folder of a season.
   */
  name?: string;
  /** Size in bytes. */
  size?: number;
  /** Modification time, RFC 3339. */
  modified?: string;
};

/** The body of a message on `mf.signal.<plugin>.<kind>`. */
export type Signal = {
  /** `metafleet.signal.v1` */
  type: SignalType;
  /** The task it is about. */
  taskId: TaskId;
  /** The file it is about. */
  cid: Cid;
  /** The queue the task came from. */
  queue: Queue;
  /** Number of the attempt, from 1. */
  attempt: number;
  /** The worker. */
  instance: InstanceId;
  /** When, RFC 3339. */
  at: string;
} & ({
  kind: "failed";
  /** The last error. */
  error: string;
  /** Whether it would fail every time (as opposed to: attempts used up). */
  permanent: boolean;
  /** How long the attempt took, in milliseconds. */
  durationMs: number;
  /** The task itself, so that a dead letter can be tried again. */
  task: Task;
} | {
  kind: "retrying";
  /** The error. */
  error: string;
  /** The delay in milliseconds. */
  delayMs: number;
  /** How long the attempt took, in milliseconds. */
  durationMs: number;
} | {
  kind: "deferred";
  /** Why. */
  reason: string;
  /** The delay in milliseconds. */
  delayMs: number;
  /** Attempts used up so far: this one counts after an error, not after *retry later*. */
  attemptsUsed: number;
  /** The task itself. */
  task: Task;
} | {
  kind: "progress";
  /** From 0 to 1. */
  fraction: number;
  /** For people. */
  note: string;
});

/** `metafleet.signal.v1` */
export type SignalType = "metafleet.signal.v1";

/** The body of a message on `mf.submit.<queue>`. */
export type Submission = {
  /** `metafleet.submission.v1` */
  type: SubmissionType;
  /** The file's content id. */
  cid: Cid;
  /** The absolute path as the worker sees it; where it is not UTF-8, a readable approximation. */
  filePath: string;
  /** The exact bytes in base64, only where `filePath` is not exact. */
  filePathBytes?: string | null;
  /** Size, media type, name. */
  file?: FileFacts;
  /** Run these plugins and what they depend on; empty = all. */
  only?: Array<PluginId>;
  /** Run again what is up to date: all of `only`, or all plugins. */
  force?: boolean;
  /** Run these again even if they are up to date. */
  rerun?: Array<PluginId>;
  /** Use the queue of the subject for every task, whatever the manifests say. */
  overrideQueue?: boolean;
  /** The scan that found it. */
  scanId?: string | null;
  /** The plugin that made or forwarded it. */
  origin?: PluginId | null;
  /** How many plugins made files from files on the way here; over [`MAX_DEPTH`] it is refused. */
  depth?: number;
};

/** `metafleet.submission.v1` */
export type SubmissionType = "metafleet.submission.v1";

/** The body of a message on `mf.task.<queue>.<plugin>.<cid>`. */
export type Task = {
  /** `metafleet.task.v1` */
  type: TaskType;
  /** Follows from the work itself; the same after a restart of the coordinator. */
  taskId: TaskId;
  /** The pass through the graph that this belongs to. */
  runId: RunId;
  /** Repeats the subject, for people; workers go by the subject. */
  pluginId: PluginId;
  /** Repeats the subject, for people; workers go by the subject. */
  cid: Cid;
  /** The absolute path as the worker sees it; where it is not UTF-8, a readable approximation. */
  filePath: string;
  /** The exact bytes in base64, only where `filePath` is not exact. */
  filePathBytes?: string | null;
  /** Size, media type, name. */
  file?: FileFacts;
  /** Metadata of the plugins it depends on and of the person, as far as the manifest `reads` it. */
  existingMeta?: { [key: string]: MetaValue };
  /**
   * Stream sequence of the record that this task replaces; 0 = there is none. The new record is
   * written with `Nats-Expected-Last-Subject-Sequence` set to it.
   */
  recordRevision?: number;
  /** Plugin version, settings and inputs in one hash; goes into the record unchanged. */
  fingerprint: string;
  /** How long one attempt may take, in milliseconds. */
  deadlineMs: number;
  /**
   * How long an attempt may go on without a report of progress, in milliseconds; absent = as the
   * manifest says.
   */
  progressTimeoutMs?: number | null;
  /** How failures are tried again. */
  retry: RetryPolicy;
  /** The version of the plugin that it is for. A worker of another version gives it back. */
  pluginVersion?: string | null;
  /**
   * Whom it is for: `main`, workers of the plugin's current version; `next`, those of the one
   * that is to take its place; else those that serve the route of this name.
   */
  lane?: Lane;
  /** Whether its outcome is only to be compared: then it goes under the key of trials. */
  trial?: boolean;
  /** How many plugins made files from files on the way here; see [`super::submission::MAX_DEPTH`]. */
  depth?: number;
  /** The scan that found the file. */
  scanId?: string | null;
};

/**
 * Names one task: a UUID that follows from what the task is, so that whoever publishes the
 * same work again, also after a restart, gives it the same name.
 */
export type TaskId = string;

/** `metafleet.task.v1` */
export type TaskType = "metafleet.task.v1";

/** What an instance has done since its start. */
export type Totals = {
  /** Attempts begun. */
  started?: number;
  /** Records `completed`. */
  completed?: number;
  /** Records `skipped`. */
  skipped?: number;
  /** Failures without a further attempt. */
  failed?: number;
  /** Failures with one. */
  retried?: number;
  /** *Retry later* answers. */
  deferred?: number;
  /** Outcomes that came second: somebody else had finished the task. */
  superseded?: number;
  /** Time spent in the handler, in milliseconds. */
  busyMs?: number;
  /** Bytes of files that came by HTTP, because the instance does not see them. */
  fetchedBytes?: number;
};
