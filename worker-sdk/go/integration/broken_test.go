package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metafleet "github.com/metafleet/metafleet/worker-sdk/go"
	"github.com/metafleet/metafleet/worker-sdk/go/internal/fleet"
)

// settle is for what must not happen: long enough that it would have.
const settle = 2 * time.Second

func TestAFailureThatIsToldTooLateDoesNotEndTheDeliveryOfAnotherWorker(t *testing.T) {
	t.Parallel()
	const id = "go-late-nak"
	proxy := shared.Proxy(t, nil)
	begun, fail, finish := make(chan struct{}), make(chan struct{}), make(chan struct{})
	twice := `"retry": {"maxAttempts": 2, "delaysMs": [50]}`
	first := serve(t, shared, &plugin{manifest: manifest(id, twice), process: func(context.Context, *metafleet.Task) (metafleet.Outcome, error) {
		close(begun)
		<-fail
		return metafleet.Outcome{}, errors.New("the share is not mounted")
	}}, "ready", "NATS_URL", proxy.URL())
	shared.Submit(t, id, id, nil, nil)
	<-begun
	var second atomic.Bool
	serve(t, shared, &plugin{manifest: manifest(id, twice), process: func(_ context.Context, task *metafleet.Task) (metafleet.Outcome, error) {
		second.Store(true)
		<-finish
		return metafleet.Completed(metafleet.NewMeta().Text("x", task.Attempt())), nil
	}}, "ready", "METAFLEET_INSTANCE", id+"-2")
	proxy.Cut()
	fleet.Eventually(t, "the first to notice", func() bool { return first.log.count("connection to the broker is lost") > 0 })
	close(fail)
	fleet.Eventually(t, "the task to run in the second", second.Load)
	proxy.Heal()
	fleet.Eventually(t, "the first to be back", func() bool { return first.log.count("connected to the broker again") > 0 })
	time.Sleep(settle)
	if message := shared.Stored(t, "KV_mf-records", shared.Names.Record(id, id, false)); message != nil {
		t.Errorf("it was settled while it ran: %s", message.Data)
	}
	close(finish)
	if record := shared.Record(t, id, id); record["status"] != "completed" || record["attempt"] != 2.0 || record["instance"] != id+"-2" {
		t.Errorf("%v", record)
	}
}

func TestWhatAnAttemptStoresWhileTheBrokerIsAwayEndsWithTheAttempt(t *testing.T) {
	t.Parallel()
	const id = "go-away"
	proxy := shared.Proxy(t, nil)
	begun, put := make(chan struct{}), make(chan struct{})
	var said atomic.Value
	worker := serve(t, shared, &plugin{manifest: manifest(id, ""), process: func(ctx context.Context, task *metafleet.Task) (metafleet.Outcome, error) {
		if task.Attempt() > 1 {
			return completed()
		}
		close(begun)
		<-put
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := task.PutArtifact(ctx, "still", "image/jpeg", []byte("late"))
		said.Store(err.Error())
		return metafleet.Outcome{}, err
	}}, "ready", "NATS_URL", proxy.URL())
	shared.Submit(t, id, id, nil, nil)
	<-begun
	proxy.Cut()
	fleet.Eventually(t, "it to notice", func() bool { return worker.log.count("connection to the broker is lost") > 0 })
	close(put)
	fleet.Eventually(t, "it to give up", func() bool { return said.Load() != nil })
	if text, _ := said.Load().(string); !strings.Contains(text, "did not take artefact `still`") {
		t.Error(text)
	}
	proxy.Heal()
	shared.Record(t, id, id)
	if kept := shared.Stored(t, "KV_mf-artifacts", shared.Names.Artifact(id, id, false, "still")); kept != nil {
		t.Errorf("it was kept after its attempt: %s", kept.Data)
	}
}

