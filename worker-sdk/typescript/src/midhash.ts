/** The content id of a file, see section 16 of PROTOCOL.md. */
import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";

/** Files up to this size are hashed whole; of larger ones this much from the middle. */
export const SAMPLE_BYTES = 1_048_576;
/** Version 1, codec 0x1000, multihash 0x1000, length 0x20. */
const HEAD = [0x01, 0x80, 0x20, 0x80, 0x20, 0x20];
const ALPHABET = "abcdefghijklmnopqrstuvwxyz234567";

/** PURE. Where the sample of a file begins and how long it is. */
export function sampleOf(size: number): { offset: number; length: number } {
  const length = Math.min(size, SAMPLE_BYTES);
  return { offset: Math.floor((size - length) / 2), length };
}

/** PURE. The content id of a file of `size` bytes whose sample is `sample`. */
export function cidOf(size: number, sample: Uint8Array): string {
  const head = Buffer.alloc(8);
  head.writeBigUInt64BE(BigInt(size));
  const hash = createHash("sha256").update(head).update(sample).digest();
  return `b${base32(Buffer.concat([Buffer.from(HEAD), hash]))}`;
}

/** The content id of an open file of `size` bytes. */
export async function cidOfFile(file: FileHandle, size: number): Promise<string> {
  const { offset, length } = sampleOf(size);
  const sample = Buffer.alloc(length);
  for (let filled = 0; filled < length; ) {
    const { bytesRead } = await file.read(sample, filled, length - filled, offset + filled);
    if (bytesRead === 0) throw new Error("the file became shorter while it was read");
    filled += bytesRead;
  }
  return cidOf(size, sample);
}

function base32(bytes: Uint8Array): string {
  let text = "";
  let bits = 0;
  let value = 0;
  for (const byte of bytes) {
    value = ((value << 8) | byte) & 0xfff;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += ALPHABET[(value >> bits) & 31];
    }
  }
  return bits > 0 ? text + ALPHABET[(value << (5 - bits)) & 31] : text;
}
