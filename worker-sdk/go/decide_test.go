package metafleet

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/metafleet/metafleet/worker-sdk/go/internal/options"
	"github.com/metafleet/metafleet/worker-sdk/go/internal/share"
	"github.com/metafleet/metafleet/worker-sdk/go/wire"
)

func TestOnlyAReadyWorkerPulls(t *testing.T) {
	for _, c := range []struct {
		state state
		want  wire.InstanceState
		error string
	}{
		{state{}, wire.InstanceStateStarting, ""},
		{state{paused: true}, wire.InstanceStateStarting, ""},
		{state{configured: true}, wire.InstanceStateReady, ""},
		{state{configured: true, unhealthy: "ill"}, wire.InstanceStateReady, "ill"},
		{state{configured: true, paused: true}, wire.InstanceStatePaused, ""},
		{state{configured: true, paused: true, draining: true}, wire.InstanceStateDraining, ""},
		{state{configured: true, refused: "no key", unhealthy: "ill"}, wire.InstanceStateFailed, "no key"},
		{state{configured: true, refused: "no key", draining: true}, wire.InstanceStateDraining, ""},
	} {
		got, problem := c.state.shown()
		if got != c.want || problem != c.error || c.state.gate().open != (got == wire.InstanceStateReady) {
			t.Errorf("%+v: %s, %s, %+v", c.state, got, problem, c.state.gate())
		}
	}
}

func TestWhatAStreamAnswersIsRead(t *testing.T) {
	for body, want := range map[string]string{
		`{"stream":"KV_mf-records","seq":12}`:                                            "",
		`{"stream":"x","domain":"\"error\"","seq":12}`:                                   "",
		`{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 9"}}`: errFenced.Error(),
		`{"error":{"code":503,"err_code":10077,"description":"full"},"seq":0}`:           "the stream refuses: full (10077)",
		`{"stream":"x","seq":0}`:                                                         "no sequence",
		`nonsense`:                                                                       "cannot be read",
		``:                                                                               "status 503",
	} {
		err := stored(&nats.Msg{Data: []byte(body), Header: nats.Header{"Status": {"503"}}})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, not %s", body, err, want)
		}
	}
}

func TestErrorsHaveTheExitCodesOfTheProtocol(t *testing.T) {
	for want, err := range map[int]error{
		0: nil, 1: errHopeless, 2: &options.Error{Name: "NATS_URL", Problem: "x"}, 4: &CredentialsError{nats.ErrAuthorization}, 5: &RejectedError{[]string{"a"}},
	} {
		if got := exitCode(err); got != want || err != nil && exitCode(fmt.Errorf("wrapped: %w", err)) != want {
			t.Errorf("%v: %d, not %d", err, got, want)
		}
	}
}

func TestPausesGrowToAnEnd(t *testing.T) {
	pause := backoff{first: 100 * time.Millisecond, most: 2 * time.Second}
	var last time.Duration
	for range 20 {
		last = pause.next()
		if last < 100*time.Millisecond || last > 3*time.Second {
			t.Errorf("%v", last)
		}
	}
	if last < 2*time.Second {
		t.Errorf("it ended at %v", last)
	}
}

func TestRequestsWaitAsLongAsTheirKindSays(t *testing.T) {
	for _, c := range []struct {
		wait  share.Wait
		quiet bool
		want  time.Duration
	}{
		{share.No, true, 0}, {share.Turn, true, waitBrief}, {share.Brief, false, waitBrief}, {share.Brief, true, waitQuiet},
		{share.Long, false, waitLong}, {share.Long, true, waitQuiet},
	} {
		if got := waitFor(c.wait, c.quiet); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestRequestsAreStruckOffWhenTheyAreOver(t *testing.T) {
	now := time.Now()
	l := &line{asks: []sent{{1, 4, now.Add(time.Second), false, true}, {2, 3, now.Add(time.Minute), true, false}}, heard: now}
	if l.overdue(now, 7) || !l.overdue(now, 8) {
		t.Error("seven tasks may still come")
	}
	if !l.overdue(now.Add(2*time.Second), 4) || len(l.asks) != 2 {
		t.Error("what nobody has ended may still be answered")
	}
	answer := &nats.Msg{Subject: "_INBOX.x.1", Header: nats.Header{"Nats-Pending-Messages": {"3"}}}
	if left, look := l.over(answer); left != 3 || !look {
		t.Errorf("%d, %v", left, look)
	}
	if left, _ := l.over(answer); left != 0 {
		t.Errorf("it ended twice: %d", left)
	}
	if l.silent(now.Add(2*heartbeat)) || !l.silent(now.Add(3*heartbeat)) {
		t.Error("two missed heartbeats are silence, one is not")
	}
	if l.overdue(now.Add(time.Hour), 0) || len(l.asks) != 0 {
		t.Error("it is answered in full, and not struck off")
	}
	l.refuse(now)
	l.refuse(now)
	if l.notBefore != now.Add(2*refusedFirst) {
		t.Errorf("%v", l.notBefore.Sub(now))
	}
}

func TestManifestsSayWhatIsMissing(t *testing.T) {
	whole := `{"id":"a","name":"A","version":"1.0.0","priority":50,"queue":"fast","dataSchema":{},"new":1}`
	m, err := ParseManifest([]byte(whole))
	if err != nil || string(m.raw) != whole || m.limit(0) != defaultTimeout || m.limit(5) != 5*time.Millisecond || m.stall(&wire.Task{}) != 0 {
		t.Errorf("%+v, %v", m, err)
	}
	for _, field := range []string{"id", "name", "version", "priority", "queue", "dataSchema"} {
		_, err := ParseManifest([]byte(strings.Replace(whole, `"`+field+`"`, `"x-`+field+`"`, 1)))
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("without %s: %v", field, err)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a manifest that cannot be read was taken")
		}
	}()
	MustManifest([]byte("{"))
}

func TestTheBrokersRefusalsAreKnown(t *testing.T) {
	for err, want := range map[error]bool{
		nats.ErrAuthorization: true, fmt.Errorf("x: %w", nats.ErrAuthExpired): true, errors.New("nats: 'Authorization Violation'"): true, nats.ErrNoServers: false,
	} {
		if refused(err) != want {
			t.Errorf("%v", err)
		}
	}
}
