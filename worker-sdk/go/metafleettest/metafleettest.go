// Package metafleettest runs a plugin on a file without a broker, for the tests of plugins. Settings,
// deadline, panics and the dataSchema are treated as a worker treats them.
//
//	func TestItCountsLines(t *testing.T) {
//		report := metafleettest.New(t, lineCounter{}).Run("testdata/poem.txt")
//		if got := report.Text("text/lines"); got != "12" {
//			t.Errorf("%s lines, %v", got, report.Err)
//		}
//	}
package metafleettest

import (
	"context"
	"encoding/base64"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	metafleet "github.com/metafleet/metafleet/worker-sdk/go"
	"github.com/metafleet/metafleet/worker-sdk/go/internal/dataschema"
	"github.com/metafleet/metafleet/worker-sdk/go/internal/facts"
	"github.com/metafleet/metafleet/worker-sdk/go/internal/once"
	"github.com/metafleet/metafleet/worker-sdk/go/wire"
)

// Bench runs one plugin. Its methods change it and give it back.
type Bench struct {
	t        testing.TB
	plugin   metafleet.Plugin
	settings map[string]any
	existing map[string]metafleet.Value
	attempt  int
}

// New is a bench with the default settings of the manifest and nothing known of the file.
func New(t testing.TB, plugin metafleet.Plugin) *Bench {
	b := &Bench{t: t, plugin: plugin, settings: map[string]any{}, existing: map[string]metafleet.Value{}, attempt: 1}
	for name, field := range plugin.Manifest().Fields().ConfigSchema {
		if field.Default != nil {
			b.settings[name] = field.Default
		}
	}
	return b
}

// Setting is what an operator gives: a text, a float64 or a boolean.
func (b *Bench) Setting(name string, value any) *Bench {
	b.settings[name] = value
	return b
}

// Existing is what other plugins wrote about the file, as far as the plugin gets to see it.
func (b *Bench) Existing(key string, value any) *Bench {
	b.t.Helper()
	made, err := wire.JSONValue(value)
	if err == nil {
		err = dataschema.CheckKey(key)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	b.existing[key] = made
	return b
}

// Attempt is the number of the attempt, from 1.
func (b *Bench) Attempt(number int) *Bench {
	b.attempt = number
	return b
}

// Report is what came of one run.
type Report struct {
	// Outcome is what the plugin said; look at Err first.
	Outcome metafleet.Outcome
	// Err is why a worker would fail the attempt; see [metafleet.IsPermanent].
	Err error
	// Submitted are the files that the plugin handed in.
	Submitted []string
	// Artifacts are what it kept, as the broker would have it: the same name again takes the place of the one before.
	Artifacts []Artifact
	// Progress are the notes that it reported.
	Progress []string
	meta     map[string]metafleet.Value
}

// Artifact is something that a plugin kept, with its bytes.
type Artifact struct {
	metafleet.Artifact
	Data []byte
}

// Artifact gives what the plugin kept under a name.
func (r *Report) Artifact(name string) (Artifact, bool) {
	at := r.artifact(name)
	if at < 0 {
		return Artifact{}, false
	}
	return r.Artifacts[at], true
}

func (r *Report) artifact(name string) int {
	return slices.IndexFunc(r.Artifacts, func(a Artifact) bool { return a.Name == name })
}

func (r *Report) keep(kept Artifact) {
	if at := r.artifact(kept.Name); at >= 0 {
		r.Artifacts[at] = kept
	} else {
		r.Artifacts = append(r.Artifacts, kept)
	}
}

// Keys lists the metadata keys that would be in the record, in order.
func (r *Report) Keys() []string { return slices.Sorted(maps.Keys(r.meta)) }

// Value gives what a key of the record would hold.
func (r *Report) Value(key string) (metafleet.Value, bool) {
	value, found := r.meta[key]
	return value, found
}

// Text gives the text that a key holds; empty where it holds a set or JSON, or nothing.
func (r *Report) Text(key string) string {
	text, _ := r.meta[key].Text()
	return text
}

// Run configures the plugin and lets it process one file, under the deadline of the manifest. A file that does
// not exist is given to the plugin all the same, as it would be if it vanished between scan and task.
func (b *Bench) Run(path string) *Report { return b.RunContext(context.Background(), path) }

// RunContext is [Bench.Run]; the end of ctx stops the attempt as the end of the worker would.
func (b *Bench) RunContext(ctx context.Context, path string) *Report {
	b.t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		b.t.Fatal(err)
	}
	report := &Report{}
	var mu sync.Mutex
	result := once.Run(ctx, b.plugin, once.Job{
		Task: b.task(path), Path: path, Settings: maps.Clone(b.settings), Attempt: b.attempt,
		Submitted: func(file string) {
			mu.Lock()
			defer mu.Unlock()
			report.Submitted = append(report.Submitted, file)
		},
		Kept: func(artifact metafleet.Artifact, data []byte) {
			mu.Lock()
			defer mu.Unlock()
			report.keep(Artifact{artifact, data})
		},
		Progress: func(_ float64, note string) {
			mu.Lock()
			defer mu.Unlock()
			report.Progress = append(report.Progress, note)
		},
	})
	mu.Lock()
	defer mu.Unlock()
	report.Outcome, _ = result.Outcome.(metafleet.Outcome)
	report.Err, report.meta = result.Err, result.Meta
	return report
}

