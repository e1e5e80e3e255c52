/** PURE. What a torrent file says, in version 1, version 2, or both (BEP 3, 12, 19, 27, 47, 52). */
import { createHash } from "node:crypto";

import { Dict, decode, type Value } from "./bencode.js";
import { readable, textOf } from "./text.js";

/** Most trackers and web seeds that are kept. */
const MOST_ADDRESSES = 200;
const PIECE_HASH_BYTES = 20;

export interface TorrentFile {
  /** In the folder of the torrent, joined by `/`; the name itself where there is one file only. */
  readonly path: string;
  readonly size: bigint;
}

export interface Torrent {
  readonly version: "1" | "2" | "hybrid";
  readonly name: string;
  readonly infoHash?: string;
  readonly infoHashV2?: string;
  readonly files: readonly TorrentFile[];
  readonly size: bigint;
  readonly pieceLength: bigint;
  readonly trackers: readonly string[];
  readonly webSeeds: readonly string[];
  readonly isPrivate: boolean;
  readonly source?: string;
  readonly comment?: string;
  readonly createdBy?: string;
  readonly createdAt?: string;
  readonly problem?: string;
}

/** The file is bencode, but no torrent. */
export class TorrentError extends Error {
  override name = "TorrentError";
}

/** Reads a torrent file; throws where it is none. */
export function readTorrent(bytes: Buffer): Torrent {
  const top = decode(bytes);
  if (!(top instanceof Dict)) throw new TorrentError("it is no dictionary");
  const info = top.dict("info");
  if (info === undefined) throw new TorrentError("it has no info dictionary");
  const encoding = top.string("encoding")?.toString("latin1");
  const version = versionOf(info);
  const name = textOf(info, "name", encoding) ?? "";
  const files = version === "2" ? filesOfTree(info, encoding) : filesOfList(info, name, encoding);
  const size = files.reduce((sum, file) => sum + file.size, 0n);
  const pieceLength = info.integer("piece length") ?? 0n;
  const problem = version === "2" ? undefined : pieceProblem(info, pieceLength);
  return {
    version,
    name,
    ...(version === "2" ? {} : { infoHash: digest("sha1", info) }),
    ...(version === "1" ? {} : { infoHashV2: digest("sha256", info) }),
    files,
    size,
    pieceLength,
    trackers: trackersOf(top),
    webSeeds: addresses(top.list("url-list") ?? [top.get("url-list")]),
    isPrivate: info.integer("private") === 1n,
    ...present("source", textOf(info, "source", encoding)),
    ...present("comment", textOf(top, "comment", encoding)),
    ...present("createdBy", textOf(top, "created by", encoding)),
    ...present("createdAt", time(top.integer("creation date"))),
    ...present("problem", problem),
  };
}

/** The hash over the very bytes of the info dictionary: what the torrent is known by. */
const digest = (algorithm: "sha1" | "sha256", info: Dict): string => createHash(algorithm).update(info.bytes).digest("hex");

function versionOf(info: Dict): Torrent["version"] {
  const second = info.integer("meta version") === 2n && info.dict("file tree") !== undefined;
  const first = info.string("pieces") !== undefined;
  if (!first && !second) throw new TorrentError("its info dictionary has neither `pieces` nor a `file tree`");
  return first && second ? "hybrid" : first ? "1" : "2";
}

function filesOfList(info: Dict, name: string, encoding: string | undefined): TorrentFile[] {
  const list = info.list("files");
  if (list === undefined) {
    const size = info.integer("length");
    if (size === undefined) throw new TorrentError("it has neither `files` nor a `length`");
    return [{ path: name, size: checkedSize(size) }];
  }
  return list.flatMap((entry): TorrentFile[] => {
    if (!(entry instanceof Dict)) throw new TorrentError("an entry of `files` is no dictionary");
    const size = checkedSize(entry.integer("length"));
    // Files that only fill a piece up are not among those that anybody gets.
    if (entry.string("attr")?.includes("p") === true) return [];
    const parts = entry.list("path.utf-8") ?? entry.list("path");
    if (parts === undefined || parts.length === 0) throw new TorrentError("a file has no path");
    return [{ path: parts.map((part) => segment(part, encoding)).join("/"), size }];
  });
}

