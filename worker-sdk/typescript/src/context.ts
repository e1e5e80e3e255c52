/** What a handler gets: the task, the file, what is known of it, and how much time is left. */
import { describe, type Artifact } from "./artifact.js";
import type { Posted, Settings } from "./bridge.js";
import { now } from "./clock.js";
import type { FileReader, Files } from "./files.js";
import type { Logger } from "./log.js";
import type { PathInput } from "./outcome.js";
import { fromTheWire, mapPath, sidecarPath, usable, type PathMap } from "./paths.js";
import type { FileFacts, JsonValue, Sidecar, Task } from "./wire.js";

/** One attempt at one task. */
export interface Context {
  /** The task as it came, with the identity that its subject says. */
  readonly task: Task;
  /** Where the file is: text, or a Buffer where the path is not UTF-8. Both work with `node:fs`. */
  readonly path: PathInput;
  /** The same, always as bytes. */
  readonly pathBytes: Buffer;
  /** What its finder said of the file. */
  readonly file: FileFacts;
  /** What the plugins that this one reads from, and the person, have written about the file. */
  readonly existing: Readonly<Record<string, JsonValue>>;
  /** The text that `key` holds; nothing where it holds something else. */
  existingText(key: string): string | undefined;
  /** The settings that were in force when the attempt began. */
  readonly settings: Settings;
  /** The name of this process in the fleet. */
  readonly instance: string;
  /** Number of this attempt, from 1. */
  readonly attempt: number;
  /** Milliseconds until the deadline; 0 when it has passed. */
  remaining(): number;
  /** Aborted at the deadline, and when the worker stops at once. */
  readonly signal: AbortSignal;
  /** Reports how far the task has got, 0 to 1; sent once a second at most, so call it as often as you like. */
  progress(fraction: number, note?: string): void;
  /** Hands in a file that this plugin made. Resolves when the broker has stored the submission. */
  submit(file: PathInput): Promise<void>;
  /**
   * Keeps something that the plugin made of the file, such as a picture, where everybody can read it: in the broker.
   *
   * Resolves when it is stored, to what the metadata is to say of it under a key of the type `json`. The same name again
   * takes the place of the one before. Rejects with a `PermanentError` where no artefact may have that name or media
   * type, or it is larger than a message may be.
   */
  putArtifact(name: string, mediaType: string, data: Uint8Array): Promise<Artifact>;
  /** The file's bytes, wherever they are: on this machine, or with the coordinator. */
  open(): Promise<FileReader>;
  /** A path of the file on this machine; a copy that goes when the task ends, where it is not here. */
  localPath(): Promise<PathInput>;
  /** The same for a file of `file.sidecars`, by its name. */
  openSidecar(name: string): Promise<FileReader>;
  localSidecar(name: string): Promise<PathInput>;
  /** Writes lines that name the plugin and the task. */
  readonly log: Logger;
}

/** What a context can cause outside: a fleet's broker, or the notes of a test. */
export interface Port {
  readonly instance: string;
  readonly settings: Settings;
  readonly paths: PathMap;
  readonly log: Logger;
  /** The files of one attempt; what it opened is closed with them. */
  files(signal: () => AbortSignal): Files;
  progress(id: number, fraction: number, note: string): void;
  submit(ctx: TaskContext, file: PathInput): Promise<void>;
  keep(ctx: TaskContext, artifact: Artifact, bytes: Uint8Array): Promise<void>;
}

export class TaskContext implements Context {
  readonly task: Task;
  readonly pathBytes: Buffer;
  readonly settings: Settings;
  readonly #port: Port;
  readonly #posted: Posted;
  readonly #end: number;
  #abort: AbortController | undefined;
  #cancelled: string | undefined;
  #files: Files | undefined;
  #over = false;
  #log: Logger | undefined;

  constructor(port: Port, posted: Posted, task: Task) {
    this.#port = port;
    this.#posted = posted;
    this.#end = now() + posted.limitMs;
    this.task = task;
    this.settings = port.settings;
    this.pathBytes = mapPath(port.paths, fromTheWire(task));
  }

  get path(): PathInput {
    return usable(this.pathBytes);
  }

  get file(): FileFacts {
    return this.task.file ?? {};
  }

  get existing(): Readonly<Record<string, JsonValue>> {
    return (this.task.existingMeta ?? {}) as Record<string, JsonValue>;
  }

  existingText(key: string): string | undefined {
    const value = Object.hasOwn(this.existing, key) ? this.existing[key] : undefined;
    return typeof value === "string" ? value : undefined;
  }

  get instance(): string {
    return this.#port.instance;
  }

  get attempt(): number {
    return this.#posted.attempt;
  }

  remaining(): number {
    return Math.max(0, this.#end - now());
  }

  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (this.#cancelled !== undefined) this.#abort.abort(new Error(this.#cancelled));
    }
    return this.#abort.signal;
  }

  get log(): Logger {
    this.#log ??= this.#port.log.with({ taskId: this.task.taskId, cid: this.#posted.cid });
    return this.#log;
  }

  progress(fraction: number, note = ""): void {
    this.#port.progress(this.#posted.id, Number.isFinite(fraction) ? Math.min(1, Math.max(0, fraction)) : 0, note);
  }

  submit(file: PathInput): Promise<void> {
    return this.#port.submit(this, file);
  }

  async putArtifact(name: string, mediaType: string, data: Uint8Array): Promise<Artifact> {
    if (!(data instanceof Uint8Array)) throw new TypeError("an artefact is a Uint8Array or a Buffer");
    // Whoever owns the bytes may change them; and what goes to another thread is the whole memory that they lie in.
    const bytes = new Uint8Array(data);
    const artifact = describe(name, mediaType, bytes);
    await this.#port.keep(this, artifact, bytes);
    return artifact;
  }

  open(): Promise<FileReader> {
    return this.#opened().open(fromTheWire(this.task), this.file.size ?? 0);
  }

  localPath(): Promise<PathInput> {
    return this.#opened().local(fromTheWire(this.task), this.file.size ?? 0);
  }

  async openSidecar(name: string): Promise<FileReader> {
    const { path, size } = this.#sidecar(name);
    return await this.#opened().open(path, size);
  }

  async localSidecar(name: string): Promise<PathInput> {
    const { path, size } = this.#sidecar(name);
    return await this.#opened().local(path, size);
  }

  /** The trace, the queue and the number of this attempt. */
  get posted(): Posted {
    return this.#posted;
  }

  /** Tells the handler to end. */
  cancel(why: string): void {
    this.#cancelled = why;
    this.#abort?.abort(new Error(why));
  }

  /** Closes what the attempt opened, and removes its copies. */
  close(): Promise<void> | undefined {
    this.#over = true;
    return this.#files?.close();
  }

  #opened(): Files {
    this.#files ??= this.#port.files(() => this.signal);
    // Nobody closes what is opened from now on.
    if (this.#over) void this.#files.close();
    return this.#files;
  }

  #sidecar(name: string): { path: Buffer; size: number } {
    const known: Sidecar | undefined = this.file.sidecars?.find((sidecar) => sidecar.name === name);
    const path = known === undefined ? undefined : sidecarPath(fromTheWire(this.task), name);
    if (path === undefined) throw new Error(`\`${name}\` is not in the list of sidecars of this file`);
    return { path, size: known?.size ?? 0 };
  }
}
