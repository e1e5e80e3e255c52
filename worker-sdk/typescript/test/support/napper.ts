// Takes half a second for each task, and says how many ran at once at most so far.
import { setTimeout as sleep } from "node:timers/promises";

import { completed, loadManifest, run } from "@metafleet/worker";

let running = 0;
let most = 0;

await run({
  manifest: loadManifest(process.argv[2] ?? ""),
  async process() {
    running += 1;
    most = Math.max(most, running);
    await sleep(500);
    running -= 1;
    return completed({ "script/attempt": most });
  },
});
