// Package integration tests the worker against a real broker and a real coordinator.
package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	metafleet "github.com/metafleet/metafleet/worker-sdk/go"
	"github.com/metafleet/metafleet/worker-sdk/go/internal/fleet"
)

// shared is the fleet of all tests that do not break it.
var shared *fleet.Fleet

// conformance is the example of that name.
var conformance string

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	folder, err := os.MkdirTemp("", "metafleet-go-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(folder) // only its own files are in it
	conformance = filepath.Join(folder, "conformance")
	if out, err := exec.Command("go", "build", "-o", conformance, "../examples/conformance").CombinedOutput(); err != nil {
		return 1, fmt.Errorf("%w: %s", err, out)
	}
	if shared, err = fleet.Start(); err != nil {
		return 1, err
	}
	defer shared.Stop()
	return m.Run(), nil
}

// plugin is a plugin of a test; what is nil does nothing.
type plugin struct {
	manifest  metafleet.Manifest
	process   func(ctx context.Context, task *metafleet.Task) (metafleet.Outcome, error)
	configure func(settings metafleet.Settings) error
	health    func() error
	paused    atomic.Int64
	stopped   atomic.Bool
}

func (p *plugin) Manifest() metafleet.Manifest { return p.manifest }

func (p *plugin) Process(ctx context.Context, task *metafleet.Task) (metafleet.Outcome, error) {
	return p.process(ctx, task)
}

func (p *plugin) Configure(_ context.Context, settings metafleet.Settings) error {
	if p.configure == nil {
		return nil
	}
	return p.configure(settings)
}

func (p *plugin) Health(context.Context) error {
	if p.health == nil {
		return nil
	}
	return p.health()
}

func (p *plugin) OnPause()  { p.paused.Add(1) }
func (p *plugin) OnResume() { p.paused.Add(-1) }
func (p *plugin) OnStop()   { p.stopped.Store(true) }

// fields merges the fields of a manifest with more of them as JSON, which replace the first.
func fields(all, more string) []byte {
	merged := map[string]any{}
	for _, text := range []string{all, "{" + more + "}"} {
		if err := json.Unmarshal([]byte(text), &merged); err != nil {
			panic(err)
		}
	}
	text, err := json.Marshal(merged)
	if err != nil {
		panic(err)
	}
	return text
}

// manifest is that of a test plugin, with more fields as JSON.
func manifest(id, more string) metafleet.Manifest {
	return metafleet.MustManifest(fields(fmt.Sprintf(`{"id": %q, "name": %q, "version": "1.0.0", "priority": 50, "queue": "fast", "timeout": 20000,
		"concurrency": 4, "retry": {"maxAttempts": 3, "delaysMs": [50]}, "filter": {}, "future": {"unknown": true},
		"dataSchema": {"x": {}, "x/{n}": {}, "set": {"type": "set"}, "json": {"type": "json"}}}`, id, id), more))
}

// running is a worker inside of the test.
type running struct {
	stop func() error
	log  *testLog
}

// serve starts a worker, which ends with the test, and waits until it is in the state.
func serve(t *testing.T, f *fleet.Fleet, p *plugin, state string, vars ...string) *running {
	t.Helper()
	id := p.manifest.ID()
	env := map[string]string{"NATS_URL": f.URL(), "METAFLEET_INSTANCE": id + "-1", "METAFLEET_GRACE": "5"}
	for i := 0; i < len(vars); i += 2 {
		env[vars[i]] = vars[i+1]
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	log := &testLog{t: t}
	go func() {
		ended <- metafleet.Serve(ctx, p, metafleet.WithEnvironment(func(name string) string { return env[name] }),
			metafleet.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
	}()
	stopped := false
	r := &running{log: log, stop: func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(fleet.Limit):
			return errors.New("the worker does not end")
		}
	}}
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
	if state != "" {
		waitForState(t, f, id, env["METAFLEET_INSTANCE"], state)
	}
	return r
}

// testLog shows the log of a worker where the test fails.
type testLog struct {
	t  *testing.T
	mu sync.Mutex
	// said is all of it.
	said []string
}

// Write implements io.Writer.
func (l *testLog) Write(line []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(line)))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said = append(l.said, string(line))
	return len(line), nil
}

// count says how many lines hold a text.
func (l *testLog) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := 0
	for _, line := range l.said {
		if strings.Contains(line, text) {
			found++
		}
	}
	return found
}

// sign gives the sign of life of an instance; nil where there is none.
func sign(t testing.TB, f *fleet.Fleet, id, instance string) []byte {
	message := f.Stored(t, "KV_mf-instances", f.Names.Instance(id, instance))
	if message == nil {
		return nil
	}
	return message.Data
}

func waitForState(t testing.TB, f *fleet.Fleet, id, instance, state string) {
	t.Helper()
	fleet.Eventually(t, id+" to be "+state, func() bool {
		return strings.Contains(string(sign(t, f, id, instance)), fmt.Sprintf(`"state":%q`, state))
	})
}

// program starts the conformance example as a process of its own.
func program(t *testing.T, f *fleet.Fleet, id, instance, more string, vars ...string) *exec.Cmd {
	t.Helper()
	path := filepath.Join(t.TempDir(), "manifest.json")
	text := fields(fmt.Sprintf(`{"id": %q, "name": "x", "version": "1.0.0", "priority": 50, "queue": "fast", "timeout": 20000, "concurrency": 4,
		"retry": {"maxAttempts": 3, "delaysMs": [100]}, "filter": {}, "capabilities": {"conformance": true},
		"dataSchema": {"script/attempt": {}, "script/cid": {}, "script/text/{n}/*": {}, "script/existing": {"type": "json"},
		"script/set": {"type": "set"}}, "configSchema": {"mode": {"type": "string", "default": "good"}}}`, id), more)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(conformance, path)
	command.Env = append([]string{"NATS_URL=" + f.URL(), "METAFLEET_INSTANCE=" + instance}, vars...)
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	command.Stderr = &testLog{t: t}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Process.Kill() }) // it may be gone already
	return command
}
