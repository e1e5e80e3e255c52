import assert from "node:assert/strict";
import { test } from "node:test";

import { freePlaces, newSide, noteTurns, plan, split, type Ask, type Side, type Sides } from "../src/share.js";

const sides = (fast: Partial<Side> = {}, background: Partial<Side> = {}): Sides => ({
  fast: { ...newSide(), ...fast },
  background: { ...newSide(), ...background },
});

test("what is asked for in each situation", () => {
  const busy = { waiting: 100 };
  const table: Array<[string, number, Sides, Ask[]]> = [
    ["nothing is free", 2, sides({ held: 1, promised: 1, ...busy }), []],
    ["idle, one place: it waits at home", 1, sides(), [{ queue: "fast", batch: 1, wait: "turn" }]],
    ["idle, one place, the other is due", 1, sides({}, { due: true }), [{ queue: "background", batch: 1, wait: "no" }]],
    ["idle: a request waits at both", 8, sides(), [{ queue: "fast", batch: 2, wait: "long" }, { queue: "background", batch: 1, wait: "short" }]],
    ["idle and asked already", 8, sides({ promised: 2 }, { promised: 1 }), []],
    ["fast is busy", 8, sides(busy), [{ queue: "fast", batch: 8, wait: "no" }]],
    ["no more than there are", 8, sides({ waiting: 3 }), [{ queue: "fast", batch: 3, wait: "no" }]],
    ["fast is busy, a look at the other", 8, sides(busy, { due: true }), [{ queue: "background", batch: 1, wait: "no" }, { queue: "fast", batch: 7, wait: "no" }]],
    ["background is busy and gets every place", 8, sides({}, busy), [{ queue: "background", batch: 8, wait: "no" }]],
    ["both are busy", 8, sides(busy, busy), [{ queue: "fast", batch: 6, wait: "no" }, { queue: "background", batch: 2, wait: "no" }]],
    ["background holds its share", 8, sides(busy, { held: 2, ...busy }), [{ queue: "fast", batch: 6, wait: "no" }]],
    ["few places are free, a request is under way", 16, sides({ held: 13, promised: 1, ...busy }), []],
    ["a fourth is free, a request is under way", 16, sides({ held: 11, promised: 1, ...busy }), [{ queue: "fast", batch: 4, wait: "no" }]],
  ];
  for (const [what, places, state, expected] of table) assert.deepEqual(plan("share", places, "fast", state), expected, what);
});

test("strict asks for background only while fast is empty", () => {
  assert.deepEqual(plan("strict", 4, "fast", sides({ waiting: 9 }, { waiting: 9 })), [{ queue: "fast", batch: 4, wait: "no" }]);
  assert.deepEqual(plan("strict", 4, "fast", sides({}, { waiting: 9 })), [{ queue: "background", batch: 4, wait: "no" }]);
});

test("with one place every fourth task is a background task", () => {
  const state = sides({ waiting: 1000 }, { waiting: 1000 });
  const order: string[] = [];
  for (let turn = 0; turn < 16; turn += 1) {
    const asks = plan("share", 1, "fast", state);
    noteTurns(state, asks);
    order.push(...asks.map(({ queue }) => queue.charAt(0)));
  }
  assert.equal(order.join(""), "fffbfffbfffbfffb");
});

test("places are never promised twice, whatever comes", () => {
  let seed = 7;
  const random = (below: number): number => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return seed % below;
  };
  for (let round = 0; round < 2000; round += 1) {
    const places = 1 + random(40);
    const side = (): Partial<Side> => ({ waiting: random(100), held: random(10), promised: random(10), turns: random(20), due: random(2) === 1 });
    const state = sides(side(), side());
    const asks = plan(random(2) === 0 ? "share" : "strict", places, random(2) === 0 ? "fast" : "background", state);
    const asked = asks.reduce((sum, { batch }) => sum + batch, 0);
    assert.ok(asked <= freePlaces(places, state), JSON.stringify({ places, state, asks }));
    assert.ok(asks.every(({ batch }) => batch > 0));
    const free = freePlaces(places, state);
    const { fast, background } = split("share", free, places, state);
    assert.ok(fast >= 0 && background >= 0 && fast + background === free);
  }
});
