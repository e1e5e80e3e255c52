/** Writes bencode, for the torrents of the tests. */
export type Plain = number | bigint | string | Buffer | Plain[] | { [key: string]: Plain };

export function encode(value: Plain): Buffer {
  if (typeof value === "number" || typeof value === "bigint") return Buffer.from(`i${value}e`);
  if (typeof value === "string") return encode(Buffer.from(value, "utf8"));
  if (Buffer.isBuffer(value)) return Buffer.concat([Buffer.from(`${value.length}:`), value]);
  if (Array.isArray(value)) return Buffer.concat([Buffer.from("l"), ...value.map(encode), Buffer.from("e")]);
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Buffer.concat([Buffer.from("d"), ...members.flatMap(([key, member]) => [encode(key), encode(member)]), Buffer.from("e")]);
}

export const PIECES = Buffer.alloc(20, 7);

/** A torrent of one file. */
export const single = (info: { [key: string]: Plain } = {}, more: { [key: string]: Plain } = {}): Buffer =>
  encode({ announce: "http://tracker.example/announce", info: { name: "a.iso", length: 1000, "piece length": 16_384, pieces: PIECES, ...info }, ...more });
