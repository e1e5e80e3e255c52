package integration

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	metafleet "github.com/metafleet/metafleet/worker-sdk/go"
	"github.com/metafleet/metafleet/worker-sdk/go/internal/fleet"
)

func completed() (metafleet.Outcome, error) {
	return metafleet.Completed(metafleet.NewMeta().Text("x", "done")), nil
}

func TestACompletedTaskLeavesItsRecordWithMetadataOfAllKinds(t *testing.T) {
	t.Parallel()
	p := &plugin{manifest: manifest("go-complete", ""), process: func(_ context.Context, task *metafleet.Task) (metafleet.Outcome, error) {
		meta := metafleet.NewMeta().Text("x", "日本 <&>").Set("set", "b", "a", "b").JSON("json", map[string]int{"n": 1}).Text("x/0", 3)
		return metafleet.Completed(meta), nil
	}}
	serve(t, shared, p, "ready")
	cid := "strange .*> 日本 id"
	shared.Submit(t, "go-complete", cid, map[string]any{"future": "field"}, nats.Header{"traceparent": {"00-" + strings.Repeat("a", 32) + "-" + strings.Repeat("b", 16) + "-01"}, "tracestate": {"k=v"}})
	record := shared.Record(t, cid, "go-complete")
	meta, err := json.Marshal(record["meta"])
	if err != nil || string(meta) != `{"json":{"n":1},"set":["a","b"],"x":"日本 \u003c\u0026\u003e","x/0":"3"}` {
		t.Errorf("%s, %v", meta, err)
	}
	if record["status"] != "completed" || record["attempt"] != 1.0 || record["cid"] != cid || record["fingerprint"] == "" || record["pluginVersion"] != "1.0.0" {
		t.Errorf("%v", record)
	}
	stored := shared.Stored(t, "KV_mf-records", shared.Names.Record(cid, "go-complete", false))
	if got := stored.Header.Get("traceparent"); !strings.Contains(got, strings.Repeat("a", 32)) || stored.Header.Get("tracestate") != "k=v" {
		t.Errorf("the trace was not carried on: %v", stored.Header)
	}
}

func TestSkippedAndRetryAndLaterComeToTheirEnd(t *testing.T) {
	t.Parallel()
	var attempts [4]atomic.Int64
	p := &plugin{manifest: manifest("go-ends", ""), process: func(_ context.Context, task *metafleet.Task) (metafleet.Outcome, error) {
		switch task.CID() {
		case "ends-skip":
			return metafleet.Skipped("nothing in it"), nil
		case "ends-retry":
			if attempts[0].Add(1) < 3 {
				return metafleet.Outcome{}, errors.New("the share is not mounted")
			}
		case "ends-later":
			if attempts[1].Add(1) < 3 {
				return metafleet.RetryLater(50*time.Millisecond, "429"), nil
			}
		case "ends-panic":
			if attempts[2].Add(1) < 2 {
				panic("a bug")
			}
		}
		return metafleet.Completed(metafleet.NewMeta().Text("x", task.Attempt())), nil
	}}
	serve(t, shared, p, "ready")
	for _, cid := range []string{"ends-skip", "ends-retry", "ends-later", "ends-panic"} {
		shared.Submit(t, "go-ends", cid, nil, nil)
	}
	if record := shared.Record(t, "ends-skip", "go-ends"); record["status"] != "skipped" || record["reason"] != "nothing in it" {
		t.Errorf("%v", record)
	}
	for cid, attempt := range map[string]float64{"ends-retry": 3, "ends-later": 1, "ends-panic": 2} {
		if record := shared.Record(t, cid, "go-ends"); record["status"] != "completed" || record["attempt"] != attempt {
			t.Errorf("%s: %v", cid, record)
		}
	}
}

func TestWhatFailsForEverIsADeadLetterWithItsError(t *testing.T) {
	t.Parallel()
	p := &plugin{manifest: manifest("go-fails", ""), process: func(_ context.Context, task *metafleet.Task) (metafleet.Outcome, error) {
		switch task.CID() {
		case "fails-permanent":
			return metafleet.Outcome{}, metafleet.Permanentf("not UTF-8 at byte %d", 17)
		case "fails-key":
			return metafleet.Completed(metafleet.NewMeta().Text("other/key", "x")), nil
		case "fails-large":
			return metafleet.Completed(metafleet.NewMeta().Text("x", strings.Repeat("x", 8<<20))), nil
		case "fails-long":
			return metafleet.Outcome{}, metafleet.Permanent(errors.New(strings.Repeat("é", 5000)))
		case "fails-nothing":
			return metafleet.Outcome{}, nil
		}
		return metafleet.Outcome{}, errors.New("always so")
	}}
	serve(t, shared, p, "ready")
	for cid, want := range map[string]struct {
		error    string
		attempts float64
	}{
		"fails-permanent": {"not UTF-8 at byte 17", 1}, "fails-key": {"`other/key` is not in the dataSchema", 1}, "fails-large": {"larger than", 1},
		"fails-long": {"éé…", 1}, "fails-nothing": {"no outcome", 1}, "fails-always": {"always so", 3},
	} {
		shared.Submit(t, "go-fails", cid, nil, nil)
		record := shared.Record(t, cid, "go-fails")
		text, _ := record["error"].(string)
		if record["status"] != "failed" || !strings.Contains(text, want.error) || record["attempt"] != want.attempts || len(text) > 4096 {
			t.Errorf("%s: %.300v", cid, record)
		}
	}
}

