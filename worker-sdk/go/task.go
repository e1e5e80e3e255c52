package metafleet

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/metafleet/metafleet/worker-sdk/go/internal/source"
	"github.com/metafleet/metafleet/worker-sdk/go/wire"
)

// File is a file that can be read from anywhere in it, here or by HTTP from the coordinator.
type File = source.File

// Task is one attempt at one task, as the handler sees it. Its methods may be used by several goroutines.
type Task struct {
	// body belongs to the one who made the task, and does not change any more.
	body     *wire.Task
	filePath string
	settings Settings
	attempt  uint32
	deadline time.Time
	// base is the log of the worker.
	base  *slog.Logger
	port  port
	files files

	// gotOn is when progress was reported last, or the attempt began, in nanoseconds since then.
	begun time.Time
	gotOn atomic.Int64
	// life ends with the attempt: at its deadline, when the worker has to stop, or when Process has come back.
	life context.Context
	// ended is set when the attempt is over: what it left behind is removed.
	mu      sync.Mutex
	ended   bool
	cleanup []func() error
}

// port is what a handler can cause outside: a fleet's broker, or the notes of a test.
type port interface {
	submit(ctx context.Context, task *Task, path string) error
	artifact(ctx context.Context, task *Task, artifact Artifact, data []byte) error
	progress(task *Task, fraction float64, note string)
}

// exactPath gives the bytes of a path that may not be UTF-8.
func exactPath(path, inBase64 string) (string, error) {
	if inBase64 == "" {
		return path, nil
	}
	exact, err := base64.StdEncoding.DecodeString(inBase64)
	if err != nil {
		return "", fmt.Errorf("filePathBytes: %w", err)
	}
	return string(exact), nil
}

// ID names the task: the same if it is published again.
func (t *Task) ID() string { return t.body.TaskID }

// CID is the content id of the file, which all its metadata is filed under.
func (t *Task) CID() string { return t.body.Cid }

// Path is where the file is on this machine, if it is here at all: its exact bytes, also for names that are
// not UTF-8, and mapped by METAFLEET_PATHS. [Task.Open] and [Task.LocalPath] also work where it is not.
func (t *Task) Path() string { return t.files.paths.Here(t.filePath) }

// FilePath is the path as the fleet knows it, exactly.
func (t *Task) FilePath() string { return t.filePath }

// File is what its finder said of the file: size, media type, name, sidecars.
func (t *Task) File() FileFacts { return t.body.File }

// Existing gives what the plugins that this one reads from, and the person, have written about the file. It
// must not be changed.
func (t *Task) Existing() map[string]Value { return t.body.ExistingMeta }

// ExistingText gives the text that a key holds; false where it holds a set or JSON, or nothing.
func (t *Task) ExistingText(key string) (string, bool) {
	value, found := t.body.ExistingMeta[key]
	text, isText := value.Text()
	return text, found && isText
}

// Settings are those that were in force when the task began.
func (t *Task) Settings() Settings { return t.settings }

// Attempt is the number of this attempt, from 1.
func (t *Task) Attempt() int { return int(t.attempt) }

// Remaining is the time until the deadline; zero when it has passed.
func (t *Task) Remaining() time.Duration { return max(0, time.Until(t.deadline)) }

// Log writes lines that name the plugin, the task and the file.
func (t *Task) Log() *slog.Logger {
	return t.base.With(slog.Group("task", "id", t.body.TaskID), slog.Group("file", "cid", t.body.Cid), "attempt", t.attempt)
}

// Wire is the task as the protocol has it; what it points to must not be changed.
func (t *Task) Wire() wire.Task { return *t.body }

// Progress reports how far the task has got, from 0 to 1, with a note for people.
//
// It is sent once a second at most: call it as often as you like. Each call begins the progressTimeout anew,
// where there is one.
func (t *Task) Progress(fraction float64, note string) {
	if math.IsNaN(fraction) {
		fraction = 0
	}
	t.gotOn.Store(int64(time.Since(t.begun)))
	t.port.progress(t, min(max(fraction, 0), 1), note)
}

// Submit hands in a file that this plugin made, to be processed like any other; it returns when the broker
// has stored that. Handing in the same file twice, e.g. in a second attempt, does no harm. It ends with ctx and
// with the attempt, whichever ends first. An error is worth another attempt unless it is marked by [Permanent].
func (t *Task) Submit(ctx context.Context, path string) error {
	ctx, done := t.within(ctx)
	defer done()
	if ctx.Err() != nil {
		return fmt.Errorf("%q was not handed in: %w", path, context.Cause(ctx))
	}
	return t.port.submit(ctx, t, path)
}

// Open opens the file, here or by HTTP from the coordinator. The file ends with the context. An error is
// worth another attempt.
func (t *Task) Open(ctx context.Context) (File, error) {
	return t.files.place(t.filePath, t.body.File.Size).Open(ctx)
}

// OpenSidecar opens one of the sidecars of [Task.File] by its name.
func (t *Task) OpenSidecar(ctx context.Context, name string) (File, error) {
	place, err := t.sidecar(name)
	if err != nil {
		return nil, err
	}
	return place.Open(ctx)
}

// LocalPath gives a path on this machine: that of the file if it is here, else that of a temporary copy,
// which is removed when the task ends.
func (t *Task) LocalPath(ctx context.Context) (string, error) {
	return t.local(ctx, t.files.place(t.filePath, t.body.File.Size))
}

// LocalSidecar is [Task.LocalPath] for one of the sidecars.
func (t *Task) LocalSidecar(ctx context.Context, name string) (string, error) {
	place, err := t.sidecar(name)
	if err != nil {
		return "", err
	}
	return t.local(ctx, place)
}

func (t *Task) sidecar(name string) (source.Place, error) {
	at := slices.IndexFunc(t.body.File.Sidecars, func(s Sidecar) bool { return s.Name == name })
	if at < 0 {
		return source.Place{}, fmt.Errorf("the file has no sidecar `%s`", name)
	}
	path, err := source.Beside(t.filePath, name)
	if err != nil {
		return source.Place{}, err
	}
	return t.files.place(path, t.body.File.Sidecars[at].Size), nil
}

func (t *Task) local(ctx context.Context, place source.Place) (string, error) {
	path, remove, err := place.Local(ctx)
	if err != nil || remove == nil {
		return path, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return "", errors.Join(errAttemptOver, remove())
	}
	t.cleanup = append(t.cleanup, remove)
	return path, nil
}

// end removes what the attempt left behind.
func (t *Task) end() {
	t.mu.Lock()
	cleanup := t.cleanup
	t.ended, t.cleanup = true, nil
	t.mu.Unlock()
	for _, remove := range cleanup {
		if err := remove(); err != nil {
			t.Log().Warn("could not remove a temporary copy", "error", err)
		}
	}
}
