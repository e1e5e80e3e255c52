/** The bytes of files: from this machine where they are here, else from the coordinator by HTTP. */
import { randomBytes } from "node:crypto";
import { mkdtemp, open, readdir, rm, stat, type FileHandle } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { threadId, workerData } from "node:worker_threads";

import type { HandlerData } from "./bridge.js";
import type { FilesOffer } from "./environment.js";
import { HttpFile } from "./http-file.js";
import { RetryableError, type PathInput } from "./outcome.js";
import { mapPath, readable, usable, type PathMap } from "./paths.js";

/** Bytes are read in pieces of at most this many, never the whole file at once. */
export const PIECE_BYTES = 1 << 20;

/** Begins the names of the folders with copies, of all threads of this process. */
export const COPIES = (workerData as Partial<HandlerData> | null)?.copies ?? `metafleet-${randomBytes(6).toString("hex")}`;
const copiesOf = (thread: number): string => `${COPIES}-${thread}-`;

/** Removes the copies of a thread that was ended in the middle of its work. */
export async function removeCopies(thread: number): Promise<void> {
  const names = await readdir(tmpdir());
  const left = names.filter((name) => name.startsWith(copiesOf(thread)));
  await Promise.allSettled(left.map((name) => rm(join(tmpdir(), name), { recursive: true, force: true })));
}

/** The bytes of one file, anywhere in it. It is closed when the task ends, or before by `close`. */
export interface FileReader {
  readonly size: number;
  /** Whether the bytes come from this machine. */
  readonly isLocal: boolean;
  /** Up to `length` bytes from `position` on; fewer at the end of the file only. */
  read(position: number, length: number): Promise<Buffer>;
  /** All bytes from `start` up to, without, `end`. */
  stream(range?: { readonly start?: number; readonly end?: number }): Readable;
  close(): Promise<void>;
}

export interface FilesOptions {
  readonly paths: PathMap;
  readonly offer: FilesOffer | undefined;
  readonly signal: () => AbortSignal;
  /** Told how many bytes came over HTTP. */
  readonly fetched: (bytes: number) => void;
}

/** The files of one attempt. */
export class Files {
  readonly #open = new Set<{ close(): Promise<void> }>();
  readonly #folders: string[] = [];
  #closed = false;

  constructor(private readonly options: FilesOptions) {}

  /** Opens the file that the fleet has at `path`. */
  async open(path: Buffer, size: number): Promise<FileReader> {
    const here = await this.#here(path, size);
    if (here.is === "here") return await this.#keep(await LocalFile.open(here.path));
    return await this.#keep(new Remote(await this.#fetch(path, here.error)));
  }

  /** A path of it on this machine. */
  async local(path: Buffer, size: number): Promise<PathInput> {
    const here = await this.#here(path, size);
    if (here.is === "here") return usable(here.path);
    const remote = await this.#keep(new Remote(await this.#fetch(path, here.error)));
    const folder = await mkdtemp(join(tmpdir(), copiesOf(threadId)));
    this.#folders.push(folder);
    try {
      const copy = await this.#copy(remote, path, folder);
      this.#stopIfClosed();
      return copy;
    } finally {
      await remote.close();
      // Whoever closed the files meanwhile may have looked before the copy was there.
      if (this.#closed) await removed(folder);
    }
  }

  /** Closes what is open and removes copies; what is opened or copied at that time is rejected, and removed as well. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled([...this.#open].map((file) => file.close()));
    await Promise.allSettled(this.#folders.map(removed));
  }

  async #copy(remote: Remote, path: Buffer, folder: string): Promise<PathInput> {
    this.#stopIfClosed();
    // Its own name, so that the extension is right.
    const name = path.subarray(path.lastIndexOf(0x2f) + 1);
    const copy = Buffer.concat([Buffer.from(`${folder}/`), name.length === 0 ? Buffer.from("file") : name]);
    const file = await open(copy, "w");
    try {
      for await (const piece of remote.stream() as AsyncIterable<Buffer>) await file.writeFile(piece);
      const { size: written } = await file.stat();
      if (written !== remote.size) throw new RetryableError(`${readable(path)}: the copy has ${written} of ${remote.size} bytes`);
    } finally {
      await file.close();
    }
    return usable(copy);
  }

  /** Whether the file is on this machine, and of the size that the task says. */
  async #here(path: Buffer, size: number): Promise<{ is: "here"; path: Buffer } | { is: "away"; error: Error }> {
    const mapped = mapPath(this.options.paths, path);
    try {
      const found = await stat(mapped);
      if (!found.isFile()) return { is: "away", error: new RetryableError(`${readable(mapped)} is not a regular file`) };
      if (size > 0 && found.size !== size) {
        const sizes = `has ${found.size} bytes, but had ${size} when it was found`;
        return { is: "away", error: new RetryableError(`${readable(mapped)} ${sizes}; a scan hands it in anew`) };
      }
      return { is: "here", path: mapped };
    } catch (error) {
      return { is: "away", error: error as Error };
    }
  }

