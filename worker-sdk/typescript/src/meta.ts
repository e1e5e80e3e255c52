/** PURE. What a plugin may write, see section 18 of PROTOCOL.md. */
import type { MetaInput, MetaInputs } from "./outcome.js";
import type { DataField, DataType, JsonValue } from "./wire.js";

const MAX_KEY_BYTES = 512;
/** Arrays and objects of a value within each other; readers may give up on what nests deeper. */
const MAX_DEPTH = 64;
// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;

export type DataSchema = Readonly<Record<string, DataField>>;

/** Metadata that may be written, or everything that is wrong with it. */
export type Checked =
  | { readonly ok: true; readonly meta: Record<string, JsonValue> }
  | { readonly ok: false; readonly problems: string[] };

/** Brings `inputs` into the form of the wire and holds it against `schema`. */
export function checkMeta(schema: DataSchema, plugin: string, inputs: MetaInputs): Checked {
  const meta: Array<[string, JsonValue]> = [];
  const problems: string[] = [];
  for (const [key, input] of Object.entries(inputs)) {
    if (input === undefined) continue;
    if (!isKey(key)) {
      problems.push(`metadata key \`${key.slice(0, 80)}\` must be \`/\`-separated segments, none empty, 512 bytes at most`);
      continue;
    }
    const field = fieldOf(schema, key);
    if (field === undefined) {
      problems.push(`key \`${key}\` is not in the dataSchema of ${plugin}`);
      continue;
    }
    const kind = field.type ?? "string";
    const value = onTheWire(input, kind);
    if (value === undefined) continue;
    if (!fits(value, kind)) problems.push(`key \`${key}\` must be a ${kind}`);
    else if (!nestsWithin(value, MAX_DEPTH)) problems.push(`key \`${key}\` nests deeper than ${MAX_DEPTH}`);
    else meta.push([key, value]);
  }
  return problems.length === 0 ? { ok: true, meta: Object.fromEntries(meta) } : { ok: false, problems };
}

/** Whether `key` is one: segments joined by `/`, none empty, no control characters. */
export function isKey(key: string): boolean {
  if (key.length > MAX_KEY_BYTES || (key.length * 3 > MAX_KEY_BYTES && Buffer.byteLength(key) > MAX_KEY_BYTES)) return false;
  return key !== "" && !key.startsWith("/") && !key.endsWith("/") && !key.includes("//") && !CONTROL.test(key);
}

/**
 * Whether `key` matches `pattern`: `*` and `{n}` stand for one segment (`{n}` for a number), and a `*`
 * at the end for one or more.
 */
export function matchesPattern(pattern: string, key: string): boolean {
  const wanted = pattern.split("/");
  const found = key.split("/");
  for (const [at, segment] of wanted.entries()) {
    const have = found[at];
    if (have === undefined) return false;
    if (segment === "*" && at === wanted.length - 1) return have !== "";
    if (segment === "*") continue;
    if (segment === "{n}" ? !/^[0-9]+$/.test(have) : segment !== have) return false;
  }
  return found.length === wanted.length;
}

function fieldOf(schema: DataSchema, key: string): DataField | undefined {
  const named = Object.hasOwn(schema, key) ? schema[key] : undefined;
  if (named !== undefined) return named;
  for (const [name, field] of Object.entries(schema)) {
    if (matchesPattern(name, key)) return field;
    if (typeof field.pattern === "string" && matchesPattern(field.pattern, key)) return field;
  }
  return undefined;
}

/** Numbers and booleans are text unless the field is JSON; a set has no order and no repetitions. */
function onTheWire(input: Exclude<MetaInput, undefined>, kind: DataType): JsonValue | undefined {
  if (typeof input === "string") return input;
  if (typeof input === "bigint") return String(input);
  if (typeof input === "number" || typeof input === "boolean") return kind === "json" ? input : String(input);
  const members = input instanceof Set ? [...(input as ReadonlySet<string>)] : input;
  if (!Array.isArray(members) || kind === "json") return members as JsonValue;
  if (!members.every((member) => typeof member === "string")) return members as JsonValue;
  return members.length === 0 ? undefined : [...new Set(members)].sort();
}

function fits(value: JsonValue, kind: DataType): boolean {
  if (kind === "json") return true;
  if (kind === "string") return typeof value === "string";
  return Array.isArray(value) && value.every((member) => typeof member === "string");
}

/** It ends also with a value that holds itself. */
function nestsWithin(value: JsonValue | undefined, depth: number): boolean {
  if (typeof value !== "object" || value === null) return true;
  return depth > 0 && Object.values(value).every((inner) => nestsWithin(inner, depth - 1));
}
