// Package once leads from package metafleettest to the inside of package metafleet, so that a test runs a
// plugin through the same code as a worker does.
package once

import (
	"context"

	"github.com/metafleet/metafleet/worker-sdk/go/wire"
)

// Job is one attempt without a broker.
type Job struct {
	Task wire.Task
	// Path is the exact path of the file.
	Path     string
	Settings map[string]any
	Attempt  int
	// Submitted hears of the files that the plugin hands in, Kept of its artefacts, Progress of its reports.
	Submitted func(path string)
	Kept      func(artifact wire.Artifact, data []byte)
	Progress  func(fraction float64, note string)
}

// Result is what came of it.
type Result struct {
	// Outcome is a metafleet.Outcome.
	Outcome any
	Meta    map[string]wire.MetaValue
	Err     error
}

// Run runs a metafleet.Plugin; package metafleet sets it.
var Run func(ctx context.Context, plugin any, job Job) Result
