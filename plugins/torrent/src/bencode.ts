/**
 * PURE. Reads bencode from bytes that nobody vouches for: bounded in depth and in the number of values, and
 * nothing is allocated that the bytes themselves do not hold.
 */

/** Deepest nesting; a torrent needs five levels, and one for each folder in version 2. */
export const MAX_DEPTH = 100;
/** Most values in one document. */
export const MAX_VALUES = 500_000;

export type Value = bigint | Buffer | Value[] | Dict;

/** A dictionary, and the bytes that it was read from. */
export class Dict {
  constructor(
    /** Keys are bytes, one character for each. */
    readonly members: ReadonlyMap<string, Value>,
    readonly bytes: Buffer,
  ) {}

  get(key: string): Value | undefined {
    return this.members.get(key);
  }

  /** A text or other bytes. */
  string(key: string): Buffer | undefined {
    const value = this.get(key);
    return Buffer.isBuffer(value) ? value : undefined;
  }

  integer(key: string): bigint | undefined {
    const value = this.get(key);
    return typeof value === "bigint" ? value : undefined;
  }

  list(key: string): Value[] | undefined {
    const value = this.get(key);
    return Array.isArray(value) ? value : undefined;
  }

  dict(key: string): Dict | undefined {
    const value = this.get(key);
    return value instanceof Dict ? value : undefined;
  }
}

/** The bytes are not bencode. */
export class BencodeError extends Error {
  override name = "BencodeError";
}

/** Reads the one value that `bytes` hold; throws {@link BencodeError}, with the place, where they hold another thing. */
export function decode(bytes: Buffer): Value {
  const reader = new Reader(bytes);
  const value = reader.value(0);
  reader.end();
  return value;
}

const DIGIT_0 = 0x30;
const DIGIT_9 = 0x39;
const [COLON, MINUS, END, DICT, INTEGER, LIST] = [...":-edil"].map((char) => char.charCodeAt(0));
/** Digits of the longest integer (64 bits) and of the longest length that can make sense. */
const MAX_DIGITS = 20;

class Reader {
  #at = 0;
  #values = 0;

  constructor(private readonly bytes: Buffer) {}

  value(depth: number): Value {
    this.#values += 1;
    if (this.#values > MAX_VALUES) throw this.#error(`more than ${MAX_VALUES} values`);
    if (depth > MAX_DEPTH) throw this.#error(`nested more than ${MAX_DEPTH} deep`);
    const first = this.bytes[this.#at];
    if (first === INTEGER) return this.#integer();
    if (first === LIST) return this.#list(depth);
    if (first === DICT) return this.#dict(depth);
    return this.#string();
  }

  end(): void {
    // Some programs end the file with a line feed.
    const rest = this.bytes.subarray(this.#at);
    if (rest.length > 2 || rest.some((byte) => byte !== 0x0a && byte !== 0x0d)) throw this.#error("something follows the end");
  }

  #integer(): bigint {
    this.#at += 1;
    const negative = this.bytes[this.#at] === MINUS;
    if (negative) this.#at += 1;
    const digits = this.#digits();
    if (negative && digits === "0") throw this.#error("minus zero");
    this.#expect(END, "the end of a number");
    return negative ? -BigInt(digits) : BigInt(digits);
  }

  #string(): Buffer {
    const digits = this.#digits();
    this.#expect(COLON, "`:` after a length");
    const length = Number(digits);
    const left = this.bytes.length - this.#at;
    if (length > left) throw this.#error(`a text of ${digits} bytes where ${left} are left`);
    const text = this.bytes.subarray(this.#at, this.#at + length);
    this.#at += length;
    return text;
  }

  #list(depth: number): Value[] {
    this.#at += 1;
    const members: Value[] = [];
    while (this.bytes[this.#at] !== END) members.push(this.value(depth + 1));
    this.#at += 1;
    return members;
  }

  #dict(depth: number): Dict {
    const start = this.#at;
    this.#at += 1;
    const members = new Map<string, Value>();
    while (this.bytes[this.#at] !== END) {
      const key = this.#string().toString("latin1");
      // Whichever of two counts, somebody else would take the other one.
      if (members.has(key)) throw this.#error(`the key ${JSON.stringify(key.slice(0, 40))} is there twice`);
      members.set(key, this.value(depth + 1));
    }
    this.#at += 1;
    return new Dict(members, this.bytes.subarray(start, this.#at));
  }

  #digits(): string {
    const start = this.#at;
    while (this.#isDigit(this.bytes[this.#at])) this.#at += 1;
    const digits = this.bytes.toString("latin1", start, Math.min(this.#at, start + MAX_DIGITS + 1));
    if (digits === "") throw this.#error("neither a number, a text, a list nor a dictionary");
    if (digits.length > MAX_DIGITS) throw this.#error(`a number of more than ${MAX_DIGITS} digits`);
    if (digits.length > 1 && digits.startsWith("0")) throw this.#error("a number that begins with 0");
    return digits;
  }

  #isDigit(byte: number | undefined): boolean {
    return byte !== undefined && byte >= DIGIT_0 && byte <= DIGIT_9;
  }

  #expect(byte: number | undefined, what: string): void {
    if (this.bytes[this.#at] !== byte) throw this.#error(`not ${what}`);
    this.#at += 1;
  }

  #error(problem: string): BencodeError {
    const where = this.#at >= this.bytes.length ? "at the end" : `at byte ${this.#at}`;
    return new BencodeError(`${problem}, ${where}`);
  }
}
