import assert from "node:assert/strict";
import { test } from "node:test";

import type { Link } from "../src/link.js";
import { logger } from "../src/log.js";
import { Publisher, type Stored } from "../src/publisher.js";

const FENCED = '{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 9"}}';
const FULL = '{"error":{"code":503,"err_code":10077,"description":"full"}}';
const MESSAGE = { subject: "record", body: "{}", headers: { "Nats-Expected-Last-Subject-Sequence": "0" } };

/** What comes of a record when the stream says these things one after the other; nothing is no answer. */
async function outcome(answers: Array<string | undefined>, connected = true): Promise<Stored> {
  let hear: (error: null, message: unknown) => void = () => {};
  const link = {
    connected,
    whenConnected: async () => await Promise.resolve(),
    tell: (_subject: string, _body: unknown, { reply }: { reply: string }) => {
      const answer = answers.shift();
      if (answer !== undefined) queueMicrotask(() => hear(null, { subject: reply, string: () => answer }));
    },
    nc: {
      info: undefined,
      isClosed: () => false,
      subscribe: (_subject: string, { callback }: { callback: typeof hear }) => {
        hear = callback;
        return { unsubscribe: () => {} };
      },
    },
  };
  const publisher = new Publisher(link as unknown as Link, logger());
  try {
    return await new Promise((resolve) => publisher.firmly(MESSAGE, () => true, resolve));
  } finally {
    await publisher.close();
  }
}

test("a fence that holds is one's own where an earlier try may have been stored, else somebody else's", async () => {
  const [first, lost, refused, away] = await Promise.all([
    outcome([FENCED]), outcome([undefined, FENCED]), outcome([FULL, FENCED]), outcome([FENCED], false),
  ]);
  assert.deepEqual([first.is, lost.is, refused.is, away.is], ["superseded", "stored", "superseded", "superseded"]);
});