func (b *Bench) task(path string) wire.Task {
	manifest := b.plugin.Manifest().Fields()
	file, err := facts.OfFile(path)
	if err != nil {
		file = facts.OfName(path)
	}
	file.Sidecars = sidecars(path)
	task := wire.Task{
		Type: wire.TaskType, TaskID: "00000000-0000-8000-8000-000000000001", RunID: 1, PluginID: manifest.ID, Cid: "test-bench",
		FilePath: path, File: file, ExistingMeta: known(manifest.Reads, path, file), Fingerprint: "bench",
		Retry: wire.RetryPolicy{MaxAttempts: 3, DelaysMs: []uint64{1000}},
	}
	if !utf8.ValidString(path) {
		task.FilePath, task.FilePathBytes = strings.ToValidUTF8(path, "\uFFFD"), base64.StdEncoding.EncodeToString([]byte(path))
	}
	maps.Copy(task.ExistingMeta, b.existing)
	return task
}

// known gives the facts under the keys by which `reads` names them.
func known(reads []string, path string, file metafleet.FileFacts) map[string]metafleet.Value {
	list, err := wire.JSONValue(file.Sidecars)
	if err != nil {
		list = wire.SetValue()
	}
	all := map[string]metafleet.Value{
		"file/path": wire.TextValue(strings.ToValidUTF8(path, "\uFFFD")), "file/name": wire.TextValue(file.Name),
		"file/extension": wire.TextValue(file.Extension), "file/mime": wire.TextValue(file.Mime), "file/modified": wire.TextValue(file.Modified),
		"file/sidecars": list, "file/size": wire.TextValue(strconv.FormatUint(file.Size, 10)),
	}
	maps.DeleteFunc(all, func(key string, _ metafleet.Value) bool {
		return !slices.ContainsFunc(reads, func(pattern string) bool { return dataschema.Matches(pattern, key) })
	})
	return all
}

// sidecars lists the files of the same stem beside a file, and the `.nfo` of the folder.
func sidecars(path string) []metafleet.Sidecar {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil
	}
	base := filepath.Base(path)
	stem := strings.TrimSuffix(base, filepath.Ext(base)) + "."
	var found []metafleet.Sidecar
	for _, entry := range entries {
		name := entry.Name()
		beside := strings.HasPrefix(name, stem) || name == "movie.nfo" || name == "tvshow.nfo"
		info, err := entry.Info()
		if err != nil || name == base || !beside || !info.Mode().IsRegular() {
			continue
		}
		found = append(found, metafleet.Sidecar{
			Name: strings.ToValidUTF8(name, "\uFFFD"), Size: uint64(info.Size()), Modified: info.ModTime().UTC().Format(time.RFC3339Nano),
		})
	}
	return found
}
