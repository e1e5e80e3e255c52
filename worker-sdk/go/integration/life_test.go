package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	metafleet "github.com/metafleet/metafleet/worker-sdk/go"
	"github.com/metafleet/metafleet/worker-sdk/go/internal/fleet"
)

// script writes what the conformance example is to do with a file.
func script(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script.txt")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// calls counts the calls that the example noted.
func calls(path string) int {
	text, err := os.ReadFile(path + ".calls")
	if err != nil {
		return 0
	}
	return strings.Count(string(text), "\n")
}

// busy starts the conformance example as the first instance of a plugin, and returns when it has a task in hand,
// whose file says these lines. The task is called after the plugin.
func busy(t *testing.T, id, more string, lines []string, vars ...string) *exec.Cmd {
	t.Helper()
	command := program(t, shared, id, id+"-1", more, vars...)
	waitForState(t, shared, id, id+"-1", "ready")
	path := script(t, lines...)
	shared.Submit(t, id, id, map[string]any{"filePath": path}, nil)
	fleet.Eventually(t, "the task to run", func() bool { return calls(path) == 1 })
	return command
}

// signal sends one to a program.
func signal(t *testing.T, command *exec.Cmd, which os.Signal) {
	t.Helper()
	if err := command.Process.Signal(which); err != nil {
		t.Fatal(err)
	}
}

// drained waits for the end of a program, which must be a good one.
func drained(t *testing.T, command *exec.Cmd) {
	t.Helper()
	if err := command.Wait(); err != nil {
		t.Errorf("it did not end well: %v", err)
	}
}

// ranAs looks which attempt of which instance settled the task of a plugin that was busy.
func ranAs(t *testing.T, id, instance string, attempt float64) {
	t.Helper()
	if record := shared.Record(t, id, id); record["attempt"] != attempt || record["instance"] != instance {
		t.Errorf("%v", record)
	}
}

func TestSIGTERMFinishesWhatRunsAndGivesTheRestBack(t *testing.T) {
	t.Parallel()
	const id = "go-drain"
	done := filepath.Join(t.TempDir(), "done")
	first := busy(t, id, "", []string{"wait " + done}, "METAFLEET_GRACE=20")
	signal(t, first, syscall.SIGTERM)
	waitForState(t, shared, id, id+"-1", "draining")
	if err := os.WriteFile(done, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	drained(t, first)
	ranAs(t, id, id+"-1", 1)
	if left := sign(t, shared, id, id+"-1"); left != nil {
		t.Errorf("its sign of life stays: %s", left)
	}
}

func TestWhatRunsAfterTheGracePeriodIsGivenBack(t *testing.T) {
	t.Parallel()
	const id = "go-grace"
	// Its only attempt: a nak, or a failure, would make a dead letter of it.
	const once = `"retry": {"maxAttempts": 1, "delaysMs": [100]}`
	first := busy(t, id, once, []string{"wait /none/there", "complete"}, "METAFLEET_GRACE=200ms")
	signal(t, first, syscall.SIGTERM)
	drained(t, first)
	program(t, shared, id, id+"-2", once)
	ranAs(t, id, id+"-2", 1)
}

func TestASecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	const id = "go-twice"
	first := busy(t, id, "", []string{"block /none/there", "complete"})
	signal(t, first, syscall.SIGTERM)
	waitForState(t, shared, id, id+"-1", "draining")
	signal(t, first, syscall.SIGTERM)
	if err := first.Wait(); first.ProcessState.ExitCode() != 130 {
		t.Errorf("%v", err)
	}
}

func TestTheTasksOfAWorkerThatIsKilledRunElsewhere(t *testing.T) {
	t.Parallel()
	const id = "go-kill"
	first := busy(t, id, "", []string{"block /none/there", "complete"})
	program(t, shared, id, id+"-2", "")
	waitForState(t, shared, id, id+"-2", "ready")
	signal(t, first, syscall.SIGKILL)
	ranAs(t, id, id+"-2", 2)
}

func TestExitCodesSayWhy(t *testing.T) {
	t.Parallel()
	for want, c := range map[int][2]string{2: {"METAFLEET_PATHS=nonsense", ""}, 5: {"METAFLEET_LOG=off", `"priority": 5`}} {
		command := program(t, shared, "go-exit", "exit-1", c[1], c[0])
		if err := command.Wait(); command.ProcessState.ExitCode() != want {
			t.Errorf("%v, not %d", err, want)
		}
	}
}

func TestABrokerThatComesBackIsServedAgain(t *testing.T) {
	t.Parallel()
	f, err := fleet.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Stop)
	release := make(chan struct{})
	var runs atomic.Int64
	p := &plugin{manifest: manifest("go-again", ""), process: func(_ context.Context, task *metafleet.Task) (metafleet.Outcome, error) {
		if task.CID() == "across" {
			runs.Add(1)
			<-release
		}
		return completed()
	}}
	worker := serve(t, f, p, "ready")
	f.Submit(t, "go-again", "across", nil, nil)
	fleet.Eventually(t, "the task to run", func() bool { return runs.Load() == 1 })
	f.KillServer()
	close(release) // its outcome has to wait for the broker
	if err := f.StartServer(); err != nil {
		t.Fatal(err)
	}
	if record := f.Record(t, "across", "go-again"); record["status"] != "completed" || runs.Load() != 1 {
		t.Errorf("%d runs, %v", runs.Load(), record)
	}
	fleet.Eventually(t, "it to announce itself again", func() bool { return worker.log.count("accepted by the coordinator") > 1 })
	f.Submit(t, "go-again", "later", nil, nil)
	f.Record(t, "later", "go-again")
	if _, err := f.NC.Request("$JS.API.CONSUMER.DELETE.MF_TASKS.go-again_fast", nil, fleet.Limit); err != nil {
		t.Fatal(err)
	}
	f.Submit(t, "go-again", "anew", nil, nil) // it gets a consumer again because it says that it is there
	f.Record(t, "anew", "go-again")
}

