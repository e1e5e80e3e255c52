// Command noop is a plugin that reads nothing and is done at once: it shows what the worker itself costs.
package main

import (
	"context"

	metafleet "github.com/metafleet/metafleet/worker-sdk/go"
)

const manifest = `{
	"id": "noop", "name": "Nothing", "version": "1.0.0", "priority": 50, "queue": "fast", "concurrency": 64,
	"filter": {}, "dataSchema": {"noop/done": {"type": "string"}}
}`

type noop struct{ manifest metafleet.Manifest }

// Manifest says what the plugin is.
func (n noop) Manifest() metafleet.Manifest { return n.manifest }

// Process is done at once.
func (noop) Process(context.Context, *metafleet.Task) (metafleet.Outcome, error) {
	return metafleet.Completed(metafleet.NewMeta().Text("noop/done", 1)), nil
}

func main() {
	metafleet.Run(noop{metafleet.MustManifest([]byte(manifest))})
}