  async #fetch(path: Buffer, error: Error): Promise<HttpFile> {
    const { offer, signal, fetched } = this.options;
    if (offer === undefined) {
      throw error instanceof RetryableError ? error : new RetryableError(`could not open ${readable(path)}`, { cause: error });
    }
    return await HttpFile.open(offer, path, signal(), fetched);
  }

  async #keep<T extends { close(): Promise<void> }>(file: T): Promise<T> {
    this.#open.add(file);
    if (this.#closed) await file.close();
    this.#stopIfClosed();
    return file;
  }

  #stopIfClosed(): void {
    if (this.#closed) throw new RetryableError("the attempt is over");
  }
}

const removed = (folder: string): Promise<void> => rm(folder, { recursive: true, force: true });

/** A file that can be read in pieces, whatever `read` reads from. */
abstract class Streamed implements FileReader {
  abstract readonly isLocal: boolean;
  abstract readonly size: number;
  abstract read(position: number, length: number): Promise<Buffer>;
  abstract close(): Promise<void>;

  stream({ start = 0, end = this.size }: { start?: number; end?: number } = {}): Readable {
    return Readable.from(this.#pieces(start, Math.min(end, this.size)), { objectMode: false, highWaterMark: PIECE_BYTES });
  }

  async *#pieces(start: number, end: number): AsyncGenerator<Buffer> {
    for (let at = start; at < end; ) {
      const piece = await this.read(at, Math.min(PIECE_BYTES, end - at));
      if (piece.length === 0) return;
      at += piece.length;
      yield piece;
    }
  }
}

class LocalFile extends Streamed {
  readonly isLocal = true;

  private constructor(
    private readonly handle: FileHandle,
    readonly size: number,
  ) {
    super();
  }

  static async open(path: Buffer): Promise<LocalFile> {
    try {
      const handle = await open(path, "r");
      return new LocalFile(handle, (await handle.stat()).size);
    } catch (error) {
      throw new RetryableError(`could not open ${readable(path)}`, { cause: error });
    }
  }

  async read(position: number, length: number): Promise<Buffer> {
    const wanted = Math.max(0, Math.min(length, this.size - position));
    const buffer = Buffer.allocUnsafe(wanted);
    let filled = 0;
    while (filled < wanted) {
      const { bytesRead } = await this.handle.read(buffer, filled, wanted - filled, position + filled);
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    return buffer.subarray(0, filled);
  }

  async close(): Promise<void> {
    await this.handle.close();
  }
}

/** A file by HTTP, with one piece read ahead. */
class Remote extends Streamed {
  readonly isLocal = false;
  readonly size: number;
  #piece: { readonly at: number; readonly bytes: Buffer } = { at: 0, bytes: Buffer.alloc(0) };

  constructor(private readonly file: HttpFile) {
    super();
    this.size = file.size;
  }

  async read(position: number, length: number): Promise<Buffer> {
    const end = Math.min(this.size, position + Math.max(0, length));
    const parts: Buffer[] = [];
    for (let at = position; at < end; ) {
      const part = await this.#from(at, end);
      parts.push(part);
      at += part.length;
    }
    const [only] = parts;
    return parts.length === 1 && only !== undefined ? only : Buffer.concat(parts);
  }

  async close(): Promise<void> {
    await this.file.close();
  }

  /** Bytes from `at` on, as many as the piece has that is there or is fetched now. */
  async #from(at: number, end: number): Promise<Buffer> {
    const { at: from, bytes } = this.#piece;
    if (at < from || at >= from + bytes.length) {
      const length = Math.min(PIECE_BYTES, this.size - at);
      this.#piece = { at, bytes: await this.file.range(at, length) };
    }
    const piece = this.#piece;
    return piece.bytes.subarray(at - piece.at, end - piece.at);
  }
}
