package metafleettest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	metafleet "github.com/metafleet/metafleet/worker-sdk/go"
	"github.com/metafleet/metafleet/worker-sdk/go/metafleettest"
)

type plugin func(ctx context.Context, task *metafleet.Task) (metafleet.Outcome, error)

func (plugin) Manifest() metafleet.Manifest {
	return metafleet.MustManifest([]byte(`{"id": "bench", "name": "Bench", "version": "1.0.0", "priority": 50, "queue": "fast", "timeout": 300,
		"reads": ["file/name", "file/sidecars", "file/size"], "dataSchema": {"x": {}, "set": {"type": "set"}, "still": {"type": "json"}},
		"configSchema": {"mode": {"type": "string", "default": "good"}}}`))
}

func (p plugin) Process(ctx context.Context, task *metafleet.Task) (metafleet.Outcome, error) {
	return p(ctx, task)
}

func (plugin) Configure(_ context.Context, settings metafleet.Settings) error {
	if settings.Text("mode") != "good" {
		return errors.New("no such mode")
	}
	return nil
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAPluginSeesItsFileAndWhatIsKnownOfIt(t *testing.T) {
	path := write(t, "film\xff.txt", "hello")
	if err := os.WriteFile(strings.TrimSuffix(path, ".txt")+".srt", []byte("sub"), 0o600); err != nil {
		t.Fatal(err)
	}
	report := metafleettest.New(t, plugin(func(ctx context.Context, task *metafleet.Task) (metafleet.Outcome, error) {
		file, err := task.Open(ctx)
		if err != nil {
			return metafleet.Outcome{}, err
		}
		defer file.Close()
		text, err := io.ReadAll(file)
		if err != nil {
			return metafleet.Outcome{}, err
		}
		local, err := task.LocalPath(ctx)
		size, _ := task.ExistingText("file/size")
		other, _ := task.ExistingText("other/key")
		_, hidden := task.ExistingText("file/path")
		task.Progress(2, "half")
		said := fmt.Sprint(string(text), local == path, err, size, other, hidden, task.File().Mime, len(task.File().Sidecars), task.Attempt(),
			task.Settings().Text("mode"), task.Remaining() > 0, task.Submit(ctx, path))
		return metafleet.Completed(metafleet.NewMeta().Text("x", said).Add("set", "b").Add("set", "a", "b")), nil
	})).Existing("other/key", "seen").Attempt(2).Run(path)
	if got, want := report.Text("x"), "hellotrue<nil>5seen falsetext/plain1 2goodtrue<nil>"; strings.ReplaceAll(got, " ", "") != strings.ReplaceAll(want, " ", "") {
		t.Errorf("%s, not %s, %v", got, want, report.Err)
	}
	if !slices.Equal(report.Keys(), []string{"set", "x"}) || !slices.Equal(report.Progress, []string{"half"}) || !slices.Equal(report.Submitted, []string{path}) {
		t.Errorf("%+v", report)
	}
}

func TestAnAttemptFailsAsInAWorker(t *testing.T) {
	path := write(t, "a.txt", "hello")
	release := make(chan struct{})
	defer close(release)
	for name, c := range map[string]struct {
		process   plugin
		says      string
		permanent bool
	}{
		"error": {func(context.Context, *metafleet.Task) (metafleet.Outcome, error) {
			return metafleet.Outcome{}, errors.New("busy")
		}, "busy", false},
		"permanent": {func(context.Context, *metafleet.Task) (metafleet.Outcome, error) {
			return metafleet.Outcome{}, fmt.Errorf("at 3: %w", metafleet.Permanentf("broken"))
		}, "at 3: broken", true},
		"panic": {func(context.Context, *metafleet.Task) (metafleet.Outcome, error) { panic("a bug") }, "panicked: a bug", false},
		"goexit": {func(context.Context, *metafleet.Task) (metafleet.Outcome, error) {
			runtime.Goexit()
			return metafleet.Outcome{}, nil
		}, "ended its goroutine", false},
		"deadline": {func(ctx context.Context, _ *metafleet.Task) (metafleet.Outcome, error) {
			<-ctx.Done()
			return metafleet.Outcome{}, ctx.Err()
		}, "timed out after 300 ms", false},
		"hang": {func(context.Context, *metafleet.Task) (metafleet.Outcome, error) {
			<-release
			return metafleet.Outcome{}, nil
		}, "timed out after 300 ms", false},
		"key": {func(context.Context, *metafleet.Task) (metafleet.Outcome, error) {
			return metafleet.Completed(metafleet.NewMeta().Text("y", 1)), nil
		}, "`y` is not in the dataSchema of bench", true},
		"kind": {func(context.Context, *metafleet.Task) (metafleet.Outcome, error) {
			return metafleet.Completed(metafleet.NewMeta().Set("x", "a")), nil
		}, "`x` must be a string", true},
		"mixed": {func(context.Context, *metafleet.Task) (metafleet.Outcome, error) {
			return metafleet.Completed(metafleet.NewMeta().Text("set", 1).Add("set", "a")), nil
		}, "`set` holds a value", true},
		"nothing": {func(context.Context, *metafleet.Task) (metafleet.Outcome, error) { return metafleet.Outcome{}, nil }, "no outcome", true},
	} {
		report := metafleettest.New(t, c.process).Run(path)
		if report.Err == nil || !strings.Contains(report.Err.Error(), c.says) || metafleet.IsPermanent(report.Err) != c.permanent {
			t.Errorf("%s: %v", name, report.Err)
		}
	}
	refused := metafleettest.New(t, plugin(nil)).Setting("mode", "bad").Run(path)
	if refused.Err == nil || !strings.Contains(refused.Err.Error(), "no such mode") {
		t.Errorf("%v", refused.Err)
	}
}

func TestOtherOutcomesAreSaid(t *testing.T) {
	for want, outcome := range map[string]metafleet.Outcome{
		"skipped: empty": metafleet.Skipped("empty"), "retry after 2s: 429": metafleet.RetryLater(2*time.Second, "429"),
		"forwarded to /x": metafleet.ForwardFile("/x"), "forwarded to the plugin tmdb": metafleet.ForwardPlugin("tmdb"), "completed": metafleet.Completed(nil),
	} {
		report := metafleettest.New(t, plugin(func(context.Context, *metafleet.Task) (metafleet.Outcome, error) { return outcome, nil })).Run("/none/there")
		if report.Err != nil || report.Outcome.String() != want || len(report.Keys()) != 0 {
			t.Errorf("%s: %+v", want, report)
		}
	}
}

func TestWhatAPluginKeepsIsShown(t *testing.T) {
	path := write(t, "a.txt", "hello")
	var task *metafleet.Task
	report := metafleettest.New(t, plugin(func(ctx context.Context, now *metafleet.Task) (metafleet.Outcome, error) {
		task = now
		buffer := []byte("one")
		for _, text := range []string{"one", "two"} {
			copy(buffer, text)
			if _, err := task.PutArtifact(ctx, "b é.txt", "text/plain; charset=utf-8", buffer); err != nil {
				return metafleet.Outcome{}, err
			}
		}
		kept, err := task.PutArtifact(ctx, "a", "image/png", buffer)
		copy(buffer, "xxx") // what was kept stays as it was
		return metafleet.Completed(metafleet.NewMeta().Artifact("still", kept)), err
	})).Run(path)
	if report.Err != nil || len(report.Artifacts) != 2 {
		t.Fatalf("%+v", report)
	}
	kept, found := report.Artifact("b é.txt")
	if !found || string(kept.Data) != "two" || !kept.IsOf(kept.Data) || kept.MediaType != "text/plain; charset=utf-8" {
		t.Errorf("%+v", kept)
	}
	if value, _ := report.Value("still"); !strings.Contains(value.String(), `"artifact":"a"`) || !report.Artifacts[1].IsOf([]byte("two")) {
		t.Errorf("%v, %+v", value, report.Artifacts)
	}
	if _, found := report.Artifact("c"); found {
		t.Error("something is there that was not kept")
	}
	if _, err := task.PutArtifact(t.Context(), "late", "image/png", nil); err == nil || metafleet.IsPermanent(err) || !strings.Contains(err.Error(), "the attempt is over") {
		t.Errorf("%v", err)
	}
	for name, mediaType := range map[string]string{"": "image/png", "a\x00": "image/png", strings.Repeat("x", 129): "image/png", "\xff": "image/png", "a": "image", "b": "", "c": "a/b\nc: d"} {
		report := metafleettest.New(t, plugin(func(ctx context.Context, task *metafleet.Task) (metafleet.Outcome, error) {
			_, err := task.PutArtifact(ctx, name, mediaType, []byte("x"))
			return metafleet.Completed(nil), err
		})).Run(path)
		if !metafleet.IsPermanent(report.Err) || len(report.Artifacts) != 0 {
			t.Errorf("%q, %q: %v", name, mediaType, report.Err)
		}
	}
}
