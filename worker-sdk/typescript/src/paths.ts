/** PURE. Paths as bytes: mapped to where a worker sees them, and back; see `METAFLEET_PATHS` in the README. */
import type { PathInput } from "./outcome.js";

const SLASH = 0x2f;
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Pairs of folders: where the fleet has it, where this worker has it. */
export type PathMap = ReadonlyArray<{ readonly from: string; readonly to: string }>;

/**
 * Reads `FROM=TO` pairs separated by `:`; FROM ends at the first `=`. Throws where one is no pair, names no
 * absolute folders, or says again where a folder is.
 */
export function parsePathMap(text: string): PathMap {
  const map: Array<{ readonly from: string; readonly to: string }> = [];
  for (const pair of text === "" ? [] : text.split(":")) {
    const middle = pair.indexOf("=");
    if (middle < 0) throw new Error(`\`${pair}\` must be FROM=TO, e.g. /library/films=/mnt/films`);
    const [from, to] = [pair.slice(0, middle), pair.slice(middle + 1)];
    if (!isPlain(from) || !isPlain(to)) throw new Error(`\`${pair}\` must name two absolute folders, without \`.\` and \`..\``);
    if (map.some((other) => other.from === trimmed(from))) throw new Error(`\`${pair}\` must not say a second time where a folder is`);
    map.push({ from: trimmed(from), to: trimmed(to) });
  }
  return map;
}

const isPlain = (path: string): boolean => path.startsWith("/") && !path.split("/").some((segment) => segment === "." || segment === "..");

/** Where this worker has the file that the fleet has at `path`: by the longest pair whose FROM holds it. */
export const mapPath = (map: PathMap, path: Buffer): Buffer => move(map.map(({ from, to }) => [from, to]), path);

/** Where the fleet has the file that this worker has at `path`: by the longest pair whose TO holds it. */
export const unmapPath = (map: PathMap, path: Buffer): Buffer => move(map.map(({ from, to }) => [to, from]), path);

function move(pairs: ReadonlyArray<readonly [string, string]>, path: Buffer): Buffer {
  let best: readonly [Buffer, Buffer] | undefined;
  for (const [from, to] of pairs) {
    const prefix = Buffer.from(from, "utf8");
    if (holds(prefix, path) && (best === undefined || prefix.length > best[0].length)) best = [prefix, Buffer.from(to, "utf8")];
  }
  if (best === undefined) return path;
  const [prefix, target] = best;
  const rest = path.subarray(prefix.length);
  const moved = Buffer.concat([target, rest]);
  return moved.length === 0 ? Buffer.from("/") : moved;
}

/** Whether `path` is the folder or lies under it, by whole segments; the root is the empty prefix. */
function holds(prefix: Buffer, path: Buffer): boolean {
  if (!path.subarray(0, prefix.length).equals(prefix)) return false;
  return path.length === prefix.length || path[prefix.length] === SLASH;
}

/** Without slashes at the end, and without two in a row; the root becomes empty. */
const trimmed = (path: string): string => path.split("/").filter((segment) => segment !== "").map((segment) => `/${segment}`).join("");

/** The exact bytes of a path. */
export const pathBytes = (path: PathInput): Buffer => (typeof path === "string" ? Buffer.from(path, "utf8") : path);

/** The path as Node's functions take it: text where it is UTF-8, else its bytes. */
export function usable(path: Buffer): PathInput {
  try {
    return strict.decode(path);
  } catch {
    return path;
  }
}

/** The path for people; what is not UTF-8 shows as a replacement character. */
export const readable = (path: Buffer): string => path.toString("utf8");

/** Both forms in which messages carry a path. */
export function onTheWire(path: Buffer): { filePath: string; filePathBytes?: string } {
  const filePath = readable(path);
  if (Buffer.from(filePath, "utf8").equals(path)) return { filePath };
  return { filePath, filePathBytes: path.toString("base64") };
}

/** The exact path that a message carries. */
export function fromTheWire(message: { filePath: string; filePathBytes?: string | null }): Buffer {
  return message.filePathBytes ? Buffer.from(message.filePathBytes, "base64") : Buffer.from(message.filePath, "utf8");
}

/** The bytes percent-encoded: everything but letters, digits and `-_.~/`. */
export function percentEncoded(path: Buffer): string {
  let text = "";
  for (const byte of path) {
    const char = String.fromCharCode(byte);
    text += /[A-Za-z0-9\-_.~/]/.test(char) ? char : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return text;
}

/** A file beside another one: `name` is a file name, or `../name`; nothing where it leads elsewhere. */
export function sidecarPath(path: Buffer, name: string): Buffer | undefined {
  let folder = parent(path);
  let file = name;
  if (file.startsWith("../")) {
    folder = parent(folder);
    file = file.slice(3);
  }
  if (file === "" || file === "." || file === ".." || file.includes("/") || file.includes("\0")) return undefined;
  return Buffer.concat([folder, Buffer.from(`/${file}`, "utf8")]);
}

const parent = (path: Buffer): Buffer => path.subarray(0, Math.max(0, path.lastIndexOf(SLASH)));
