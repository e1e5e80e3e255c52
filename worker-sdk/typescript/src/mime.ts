/**
 * PURE. The media type of a file: its content decides, its name only where the content is silent. It knows
 * the formats of media libraries; what it does not know is `application/octet-stream`, as for a scan.
 */

/** How many bytes from the beginning of a file are looked at. */
export const HEAD_BYTES = 8192;

const BY_EXTENSION: Readonly<Record<string, string>> = {
  avi: "video/x-msvideo", flv: "video/x-flv", m4v: "video/x-m4v", mkv: "video/x-matroska", mov: "video/quicktime",
  mp4: "video/mp4", mpeg: "video/mpeg", mpg: "video/mpeg", ogv: "video/ogg", webm: "video/webm", wmv: "video/x-ms-wmv",
  aac: "audio/aac", flac: "audio/flac", m4a: "audio/mp4", mp3: "audio/mpeg", oga: "audio/ogg", ogg: "audio/ogg", opus: "audio/ogg",
  wav: "audio/wav", wma: "audio/x-ms-wma",
  avif: "image/avif", bmp: "image/bmp", gif: "image/gif", jpeg: "image/jpeg", jpg: "image/jpeg", png: "image/png",
  svg: "image/svg+xml", tif: "image/tiff", tiff: "image/tiff", webp: "image/webp",
  epub: "application/epub+zip", gz: "application/gzip", pdf: "application/pdf", rar: "application/vnd.rar", tar: "application/x-tar",
  torrent: "application/x-bittorrent", zip: "application/zip",
  css: "text/css", csv: "text/csv", htm: "text/html", html: "text/html", json: "application/json", md: "text/markdown", srt: "application/x-subrip",
  txt: "text/plain", vtt: "text/vtt", xml: "text/xml",
};

/** Beginnings of files, as hexadecimal digits; `..` stands for any byte. */
const BY_CONTENT: ReadonlyArray<readonly [string, string]> = [
  ["89504e470d0a1a0a", "image/png"],
  ["ffd8ff", "image/jpeg"],
  ["474946383761", "image/gif"],
  ["474946383961", "image/gif"],
  ["52494646........57454250", "image/webp"],
  ["52494646........57415645", "audio/wav"],
  ["52494646........41564920", "video/x-msvideo"],
  ["424d", "image/bmp"],
  ["49492a00", "image/tiff"],
  ["4d4d002a", "image/tiff"],
  ["664c6143", "audio/flac"],
  ["494433", "audio/mpeg"],
  ["fffb", "audio/mpeg"],
  ["fff3", "audio/mpeg"],
  ["fff1", "audio/aac"],
  ["25504446", "application/pdf"],
  ["504b0304", "application/zip"],
  ["1f8b", "application/gzip"],
  ["526172211a07", "application/vnd.rar"],
  ["377abcaf271c", "application/x-7z-compressed"],
  ["464c5601", "video/x-flv"],
  ["000001ba", "video/mpeg"],
  ["........6674797061766966", "image/avif"],
  ["........66747970717420", "video/quicktime"],
  ["........667479704d3441", "audio/mp4"],
  ["........667479704d3456", "video/x-m4v"],
  ["........66747970", "video/mp4"],
];

/** The media type of a file with this extension (lower case, no dot) that begins with `head`. */
export function mimeOf(extension: string, head: Buffer): string {
  if (head.length === 0) return "inode/x-empty";
  const byName = Object.hasOwn(BY_EXTENSION, extension) ? BY_EXTENSION[extension] : undefined;
  const special = byStructure(head);
  if (special !== undefined) return special;
  if (isText(head)) return textType(extension, head, byName);
  const hex = head.toString("hex", 0, 16);
  const found = BY_CONTENT.find(([pattern]) => new RegExp(`^${pattern}`).test(hex));
  if (found !== undefined) return found[1];
  // Binary content under the name of a text is neither.
  return byName !== undefined && !isTextType(byName) ? byName : "application/octet-stream";
}

/** Formats that have to be told apart by more than their beginning. */
function byStructure(head: Buffer): string | undefined {
  if (head.readUInt32BE !== undefined && head.length >= 4 && head.readUInt32BE(0) === 0x1a45dfa3) {
    return head.subarray(0, 1024).includes("webm") ? "video/webm" : "video/x-matroska";
  }
  if (head.subarray(0, 4).toString("latin1") === "OggS") return head.includes("\x80theora", 0, "latin1") ? "video/ogg" : "audio/ogg";
  const packets = ([packet, from]: readonly [number, number]): boolean => [0, 1, 2, 3].every((n) => head[from + n * packet] === 0x47);
  return ([[188, 0], [192, 4]] as const).some(packets) ? "video/mp2t" : undefined;
}

/** UTF-8, UTF-16 with its mark, or mostly ASCII; without control characters. */
function isText(head: Buffer): boolean {
  if (head.length >= 4 && (head.readUInt16BE(0) === 0xfffe || head.readUInt16BE(0) === 0xfeff)) return head.readUInt16BE(2) !== 0;
  let high = 0;
  for (const byte of head) {
    if ((byte < 0x20 && ![9, 10, 12, 13, 0x1b].includes(byte)) || byte === 0x7f) return false;
    if (byte >= 0x80) high += 1;
  }
  if (high === 0) return true;
  // A character may be cut at the end of what was read.
  const whole = head.length < HEAD_BYTES ? head : head.subarray(0, lastStart(head));
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(whole);
    return true;
  } catch {
    return head.length >= 16 && high * 3 <= head.length;
  }
}

function lastStart(head: Buffer): number {
  let at = head.length - 1;
  while (at > 0 && ((head[at] ?? 0) & 0xc0) === 0x80) at -= 1;
  return at;
}

function textType(extension: string, head: Buffer, byName: string | undefined): string {
  const text = head.toString("utf8").replace(/^\ufeff/, "").trimStart();
  if (text.startsWith("WEBVTT")) return "text/vtt";
  if (/^\[script info\]/i.test(text)) return "text/x-ssa";
  if (/^<sami>/i.test(text)) return "application/x-sami";
  if (/^[0-9]+\s*\n[^\n]*-->/.test(text)) return "application/x-subrip";
  if (text.startsWith("{") && extension === "sub") return "text/x-microdvd";
  if (text.startsWith("<?xml") || (extension === "nfo" && text.startsWith("<"))) {
    return byName?.endsWith("+xml") === true ? byName : "text/xml";
  }
  if (extension === "nfo") return "text/x-nfo";
  return byName !== undefined && isTextType(byName) ? byName : "text/plain";
}

const isTextType = (mime: string): boolean =>
  mime.startsWith("text/") || mime.endsWith("+xml") || ["application/json", "application/x-subrip"].includes(mime);
