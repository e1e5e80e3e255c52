// A server that offers files as the coordinator does: token, ranges, ETag, If-Match.
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";

export class RangeServer {
  readonly token = "let-me-in";
  readonly files = new Map<string, { bytes: Buffer; etag: string }>();
  /** Requests as `METHOD range`, in order. */
  readonly requests: string[] = [];
  /** Ends answers after so many bytes. */
  cutAfter = Number.POSITIVE_INFINITY;
  /** Answers a `HEAD` when it is done. */
  held: Promise<void> | undefined;
  /** Answers with this status. */
  status: number | undefined;
  readonly #server: Server = createServer((request, response) => this.#answer(request, response));

  static async start(): Promise<RangeServer> {
    const server = new RangeServer();
    server.#server.listen(0, "127.0.0.1");
    await once(server.#server, "listening");
    return server;
  }

  /** Offers bytes under a path, given as the percent-encoded text of its bytes; without a version where `etag` is empty. */
  put(path: string, bytes: Buffer, etag = '"1"'): void {
    this.files.set(path, { bytes, etag });
  }

  get url(): string {
    const address = this.#server.address();
    return `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}/files`;
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { range = "", authorization, "if-match": match } = request.headers;
    this.requests.push(`${request.method ?? ""} ${range}`.trim());
    const end = (status: number): void => void response.writeHead(status).end();
    if (this.status !== undefined) return end(this.status);
    if (authorization !== `Bearer ${this.token}`) return end(401);
    const file = this.files.get((request.url ?? "").replace("/files?path=", ""));
    if (file === undefined) return end(404);
    const { bytes, etag } = file;
    if (match !== undefined && match !== etag) return end(412);
    const [, from = "0", to = String(bytes.length - 1)] = /^bytes=([0-9]+)-([0-9]+)$/.exec(range) ?? [];
    if (range !== "" && Number(from) >= bytes.length) return end(416);
    const part = range === "" ? bytes : bytes.subarray(Number(from), Number(to) + 1);
    const headers = { ...(etag === "" ? {} : { etag }), "accept-ranges": "bytes", "content-length": part.length, "content-range": `bytes ${from}-${to}/${bytes.length}` };
    response.writeHead(range === "" ? 200 : 206, headers);
    if (request.method === "HEAD") return void (this.held ?? Promise.resolve()).then(() => response.end());
    if (part.length <= this.cutAfter) return void response.end(part);
    response.write(part.subarray(0, this.cutAfter), () => response.destroy());
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }
}
