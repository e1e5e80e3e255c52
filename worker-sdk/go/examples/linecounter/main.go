// Command linecounter is a plugin that counts the lines of text files.
package main

import (
	"bufio"
	"context"

	metafleet "github.com/metafleet/metafleet/worker-sdk/go"
)

const manifest = `{
	"id": "go-lines", "name": "Line counter", "version": "1.0.0", "priority": 50, "queue": "fast",
	"filter": {"mimeTypes": ["text/*"]},
	"dataSchema": {"go-text/lines": {"label": "Lines", "type": "string"}}
}`

type lineCounter struct{}

// Manifest says what the plugin is.
func (lineCounter) Manifest() metafleet.Manifest { return metafleet.MustManifest([]byte(manifest)) }

// Process counts the lines of one file.
func (lineCounter) Process(ctx context.Context, task *metafleet.Task) (metafleet.Outcome, error) {
	file, err := task.Open(ctx)
	if err != nil {
		return metafleet.Outcome{}, err
	}
	defer file.Close()
	lines := 0
	for reader := bufio.NewScanner(file); reader.Scan(); lines++ {
		if err := ctx.Err(); err != nil {
			return metafleet.Outcome{}, err
		}
	}
	return metafleet.Completed(metafleet.NewMeta().Text("go-text/lines", lines)), nil
}

func main() { metafleet.Run(lineCounter{}) }
