// Command conformance is a plugin that does what the file says; the conformance kit of MetaFleet tests this
// package with it. Its argument is the path of a manifest.
//
// Each line of the file is for one call, the last one for all further calls. Each call appends a line to a
// file beside it before it acts: its number is the number of lines before.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	metafleet "github.com/metafleet/metafleet/worker-sdk/go"
)

type plugin struct {
	manifest metafleet.Manifest
	instance string
}

// Manifest says what the plugin is.
func (p plugin) Manifest() metafleet.Manifest { return p.manifest }

// Configure refuses one mode.
func (plugin) Configure(_ context.Context, settings metafleet.Settings) error {
	if settings.Text("mode") == "bad" {
		return errors.New("mode bad is not served")
	}
	return nil
}

// Process does what the file says.
func (p plugin) Process(ctx context.Context, task *metafleet.Task) (metafleet.Outcome, error) {
	number, err := p.note(task)
	if err != nil {
		return metafleet.Outcome{}, err
	}
	file, err := task.Open(ctx)
	if err != nil {
		return metafleet.Outcome{}, err
	}
	text, err := io.ReadAll(file)
	if err = errors.Join(err, file.Close()); err != nil {
		return metafleet.Outcome{}, err
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	verb, rest, _ := strings.Cut(lines[min(number, len(lines)-1)], " ")
	act, found := verbs[verb]
	if !found {
		return metafleet.Outcome{}, metafleet.Permanentf("no such verb `%s`", verb)
	}
	return act(call{ctx, task, rest})
}

// note appends to the file of calls, and says how many lines were in it. Where the folder is not on this
// machine there is none.
func (p plugin) note(task *metafleet.Task) (int, error) {
	path := task.Path() + ".calls"
	before, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	_, err = fmt.Fprintf(file, "%s %d %d\n", p.instance, task.Attempt(), time.Now().UnixMilli())
	return bytes.Count(before, []byte("\n")), errors.Join(err, file.Close())
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: conformance MANIFEST")
		os.Exit(2)
	}
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	manifest, err := metafleet.ParseManifest(text)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	instance := os.Getenv("METAFLEET_INSTANCE")
	if instance == "" {
		instance = fmt.Sprintf("%s-%d", manifest.ID(), os.Getpid())
		os.Setenv("METAFLEET_INSTANCE", instance)
	}
	metafleet.Run(plugin{manifest, instance})
}
