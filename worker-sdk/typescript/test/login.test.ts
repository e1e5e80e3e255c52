// How a worker proves to a broker who it is.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { nkeys } from "@nats-io/nats-core";

import { Link, ConnectError } from "../src/link.js";
import { readEnvironment } from "../src/environment.js";
import { logger } from "../src/log.js";
import { freePort, Process, until } from "./support/fleet.js";

let folder: string;
let server: Process;
let url: string;
const user = nkeys.createUser();
const file = (name: string): string => join(folder, name);
const log = logger({}, {}, () => {});

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "metafleet-ts-"));
  const openssl = (...args: string[]): void => void execFileSync("openssl", args, { cwd: folder, stdio: "ignore" });
  openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "2");
  for (const name of ["server", "client"]) {
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", `/CN=${name}`);
    writeFileSync(file("ext"), "subjectAltName=IP:127.0.0.1,DNS:localhost");
    openssl("x509", "-req", "-in", `${name}.csr`, "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", `${name}.pem`, "-days", "2", "-extfile", "ext");
  }
  const port = await freePort();
  writeFileSync(file("nats.conf"), `
    listen: "127.0.0.1:${port}"
    tls { cert_file: "${file("server.pem")}", key_file: "${file("server.key")}", ca_file: "${file("ca.pem")}", verify: true }
    authorization { users: [{ user: "u", password: "hush" }, { nkey: "${user.getPublicKey()}" }] }
  `);
  url = `nats://127.0.0.1:${port}`;
  assert.ok(process.env["NATS_SERVER_BIN"] !== undefined, "set NATS_SERVER_BIN to the nats-server program");
  server = Process.start(process.env["NATS_SERVER_BIN"], ["-c", file("nats.conf")], file("log"));
  await until("the broker", () => server.output().includes("Server is ready"));
});
after(async () => {
  await server.kill();
  rmSync(folder, { recursive: true });
});

async function open(variables: Record<string, string>): Promise<Link | undefined> {
  const tls = { NATS_CA: file("ca.pem"), NATS_CERT: file("client.pem"), NATS_KEY: file("client.key") };
  const options = readEnvironment({ NATS_URL: url, ...tls, ...variables });
  return await Link.open(options, "x", log, AbortSignal.timeout(10_000));
}

test("by user and password, in the environment, in a file, or in the address", async () => {
  writeFileSync(file("password"), "hush\n");
  for (const variables of [
    { NATS_USER: "u", NATS_PASSWORD: "hush" },
    { NATS_USER: "u", NATS_PASSWORD_FILE: file("password") },
    { NATS_URL: url.replace("//", "//u:hush@") },
  ]) {
    const link = await open(variables);
    assert.equal(link?.connected, true, JSON.stringify(variables));
    await link.nc.close();
  }
});

test("by an nkey, as text or in a file", async () => {
  const seed = Buffer.from(user.getSeed()).toString();
  writeFileSync(file("seed"), `${seed}\n`);
  for (const NATS_NKEY of [seed, file("seed")]) {
    const link = await open({ NATS_NKEY });
    await link?.flush();
    await link?.nc.close();
    assert.ok(link !== undefined);
  }
});

test("who is refused is told so, without the secret", async () => {
  for (const variables of [{ NATS_USER: "u", NATS_PASSWORD: "wrong" }, { NATS_TOKEN: "wrong" }, {}]) {
    await assert.rejects(open(variables), (error: Error) => {
      assert.ok(error instanceof ConnectError);
      assert.match(error.message, /does not accept the credentials/);
      assert.doesNotMatch(error.message, /wrong/);
      return true;
    });
  }
  await assert.rejects(open({ NATS_CREDS: "/none/there" }), /could not read the credentials \/none\/there/);
});
