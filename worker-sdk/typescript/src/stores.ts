/** What handlers have the broker store while they run: files that they hand in, artefacts. */
import { createHash } from "node:crypto";

import type { ToBroker, ToStore } from "./bridge.js";
import type { Held } from "./held.js";
import { SECRET, type Message, type Stored } from "./publisher.js";
import type { Rim } from "./rim.js";

export type Store = Extract<ToBroker, { is: "store" }>;

export class Stores {
  constructor(
    private readonly rim: Rim,
    /** An attempt that is in hand. */
    private readonly find: (id: number) => Held | undefined,
  ) {}

  /** Stores something for an attempt, as long as that lasts, and tells the host what came of it. */
  store({ n, id, what, trace }: Store): void {
    const { rim } = this;
    const held = this.find(id);
    const tell = (failure: Failure | undefined): void => rim.post(failure === undefined ? { is: "stored", n } : { is: "stored", n, ...failure });
    if (held === undefined || isOver(held)) return tell({ error: "the attempt is over", permanent: false });
    const message = messageOf(rim, held, what);
    const headers = { ...message.headers, ...trace };
    rim.publisher.firmly({ ...message, headers }, () => !isOver(held), (stored) => tell(failureOf(stored)));
  }
}

interface Failure {
  readonly error: string;
  readonly permanent: boolean;
}

/** Whether nothing is to be stored for an attempt any more: it has ended, or has had its time. */
const isOver = (held: Held): boolean => held.settling || held.cancelled !== undefined;

function messageOf({ names, plugin }: Rim, { queue, sequence, address, task }: Held, what: ToStore): Message {
  switch (what.kind) {
    case "submission": {
      // A repeated try is stored once.
      const hash = createHash("sha256").update(what.body).digest("hex").slice(0, 32);
      return { subject: names.submission(queue), body: what.body, headers: { "Nats-Msg-Id": `submit.${sequence}.${hash}.${SECRET}` } };
    }
    case "artifact": {
      const { artifact, mediaType } = what.artifact;
      const subject = names.artifact(address.token, plugin, artifact, task.trial === true);
      // The same one in the same place again does no harm.
      return { subject, body: what.bytes, headers: { "Content-Type": mediaType } };
    }
  }
}

/** PURE. What is told to the handler; nothing where it is stored. */
function failureOf(stored: Stored): Failure | undefined {
  switch (stored.is) {
    case "stored":
      return undefined;
    case "too large":
      return { error: `the message has ${stored.bytes} bytes, over ${stored.limit}`, permanent: true };
    case "superseded":
      return { error: "somebody else has written it since", permanent: false };
    case "unsure":
      return { error: stored.error, permanent: false };
  }
}
