package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"

	metafleet "github.com/metafleet/metafleet/worker-sdk/go"
)

//go:embed manifest.json
var manifestText []byte

var manifest = metafleet.MustManifest(manifestText)

type imageExif struct{}

// Manifest says what the plugin is.
func (imageExif) Manifest() metafleet.Manifest { return manifest }

// Process reads one picture.
//
// A picture that is broken somewhere still gives what could be read of it, with a word about the problem; one
// of which nothing could be read fails for good.
func (imageExif) Process(ctx context.Context, task *metafleet.Task) (metafleet.Outcome, error) {
	file, err := task.Open(ctx)
	if err != nil {
		return metafleet.Outcome{}, err
	}
	defer file.Close() // nothing was written
	reader := &frugal{ctx: ctx, file: file}
	format, err := formatOf(reader)
	if err != nil {
		return metafleet.Outcome{}, err
	}
	if format == unknownFormat {
		return metafleet.Skipped("it is no picture of a kind that holds camera data"), nil
	}
	found, problem := decode(reader, format, task.Settings().Bool("thumbnails"))
	if reader.failed != nil {
		// The disk, the network or the time; the file itself may be fine.
		return metafleet.Outcome{}, fmt.Errorf("could not read it: %w", reader.failed)
	}
	meta := found.meta()
	if len(found.thumbnail) > 0 {
		kept, err := task.PutArtifact(ctx, "thumbnail.jpg", "image/jpeg", found.thumbnail)
		if err != nil {
			return metafleet.Outcome{}, err
		}
		meta.Artifact("image/thumbnail", kept)
	}
	if problem != nil {
		if meta.Empty() {
			return metafleet.Outcome{}, metafleet.Permanent(errors.New(cleaned(problem.Error())))
		}
		meta.Text("image/problem", cleaned(problem.Error()))
	}
	if meta.Empty() {
		return metafleet.Skipped("it holds no camera data"), nil
	}
	return metafleet.Completed(meta), nil
}