func TestAForwardHandsInAnotherFileOrTheSameForAnotherPlugin(t *testing.T) {
	t.Parallel()
	made := filepath.Join(t.TempDir(), "made\xff.txt")
	if err := os.WriteFile(made, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	const hello = "bagacbabaeddealivdfucjicjvwd4g4nfar5gonjvykwimb7cx6sih52zdtbhu"
	var path atomic.Value
	p := &plugin{manifest: manifest("go-forward", ""), process: func(ctx context.Context, task *metafleet.Task) (metafleet.Outcome, error) {
		switch task.CID() {
		case "forward-file":
			return metafleet.ForwardFile(made), nil
		case "forward-plugin":
			return metafleet.ForwardPlugin("go-forward-to").WithMeta(metafleet.NewMeta().Text("x", "mine")), nil
		case "forward-submit":
			if err := task.Submit(ctx, made); err != nil {
				return metafleet.Outcome{}, err
			}
		case hello:
			path.Store(task.Path())
		}
		return completed()
	}}
	to := &plugin{manifest: manifest("go-forward-to", ""), process: func(context.Context, *metafleet.Task) (metafleet.Outcome, error) { return completed() }}
	serve(t, shared, to, "ready")
	serve(t, shared, p, "ready")
	shared.Submit(t, "go-forward", "forward-file", nil, nil)
	if record := shared.Record(t, "forward-file", "go-forward"); record["status"] != "skipped" || !strings.Contains(record["reason"].(string), "forwarded to") {
		t.Errorf("%v", record)
	}
	// What was handed in goes to all plugins, this one, too.
	if record := shared.Record(t, hello, "go-forward"); record["status"] != "completed" {
		t.Errorf("%v", record)
	}
	if path.Load() != made {
		t.Errorf("the path came as %q", path.Load())
	}
	shared.Submit(t, "go-forward", "forward-plugin", nil, nil)
	if record := shared.Record(t, "forward-plugin", "go-forward"); record["status"] != "completed" {
		t.Errorf("%v", record)
	}
	if record := shared.Record(t, "forward-plugin", "go-forward-to"); record["status"] != "completed" {
		t.Errorf("%v", record)
	}
	shared.Submit(t, "go-forward", "forward-submit", nil, nil)
	if record := shared.Record(t, "forward-submit", "go-forward"); record["status"] != "completed" {
		t.Errorf("%v", record)
	}
}

func TestAHandlerThatHangsFailsAtItsDeadlineAndDisturbsNobody(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	defer close(release)
	var calls atomic.Int64
	p := &plugin{manifest: manifest("go-hang", `"timeout": 300, "concurrency": 1`), process: func(_ context.Context, task *metafleet.Task) (metafleet.Outcome, error) {
		if task.CID() == "hang" && calls.Add(1) == 1 {
			<-release // does not heed its context
		}
		return completed()
	}}
	serve(t, shared, p, "ready")
	shared.Submit(t, "go-hang", "hang", nil, nil)
	shared.Submit(t, "go-hang", "after", nil, nil)
	if record := shared.Record(t, "hang", "go-hang"); record["attempt"] != 2.0 {
		t.Errorf("%v", record)
	}
	shared.Record(t, "after", "go-hang")
}

func TestALeaseIsKeptWhileAHandlerBlocks(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	p := &plugin{manifest: manifest("go-block", ""), process: func(_ context.Context, task *metafleet.Task) (metafleet.Outcome, error) {
		if task.CID() != "block" {
			return completed() // what another test hands in for all
		}
		calls.Add(1)
		task.Progress(0.25, "busy")
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); { // longer than the lease of 8 s
			time.Sleep(10 * time.Millisecond)
		}
		return completed()
	}}
	serve(t, shared, p, "ready")
	shared.Submit(t, "go-block", "block", nil, nil)
	fleet.Eventually(t, "the sign of life to list it", func() bool {
		return strings.Contains(string(sign(t, shared, "go-block", "go-block-1")), `"fraction":0.25`)
	})
	if record := shared.Record(t, "block", "go-block"); record["attempt"] != 1.0 || calls.Load() != 1 {
		t.Errorf("%d calls, %v", calls.Load(), record)
	}
}

func TestAnAttemptWithoutProgressFails(t *testing.T) {
	t.Parallel()
	p := &plugin{manifest: manifest("go-stall", `"progressTimeout": 200`), process: func(ctx context.Context, task *metafleet.Task) (metafleet.Outcome, error) {
		if task.Attempt() == 1 {
			<-ctx.Done()
			return metafleet.Outcome{}, ctx.Err()
		}
		for range 10 {
			time.Sleep(50 * time.Millisecond)
			task.Progress(0.5, "")
		}
		return completed()
	}}
	serve(t, shared, p, "ready")
	shared.Submit(t, "go-stall", "stall", nil, nil)
	if record := shared.Record(t, "stall", "go-stall"); record["attempt"] != 2.0 || record["status"] != "completed" {
		t.Errorf("%v", record)
	}
}
