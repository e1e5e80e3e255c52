// A real nats-server, a real coordinator and real plugin processes, each test file's own.
import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { headers as newHeaders } from "@nats-io/nats-core";
import type { Msg, NatsConnection } from "@nats-io/nats-core";
import { connect } from "@nats-io/transport-node";

import { encodeToken } from "../../src/codec.js";
import type { Instance, JsonValue, Record as FileRecord, Submission } from "../../src/wire.js";

/** The plugin with every hook. */
export const MOODY = fileURLToPath(new URL("./moody.js", import.meta.url));
/** The plugin that keeps artefacts, for `Fleet.plugin`. */
export const KEEPER = fileURLToPath(new URL("./keeper", import.meta.url));
/** The plugin whose tasks take half a second, for `Fleet.plugin`. */
export const NAPPER = fileURLToPath(new URL("./napper", import.meta.url));
const EXAMPLES = fileURLToPath(new URL("../../examples/", import.meta.url));

export const MANIFEST = {
  id: "conformance", name: "Conformance", version: "1.0.0", priority: 50, queue: "fast", timeout: 20000, concurrency: 4,
  retry: { maxAttempts: 3, delaysMs: [100] }, filter: {},
  dataSchema: {
    "script/attempt": {}, "script/cid": {}, "script/text/{n}/*": {}, "script/existing": { type: "json" }, "script/set": { type: "set" },
  },
  configSchema: { mode: { type: "string", default: "good" } },
  capabilities: { conformance: true },
};

/** Where a program is that the tests need. */
function program(variable: string, what: string): string {
  const path = process.env[variable];
  assert.ok(path !== undefined && existsSync(path), `set ${variable} to the ${what} program`);
  return path;
}

/** Waits until `look` finds something; fails after `ms` with what it waited for. */
export async function until<T>(what: string, look: () => T | undefined | false | Promise<T | undefined | false>, ms = 20_000): Promise<T> {
  const end = Date.now() + ms;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    assert.ok(Date.now() < end, `waited ${ms} ms for ${what}`);
    await sleep(20);
  }
}

/** One process, and its end. */
export class Process {
  readonly exit: Promise<number | null>;

  constructor(
    readonly child: ChildProcess,
    readonly log: string,
  ) {
    this.exit = once(child, "exit").then(([code]) => code as number | null);
  }

  static start(command: string, args: string[], log: string, environment: NodeJS.ProcessEnv = {}): Process {
    const output = openSync(log, "a");
    const env = { ...process.env, ...environment };
    return new Process(spawn(command, args, { stdio: ["ignore", output, output], env }), log);
  }

  signal(name: NodeJS.Signals): void {
    this.child.kill(name);
  }

  async kill(): Promise<void> {
    this.child.kill("SIGKILL");
    await this.exit;
  }

  output(): string {
    return readFileSync(this.log, "utf8");
  }
}

export class Fleet {
  readonly folder = mkdtempSync(join(tmpdir(), "metafleet-ts-"));
  readonly #processes: Process[] = [];
  #numbers = 0;
  #coordinator: Process | undefined;
  nc!: NatsConnection;
  server!: Process;

  private constructor(readonly port: number) {}

