/** PURE. Texts of torrents: UTF-8 by rule, other code pages in old ones. */
import type { Dict } from "./bencode.js";

/** Longest text that is kept, in characters. */
const LONGEST = 4096;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A text of a dictionary, by `<key>.utf-8` where that is there; nothing where it is absent or empty. */
export function textOf(dict: Dict, key: string, encoding?: string): string | undefined {
  const bytes = dict.string(`${key}.utf-8`) ?? dict.string(key);
  const text = bytes === undefined ? "" : readable(bytes, encoding);
  return text === "" ? undefined : text;
}

/** Bytes as text: UTF-8, else the code page that the torrent names, else Latin 1. Control characters become spaces. */
export function readable(bytes: Buffer, encoding?: string): string {
  // Cut first: a character has two units at most.
  const text = decoded(bytes, encoding).slice(0, LONGEST * 2 + 2).replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f]/g, " ");
  const characters = [...text];
  return characters.length > LONGEST ? `${characters.slice(0, LONGEST).join("")}…` : text;
}

function decoded(bytes: Buffer, encoding: string | undefined): string {
  try {
    return utf8.decode(bytes);
  } catch {
    try {
      return new TextDecoder(encoding ?? "latin1", { fatal: true }).decode(bytes);
    } catch {
      // No such code page, or the bytes are not in it: every byte is a character of Latin 1.
      return bytes.toString("latin1");
    }
  }
}
