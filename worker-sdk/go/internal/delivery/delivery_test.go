package delivery

import (
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/metafleet/metafleet/worker-sdk/go/wire"
)

func TestBothFormsOfReplySubjectsAreRead(t *testing.T) {
	want := Place{Delivered: 2, Sequence: 10, StoredAt: 1700000000000000000, Pending: 7}
	for reply, ok := range map[string]bool{
		"$JS.ACK.MF_TASKS.x_fast.2.10.5.1700000000000000000.7":             true,
		"$JS.ACK.hub.acc.MF_TASKS.x_fast.2.10.5.1700000000000000000.7":     true,
		"$JS.ACK.hub.acc.MF_TASKS.x_fast.2.10.5.1700000000000000000.7.abc": true,
		"$JS.ACK.MF_TASKS.x_fast.2.10.5.1700000000000000000":               false,
		"$JS.ACK.a.MF_TASKS.x_fast.2.10.5.1700000000000000000.7":           false,
		"$JS.ACK.MF_TASKS.x_fast.-2.10.5.1700000000000000000.7":            false,
		"_INBOX.x":                       false,
		"$JS.ACK.a.b.4294967296.1.1.1.1": false,
	} {
		place, got := ParsePlace(reply)
		if got != ok || ok && place != want {
			t.Errorf("%s: %+v, %v", reply, place, got)
		}
	}
}

func FuzzReplySubjects(f *testing.F) {
	f.Add("$JS.ACK.MF_TASKS.x_fast.2.10.5.1700000000000000000.7")
	f.Fuzz(func(_ *testing.T, reply string) { ParsePlace(reply) })
}

func TestWhatFollowsFromAFailure(t *testing.T) {
	policy := wire.RetryPolicy{MaxAttempts: 4, DelaysMs: []uint64{0, 60_000, 60_001}}
	for _, c := range []struct {
		policy    wire.RetryPolicy
		permanent bool
		attempt   uint32
		verdict   Verdict
		delay     time.Duration
	}{
		{policy, false, 1, Retry, time.Millisecond},
		{policy, false, 2, Retry, time.Minute},
		{policy, false, 3, Schedule, 60_001 * time.Millisecond},
		{policy, false, 4, GiveUp, 0},
		{policy, false, 9, GiveUp, 0},
		{policy, true, 1, GiveUp, 0},
		{wire.RetryPolicy{MaxAttempts: 9}, false, 5, Retry, time.Second},
		{wire.RetryPolicy{MaxAttempts: 9, DelaysMs: []uint64{7}}, false, 5, Retry, 7 * time.Millisecond},
		{wire.RetryPolicy{MaxAttempts: 1}, false, 1, GiveUp, 0},
	} {
		verdict, delay := Judge(c.policy, c.permanent, c.attempt)
		if verdict != c.verdict || delay != c.delay {
			t.Errorf("%+v: %v, %v", c, verdict, delay)
		}
	}
}

func TestAttemptsCountWhatWasUsedBefore(t *testing.T) {
	for _, c := range []struct {
		delivered uint32
		used      uint64
		want      uint32
	}{{1, 0, 1}, {2, 3, 5}, {0, 0, 1}, {1, math.MaxUint64 - 1, math.MaxUint32}} {
		if got := Attempt(c.delivered, c.used); got != c.want {
			t.Errorf("%d after %d: %d", c.delivered, c.used, got)
		}
	}
	if Millis(math.MaxUint64) <= 0 {
		t.Error("a long time became a negative one")
	}
}

func TestLongTextsAreCutAtACharacter(t *testing.T) {
	for text, want := range map[string]int{
		strings.Repeat("x", 4096): 4096, strings.Repeat("x", 4097): 4096, strings.Repeat("é", 4096): 4095, "a\xff": 4,
	} {
		if got := Short(text); len(got) != want || !utf8.ValidString(got) {
			t.Errorf("%d bytes became %d, not %d", len(text), len(got), want)
		}
	}
	term := string(Term("a\nb\x00" + strings.Repeat("é", 400)))
	if !strings.HasPrefix(term, "+TERM a b é") || len(term) > len("+TERM ")+256 || !utf8.ValidString(term) {
		t.Errorf("%d: %.20q", len(term), term)
	}
	if got := string(Nak(0)); got != `-NAK {"delay":1000000}` {
		t.Error(got)
	}
}
