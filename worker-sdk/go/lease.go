package metafleet

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/metafleet/metafleet/worker-sdk/go/internal/delivery"
	"github.com/metafleet/metafleet/worker-sdk/go/wire"
)

const (
	// listed is how many tasks a sign of life lists.
	listed = 16
	// remembered is how many settled tasks are remembered: some seconds' worth for a busy worker.
	remembered = 16384
	// firstLease holds until the coordinator has said how long a lease is.
	firstLease = 3 * time.Second
)

// messageKey is one message of a stream, also across a stream that was deleted and made anew.
type messageKey struct {
	sequence uint64
	storedAt int64
}

// held is one delivery that this worker holds. Its fields but the first three belong to the lock of leases.
type held struct {
	subject string
	message messageKey
	since   time.Time

	reply     string
	delivered uint32
	renewed   time.Time
	// sure is until when the delivery is surely ours; it does not move any more once it has passed, because
	// somebody else may have the task then.
	sure      time.Time
	until     time.Time
	task, cid string
	fraction  *float64
}

// begun says what is to be done with a delivery.
type begun uint8

const (
	// begunNew is to be run.
	begunNew begun = iota
	// begunRunning is answered by the attempt that runs.
	begunRunning
	// begunSettled was settled here: its answer was lost, and is given again.
	begunSettled
)

// leases are all deliveries that this worker holds, by the subject of their task, renewed by one goroutine.
//
// Renewal does not depend on the handlers, so one that blocks does not lose its task. It ends when the task
// has had its time: a handler that hangs must lose it.
type leases struct {
	mu      sync.Mutex
	lease   time.Duration
	all     map[string]*held
	settled map[messageKey]struct{}
	order   []messageKey // a ring
	next    int
}

func newLeases() *leases {
	return &leases{lease: firstLease, all: map[string]*held{}, settled: map[messageKey]struct{}{}}
}

func (l *leases) setLease(lease time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lease = lease
}

// begin takes hold of a delivery until a time at most, unless the same message runs here or was settled here.
// An attempt that has had its time does not count as running.
func (l *leases) begin(now time.Time, subject, reply string, place delivery.Place, until time.Time) (*held, begun) {
	message := messageKey{place.Sequence, place.StoredAt}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, found := l.settled[message]; found {
		return nil, begunSettled
	}
	if h := l.all[subject]; h != nil && h.message == message && h.until.After(now) {
		h.reply, h.delivered, h.renewed, h.sure = reply, place.Delivered, now, now.Add(l.surely())
		return h, begunRunning
	}
	h := &held{
		subject: subject, message: message, since: now, reply: reply, delivered: place.Delivered,
		renewed: now, sure: now.Add(l.surely()), until: until,
	}
	l.all[subject] = h
	return h, begunNew
}

// latest says where to answer the broker, and how often it has delivered the task.
func (l *leases) latest(h *held) (reply string, delivered uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return h.reply, h.delivered
}

// keep holds the lease until a time, and no longer.
func (l *leases) keep(h *held, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h.until = until
}

// name says which task it is, for people.
func (l *leases) name(h *held, task, cid string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h.task, h.cid = task, cid
}

// progress notes how far the task has got.
func (l *leases) progress(h *held, fraction float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h.fraction = &fraction
}

// end stops the renewal, and remembers what was settled. A later delivery of the same task that has taken the
// place of a handler that hangs is left alone.
func (l *leases) end(h *held, settled bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all[h.subject] == h {
		delete(l.all, h.subject)
	}
	if _, known := l.settled[h.message]; !settled || known {
		return
	}
	l.settled[h.message] = struct{}{}
	if len(l.order) < remembered {
		l.order = append(l.order, h.message)
		return
	}
	delete(l.settled, l.order[l.next])
	l.order[l.next] = h.message
	l.next = (l.next + 1) % remembered
}

// running lists what runs, oldest first.
func (l *leases) running(now time.Time) []wire.Running {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]wire.Running, 0, len(l.all))
	for _, h := range l.all {
		if h.task != "" {
			list = append(list, wire.Running{TaskID: h.task, Cid: h.cid, ForMs: millis(now.Sub(h.since)), Fraction: h.fraction})
		}
	}
	slices.SortFunc(list, func(a, b wire.Running) int { return cmp.Compare(b.ForMs, a.ForMs) })
	return list[:min(len(list), listed)]
}

// surely is for how long a lease holds for sure once it was begun or renewed: less what the way takes.
func (l *leases) surely() time.Duration { return l.lease - l.lease/8 }

// isSure says whether the delivery is surely still ours. The broker takes an answer for the delivery that is
// current then, whoever has it.
func (l *leases) isSure(h *held, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return h.sure.After(now)
}

// renewal says whether a lease is still to be renewed now that this can be told to the broker, and notes it where
// it can be told at once.
func (l *leases) renewal(h *held, now time.Time, connected bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all[h.subject] != h {
		return false // after an answer it would undo the delay of a nak
	}
	if connected && h.sure.After(now) {
		h.sure = now.Add(l.surely())
	}
	return true
}

// due gives the leases that would be renewed too late at the next tick, and when that is.
func (l *leases) due(now time.Time) (due []renewing, tick time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	tick = min(l.lease/9, time.Second)
	for _, h := range l.all {
		if h.until.After(now) && !h.renewed.Add(l.lease/3).After(now.Add(tick)) {
			h.renewed = now
			due = append(due, renewing{h, h.reply})
		}
	}
	return due, tick
}

// renewing is a lease that is to be renewed.
type renewing struct {
	held  *held
	reply string
}

// renew keeps all leases until ctx ends.
func (l *leases) renew(ctx context.Context, p *publisher) {
	for {
		due, tick := l.due(time.Now())
		for _, one := range due {
			still := func() bool { return l.renewal(one.held, time.Now(), p.link.nc.IsConnected()) }
			p.send(outgoing{&nats.Msg{Subject: one.reply, Data: delivery.Progress}, still})
		}
		if !sleep(ctx, tick) {
			return
		}
	}
}

// millis gives whole milliseconds.
func millis(d time.Duration) uint64 { return uint64(max(0, d.Milliseconds())) }
