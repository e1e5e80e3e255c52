/** One file that the coordinator offers: authenticated requests for ranges, all of the same version. */
import { request as httpRequest, Agent as HttpAgent, type IncomingHttpHeaders } from "node:http";
import { request as httpsRequest, Agent as HttpsAgent } from "node:https";

import type { FilesOffer } from "./environment.js";
import { RetryableError } from "./outcome.js";
import { percentEncoded, readable } from "./paths.js";
import { explain } from "./text.js";

const CONNECT_MS = 5000;
/** Longest time without a byte. */
const SILENCE_MS = 30_000;

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export class HttpFile {
  size = 0;
  #etag: string | undefined;
  #closed = false;
  readonly #agent: HttpAgent | HttpsAgent;

  private constructor(
    private readonly offer: FilesOffer,
    private readonly path: Buffer,
    private readonly signal: AbortSignal,
    private readonly fetched: (bytes: number) => void,
  ) {
    const options = { keepAlive: true, maxSockets: 4 };
    this.#agent = offer.url.startsWith("https:") ? new HttpsAgent(options) : new HttpAgent(options);
  }

  /** Asks for the size and the version of a file. */
  static async open(offer: FilesOffer, path: Buffer, signal: AbortSignal, fetched: (bytes: number) => void): Promise<HttpFile> {
    const file = new HttpFile(offer, path, signal, fetched);
    try {
      const { status, headers } = await file.#request("HEAD");
      if (status !== 200) throw new RetryableError(refusal(status, readable(path)));
      file.size = Number(headers["content-length"]);
      if (!headers.etag) throw new RetryableError(`${readable(path)}: the coordinator does not say which version it is`);
      file.#etag = headers.etag;
      if (!Number.isSafeInteger(file.size)) throw new RetryableError(`${readable(path)}: the coordinator does not say its size`);
      return file;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** Exactly `length` bytes from `position` on. */
  async range(position: number, length: number): Promise<Buffer> {
    const { status, body } = await this.#request("GET", position, length);
    if (status !== 206 && !(status === 200 && position === 0)) throw new RetryableError(refusal(status, readable(this.path)));
    this.fetched(body.length);
    if (body.length !== length) {
      throw new RetryableError(`${readable(this.path)}: ${body.length} of ${length} bytes came from the coordinator`);
    }
    return body;
  }

  close(): Promise<void> {
    // The agent ends requests that run, but takes new ones also then.
    this.#closed = true;
    this.#agent.destroy();
    return Promise.resolve();
  }

  #request(method: "GET" | "HEAD", position = 0, length = 0): Promise<Answer> {
    if (this.#closed) return Promise.reject(new RetryableError(`${readable(this.path)} is closed`));
    const { url, token } = this.offer;
    const headers: Record<string, string> = { authorization: `Bearer ${token}` };
    if (this.#etag !== undefined) headers["if-match"] = this.#etag;
    if (method === "GET") headers["range"] = `bytes=${position}-${position + length - 1}`;
    const address = `${url}${url.includes("?") ? "&" : "?"}path=${percentEncoded(this.path)}`;
    const send = url.startsWith("https:") ? httpsRequest : httpRequest;
    return new Promise((resolve, reject) => {
      const fail = (error: unknown): void => {
        request.destroy();
        reject(new RetryableError(`could not read ${readable(this.path)} from the coordinator`, { cause: explain(error) }));
      };
      const request = send(address, { method, headers, agent: this.#agent, signal: this.signal, timeout: SILENCE_MS });
      request.on("timeout", () => fail(new Error(`no byte for ${SILENCE_MS / 1000} s`)));
      request.on("error", fail);
      request.on("socket", (socket) => {
        if (!socket.connecting) return;
        const late = setTimeout(() => fail(new Error(`no connection within ${CONNECT_MS / 1000} s`)), CONNECT_MS);
        for (const event of ["connect", "close"]) socket.once(event, () => clearTimeout(late));
      });
      request.on("response", (response) => {
        const parts: Buffer[] = [];
        let bytes = 0;
        response.on("data", (part: Buffer) => {
          bytes += part.length;
          // A server that ignores the range must not fill the memory.
          if (bytes > Math.max(length, 65_536)) return fail(new Error("more bytes than were asked for"));
          parts.push(part);
        });
        response.on("aborted", () => fail(new Error("the answer was cut short")));
        response.on("error", fail);
        response.on("end", () => {
          if (!response.complete) return fail(new Error("the answer was cut short"));
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(parts) });
        });
      });
      request.end();
    });
  }
}

/** PURE. What a status means, and what to do about it; all of it can pass. */
function refusal(status: number, path: string): string {
  switch (status) {
    case 401:
      return `${path}: the coordinator refuses the token (401); look at METAFLEET_FILES_TOKEN, or let the worker take the one it is given`;
    case 403:
      return `${path}: it is outside of the coordinator's libraries (403); look at the libraries and at METAFLEET_PATHS`;
    case 404:
      return `${path}: the coordinator has no such file (404)`;
    case 412:
      return `${path}: the file has changed meanwhile (412)`;
    default:
      return `${path}: the coordinator answers ${status}`;
  }
}