func TestPauseResumeConfigureAndPingAreObeyed(t *testing.T) {
	t.Parallel()
	var mode atomic.Value
	p := &plugin{
		manifest: manifest("go-control", `"configSchema": {"mode": {"type": "string", "default": "good"}}`),
		process:  func(context.Context, *metafleet.Task) (metafleet.Outcome, error) { return completed() },
		configure: func(settings metafleet.Settings) error {
			if settings.Text("mode") == "bad" {
				return errors.New("mode bad is not served")
			}
			mode.Store(settings.Text("mode"))
			return nil
		},
	}
	worker := serve(t, shared, p, "ready")
	if mode.Load() != "good" {
		t.Errorf("the default is %v", mode.Load())
	}
	tell := func(request, want string) {
		t.Helper()
		answer, err := shared.NC.Request("mf.control.go-control.go-control-1", []byte(request), fleet.Limit)
		if err != nil || !strings.Contains(string(answer.Data), want) {
			t.Fatalf("%s: %v, %s", request, err, answer.Data)
		}
	}
	tell(`{"action":"ping","future":1}`, `"success":true,"instance":"go-control-1"`)
	tell(`{"action":"dance"}`, "unknown action `dance`")
	tell(`nonsense`, `"success":false`)
	tell(`{"action":"pause"}`, `"success":true`)
	waitForState(t, shared, "go-control", "go-control-1", "paused")
	if p.paused.Load() != 1 {
		t.Error("the plugin was not told")
	}
	fleet.Eventually(t, "its requests to be over", func() bool {
		info, err := shared.NC.Request("$JS.API.CONSUMER.INFO.MF_TASKS.go-control_fast", nil, fleet.Limit)
		return err == nil && strings.Contains(string(info.Data), `"num_waiting":0`)
	})
	shared.Submit(t, "go-control", "paused", nil, nil)
	tell(`{"action":"configure","settings":{"mode":"bad"}}`, "mode bad is not served")
	waitForState(t, shared, "go-control", "go-control-1", "failed")
	tell(`{"action":"resume"}`, `"success":true`)
	if message := shared.Stored(t, "KV_mf-records", shared.Names.Record("paused", "go-control", false)); message != nil {
		t.Error("it ran although the settings were refused")
	}
	tell(`{"action":"configure","settings":{"mode":"other"}}`, `"success":true`)
	shared.Record(t, "paused", "go-control")
	if mode.Load() != "other" || p.paused.Load() != 0 {
		t.Errorf("%v, %d", mode.Load(), p.paused.Load())
	}
	tell(`{"action":"drain"}`, `"success":true`)
	if err := worker.stop(); err != nil || !p.stopped.Load() {
		t.Errorf("%v, %v", err, p.stopped.Load())
	}
}

func TestTheHealthOfThePluginIsShown(t *testing.T) {
	t.Parallel()
	p := &plugin{
		manifest: manifest("go-health", ""), health: func() error { return errors.New("the model is missing") },
		process: func(context.Context, *metafleet.Task) (metafleet.Outcome, error) { return completed() },
	}
	serve(t, shared, p, "ready")
	fleet.Eventually(t, "its sign of life to say so", func() bool {
		var shown struct {
			Healthy bool
			Error   string
		}
		if err := json.Unmarshal(sign(t, shared, "go-health", "go-health-1"), &shown); err != nil {
			return false
		}
		return !shown.Healthy && shown.Error == "the model is missing"
	})
}

func TestManyTasksOfBothQueuesAllRunOnce(t *testing.T) {
	t.Parallel()
	var runs atomic.Int64
	p := &plugin{manifest: manifest("go-many", `"concurrency": 8`), process: func(_ context.Context, task *metafleet.Task) (metafleet.Outcome, error) {
		if strings.HasPrefix(task.CID(), "many-") {
			runs.Add(1)
		}
		return completed()
	}}
	serve(t, shared, p, "ready")
	const files = 400
	for i := range files {
		subject := shared.Names.Submit([]string{"fast", "background"}[i%2])
		body := fmt.Appendf(nil, `{"type":"metafleet.submission.v1","cid":"many-%d","filePath":"/none","only":["go-many"],"overrideQueue":true}`, i)
		if _, err := shared.NC.Request(subject, body, 10*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	for i := range files {
		shared.Record(t, fmt.Sprintf("many-%d", i), "go-many")
	}
	if runs.Load() != files {
		t.Errorf("%d runs", runs.Load())
	}
}
