// Makes src/wire.ts from the JSON Schemas of the protocol: `npm run generate`.
//
// Knows what those schemas use, and refuses what it does not know rather than to guess.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const SCHEMAS = fileURLToPath(new URL("../../../broker-config/schema/", import.meta.url));
const TARGET = fileURLToPath(new URL("../src/wire.ts", import.meta.url));
/** What a worker neither sends nor reads. */
const LEFT_OUT = new Set(["plugins", "plugin", "dead", "event"]);
const HEAD = `// Generated from broker-config/schema by \`npm run generate\`. Do not edit.

/** Anything that JSON can say. */
export type JsonValue = string | number | boolean | null | JsonValue[] | { [key: string]: JsonValue };
`;

/** Returns the text of src/wire.ts for the schemas in \`folder\`. */
export function generate(folder = SCHEMAS) {
  const types = new Map();
  for (const file of readdirSync(folder).sort()) {
    const name = file.replace(/\.schema\.json$/, "");
    if (name === file || LEFT_OUT.has(name)) continue;
    const { $defs = {}, ...schema } = JSON.parse(readFileSync(folder + file, "utf8"));
    for (const [title, definition] of Object.entries($defs)) add(types, title, definition, file);
    add(types, schema.title, schema, file);
  }
  const sorted = [...types].sort(([a], [b]) => (a < b ? -1 : 1));
  return HEAD + sorted.map(([title, text]) => `\n${text(title)}`).join("");
}

function add(types, title, schema, file) {
  const text = (name) => `${comment(schema, "")}export type ${name} = ${type(schema, "")};\n`;
  const before = types.get(title);
  if (before && before(title) !== text(title)) throw new Error(`${file}: another ${title} than elsewhere`);
  types.set(title, text);
}

function type(schema, indent) {
  if (schema === true || Object.keys(schema).every((key) => key === "description" || key === "default")) return "JsonValue";
  if (schema.$ref) return schema.$ref.replace("#/$defs/", "");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const choices = schema.oneOf ?? schema.anyOf;
  if (choices && schema.properties) return `${object(schema, indent)} & (${union(choices, indent)})`;
  if (choices) return union(choices, indent);
  if (Array.isArray(schema.type)) {
    return schema.type.map((one) => type({ ...schema, type: one }, indent)).join(" | ");
  }
  switch (schema.type) {
    case "string": return "string";
    case "boolean": return "boolean";
    case "null": return "null";
    case "integer": case "number": return "number";
    case "array": return `Array<${type(schema.items ?? true, indent)}>`;
    case "object": return object(schema, indent);
    default: throw new Error(`cannot express ${JSON.stringify(schema)}`);
  }
}

function union(choices, indent) {
  const all = choices.map((choice) => type(choice, indent));
  return [...new Set(all)].join(" | ");
}

function object(schema, indent) {
  if (!schema.properties) return `{ [key: string]: ${type(schema.additionalProperties ?? true, indent)} }`;
  const required = new Set(schema.required ?? []);
  const inner = `${indent}  `;
  const lines = Object.entries(schema.properties).map(([name, property]) => {
    const optional = required.has(name) ? "" : "?";
    const key = /^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name);
    return `${comment(property, inner)}${inner}${key}${optional}: ${type(property, inner)};\n`;
  });
  return `{\n${lines.join("")}${indent}}`;
}

function comment({ description }, indent) {
  if (!description) return "";
  const lines = description.replaceAll("*/", "*\u200b/").split("\n");
  if (lines.length === 1) return `${indent}/** ${lines[0]} */\n`;
  return `${indent}/**\n${lines.map((line) => `${indent} * ${line}`.trimEnd()).join("\n")}\n${indent} */\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(TARGET, generate());
