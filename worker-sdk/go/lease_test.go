package metafleet

import (
	"slices"
	"testing"
	"time"

	"github.com/metafleet/metafleet/worker-sdk/go/internal/delivery"
)

func place(sequence uint64, delivered uint32) delivery.Place {
	return delivery.Place{Delivered: delivered, Sequence: sequence}
}

func TestALeaseIsRenewedEveryThirdUntilItsTimeIsUp(t *testing.T) {
	l, start := newLeases(), time.Now()
	l.setLease(9 * time.Second)
	l.begin(start, "task", "reply", place(1, 1), start.Add(10*time.Second))
	var renewed []int
	for second := range 20 {
		if replies, tick := l.due(start.Add(time.Duration(second) * time.Second)); len(replies) > 0 {
			renewed = append(renewed, second)
			if tick != time.Second || replies[0].reply != "reply" {
				t.Errorf("%v, %v", replies, tick)
			}
		}
	}
	if !slices.Equal(renewed, []int{2, 4, 6, 8}) {
		t.Errorf("%v", renewed)
	}
}

func TestALeaseThatWasOnceRenewedTooLateIsNotSureAnyMore(t *testing.T) {
	l, start := newLeases(), time.Now()
	l.setLease(8 * time.Second)
	h, _ := l.begin(start, "task", "reply", place(1, 1), start.Add(time.Hour))
	at := func(second int) time.Time { return start.Add(time.Duration(second) * time.Second) }
	for _, c := range []struct {
		second    int
		connected bool
		sure      bool // a second later
	}{
		{3, true, true}, {6, true, true}, {9, false, true}, {12, false, false}, {13, true, false}, {14, true, false},
	} {
		if !l.renewal(h, at(c.second), c.connected) {
			t.Error("it is held, and not renewed", c)
		}
		if l.isSure(h, at(c.second+1)) != c.sure {
			t.Error(c)
		}
	}
	if _, what := l.begin(at(15), "task", "again", place(1, 2), at(60)); what != begunRunning || !l.isSure(h, at(16)) {
		t.Error("a new delivery is ours", what)
	}
	l.end(h, false)
	if l.renewal(h, at(16), true) {
		t.Error("what was answered is renewed")
	}
}

func TestTheSameMessageIsNotRunTwice(t *testing.T) {
	l, now := newLeases(), time.Now()
	until := now.Add(time.Second)
	h, what := l.begin(now, "task", "first", place(1, 1), until)
	if what != begunNew {
		t.Fatal(what)
	}
	if again, what := l.begin(now, "task", "again", place(1, 2), until); what != begunRunning || again != h {
		t.Error(what)
	}
	if reply, delivered := l.latest(h); reply != "again" || delivered != 2 {
		t.Errorf("%s, %d", reply, delivered)
	}
	l.end(h, true)
	if _, what := l.begin(now, "task", "late", place(1, 3), until); what != begunSettled {
		t.Error(what)
	}
	if _, what := l.begin(now, "task", "anew", place(2, 1), until); what != begunNew {
		t.Error("a task that was published anew is another one", what)
	}
}

func TestAnAttemptThatHasHadItsTimeGivesWay(t *testing.T) {
	l, now := newLeases(), time.Now()
	hung, _ := l.begin(now, "task", "first", place(1, 1), now.Add(time.Second))
	later := now.Add(2 * time.Second)
	next, what := l.begin(later, "task", "second", place(1, 2), later.Add(time.Second))
	if what != begunNew {
		t.Fatal(what)
	}
	l.end(hung, false)
	if same, what := l.begin(later, "task", "third", place(1, 3), later.Add(time.Second)); what != begunRunning || same != next {
		t.Error("the end of the first did not leave the second alone", what)
	}
}

func TestTheMemoryOfWhatWasSettledIsBounded(t *testing.T) {
	l, now := newLeases(), time.Now()
	for sequence := range uint64(3 * remembered) {
		h, _ := l.begin(now, "task", "reply", place(sequence, 1), now.Add(time.Second))
		l.end(h, true)
	}
	if len(l.settled) != remembered || len(l.order) != remembered || len(l.all) != 0 {
		t.Errorf("%d, %d, %d", len(l.settled), len(l.order), len(l.all))
	}
	if _, what := l.begin(now, "task", "reply", place(3*remembered-1, 2), now); what != begunSettled {
		t.Error("the last one is forgotten")
	}
}

func TestWhatRunsIsListedOldestFirst(t *testing.T) {
	l, now := newLeases(), time.Now()
	for i := range 20 {
		h, _ := l.begin(now.Add(time.Duration(i)*time.Second), string(rune('a'+i)), "reply", place(uint64(i), 1), now.Add(time.Hour))
		l.name(h, string(rune('a'+i)), "cid")
		l.progress(h, 0.5)
	}
	list := l.running(now.Add(time.Minute))
	if len(list) != listed || list[0].TaskID != "a" || list[0].ForMs != 60_000 || *list[0].Fraction != 0.5 {
		t.Errorf("%+v", list)
	}
}
