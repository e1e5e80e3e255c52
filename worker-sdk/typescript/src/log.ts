/** Log lines on standard error, for people or as JSON; never through a stream that a blocked loop would hold back. */
import { writeSync } from "node:fs";

import { timestamp } from "./clock.js";

const LEVELS = { error: 0, warn: 1, info: 2, debug: 3 } as const;
type Level = keyof typeof LEVELS;

export type Fields = Readonly<Record<string, unknown>>;

/** Writes lines that carry the same fields. */
export interface Logger {
  error(message: string, fields?: Fields): void;
  warn(message: string, fields?: Fields): void;
  info(message: string, fields?: Fields): void;
  debug(message: string, fields?: Fields): void;
  /** The same with more fields. */
  with(fields: Fields): Logger;
}

export type Sink = (line: string) => void;

/** A logger for `METAFLEET_LOG` (`error`, `warn`, `info`, `debug`) and `METAFLEET_LOG_FORMAT` (`text`, `json`). */
export function logger(fields: Fields = {}, environment = process.env, sink: Sink = toStandardError): Logger {
  // Other programs of a fleet take more than a level, such as `info,x=debug`.
  const wanted = (environment["METAFLEET_LOG"] ?? "").split(",").find((word) => Object.hasOwn(LEVELS, word));
  const most: number = LEVELS[(wanted ?? "info") as Level];
  const json = environment["METAFLEET_LOG_FORMAT"] === "json";
  const make = (own: Fields): Logger => {
    const at = (level: Level) => (message: string, more: Fields = {}): void => {
      if (LEVELS[level] <= most) sink(json ? asJson(level, message, { ...own, ...more }) : asText(level, message, { ...own, ...more }));
    };
    return { error: at("error"), warn: at("warn"), info: at("info"), debug: at("debug"), with: (more) => make({ ...own, ...more }) };
  };
  return make(fields);
}

/** PURE but for the time. */
function asJson(level: Level, message: string, fields: Fields): string {
  return JSON.stringify({ timestamp: timestamp(), level, message, ...fields }, plain);
}

function asText(level: Level, message: string, fields: Fields): string {
  const more = Object.entries(fields).map(([key, value]) => ` ${key}=${typeof value === "string" ? value : JSON.stringify(value, plain)}`);
  // One message is one line, whatever stands in it.
  return `${timestamp()} ${level.toUpperCase().padEnd(5)} ${message}${more.join("")}`.replaceAll(/[\r\n]+/g, " ");
}

const plain = (_key: string, value: unknown): unknown => (typeof value === "bigint" ? String(value) : value instanceof Error ? value.message : value);

function toStandardError(line: string): void {
  try {
    writeSync(2, `${line}\n`);
  } catch {
    // Nobody reads it, or not fast enough: a log is not worth a task.
  }
}
