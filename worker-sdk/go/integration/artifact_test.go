package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	metafleet "github.com/metafleet/metafleet/worker-sdk/go"
	"github.com/metafleet/metafleet/worker-sdk/go/internal/fleet"
	"github.com/metafleet/metafleet/worker-sdk/go/internal/names"
)

// strangeName has to be encoded to be a part of a subject.
const strangeName = "still é of .*> 日本.jpg"

// keeper is a plugin that keeps artefacts, and says whether they were in the broker when it was told so.
func keeper(f *fleet.Fleet, id, version string) *plugin {
	return &plugin{manifest: manifest(id, fmt.Sprintf(`"version": %q`, version)), process: func(ctx context.Context, task *metafleet.Task) (metafleet.Outcome, error) {
		data := []byte(strings.Repeat(version, 20_000))
		kept, err := task.PutArtifact(ctx, strangeName, "image/jpeg", data)
		if err != nil {
			return metafleet.Outcome{}, err
		}
		subject := f.Names.Artifact(task.CID(), id, task.Wire().Trial, strangeName)
		answer, err := f.NC.Request("$JS.API.DIRECT.GET.KV_mf-artifacts", fmt.Appendf(nil, `{"last_by_subj":%q}`, subject), fleet.Limit)
		there := err == nil && kept.IsOf(answer.Data)
		return metafleet.Completed(metafleet.NewMeta().Artifact("json", kept).Text("x", there)), nil
	}}
}

// artifact waits for what a plugin has kept.
func artifact(t *testing.T, f *fleet.Fleet, cid, plugin, name string, trial bool) *nats.Msg {
	t.Helper()
	subject := f.Names.Artifact(cid, plugin, trial, name)
	var kept *nats.Msg
	fleet.Eventually(t, "an artefact on "+subject, func() bool {
		kept = f.Stored(t, "KV_mf-artifacts", subject)
		return kept != nil
	})
	return kept
}

func TestAnArtefactIsInTheBrokerBeforeTheRecordThatSpeaksOfItOnTrialToo(t *testing.T) {
	t.Parallel()
	const id, cid = "go-keep", "keep .*> 日本"
	serve(t, shared, keeper(shared, id, "1.0.0"), "ready")
	metafleetTool(t, shared, "plugin", "transition", id, "--to", "2.0.0", "--how", "blue-green")
	serve(t, shared, keeper(shared, id, "2.0.0"), "ready", "METAFLEET_INSTANCE", id+"-2")
	trace := nats.Header{"traceparent": {"00-" + strings.Repeat("a", 32) + "-" + strings.Repeat("b", 16) + "-01"}, "tracestate": {"k=v"}}
	shared.Submit(t, id, cid, nil, trace)
	for _, trial := range []bool{false, true} {
		var record *nats.Msg
		fleet.Eventually(t, fmt.Sprintf("the outcome, on trial: %v", trial), func() bool {
			record = shared.Stored(t, "KV_mf-records", shared.Names.Record(cid, id, trial))
			return record != nil
		})
		var said struct {
			PluginVersion string
			Meta          struct {
				JSON metafleet.Artifact
				X    string
			}
		}
		if err := json.Unmarshal(record.Data, &said); err != nil {
			t.Fatal(err)
		}
		kept := artifact(t, shared, cid, id, strangeName, trial)
		described := said.Meta.JSON
		if said.Meta.X != "true" || !described.IsOf(kept.Data) || described.Name != strangeName || described.Size != 100_000 || !strings.HasPrefix(string(kept.Data), said.PluginVersion) {
			t.Errorf("on trial: %v: %s, %d bytes", trial, record.Data, len(kept.Data))
		}
		if kept.Header.Get("Content-Type") != "image/jpeg" || !strings.Contains(kept.Header.Get("traceparent"), strings.Repeat("a", 32)) || kept.Header.Get("tracestate") != "k=v" {
			t.Errorf("%v", kept.Header)
		}
		if before, after := storedAt(t, kept), storedAt(t, record); !before.Before(after) {
			t.Errorf("it came at %v, the record at %v", before, after)
		}
	}
}

