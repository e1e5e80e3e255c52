/** What this instance obeys: pause, resume, drain, configure, announce, ping. */
import type { Msg, Subscription } from "@nats-io/nats-core";

import { configure, setPaused } from "./announce.js";
import type { Rim } from "./rim.js";
import { explain, short } from "./text.js";
import type { Control, ControlReply } from "./wire.js";

/** Obeys what is asked of all instances of the plugin and of this one, until the subscriptions end. */
export function listen(rim: Rim): Subscription[] {
  const { names, plugin, instance, link } = rim;
  // Settings one after the other: two at once would leave it open which of them counts.
  let last = Promise.resolve();
  const callback = (error: Error | null, message: Msg): void => {
    if (error !== null) return;
    const obeyed = (): Promise<void> => answer(rim, message);
    // A plugin that thinks about its settings keeps the worker from nothing else.
    if (/"action"\s*:\s*"configure"/.test(message.string())) last = last.then(obeyed);
    else void obeyed();
  };
  return [names.control(plugin), names.control(plugin, instance)].map((subject) => link.nc.subscribe(subject, { callback }));
}

async function answer(rim: Rim, message: Msg): Promise<void> {
  let error: string | undefined;
  try {
    error = await obey(rim, readControl(message.string()));
  } catch (cause) {
    error = explain(cause);
    rim.log.warn("a control request cannot be obeyed", { error });
  }
  if (!message.reply) return;
  const said = error === undefined ? {} : { error: short(error) };
  const reply: ControlReply = { success: error === undefined, ...said, instance: rim.instance };
  rim.link.tell(message.reply, JSON.stringify(reply));
}

/** PURE. Reads a request; throws where it is none that we know. */
export function readControl(text: string): Control {
  const request = JSON.parse(text) as Partial<Record<string, unknown>> | null;
  const action = request?.["action"];
  const known = ["pause", "resume", "drain", "configure", "announce", "ping"];
  if (typeof action !== "string" || !known.includes(action)) throw new Error(`unknown action ${JSON.stringify(action)}`);
  const settings = request?.["settings"];
  if (action === "configure" && (typeof settings !== "object" || settings === null || Array.isArray(settings))) {
    throw new Error("configure needs `settings`");
  }
  return request as unknown as Control;
}

async function obey(rim: Rim, control: Control): Promise<string | undefined> {
  switch (control.action) {
    case "pause":
      return void (await setPaused(rim, true));
    case "resume":
      return void (await setPaused(rim, false));
    case "drain":
      rim.log.info("told to drain");
      return void rim.drain();
    case "configure":
      return await configure(rim, control.settings);
    case "announce":
      return void rim.announce();
    case "ping":
      return undefined;
  }
}
