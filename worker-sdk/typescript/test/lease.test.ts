import assert from "node:assert/strict";
import { test } from "node:test";

import { Board } from "../src/bridge.js";
import { Leases, type Lease } from "../src/lease.js";

const place = (sequence: number, delivered: number) => ({ delivered, sequence, storedAt: "0", pending: 0 });
const begin = (leases: Leases<Lease>, reply: string, sequence: number, delivered: number, now: number, until: number) =>
  leases.begin("task", reply, place(sequence, delivered), now, (lease) => lease, until);

/** A delivery that is taken for a new one. */
function held(leases: Leases<Lease>, reply: string, sequence: number, delivered: number, now: number, until: number): Lease {
  const begun = begin(leases, reply, sequence, delivered, now, until);
  assert.equal(begun.is, "new", reply);
  return (begun as { held: Lease }).held;
}

test("a lease is renewed before each third until its time is up", () => {
  const leases = new Leases<Lease>();
  held(leases, "reply", 1, 1, 0, 10_000);
  leases.leaseMs = 9000;
  const renewed = Array.from({ length: 200 }, (_, n) => n * 100).filter((at) => leases.due(at, 100).length > 0);
  assert.deepEqual(renewed, [2900, 5800, 8700]);
});

test("one that was once renewed too late is not sure any more, until it is delivered anew", () => {
  const leases = new Leases<Lease>();
  leases.leaseMs = 8000;
  const lease = held(leases, "reply", 1, 1, 0, 100_000);
  const sure = [3000, 6000, 13_000, 14_000].map((at) => {
    leases.told(lease, at);
    return lease.sure;
  });
  assert.deepEqual(sure, [10_000, 13_000, 13_000, 13_000]);
  assert.equal(begin(leases, "again", 1, 2, 20_000, 100_000).is, "running");
  assert.equal(lease.sure, 27_000);
});

test("the same message is not run twice, and the newest reply is answered", () => {
  const leases = new Leases<Lease>();
  const first = held(leases, "first", 1, 1, 0, 1000);
  assert.equal(begin(leases, "again", 1, 2, 500, 1500).is, "running");
  assert.deepEqual([first.reply, first.delivered], ["again", 2]);
  leases.remember(first);
  leases.end(first);
  assert.equal(begin(leases, "third", 1, 3, 600, 1600).is, "settled");
});

test("a task that was published anew is another one", () => {
  const leases = new Leases<Lease>();
  const first = held(leases, "first", 1, 1, 0, 1000);
  held(leases, "anew, while the first runs", 2, 1, 0, 1000);
  leases.remember(first);
  held(leases, "anew, after it was settled", 3, 1, 0, 1000);
  assert.equal(first.reply, "first");
});

test("an attempt that has had its time gives way, and its end leaves the next one alone", () => {
  const leases = new Leases<Lease>();
  const hung = held(leases, "first", 1, 1, 0, 1000);
  const next = held(leases, "second", 1, 2, 2000, 3000);
  leases.end(hung);
  assert.equal(begin(leases, "third", 1, 3, 2500, 3500).is, "running");
  assert.equal(next.reply, "third");
});

test("memory of what was settled is bounded", () => {
  const leases = new Leases<Lease>();
  for (let sequence = 0; sequence < 40_000; sequence += 1) {
    const lease = held(leases, "reply", sequence, 1, 0, 1000);
    leases.remember(lease);
    leases.end(lease);
  }
  assert.ok(leases.remembered <= 16_384 && leases.remembered >= 8192, String(leases.remembered));
  assert.equal(leases.size, 0);
});

test("an attempt is either begun or taken back", () => {
  const board = Board.sized(4);
  board.post(2, 1);
  assert.equal(board.begunAt(2), undefined);
  assert.equal(board.begin(2, 1, 77), true);
  assert.equal(board.revoke(2, 1), false);
  assert.equal(board.begunAt(2), 77);
  assert.equal(board.isRunning(2), true);
  board.end(2, 1);
  assert.equal(board.isRunning(2), false);
  board.post(2, 5);
  assert.equal(board.revoke(2, 5), true);
  assert.equal(board.begin(2, 5, 78), false);
  board.end(2, 5);
  board.post(2, 6);
  assert.equal(board.begin(2, 5, 78), false); // it was taken back; the slot is another's now
  assert.equal(board.begin(2, 6, 79), true);
  board.end(2, 5);
  assert.equal(board.isRunning(2), true);
});