  /** A broker and a coordinator. */
  static async start(options: { coordinator?: boolean; arguments?: string[] } = {}): Promise<Fleet> {
    const fleet = new Fleet(await freePort());
    await fleet.startServer();
    fleet.nc = await connect({ servers: fleet.url, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
    if (options.coordinator !== false) await fleet.startCoordinator(options.arguments ?? []);
    return fleet;
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  async startServer(): Promise<void> {
    const store = join(this.folder, "jetstream");
    const args = ["-js", "-sd", store, "-a", "127.0.0.1", "-p", String(this.port)];
    this.server = this.#run(program("NATS_SERVER_BIN", "nats-server"), args, "nats.log");
    await until("the broker", async () => await connect({ servers: this.url, timeout: 500, reconnect: false }).then(
      async (nc) => (await nc.close(), true), () => false));
  }

  /** The broker does nothing for so long, and its connections stay; `last` is done at the end of it. */
  async stallServer(ms: number, last: () => void): Promise<void> {
    this.server.signal("SIGSTOP");
    await sleep(ms);
    last();
    this.server.signal("SIGCONT");
  }

  async stopCoordinator(): Promise<void> {
    this.#coordinator?.signal("SIGTERM");
    await this.#coordinator?.exit;
  }

  async startCoordinator(more: string[]): Promise<Process> {
    const args = [
      "coordinator", "--nats", this.url, "--data-dir", join(this.folder, "data"), "--api-listen", "127.0.0.1:0",
      "--kv-listen", "127.0.0.1:0", ...more,
    ];
    mkdirSync(join(this.folder, "data"), { recursive: true });
    const coordinator = this.#run(program("METAFLEET_BIN", "metafleet"), args, "coordinator.log", { NATS_URL: "" });
    this.#coordinator = coordinator;
    await until("the coordinator", async () => {
      assert.equal(coordinator.child.exitCode, null, coordinator.output());
      const answer = await this.#direct("KV_mf-lease", ">").catch(() => undefined);
      return answer !== undefined && (answer.headers?.code ?? 0) === 0;
    });
    return coordinator;
  }

  /** One of the examples, or what a path names, as a process. */
  plugin(name: string, instance: string, environment: NodeJS.ProcessEnv = {}, manifest: object = MANIFEST, args?: string[]): Process {
    const file = join(this.folder, `${instance}.json`);
    writeFileSync(file, JSON.stringify(manifest));
    const env = { NATS_URL: this.url, METAFLEET_INSTANCE: instance, METAFLEET_LOG: "debug", EXECUTOR: "loop", ...environment };
    return this.#run(process.execPath, [resolve(EXAMPLES, `${name}.js`), ...(args ?? [file])], `${instance}.log`, env);
  }

  #run(command: string, args: string[], log: string, environment: NodeJS.ProcessEnv = {}): Process {
    const started = Process.start(command, args, join(this.folder, log), environment);
    this.#processes.push(started);
    return started;
  }

  /** A file with a script for the conformance plugin. */
  script(...lines: string[]): string {
    this.#numbers += 1;
    const path = join(this.folder, `script-${this.#numbers}`);
    writeFileSync(path, `${lines.join("\n")}\n`);
    return path;
  }

  /** How often each instance was called for a script, in order. */
  calls(path: string): Array<{ instance: string; attempt: number; at: number }> {
    if (!existsSync(`${path}.calls`)) return [];
    const lines = readFileSync(`${path}.calls`, "utf8").trim().split("\n");
    return lines.map((line) => {
      const [instance = "", attempt, at] = line.split(" ");
      return { instance, attempt: Number(attempt), at: Number(at) };
    });
  }

  /** Hands a file in; returns its content id. */
  async submit(path: string, more: Partial<Submission> = {}, headers: Record<string, string> = {}, queue = "fast"): Promise<string> {
    this.#numbers += 1;
    const cid = more.cid ?? `test:${this.#numbers}`;
    const submission = { type: "metafleet.submission.v1", cid, filePath: path, file: { name: "x", mime: "text/plain" }, ...more };
    const with_ = newHeaders();
    for (const [name, value] of Object.entries(headers)) with_.append(name, value);
    const answer = await this.nc.request(`mf.submit.${queue}`, JSON.stringify(submission), { timeout: 5000, headers: with_ });
    assert.equal(answer.json<{ error?: unknown }>().error, undefined);
    return cid;
  }

  /** The record of a plugin on a file as a message, when there is one. */
  async recordMessage(cid: string, plugin = "conformance"): Promise<Msg | undefined> {
    return await this.stored("KV_mf-records", `$KV.mf-records.${encodeToken(cid)}.${plugin}`);
  }

  /** The last message of a stream on a subject, when there is one. */
  async stored(stream: string, subject: string): Promise<Msg | undefined> {
    const answer = await this.#direct(stream, subject).catch(() => undefined);
    return answer === undefined || (answer.headers?.code ?? 0) >= 400 ? undefined : answer;
  }

  /** Waits for the record of a plugin on a file. */
  async record(cid: string, plugin = "conformance", ms = 20_000): Promise<FileRecord> {
    const message = await until(`the record of ${cid}`, () => this.recordMessage(cid, plugin), ms);
    return message.json<FileRecord>();
  }

  /** Submits a script, and waits for what comes of it. */
  async outcome(...lines: string[]): Promise<{ record: FileRecord; path: string }> {
    const path = this.script(...lines);
    return { record: await this.record(await this.submit(path)), path };
  }

  /** The sign of life of an instance, when it fits. */
  async life(instance: string, fits: (entry: Instance) => boolean, plugin = "conformance"): Promise<Instance> {
    return await until(`a sign of life of ${instance}`, async () => {
      const answer = await this.#direct("KV_mf-instances", `$KV.mf-instances.${plugin}.${instance}`).catch(() => undefined);
      if (answer === undefined || answer.data.length === 0) return undefined;
      const entry = answer.json<Instance>();
      return fits(entry) && entry;
    });
  }

  async isGone(instance: string, plugin = "conformance"): Promise<boolean> {
    const answer = await this.#direct("KV_mf-instances", `$KV.mf-instances.${plugin}.${instance}`).catch(() => undefined);
    return answer === undefined || answer.data.length === 0;
  }

  /** Asks all instances of the plugin, or one. */
  async control(request: JsonValue, instance?: string): Promise<{ success: boolean; error?: string; instance: string }> {
    const subject = `mf.control.conformance${instance === undefined ? "" : `.${instance}`}`;
    return (await this.nc.request(subject, JSON.stringify(request), { timeout: 5000 })).json();
  }

  /** All signals from now on. */
  signals(): Array<{ kind: string; body: Record<string, JsonValue>; message: Msg }> {
    const heard: Array<{ kind: string; body: Record<string, JsonValue>; message: Msg }> = [];
    this.nc.subscribe("mf.signal.*.*", {
      callback: (_error, message) => void heard.push({ kind: message.subject.split(".")[3] ?? "", body: message.json(), message }),
    });
    return heard;
  }

  /** The last message of a stream on a subject. */
  async #direct(stream: string, subject: string): Promise<Msg> {
    return await this.nc.request(`$JS.API.DIRECT.GET.${stream}`, JSON.stringify({ last_by_subj: subject }), { timeout: 2000 });
  }

  async stop(): Promise<void> {
    await this.nc.close();
    await Promise.all(this.#processes.reverse().map((started) => started.child.exitCode === null && started.child.signalCode === null && started.kill()));
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 3 });
  }
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  assert.ok(typeof address === "object" && address !== null);
  return address.port;
}
