package metafleet

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/metafleet/metafleet/worker-sdk/go/internal/dataschema"
	"github.com/metafleet/metafleet/worker-sdk/go/internal/once"
)

func init() { once.Run = runOnce }

// runOnce is what package metafleettest runs: the same attempt and the same checks as in a worker.
func runOnce(ctx context.Context, anything any, job once.Job) once.Result {
	plugin, ok := anything.(Plugin)
	if !ok {
		return once.Result{Err: Permanentf("%T is no plugin", anything)}
	}
	manifest := plugin.Manifest()
	if err := manifest.check(); err != nil {
		return once.Result{Err: Permanent(err)}
	}
	settings := Settings(job.Settings)
	if configurer, ok := plugin.(Configurer); ok {
		if err := beside(configureTimeout, func() error { return configurer.Configure(ctx, settings) }); err != nil {
			return once.Result{Err: Permanent(fmt.Errorf("the plugin refuses its settings: %w", err))}
		}
	}
	begun := time.Now()
	task := &Task{
		body: &job.Task, filePath: job.Path, settings: settings, attempt: uint32(max(1, job.Attempt)), begun: begun,
		deadline: begun.Add(manifest.limit(job.Task.DeadlineMs)), base: slog.Default(), port: benchPort{job},
	}
	got, leftBehind := attempt(ctx, func(f func()) { go f() }, plugin, task, manifest.stall(&job.Task))
	if leftBehind == nil {
		task.end()
	}
	result := once.Result{Outcome: got.outcome, Err: got.err}
	if got.err == nil {
		checker := dataschema.New(manifest.ID(), manifest.fields.DataSchema)
		result.Meta, result.Err = check(checker, got.outcome)
	}
	return result
}

// benchPort notes what a plugin causes.
type benchPort struct{ job once.Job }

func (p benchPort) submit(_ context.Context, _ *Task, path string) error {
	if _, _, err := look(path); err != nil {
		return fmt.Errorf("could not hand in %q: %w", path, err)
	}
	p.job.Submitted(path)
	return nil
}

func (p benchPort) artifact(_ context.Context, _ *Task, artifact Artifact, data []byte) error {
	p.job.Kept(artifact, bytes.Clone(data))
	return nil
}

func (p benchPort) progress(_ *Task, fraction float64, note string) { p.job.Progress(fraction, note) }