// storedAt is when the broker stored a message that was asked for.
func storedAt(t *testing.T, message *nats.Msg) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, message.Header.Get("Nats-Time-Stamp"))
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// metafleetTool runs the program `metafleet` on a fleet.
func metafleetTool(t *testing.T, f *fleet.Fleet, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), fleet.Limit)
	defer cancel()
	out, err := exec.CommandContext(ctx, os.Getenv("METAFLEET_BIN"), append([]string{"--nats", f.URL()}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func TestAnArtefactThatCannotBeKeptFailsForGoodAndSaysWhy(t *testing.T) {
	t.Parallel()
	most := shared.NC.MaxPayload()
	cases := map[string]struct {
		name, mediaType string
		size            int
		says            []string
	}{
		"refused-name":  {"a\nb", "text/plain", 1, []string{`"a\nb" is no name of an artefact`, "1 to 128 bytes"}},
		"refused-long":  {strings.Repeat("é", 65), "text/plain", 1, []string{"is no name of an artefact"}},
		"refused-type":  {"a", "jpeg", 1, []string{"`jpeg` is no media type"}},
		"refused-line":  {"a", "text/plain\r\nX: y", 1, []string{"is no media type"}},
		"refused-large": {"a b.bin", "text/plain", int(most), []string{"artefact `a b.bin` has", fmt.Sprint(most, " bytes"), "larger than the broker takes"}},
		"refused-edge":  {"a", "text/plain", int(most) - 20, []string{"larger than the broker takes"}},
	}
	p := &plugin{manifest: manifest("go-refused", ""), process: func(ctx context.Context, task *metafleet.Task) (metafleet.Outcome, error) {
		c, mine := cases[task.CID()]
		if !mine {
			return completed() // what another test hands in for all
		}
		_, err := task.PutArtifact(ctx, c.name, c.mediaType, make([]byte, c.size))
		return metafleet.Completed(nil), err
	}}
	serve(t, shared, p, "ready")
	for cid, c := range cases {
		shared.Submit(t, "go-refused", cid, nil, nil)
		record := shared.Record(t, cid, "go-refused")
		text, _ := record["error"].(string)
		missing := slices.DeleteFunc(slices.Clone(c.says), func(part string) bool { return strings.Contains(text, part) })
		if record["status"] != "failed" || record["attempt"] != 1.0 || len(missing) != 0 {
			t.Errorf("%s: %.300v", cid, record)
		}
		if names.CheckArtifact(c.name) == nil && shared.Stored(t, "KV_mf-artifacts", shared.Names.Artifact(cid, "go-refused", false, c.name)) != nil {
			t.Errorf("%s: it was kept all the same", cid)
		}
	}
}

func TestAMessageMayBeExactlyAsLargeAsTheBrokerTakesIt(t *testing.T) {
	t.Parallel()
	const id = "go-exact"
	room := int(shared.NC.MaxPayload()) - len("NATS/1.0\r\nContent-Type: text/plain\r\n\r\n")
	p := &plugin{manifest: manifest(id, ""), process: func(ctx context.Context, task *metafleet.Task) (metafleet.Outcome, error) {
		kept, err := task.PutArtifact(ctx, "full", "text/plain", bytes.Repeat([]byte("x"), room))
		if _, err := task.PutArtifact(ctx, "over", "text/plain", bytes.Repeat([]byte("x"), room+1)); !metafleet.IsPermanent(err) {
			return metafleet.Outcome{}, fmt.Errorf("one byte more is taken: %w", err)
		}
		return metafleet.Completed(metafleet.NewMeta().Artifact("json", kept)), err
	}}
	serve(t, shared, p, "ready")
	shared.Submit(t, id, id, nil, nil)
	if record := shared.Record(t, id, id); record["status"] != "completed" || record["attempt"] != 1.0 {
		t.Errorf("%v", record)
	}
	if kept := artifact(t, shared, id, id, "full", false); len(kept.Data) != room {
		t.Errorf("%d bytes", len(kept.Data))
	}
}

func TestAnArtefactWaitsForTheBrokerButNotLongerThanItsTask(t *testing.T) {
	t.Parallel()
	f, err := fleet.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Stop)
	away, over := make(chan struct{}), make(chan error, 1)
	var ready, hasty atomic.Int64
	p := &plugin{manifest: manifest("go-patient", `"timeout": 15000`), process: func(ctx context.Context, task *metafleet.Task) (metafleet.Outcome, error) {
		ready.Add(1)
		<-away
		// A broker that was killed may have forgotten that it delivered a task, so attempts are counted here.
		first := task.CID() == "hasty" && hasty.Add(1) == 1
		if first {
			limited, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
			defer cancel()
			ctx = limited
		}
		kept, err := task.PutArtifact(ctx, "a", "text/plain", []byte(task.CID()))
		if first {
			over <- err
		}
		return metafleet.Completed(metafleet.NewMeta().Artifact("json", kept)), err
	}}
	serve(t, f, p, "ready")
	for _, cid := range []string{"patient", "hasty"} {
		f.Submit(t, "go-patient", cid, nil, nil)
	}
	fleet.Eventually(t, "both to run", func() bool { return ready.Load() == 2 })
	f.KillServer()
	close(away)
	select {
	case err := <-over:
		if err == nil || metafleet.IsPermanent(err) {
			t.Errorf("it was stored nowhere: %v", err)
		}
	case <-time.After(fleet.Limit):
		t.Fatal("it waits on although its context has ended")
	}
	if err := f.StartServer(); err != nil {
		t.Fatal(err)
	}
	for _, cid := range []string{"patient", "hasty"} {
		if record := f.Record(t, cid, "go-patient"); record["status"] != "completed" {
			t.Errorf("%v", record)
		}
		if kept := artifact(t, f, cid, "go-patient", "a", false); string(kept.Data) != cid {
			t.Errorf("%s", kept.Data)
		}
	}
}
