/** PURE. The names of one fleet on its broker, see section 3 of PROTOCOL.md. */
import { decodeToken, encodeToken } from "./codec.js";
import { isPluginId, isRouteName } from "./ids.js";

/** The queues of a fleet. */
export const QUEUES = ["fast", "background"] as const;
export type QueueName = (typeof QUEUES)[number];

/** What the subject of a task says. */
export interface TaskAddress {
  readonly queue: QueueName;
  readonly plugin: string;
  readonly lane: string;
  readonly cid: string;
  /** The content id as it stands in the subject. */
  readonly token: string;
}

export class Names {
  readonly prefix: string;
  readonly #streams: string;

  constructor(prefix: string) {
    this.prefix = prefix;
    this.#streams = prefix.toUpperCase().replaceAll("-", "_");
  }

  /** A stream, e.g. `MF_TASKS`. */
  stream(what: string): string {
    return `${this.#streams}_${what.toUpperCase()}`;
  }

  /** A bucket, e.g. `mf-records`. */
  bucket(what: string): string {
    return `${this.prefix}-${what}`;
  }

  submission(queue: QueueName): string {
    return `${this.prefix}.submit.${queue}`;
  }

  task(queue: QueueName, plugin: string, lane: string, cid: string): string {
    return `${this.prefix}.task.${queue}.${laned(plugin, lane)}.${encodeToken(cid)}`;
  }

  /** A durable consumer of tasks. */
  consumer(plugin: string, lane: string, queue: QueueName): string {
    return `${laned(plugin, lane)}_${queue}`;
  }

  /** Where tasks of a consumer are asked for. */
  pull(consumer: string): string {
    return `$JS.API.CONSUMER.MSG.NEXT.${this.stream("tasks")}.${consumer}`;
  }

  /** Where the outcome of a task goes, by the token of its content id. */
  record(token: string, plugin: string, trial = false): string {
    return `$KV.${this.bucket("records")}.${token}.${laned(plugin, trial ? "next" : "main")}`;
  }

  /** Where a plugin keeps what it made of a file, by the token of its content id. */
  artifact(token: string, plugin: string, name: string, trial = false): string {
    return `$KV.${this.bucket("artifacts")}.${token}.${laned(plugin, trial ? "next" : "main")}.${encodeToken(name)}`;
  }

  signal(plugin: string, kind: string): string {
    return `${this.prefix}.signal.${plugin}.${kind}`;
  }

  signOfLife(plugin: string, instance: string): string {
    return `$KV.${this.prefix}-instances.${plugin}.${instance}`;
  }

  control(plugin: string, instance?: string): string {
    return `${this.prefix}.control.${plugin}${instance === undefined ? "" : `.${instance}`}`;
  }

  /** Reads the subject of a task; nothing where it is not one. */
  parseTask(subject: string): TaskAddress | undefined {
    const [prefix, kind, queue, place, token, ...more] = subject.split(".");
    if (prefix !== this.prefix || kind !== "task" || more.length > 0) return undefined;
    if ((queue !== "fast" && queue !== "background") || place === undefined || token === undefined) return undefined;
    const [plugin = "", lane = "main", ...rest] = place.split("_");
    if (!isPluginId(plugin) || rest.length > 0) return undefined;
    if (place.includes("_") && lane !== "next" && !isRouteName(lane)) return undefined;
    try {
      return { queue, plugin, lane, cid: decodeToken(token), token };
    } catch {
      return undefined;
    }
  }
}

function laned(plugin: string, lane: string): string {
  return lane === "main" ? plugin : `${plugin}_${lane}`;
}
