/** The plugin: what is read, and under which keys it is written. */
import { existsSync } from "node:fs";

import { completed, definePlugin, loadManifest, PermanentError, type MetaInput } from "@metafleet/worker";

import { magnetLink, readTorrent, type Torrent } from "./torrent.js";

/** Largest file that is read; a torrent of a terabyte has some megabytes. */
const MAX_BYTES = 32 << 20;
// Beside the program once it is built, else two folders above what tsc makes.
const beside = new URL("./manifest.json", import.meta.url);
const above = new URL("../../manifest.json", import.meta.url);

let maxFiles = 500;

export default definePlugin({
  manifest: loadManifest(existsSync(beside) ? beside : above),

  configure(settings) {
    const wanted = settings["maxFiles"] ?? 500;
    if (typeof wanted !== "number" || !Number.isInteger(wanted) || wanted < 0 || wanted > 5000) {
      throw new Error("maxFiles must be a whole number from 0 to 5000");
    }
    maxFiles = wanted;
  },

  async process(ctx) {
    const file = await ctx.open();
    if (file.size > MAX_BYTES) throw new PermanentError(`it has ${file.size} bytes, more than ${MAX_BYTES} are not read`);
    const bytes = await file.read(0, file.size);
    return completed(metadataOf(read(bytes)));
  },
});

/** What is no torrent now will not be one at the next attempt. */
function read(bytes: Buffer): Torrent {
  try {
    return readTorrent(bytes);
  } catch (error) {
    throw new PermanentError(`it is no torrent: ${(error as Error).message}`);
  }
}

/** PURE. The keys of a torrent. */
export function metadataOf(torrent: Torrent): Record<string, MetaInput> {
  const meta: Record<string, MetaInput> = {
    "torrent/name": torrent.name === "" ? undefined : torrent.name,
    "torrent/version": torrent.version,
    "torrent/infoHash": torrent.infoHash,
    "torrent/infoHashV2": torrent.infoHashV2,
    "torrent/size": torrent.size,
    "torrent/fileCount": torrent.files.length,
    "torrent/pieceLength": torrent.pieceLength,
    "torrent/trackers": torrent.trackers,
    "torrent/webSeeds": torrent.webSeeds,
    "torrent/private": torrent.isPrivate,
    "torrent/source": torrent.source,
    "torrent/comment": torrent.comment,
    "torrent/createdBy": torrent.createdBy,
    "torrent/createdAt": torrent.createdAt,
    "torrent/magnet": magnetLink(torrent),
    "torrent/problem": torrent.problem,
  };
  for (const [at, { path, size }] of torrent.files.slice(0, maxFiles).entries()) {
    meta[`torrent/files/${at}/path`] = path;
    meta[`torrent/files/${at}/size`] = size;
  }
  return meta;
}
