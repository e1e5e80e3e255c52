// Does nothing, as fast as the library can: `npm run bench` measures it beside the raw client.
import { completed, run } from "@metafleet/worker";

await run({
  manifest: {
    id: "noop", name: "No-op", version: "1.0.0", priority: 50, queue: "fast", concurrency: 128,
    dataSchema: { "noop/done": { label: "Done" } },
  },
  process: () => completed({ "noop/done": "1" }),
});
