/**
 * The announcement of this instance, and the settings that come in answer.
 *
 * While nobody answers it waits; nothing is pulled before the first answer, and pulling goes on during
 * later ones.
 */
import { availableParallelism, hostname } from "node:os";
import { isDeepStrictEqual } from "node:util";

import type { Settings } from "./bridge.js";
import { pause, pauses } from "./clock.js";
import { Mask } from "./mask.js";
import { LATE, type Rim } from "./rim.js";
import { places } from "./standing.js";
import { explain, short } from "./text.js";
import type { Announce, AnnounceReply } from "./wire.js";

const ANSWER_MS = 5000;
/** How long a plugin may think about its settings. */
const CONFIGURE_MS = 60_000;
/** How long it is waited for when it is told of a pause. */
const TELL_MS = 2000;
/** How often the log says that nobody answers. */
const COMPLAIN_EVERY = 15;

type Accepted = Extract<AnnounceReply, { status: "accepted" }> & { files?: { url?: string; token?: string } | null };

/** Announces until the coordinator accepts; returns the reasons if it does not, nothing also after `stop`. */
export async function announce(rim: Rim, stop: AbortSignal): Promise<string[] | undefined> {
  let tries = 0;
  for (const wait of pauses(100, 2000)) {
    if (stop.aborted) return undefined;
    try {
      const answer = await ask(rim);
      if (stop.aborted) return undefined;
      if (answer.status === "rejected") return answer.reasons;
      await take(rim, answer);
      return undefined;
    } catch (error) {
      const say = tries % COMPLAIN_EVERY === 0 ? rim.log.warn : rim.log.debug;
      say("no coordinator answers, announcing again", { why: explain(error) });
      tries += 1;
    }
    await pause(wait, stop);
  }
  return undefined;
}

async function ask(rim: Rim): Promise<AnnounceReply> {
  const request: Announce = {
    type: "metafleet.announce.v1",
    instance: rim.instance,
    manifest: rim.manifest,
    host: hostname(),
    pid: process.pid,
    sdk: rim.sdk,
    lanes: true,
    ...(rim.options.route === undefined ? {} : { route: rim.options.route }),
  };
  const subject = rim.names.signal(rim.plugin, "announce");
  const answer = await rim.link.nc.request(subject, JSON.stringify(request), { timeout: ANSWER_MS });
  const reply = answer.json<AnnounceReply>();
  if (reply.status !== "accepted" && reply.status !== "rejected") throw new Error("the answer makes no sense");
  return reply;
}

async function take(rim: Rim, answer: Accepted): Promise<void> {
  const { options, standing } = rim;
  // Who serves a route was not started for other tasks, whoever answers.
  const lane = answer.lane ?? "main";
  const own = options.route ?? lane;
  rim.leaseMs = Math.max(100, answer.leaseMs);
  rim.heartbeatMs = Math.max(100, answer.heartbeatMs);
  rim.publisher.maxPayload = answer.maxPayload;
  standing.places = places(options.concurrency, answer.concurrency, rim.manifest.concurrency, availableParallelism());
  standing.lane = own;
  const url = options.filesUrl ?? answer.files?.url;
  const token = options.filesToken ?? answer.files?.token;
  const files = url !== undefined && token !== undefined ? { url, token } : undefined;
  if (!isDeepStrictEqual(files, rim.files)) {
    rim.files = files;
    rim.post({ is: "files", offer: files });
  }
  await setPaused(rim, answer.paused === true || lane !== own);
  // What comes of it is shown in the sign of life.
  if (standing.configured === undefined || !isDeepStrictEqual(rim.settings, answer.settings)) await configure(rim, answer.settings);
  rim.changed();
}

/** Lets the plugin take `settings`; returns the error if it refuses them or takes too long. */
export async function configure(rim: Rim, settings: Settings): Promise<string | undefined> {
  const late = `the plugin did not take its settings within ${CONFIGURE_MS / 1000} s`;
  const answer = await rim.ask({ what: "configure", settings }, CONFIGURE_MS);
  const error = answer === undefined ? undefined : short(answer === LATE ? late : Mask.of(rim.manifest.configSchema, settings).text(answer));
  if (error === undefined) rim.log.info("configured");
  else rim.log.warn("the plugin refuses its settings, it does not serve", { error });
  rim.settings = settings;
  rim.standing.configured = error === undefined ? { ok: true } : { ok: false, error };
  rim.changed();
  return error;
}

/** Pauses or resumes; the plugin is told only when that is a change, and not waited for long. */
export async function setPaused(rim: Rim, paused: boolean): Promise<void> {
  if (rim.standing.paused === paused) return;
  rim.standing.paused = paused;
  rim.changed();
  rim.log.info(paused ? "paused" : "resumed");
  const error = await rim.ask({ what: paused ? "pause" : "resume" }, TELL_MS);
  if (error !== undefined) rim.log.warn("the plugin did not take it well", { paused, error });
}
