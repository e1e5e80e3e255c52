/** The connection to the broker: keeps trying, and says when it was made anew. */
import { readFileSync, existsSync } from "node:fs";

import { credsAuthenticator, errors, nkeyAuthenticator } from "@nats-io/nats-core";
import type { ConnectionOptions, NatsConnection, PublishOptions } from "@nats-io/nats-core";
import { connect } from "@nats-io/transport-node";

import { pause, pauses } from "./clock.js";
import { EnvironmentError, type Credentials, type WorkerOptions } from "./environment.js";
import type { Logger } from "./log.js";
import { explain } from "./text.js";

const LONGEST_PAUSE_MS = 2000;
const CONNECT_TIMEOUT_MS = 5000;

/** The broker cannot be used, and waiting does not help. */
export class ConnectError extends Error {
  override name = "ConnectError";
}

export class Link {
  connected = true;
  /** Told after each reconnect. */
  onReconnect: () => void = () => {};
  readonly closed: Promise<Error | undefined>;
  #waiting: Array<() => void> = [];
  #out: Array<{ readonly subject: string; readonly body: string | Uint8Array; readonly more: PublishOptions | undefined }> = [];
  readonly #soon = new Set<() => void>();
  #scheduled = false;

  private constructor(
    readonly nc: NatsConnection,
    private readonly log: Logger,
  ) {
    this.closed = nc.closed().then((error) => error ?? undefined);
    void this.#follow();
    void this.closed.then(() => this.#wake());
  }

  /** Connects; while nobody is there it tries again until `stop`, then returns nothing. */
  static async open(options: WorkerOptions, name: string, log: Logger, stop: AbortSignal): Promise<Link | undefined> {
    const wanted = connection(options, name);
    const shown = wanted.servers.map((server) => server.replace(/^.*@/, "")).join(", ");
    for (const wait of pauses(100, LONGEST_PAUSE_MS)) {
      if (stop.aborted) return undefined;
      try {
        const nc = await connect(wanted);
        log.info("connected to the broker", { servers: shown });
        return new Link(nc, log);
      } catch (error) {
        if (isRefusal(error)) throw new ConnectError(`the broker at ${shown} does not accept the credentials`, { cause: error });
        log.warn("the broker is not there, trying again", { servers: shown, error: explain(error) });
      }
      await pause(wait, stop);
    }
    return undefined;
  }

  /** Waits until the connection is up; at once if it is, and when it is closed for good. */
  whenConnected(): Promise<void> {
    if (this.connected || this.nc.isClosed()) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /**
   * Sends what may be lost: an answer to the broker or to a request, a sign of life. All that is sent in one
   * turn of the loop leaves in one write.
   */
  tell(subject: string, body: string | Uint8Array, more?: PublishOptions): void {
    this.#out.push({ subject, body, more });
    this.#schedule();
  }

  /** Calls `work` before the next write, once, however often this is said. */
  soon(work: () => void): void {
    this.#soon.add(work);
    this.#schedule();
  }

  /** Ends when the broker has heard everything. */
  async flush(): Promise<void> {
    this.#write();
    await this.nc.flush();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#write());
  }

  #write(): void {
    this.#scheduled = false;
    const soon = [...this.#soon];
    this.#soon.clear();
    for (const work of soon) work();
    this.#scheduled = false;
    const out = this.#out;
    this.#out = [];
    if (this.nc.isClosed()) return;
    for (const { subject, body, more } of out) {
      try {
        this.nc.publish(subject, body, more);
      } catch (error) {
        this.log.warn("could not send a message", { subject, error: explain(error) });
      }
    }
  }

  async #follow(): Promise<void> {
    for await (const status of this.nc.status()) {
      if (status.type === "disconnect") {
        this.connected = false;
        this.log.warn("the connection to the broker is lost, reconnecting");
      } else if (status.type === "reconnect") {
        this.connected = true;
        this.log.info("connected to the broker again", { server: status.server });
        this.onReconnect();
        this.#wake();
      } else if (status.type === "error") {
        // What we are not allowed to do shows up nowhere else than here.
        this.log.warn("the broker refused something", { error: explain(status.error) });
      } else if (status.type === "ldm") {
        this.log.info("the broker is about to stop");
      }
    }
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}

/** Whether trying again cannot help: the broker knows us and says no. */
export function isRefusal(error: unknown): boolean {
  return error instanceof errors.AuthorizationError || error instanceof errors.UserAuthenticationExpiredError;
}

function connection(options: WorkerOptions, name: string): ConnectionOptions & { servers: string[] } {
  const { servers, login } = addresses(options.servers);
  const wantsTls = options.ca !== undefined || options.certificate !== undefined || servers.some((server) => server.startsWith("tls:"));
  // The client takes what the server offers; with these options it insists.
  const tls = !wantsTls ? undefined : {
    ...(options.ca === undefined ? {} : { caFile: options.ca }),
    ...(options.certificate === undefined ? {} : { certFile: options.certificate.cert, keyFile: options.certificate.key }),
  };
  let doublings = 0;
  return {
    name,
    servers,
    timeout: CONNECT_TIMEOUT_MS,
    pingInterval: 10_000,
    maxReconnectAttempts: -1,
    reconnectDelayHandler: () => {
      doublings = doublings >= 6 ? 3 : doublings + 1;
      return Math.min(LONGEST_PAUSE_MS, 25 * 2 ** doublings) + Math.random() * 50;
    },
    ...(tls === undefined ? {} : { tls }),
    ...(options.credentials.by === "nothing" ? login : proof(options.credentials)),
  };
}

function proof(credentials: Credentials): Partial<ConnectionOptions> {
  switch (credentials.by) {
    case "nothing":
      return {};
    case "user":
      return { user: credentials.name, pass: credentials.password };
    case "token":
      return { token: credentials.token };
    case "file":
      return { authenticator: credsAuthenticator(read(credentials.path)) };
    case "nkey": {
      const seed = existsSync(credentials.seed) ? read(credentials.seed).toString("utf8") : credentials.seed;
      return { authenticator: nkeyAuthenticator(Buffer.from(seed.trim())) };
    }
  }
}

function read(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new ConnectError(`could not read the credentials ${path}`, { cause: error });
  }
}

/** PURE. Servers without what proves who we are, and that: the client takes it only by itself. */
export function addresses(urls: readonly string[]): { servers: string[]; login: { user?: string; pass?: string; token?: string } } {
  const servers: string[] = [];
  let login = {};
  for (const url of urls) {
    const rest = url.slice(url.lastIndexOf("@") + 1);
    let parsed: URL;
    try {
      parsed = new URL(/^[a-z]+:\/\//i.test(url) ? url : `nats://${url}`);
    } catch (error) {
      throw new EnvironmentError("NATS_URL", `\`${rest}\` is not the address of a broker (${(error as Error).name})`);
    }
    if (!["nats:", "tls:"].includes(parsed.protocol) || parsed.hostname === "") {
      throw new EnvironmentError("NATS_URL", `\`${rest}\` is not the address of a broker`);
    }
    const [user, pass] = [decodeURIComponent(parsed.username), decodeURIComponent(parsed.password)];
    if (user !== "") login = pass === "" ? { token: user } : { user, pass };
    servers.push(`${parsed.protocol}//${parsed.host}`);
  }
  return { servers, login };
}
