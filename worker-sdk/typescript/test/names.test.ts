import assert from "node:assert/strict";
import { test } from "node:test";

import { decodeToken, encodeToken } from "../src/codec.js";
import { isInstanceId, isPluginId, isPrefix, isRouteName } from "../src/ids.js";
import { Names } from "../src/names.js";
import { table } from "./support/protocol.js";

test("every text has the token of the protocol", () => {
  for (const [text = "", token = ""] of table("codec")) {
    const meant = text === "(empty)" ? "" : text;
    assert.equal(encodeToken(meant), token);
    assert.equal(decodeToken(token), meant);
  }
});

test("other spellings are refused", () => {
  for (const [token = ""] of table("codec-refused")) assert.throws(() => decodeToken(token), /is not an encoded token/, token);
  for (const token of ["", "=FF", "=C3", "a=2eb"]) assert.throws(() => decodeToken(token), token);
});

test("any text survives", () => {
  for (const text of ["\ufeffx", "\u0000", "x".repeat(255), "😀".repeat(60)]) {
    assert.equal(decodeToken(encodeToken(text)), text);
  }
});

test("names are those of the protocol's table", () => {
  const rows = new Map(table("names: mf my-fleet").map(([what = "", ...cells]) => [what, cells]));
  const made = (names: Names): Record<string, string> => ({
    "stream of tasks": names.stream("tasks"),
    "stream of dead letters": names.stream("dead"),
    "bucket of records": names.bucket("records"),
    "submission": names.submission("fast"),
    "task": names.task("fast", "ffmpeg", "main", "midhash256:ab"),
    "task of a version that is tried": names.task("fast", "ffmpeg", "next", "midhash256:ab"),
    "consumer of tasks": names.consumer("ffmpeg", "main", "fast"),
    "consumer of such tasks": names.consumer("ffmpeg", "next", "fast"),
    "record": names.record(encodeToken("midhash256:ab"), "ffmpeg"),
    "outcome of a trial, no record": names.record(encodeToken("midhash256:ab"), "ffmpeg", true),
    "announcement": names.signal("ffmpeg", "announce"),
    "artefact still.jpg of a file": names.artifact(encodeToken("midhash256:ab"), "ffmpeg", "still.jpg"),
    "signal failed": names.signal("ffmpeg", "failed"),
    "sign of life": names.signOfLife("ffmpeg", "ffmpeg-1"),
    "control, every instance of a plugin": names.control("ffmpeg"),
    "control, one instance": names.control("ffmpeg", "ffmpeg-1"),
  });
  for (const [at, prefix] of ["mf", "my-fleet"].entries()) {
    for (const [what, name] of Object.entries(made(new Names(prefix)))) assert.equal(name, rows.get(what)?.[at], what);
  }
  assert.equal(new Names("my-fleet").pull("x_fast"), "$JS.API.CONSUMER.MSG.NEXT.MY_FLEET_TASKS.x_fast");
});

test("the subject of a task says what it is about, or nothing", () => {
  const names = new Names("mf");
  assert.deepEqual(names.parseTask("mf.task.fast.ffmpeg.midhash256=3Aab"), {
    queue: "fast", plugin: "ffmpeg", lane: "main", cid: "midhash256:ab", token: "midhash256=3Aab",
  });
  assert.equal(names.parseTask("mf.task.background.ffmpeg_gpu.a")?.lane, "gpu");
  assert.equal(names.parseTask("mf.task.background.ffmpeg_next.a")?.lane, "next");
  for (const subject of [
    "other.task.fast.a.b", "mf.task.slow.a.b", "mf.task.fast.a", "mf.task.fast.a.b.c", "mf.task.fast.A.b", "mf.task.fast.a.=41",
    "mf.task.fast.a_main.b", "mf.task.fast.a_b_c.d", "mf.task.fast.user.b", "mf.task.fast.a_.b",
  ]) {
    assert.equal(names.parseTask(subject), undefined, subject);
  }
});

test("ids are what the protocol says", () => {
  const table: Array<[(text: string) => boolean, string[], string[]]> = [
    [isPrefix, ["mf", "a-1", "x".repeat(24)], ["", "-a", "a-", "A", "a b", "x".repeat(25), "mf\n"]],
    [isPluginId, ["a", "line-counter", "x".repeat(64)], ["", "user", "coordinator", "-a", "a-", "a_b", "x".repeat(65)]],
    [isInstanceId, ["A_b-1", "x".repeat(128)], ["", "a.b", "a b", "x".repeat(129)]],
    [isRouteName, ["gpu", "a-1"], ["", "main", "next", "-a", "x".repeat(25)]],
  ];
  for (const [is, good, bad] of table) {
    for (const text of good) assert.equal(is(text), true, text);
    for (const text of bad) assert.equal(is(text), false, text);
  }
});
