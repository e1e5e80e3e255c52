package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/metafleet/metafleet/worker-sdk/go/internal/fleet"
	"github.com/metafleet/metafleet/worker-sdk/go/wire"
)

// BenchmarkThroughput says how many tasks a second the noop plugin does, and how many the NATS client can do
// without this package, one after the other on one broker:
//
//	go test ./integration -run '^$' -bench Throughput -benchtime 50000x
func BenchmarkThroughput(b *testing.B) {
	f, err := fleet.Start()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(f.Stop)
	noop, raw := build(b, "noop"), build(b, "rawceiling")
	// The coordinator makes the consumers; then it is stopped, so that it takes no part in what is measured.
	worker := exec.Command(noop)
	worker.Env = append(os.Environ(), "NATS_URL="+f.URL(), "METAFLEET_INSTANCE=noop-1", "METAFLEET_LOG=warn")
	worker.Stderr = os.Stderr
	worker.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := worker.Start(); err != nil {
		b.Fatal(err)
	}
	waitForState(b, f, "noop", "noop-1", "ready")
	f.KillCoordinator()
	tell := func(action string) {
		if _, err := f.NC.Request("mf.control.noop.noop-1", fmt.Appendf(nil, `{"action":%q}`, action), fleet.Limit); err != nil {
			b.Fatal(err)
		}
	}
	round := 0
	b.Run("raw", func(b *testing.B) {
		tell("pause")
		waitForState(b, f, "noop", "noop-1", "paused")
		time.Sleep(6 * time.Second) // its last pull requests run out
		round++
		publish(b, f, b.N, round)
		command := exec.Command(raw, strconv.Itoa(b.N))
		command.Env = append(os.Environ(), "NATS_URL="+f.URL())
		out, err := command.CombinedOutput()
		if err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		seconds, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(b.N)/seconds, "tasks/s")
	})
	b.Run("noop", func(b *testing.B) {
		tell("pause")
		round++
		publish(b, f, b.N, round)
		before := done(b, f)
		began := time.Now()
		tell("resume")
		for left(b, f) > 0 {
			time.Sleep(5 * time.Millisecond)
		}
		b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "tasks/s")
		fleet.Eventually(b, "all tasks to be counted", func() bool { return done(b, f) >= before+b.N })
	})
}

// build builds an example.
func build(b *testing.B, name string) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), name)
	if out, err := exec.Command("go", "build", "-o", path, "../examples/"+name).CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return path
}

// publish puts tasks into the stream as a coordinator does.
func publish(b *testing.B, f *fleet.Fleet, count, round int) {
	b.Helper()
	js, err := f.NC.JetStream(nats.PublishAsyncMaxPending(512))
	if err != nil {
		b.Fatal(err)
	}
	for i := range count {
		cid := fmt.Sprintf("bench-%d-%d", round, i)
		body, err := wire.Marshal(wire.Task{
			Type: wire.TaskType, TaskID: fmt.Sprintf("00000000-0000-8000-8000-%012d", i), RunID: 1, PluginID: "noop", Cid: cid,
			FilePath: "/library/Movies/Some Film (1999)/Some Film (1999).mkv", Fingerprint: strings.Repeat("f", 32), DeadlineMs: 30000,
			File:  wire.FileFacts{Size: 4711, Mime: "video/x-matroska", Name: "Some Film (1999).mkv", Extension: "mkv"},
			Retry: wire.RetryPolicy{MaxAttempts: 3, DelaysMs: []uint64{1000, 2000}}, PluginVersion: "1.0.0",
		})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := js.PublishAsync(f.Names.Task("fast", "noop", "main", cid), body); err != nil {
			b.Fatal(err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(fleet.Limit):
		b.Fatal("the tasks were not stored in time")
	}
}

// left counts the tasks that are not acknowledged.
func left(b *testing.B, f *fleet.Fleet) int {
	b.Helper()
	answer, err := f.NC.Request("$JS.API.CONSUMER.INFO.MF_TASKS.noop_fast", nil, fleet.Limit)
	if err != nil {
		b.Fatal(err)
	}
	var info struct {
		Pending int `json:"num_pending"`
		Unacked int `json:"num_ack_pending"`
	}
	if err := json.Unmarshal(answer.Data, &info); err != nil {
		b.Fatal(err)
	}
	return info.Pending + info.Unacked
}

// done reads from the sign of life how many tasks the plugin has completed.
func done(b *testing.B, f *fleet.Fleet) int {
	var shown wire.Instance
	if err := json.Unmarshal(sign(b, f, "noop", "noop-1"), &shown); err != nil {
		return 0
	}
	return int(shown.Totals.Completed)
}
