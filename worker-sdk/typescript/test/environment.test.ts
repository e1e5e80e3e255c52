import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { EnvironmentError, readEnvironment } from "../src/environment.js";

test("without variables the defaults hold, and an empty one counts as absent", () => {
  assert.deepEqual(readEnvironment({ NATS_URL: "", METAFLEET_GRACE: "" }), {
    servers: ["nats://127.0.0.1:4222"], credentials: { by: "nothing" }, prefix: "mf", queues: "share", graceMs: 30_000, paths: [],
  });
});

test("variables are read as documented", () => {
  const options = readEnvironment({
    NATS_URL: "nats://a:1, b", METAFLEET_PREFIX: "x", METAFLEET_PLUGIN: "ffmpeg", METAFLEET_INSTANCE: "ffmpeg-1", METAFLEET_ROUTE: "gpu",
    METAFLEET_CONCURRENCY: "8", METAFLEET_GRACE: "1.5s", METAFLEET_QUEUES: "strict", NATS_CERT: "/c", NATS_KEY: "/k", NATS_CA: "/ca",
    METAFLEET_PATHS: "/a=/b", METAFLEET_FILES_URL: "http://nas:1/files", METAFLEET_FILES_TOKEN: "t",
  });
  assert.deepEqual(options, {
    servers: ["nats://a:1", "b"], credentials: { by: "nothing" }, prefix: "x", plugin: "ffmpeg", instance: "ffmpeg-1", route: "gpu", concurrency: 8,
    graceMs: 1500, queues: "strict", certificate: { cert: "/c", key: "/k" }, ca: "/ca", paths: [{ from: "/a", to: "/b" }],
    filesUrl: "http://nas:1/files", filesToken: "t",
  });
});

test("the most specific credentials win, and secrets may be in files", () => {
  const folder = mkdtempSync(join(tmpdir(), "metafleet-ts-"));
  try {
    const secret = join(folder, "secret");
    writeFileSync(secret, "hush\r\n");
    const all = { NATS_USER: "u", NATS_PASSWORD_FILE: secret, NATS_TOKEN_FILE: secret, NATS_NKEY: "S", NATS_CREDS: "/f" };
    assert.deepEqual(readEnvironment(all).credentials, { by: "file", path: "/f" });
    assert.deepEqual(readEnvironment({ ...all, NATS_CREDS: "" }).credentials, { by: "nkey", seed: "S" });
    assert.deepEqual(readEnvironment({ NATS_USER: "u", NATS_TOKEN_FILE: secret }).credentials, { by: "token", token: "hush" });
    assert.deepEqual(readEnvironment({ NATS_USER: "u", NATS_PASSWORD_FILE: secret }).credentials, { by: "user", name: "u", password: "hush" });
    assert.deepEqual(readEnvironment({ NATS_USER: "u", NATS_PASSWORD: "p", NATS_PASSWORD_FILE: secret }).credentials, { by: "user", name: "u", password: "p" });
    assert.equal(readEnvironment({ METAFLEET_FILES_TOKEN_FILE: secret }).filesToken, "hush");
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("wrong values name their variable", () => {
  const table: Array<[string, string]> = [
    ["METAFLEET_PREFIX", "A B"], ["METAFLEET_PLUGIN", "A"], ["METAFLEET_INSTANCE", "a.b"], ["METAFLEET_ROUTE", "main"],
    ["METAFLEET_CONCURRENCY", "0"], ["METAFLEET_CONCURRENCY", "many"], ["METAFLEET_GRACE", "-1"], ["METAFLEET_GRACE", "soon"],
    ["METAFLEET_QUEUES", "both"], ["NATS_CERT", "/a.pem"], ["NATS_KEY", "/a.key"], ["NATS_TOKEN_FILE", "/none/there"],
    ["METAFLEET_PATHS", "/a"], ["METAFLEET_FILES_URL", "nas:1"],
  ];
  for (const [name, value] of table) {
    assert.throws(() => readEnvironment({ [name]: value }), (error) => error instanceof EnvironmentError && error.variable === name, `${name}=${value}`);
  }
});
