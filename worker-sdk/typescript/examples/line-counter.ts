// Counts the lines of text files.
import { completed, definePlugin, run } from "@metafleet/worker";

const plugin = definePlugin({
  manifest: {
    id: "line-counter", name: "Line counter", version: "1.0.0", priority: 50, queue: "fast",
    filter: { mimeTypes: ["text/*"] },
    dataSchema: { "text/lines": { label: "Lines" } },
  },
  async process(ctx) {
    const file = await ctx.open();
    let lines = 0;
    for await (const piece of file.stream() as AsyncIterable<Buffer>) {
      for (const byte of piece) if (byte === 10) lines += 1;
    }
    return completed({ "text/lines": lines });
  },
});

await run(plugin);