func TestABrokerThatStallsGivesNobodyMoreThanItHasPlacesFor(t *testing.T) {
	t.Parallel()
	const id, files, places, stall = "go-stall", 20, 2, 9 * time.Second
	f, err := fleet.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Stop)
	var running, most atomic.Int64
	serve(t, f, &plugin{manifest: manifest(id, fmt.Sprintf(`"concurrency": %d`, places)), process: func(context.Context, *metafleet.Task) (metafleet.Outcome, error) {
		now := running.Add(1)
		defer running.Add(-1)
		for before := most.Load(); now > before && !most.CompareAndSwap(before, now); before = most.Load() {
		}
		time.Sleep(500 * time.Millisecond)
		return completed()
	}}, "ready")
	// Nothing is there, so requests wait, and are over one after the other while the broker reads none of them.
	goOn := f.StallServer(t)
	time.Sleep(stall)
	for i := range files {
		body := fmt.Appendf(nil, `{"type":"metafleet.submission.v1","cid":"stall-%d","filePath":"/none","only":[%q],"overrideQueue":true}`, i, id)
		if err := f.NC.Publish(f.Names.Submit([]string{"background", "fast"}[i%2]), body); err != nil {
			t.Fatal(err)
		}
	}
	goOn()
	for i := range files {
		if record := f.Record(t, fmt.Sprint("stall-", i), id); record["status"] != "completed" {
			t.Errorf("%v", record)
		}
	}
	if most.Load() != places {
		t.Errorf("%d ran at once", most.Load())
	}
}

func TestATaskThatAnOldInboxStillBringsIsRun(t *testing.T) {
	t.Parallel()
	const id = "go-inbox"
	task := fmt.Sprintf(`{"type":"metafleet.task.v1","taskId":"00000000-0000-8000-8000-000000000001","runId":1,"pluginId":%q,"cid":"x",`+
		`"filePath":"/none","fingerprint":"f","deadlineMs":20000,"retry":{"maxAttempts":3,"delaysMs":[50]}}`, id)
	var mu sync.Mutex
	var inbox, number string
	cut, brought := false, false
	// It is on its way when the worker gives the inbox of before up.
	proxy := shared.Proxy(t, func(line string) (string, bool) {
		mu.Lock()
		defer mu.Unlock()
		words := strings.Fields(line)
		switch {
		case cut && !brought && len(words) > 1 && words[0] == "UNSUB" && words[1] == number:
			brought = true
			return fmt.Sprintf("MSG mf.task.fast.%s.%s %s $JS.ACK.MF_TASKS.%s_fast.1.1000000.1.1.0 %d\r\n%s\r\n", id, id, number, id, len(task), task), false
		case !cut && len(words) > 2 && words[0] == "PUB" && strings.HasSuffix(words[1], "."+id+"_fast"):
			inbox = words[2][:strings.LastIndexByte(words[2], '.')]
		case cut && len(words) == 3 && words[0] == "SUB" && words[1] == inbox+".*":
			number = words[2]
		}
		return "", false
	})
	worker := serve(t, shared, &plugin{manifest: manifest(id, ""), process: func(context.Context, *metafleet.Task) (metafleet.Outcome, error) {
		return completed()
	}}, "ready", "NATS_URL", proxy.URL())
	fleet.Eventually(t, "a request", func() bool {
		mu.Lock()
		defer mu.Unlock()
		cut = inbox != ""
		return cut
	})
	proxy.Cut()
	fleet.Eventually(t, "it to notice", func() bool { return worker.log.count("connection to the broker is lost") > 0 })
	proxy.Heal()
	if record := shared.Record(t, id, id); record["status"] != "completed" {
		t.Errorf("%v", record)
	}
}

func TestRequestsThatGetLostAreAskedAgain(t *testing.T) {
	t.Parallel()
	const id, both = "go-lost", 2
	var losing atomic.Bool
	var lost atomic.Int64
	body := false
	proxy := shared.Proxy(t, func(line string) (string, bool) {
		if body {
			body = false
			return "", true
		}
		body = losing.Load() && strings.HasPrefix(line, "PUB $JS.API.CONSUMER.MSG.NEXT.")
		if body {
			lost.Add(1)
		}
		return "", body
	})
	worker := serve(t, shared, &plugin{manifest: manifest(id, ""), process: func(context.Context, *metafleet.Task) (metafleet.Outcome, error) {
		return completed()
	}}, "ready", "NATS_URL", proxy.URL())
	losing.Store(true)
	fleet.Eventually(t, "requests of both queues to get lost", func() bool { return lost.Load() >= both })
	losing.Store(false)
	shared.Submit(t, id, id, nil, nil)
	if record := shared.Record(t, id, id); record["status"] != "completed" || record["attempt"] != 1.0 {
		t.Errorf("%v", record)
	}
	fleet.Eventually(t, "it to say so", func() bool { return worker.log.count("the broker forgot a pull request") > 0 })
}
