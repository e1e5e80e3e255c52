/** PURE but for secret files. What a worker is told by its environment, see section 2 of PROTOCOL.md. */
import { readFileSync } from "node:fs";

import { isInstanceId, isPluginId, isPrefix, isRouteName } from "./ids.js";
import { parsePathMap, type PathMap } from "./paths.js";
import type { Policy } from "./share.js";

/** A variable has a value that cannot be used; never holds the value of a secret. */
export class EnvironmentError extends Error {
  override name = "EnvironmentError";
  constructor(
    readonly variable: string,
    problem: string,
  ) {
    super(`${variable}: ${problem}`);
  }
}

/** How a worker proves to the broker who it is. */
export type Credentials =
  | { readonly by: "nothing" }
  | { readonly by: "file"; readonly path: string }
  | { readonly by: "nkey"; readonly seed: string }
  | { readonly by: "token"; readonly token: string }
  | { readonly by: "user"; readonly name: string; readonly password: string };

/** Where the coordinator offers the bytes of files, and what proves that this worker may have them. */
export interface FilesOffer {
  readonly url: string;
  readonly token: string;
}

/** Everything that a worker is told from outside. */
export interface WorkerOptions {
  readonly servers: readonly string[];
  readonly credentials: Credentials;
  readonly ca?: string;
  readonly certificate?: { readonly cert: string; readonly key: string };
  readonly prefix: string;
  readonly plugin?: string;
  readonly instance?: string;
  readonly route?: string;
  readonly concurrency?: number;
  readonly queues: Policy;
  readonly graceMs: number;
  readonly paths: PathMap;
  readonly filesUrl?: string;
  readonly filesToken?: string;
}

type Variables = Readonly<Record<string, string | undefined>>;

/** Reads the environment; throws {@link EnvironmentError} for the first value that cannot be used. */
export function readEnvironment(variables: Variables = process.env): WorkerOptions {
  // An empty variable counts as absent.
  const get = (name: string): string | undefined => variables[name] || undefined;
  const checked = (name: string, ok: (text: string) => boolean, must: string): string | undefined => {
    const text = get(name)?.trim();
    if (text !== undefined && !ok(text)) throw new EnvironmentError(name, `\`${text}\` must be ${must}`);
    return text;
  };
  const servers = (get("NATS_URL") ?? "nats://127.0.0.1:4222").split(",").map((url) => url.trim());
  const cert = get("NATS_CERT");
  const key = get("NATS_KEY");
  if ((cert === undefined) !== (key === undefined)) {
    const [there, missing] = cert === undefined ? ["NATS_KEY", "NATS_CERT"] : ["NATS_CERT", "NATS_KEY"];
    throw new EnvironmentError(there, `${missing} must be set, too`);
  }
  const id = "1 to 64 characters of a-z, 0-9 and -";
  const queues = checked("METAFLEET_QUEUES", (text) => text === "share" || text === "strict", "`share` or `strict`");
  const concurrency = checked("METAFLEET_CONCURRENCY", (text) => /^[1-9][0-9]{0,6}$/.test(text), "a whole number from 1");
  return omitUndefined({
    servers,
    credentials: credentials(get),
    ca: get("NATS_CA"),
    certificate: cert !== undefined && key !== undefined ? { cert, key } : undefined,
    prefix: checked("METAFLEET_PREFIX", isPrefix, "1 to 24 characters of a-z, 0-9 and -") ?? "mf",
    plugin: checked("METAFLEET_PLUGIN", isPluginId, id),
    instance: checked("METAFLEET_INSTANCE", isInstanceId, "1 to 128 characters of A-Z, a-z, 0-9, _ and -"),
    route: checked("METAFLEET_ROUTE", isRouteName, "1 to 24 characters of a-z, 0-9 and -, not `main` or `next`"),
    concurrency: concurrency === undefined ? undefined : Number(concurrency),
    queues: (queues ?? "share") as Policy,
    graceMs: grace(get("METAFLEET_GRACE")),
    paths: pathMap(get("METAFLEET_PATHS")),
    filesUrl: filesUrl(get("METAFLEET_FILES_URL")),
    filesToken: secret(get, "METAFLEET_FILES_TOKEN", "METAFLEET_FILES_TOKEN_FILE"),
  });
}

/** The most specific way wins: credentials file, nkey, token, user. */
function credentials(get: (name: string) => string | undefined): Credentials {
  const token = secret(get, "NATS_TOKEN", "NATS_TOKEN_FILE");
  const file = get("NATS_CREDS");
  const seed = get("NATS_NKEY");
  const name = get("NATS_USER");
  if (file !== undefined) return { by: "file", path: file };
  if (seed !== undefined) return { by: "nkey", seed };
  if (token !== undefined) return { by: "token", token };
  if (name === undefined) return { by: "nothing" };
  return { by: "user", name, password: secret(get, "NATS_PASSWORD", "NATS_PASSWORD_FILE") ?? "" };
}

/** A secret, or the content of the file that holds it: who sees an environment does not see that. */
function secret(get: (name: string) => string | undefined, name: string, inFile: string): string | undefined {
  const value = get(name);
  const path = get(inFile);
  if (value !== undefined || path === undefined) return value;
  try {
    return readFileSync(path, "utf8").replace(/[\r\n]+$/, "");
  } catch (error) {
    throw new EnvironmentError(inFile, `could not read ${path}: ${(error as Error).message}`);
  }
}

function grace(text: string | undefined): number {
  if (text === undefined) return 30_000;
  const found = /^\s*([0-9]+(?:\.[0-9]+)?)\s*(ms|s)?\s*$/.exec(text);
  if (found === null) throw new EnvironmentError("METAFLEET_GRACE", `\`${text}\` must be seconds, e.g. \`30\`, \`30s\` or \`500ms\``);
  return Number(found[1]) * (found[2] === "ms" ? 1 : 1000);
}

function pathMap(text: string | undefined): PathMap {
  try {
    return parsePathMap(text ?? "");
  } catch (error) {
    throw new EnvironmentError("METAFLEET_PATHS", (error as Error).message);
  }
}

function filesUrl(text: string | undefined): string | undefined {
  if (text !== undefined && !/^https?:\/\/[^/]/.test(text)) {
    throw new EnvironmentError("METAFLEET_FILES_URL", `\`${text}\` must be an http:// or https:// address`);
  }
  return text;
}

/** The same without members that are not there, which is how optional ones are written here. */
function omitUndefined<T extends object>(value: { [K in keyof T]: T[K] | undefined }): WorkerOptions {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as unknown as WorkerOptions;
}