/** Version 2: dictionaries are folders, and a file is the one under the empty name. */
function filesOfTree(info: Dict, encoding: string | undefined): TorrentFile[] {
  const files: TorrentFile[] = [];
  const walk = (folder: Dict, path: string[]): void => {
    for (const [key, member] of folder.members) {
      if (!(member instanceof Dict)) throw new TorrentError("an entry of the file tree is no dictionary");
      if (key === "") files.push({ path: path.join("/"), size: checkedSize(member.integer("length")) });
      else walk(member, [...path, segment(Buffer.from(key, "latin1"), encoding)]);
    }
  };
  const tree = info.dict("file tree");
  if (tree !== undefined) walk(tree, []);
  return files;
}

/** One name in a path; one that leads elsewhere would be believed by somebody, some day. */
function segment(part: Value | undefined, encoding: string | undefined): string {
  if (!Buffer.isBuffer(part)) throw new TorrentError("a part of a path is no text");
  const text = readable(part, encoding);
  if (text === "" || text === "." || text === ".." || /[/\\]/.test(text) || part.includes(0)) {
    throw new TorrentError(`a path has the part ${JSON.stringify(text.slice(0, 80))}`);
  }
  return text;
}

function checkedSize(size: bigint | undefined): bigint {
  if (size === undefined || size < 0n || size > 0x7fff_ffff_ffff_ffffn) throw new TorrentError("a file has no length that makes sense");
  return size;
}

/** Whether there are as many pieces as the bytes need, those of padding included. */
function pieceProblem(info: Dict, pieceLength: bigint): string | undefined {
  const hashes = info.string("pieces")?.length ?? 0;
  if (pieceLength <= 0n) return "the length of a piece makes no sense";
  const entries = info.list("files") ?? [info];
  const bytes = entries.reduce<bigint>((sum, entry) => sum + (entry instanceof Dict ? (entry.integer("length") ?? 0n) : 0n), 0n);
  const needed = (bytes + pieceLength - 1n) / pieceLength;
  if (BigInt(hashes) === needed * BigInt(PIECE_HASH_BYTES)) return undefined;
  return `there are hashes of ${Math.floor(hashes / PIECE_HASH_BYTES)} pieces where ${needed} are needed`;
}

function trackersOf(top: Dict): string[] {
  const tiers = top.list("announce-list") ?? [];
  return addresses([top.get("announce"), ...tiers.flatMap((tier) => (Array.isArray(tier) ? tier : [tier]))]);
}

/** Addresses, each once, in their order. */
function addresses(values: ReadonlyArray<Value | undefined>): string[] {
  const found = new Set<string>();
  for (const value of values) {
    if (found.size >= MOST_ADDRESSES) break;
    const text = Buffer.isBuffer(value) ? readable(value).trim() : "";
    if (text !== "") found.add(text);
  }
  return [...found];
}

/** Seconds since 1970 as RFC 3339; nothing where that is no time between then and the year 9999. */
function time(seconds: bigint | undefined): string | undefined {
  if (seconds === undefined || seconds <= 0n || seconds > 253_402_300_799n) return undefined;
  return new Date(Number(seconds) * 1000).toISOString().replace(".000Z", "Z");
}

function present<K extends string>(key: K, value: string | undefined): { [key in K]?: string } {
  return (value === undefined ? {} : { [key]: value }) as { [key in K]?: string };
}

/** The link that leads to the same content: hashes, name, size, and the first trackers. */
export function magnetLink(torrent: Torrent): string {
  const parts: string[] = [];
  if (torrent.infoHash !== undefined) parts.push(`xt=urn:btih:${torrent.infoHash}`);
  // 12 is SHA-256, 20 its length in bytes.
  if (torrent.infoHashV2 !== undefined) parts.push(`xt=urn:btmh:1220${torrent.infoHashV2}`);
  if (torrent.name !== "") parts.push(`dn=${encoded(torrent.name)}`);
  parts.push(`xl=${torrent.size}`);
  parts.push(...torrent.trackers.slice(0, 20).map((tracker) => `tr=${encoded(tracker)}`));
  return `magnet:?${parts.join("&")}`;
}

/** Half of a pair, which some text may end with, cannot be encoded. */
const encoded = (text: string): string => encodeURIComponent(Buffer.from(text, "utf8").toString("utf8"));
