/**
 * PURE. Takes secrets out of texts for people, also where they are written in another way.
 *
 * Programs rarely print a secret as it is: it stands percent-encoded in the address of an error, escaped in
 * JSON, in base64 in a header. Texts are looked at as bytes, each a character of a string.
 */
import type { ConfigField } from "./wire.js";

const MASK = "***";
/** A shorter text is part of too many words to be looked for. */
const SHORTEST = 4;
/** A line of a secret that is a secret by itself. */
const LONG_LINE = 8;
/** Times that backslashes are taken away: JSON in the text of JSON has two layers. */
const LAYERS = 2;
const LETTERS: { readonly [letter: string]: string } = { n: "\n", t: "\t", r: "\r", b: "\b", f: "\f" };
const PERCENT = /%[0-9a-f]{2}|./gis;
const FORM = /%[0-9a-f]{2}|\+|./gis;
const ESCAPE = /\\u[0-9a-f]{4}(?:\\u[0-9a-f]{4})?|\\x[0-9a-f]{2}|\\["\\/'ntrbf]|./gis;

type Place = readonly [from: number, to: number];

/** A text read in some way, and which bytes of the text as it is make up each byte of it. */
interface View {
  readonly bytes: string;
  readonly places: readonly Place[];
}

/** Texts that must not be shown. */
export class Mask {
  readonly #forms: ReadonlySet<string>;

  constructor(secrets: Iterable<string>) {
    const forms = new Set<string>();
    for (const secret of secrets) {
      // Logs show a key of many lines line by line.
      const lines = secret.split(/\r?\n/).filter((line) => line.length >= LONG_LINE);
      for (const text of [secret, ...lines].map((part) => Buffer.from(part, "utf8"))) {
        if (text.length >= SHORTEST) formsOf(text).forEach((form) => forms.add(form));
      }
    }
    this.#forms = forms;
  }

  /** The secrets among the settings; what nobody has declared may be one. */
  static of(schema: { readonly [key: string]: ConfigField } | null | undefined, settings: Readonly<Record<string, unknown>>): Mask {
    const secret = Object.entries(settings).filter(([key]) => schema?.[key] === undefined || schema[key].secret === true);
    return new Mask(secret.flatMap(([, value]) => leaves(value)));
  }

  /** The text without them. */
  text(text: string): string {
    if (this.#forms.size === 0) return text;
    const bytes = Buffer.from(text, "utf8").toString("latin1");
    const hidden = this.#hidden(bytes).sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    if (hidden.length === 0) return text;
    let [covered, at] = ["", 0];
    for (let i = 0; i < hidden.length; ) {
      let [from, to] = hidden[i] ?? [0, 0];
      for (i += 1; (hidden[i]?.[0] ?? Infinity) < to; i += 1) to = Math.max(to, hidden[i]?.[1] ?? 0);
      covered += bytes.slice(at, from) + MASK;
      at = to;
    }
    return Buffer.from(covered + bytes.slice(at), "latin1").toString("utf8");
  }

  #hidden(bytes: string): Place[] {
    const plain: View = { bytes, places: Array.from(bytes, (_, at): Place => [at, at + 1]) };
    const views = [plain];
    if (bytes.includes("%")) views.push(again(plain, PERCENT, percent));
    if (bytes.includes("+")) views.push(again(plain, FORM, percent));
    const hidden: Place[] = [];
    for (let view of views) {
      for (let layer = 0; layer <= LAYERS; layer += 1) {
        this.#find(view, hidden);
        if (!view.bytes.includes("\\")) break;
        view = again(view, ESCAPE, escape);
      }
    }
    return hidden;
  }

  #find({ bytes, places }: View, hidden: Place[]): void {
    for (const form of this.#forms) {
      for (let at = bytes.indexOf(form); at >= 0; at = bytes.indexOf(form, at + 1)) {
        hidden.push([places[at]?.[0] ?? 0, places[at + form.length - 1]?.[1] ?? 0]);
      }
    }
  }
}

/** The same, read once more. */
function again(view: View, unit: RegExp, meaning: (unit: string) => string): View {
  const [read, places]: [string[], Place[]] = [[], []];
  for (const found of view.bytes.matchAll(unit)) {
    const bytes = meaning(found[0]);
    const place: Place = [view.places[found.index]?.[0] ?? 0, view.places[found.index + found[0].length - 1]?.[1] ?? 0];
    read.push(bytes);
    for (let n = 0; n < bytes.length; n += 1) places.push(place);
  }
  return { bytes: read.join(""), places };
}

/** All texts and numbers in a value, however deep. */
function leaves(value: unknown): string[] {
  if (typeof value === "number") return [String(value)];
  if (typeof value === "object" && value !== null) return Object.values(value).flatMap(leaves);
  if (typeof value !== "string") return [];
  // A setting of several parts can only be given as the text of JSON.
  let inner: unknown;
  try {
    inner = JSON.parse(value);
  } catch {
    inner = undefined;
  }
  return typeof inner === "object" ? [value, ...leaves(inner)] : [value];
}

/** A secret as it is, in hexadecimal digits, and in base64 after 0, 1 or 2 bytes of something else. */
function formsOf(secret: Buffer): string[] {
  const forms = [secret.toString("latin1"), secret.toString("hex"), secret.toString("hex").toUpperCase()];
  for (let before = 0; before < 3; before += 1) {
    const shifted = Buffer.concat([Buffer.alloc(before), secret]);
    // Characters that also tell of what stands before it, or after it, are left out.
    const [first, last] = [Math.ceil((before * 8) / 6), Math.floor((shifted.length * 8) / 6)];
    forms.push(shifted.toString("base64").slice(first, last), shifted.toString("base64url").slice(first, last));
  }
  return forms;
}

function percent(unit: string): string {
  if (unit.length === 3) return String.fromCharCode(Number.parseInt(unit.slice(1), 16));
  return unit === "+" ? " " : unit;
}

function escape(unit: string): string {
  const kind = unit[1]?.toLowerCase();
  if (kind === undefined) return unit;
  if (kind === "x") return String.fromCharCode(Number.parseInt(unit.slice(2), 16));
  if (kind !== "u") return LETTERS[kind] ?? kind;
  const units = unit.split(/\\u/i).slice(1).map((digits) => Number.parseInt(digits, 16));
  return Buffer.from(String.fromCharCode(...units), "utf8").toString("latin1");
}
