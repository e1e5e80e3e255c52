package metafleet

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/metafleet/metafleet/worker-sdk/go/internal/share"
)

// How long a request waits, by kind: a place that is promised to one queue cannot serve the other.
const (
	waitLong  = 2 * time.Second
	waitBrief = 500 * time.Millisecond
	// waitQuiet is for when nothing has come for a while.
	waitQuiet = 5 * time.Second
	// heartbeat is how often the server says that a quiet request still waits.
	heartbeat = 1500 * time.Millisecond
	// margin after its time a request is over, answered or not.
	margin = 2 * time.Second
	// A queue that was empty is looked at again after a pause that doubles from the first to the last.
	lookFirst, lookLast = 20 * time.Millisecond, 500 * time.Millisecond
	// The same for one that refused.
	refusedFirst, refusedLast = 100 * time.Millisecond, 5 * time.Second
	// answersRoom is room for answers that were not read yet; tasks are never more than places.
	answersRoom = 4096
	// stalled is how long a broker may take to answer a ping; the connection is lost before that.
	stalled = 2 * time.Minute
)

// line is the requests to one queue's consumer: what was sent, and what may still be answered.
type line struct {
	next  string
	nc    *nats.Conn
	inbox string
	sub   *nats.Subscription
	// answers brings what comes on this inbox and on those before it.
	answers chan *nats.Msg
	asks    []sent
	// stage is whether the inbox is in use; step closes when the broker has answered what the stage waits for.
	stage stage
	step  <-chan struct{}

	// heard is when anything came last, last when a task did.
	heard, last time.Time
	refused     time.Duration
	notBefore   time.Time
	look        time.Duration
	nextLook    time.Time
}

// stage is how far a line is with its inbox.
//
// A request that nobody has ended in time may still be answered: a broker that stalls has not read it yet. So it is not
// asked again, and its places are not promised anew, before the broker has answered a ping; and if the request is not
// ended then, not before the broker has confirmed that it knows the inbox no more. What the inbox brings until then is taken.
type stage uint8

const (
	// asking: requests are sent.
	asking stage = iota
	// doubting: the broker was pinged.
	doubting
	// leaving: the inbox is on its way out.
	leaving
)

// sent is a request that may still be answered.
type sent struct {
	token     uint64
	batch     int
	over      time.Time
	heartbeat bool
	look      bool
}

func newLine(nc *nats.Conn, next string, now time.Time) (*line, error) {
	l := &line{next: next, nc: nc, last: now, look: lookFirst, answers: make(chan *nats.Msg, answersRoom)}
	return l, l.open(now)
}

// open takes a fresh inbox, on which nothing was asked yet.
func (l *line) open(now time.Time) error {
	l.stage, l.step = asking, nil
	l.inbox, l.asks, l.heard = l.nc.NewInbox(), nil, now
	sub, err := l.nc.ChanSubscribe(l.inbox+".*", l.answers)
	l.sub = sub
	return err
}

// doubt has the broker say that it is there.
func (l *line) doubt() {
	l.stage, l.step = doubting, l.pinged()
}

// leave has the broker forget the inbox; what is on its way still comes.
func (l *line) leave() {
	l.unsubscribe()
	l.stage, l.step = leaving, l.pinged()
}

// unsubscribe ends the subscription once the broker has confirmed that.
func (l *line) unsubscribe() {
	if l.sub != nil {
		// It fails only where the connection is closed, and with it the subscription.
		_ = l.sub.Drain()
		l.sub = nil
	}
}

// pinged gives a channel that is closed when the broker has answered all that it was told so far, or is gone.
func (l *line) pinged() <-chan struct{} {
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		// Without the connection nothing more comes, which is as good.
		_ = l.nc.FlushTimeout(stalled)
	}()
	return answered
}

func (l *line) send(ask share.Ask, token uint64, quiet bool, now time.Time) bool {
	wait := waitFor(ask.Wait, quiet)
	beats := wait == waitQuiet
	body := fmt.Appendf(nil, `{"batch":%d,"no_wait":true}`, ask.Batch)
	if beats {
		body = fmt.Appendf(nil, `{"batch":%d,"expires":%d,"idle_heartbeat":%d}`, ask.Batch, wait.Nanoseconds(), heartbeat.Nanoseconds())
	} else if wait > 0 {
		body = fmt.Appendf(nil, `{"batch":%d,"expires":%d}`, ask.Batch, wait.Nanoseconds())
	}
	if l.nc.PublishRequest(l.next, l.inbox+"."+strconv.FormatUint(token, 10), body) != nil {
		return false
	}
	if beats {
		l.heard = now
	}
	l.asks = append(l.asks, sent{token, ask.Batch, now.Add(wait + margin), beats, ask.Wait == share.No})
	return true
}

func waitFor(wait share.Wait, quiet bool) time.Duration {
	switch {
	case wait == share.No:
		return 0
	case wait == share.Turn:
		return waitBrief
	case quiet:
		return waitQuiet
	case wait == share.Brief:
		return waitBrief
	default:
		return waitLong
	}
}

// overdue says whether more tasks are promised than the requests account for that are not over. If not, those that are
// over were answered, and are struck off.
func (l *line) overdue(now time.Time, promised int) bool {
	total := 0
	for _, s := range l.asks {
		if s.over.After(now) {
			total += s.batch
		}
	}
	if promised > total {
		return true
	}
	l.asks = slices.DeleteFunc(l.asks, func(s sent) bool { return !s.over.After(now) })
	return false
}

// silent says whether the server has missed two heartbeats.
func (l *line) silent(now time.Time) bool {
	listening := slices.ContainsFunc(l.asks, func(s sent) bool { return s.heartbeat })
	return listening && now.After(l.heard.Add(heartbeat*2+heartbeat/3))
}

// over strikes off the request that an answer ends, and says how many of its tasks did not come.
func (l *line) over(answer *nats.Msg) (left int, look bool) {
	token, err := strconv.ParseUint(answer.Subject[strings.LastIndexByte(answer.Subject, '.')+1:], 10, 64)
	if err != nil {
		return 0, false
	}
	at := slices.IndexFunc(l.asks, func(s sent) bool { return s.token == token })
	if at < 0 {
		return 0, false
	}
	ended := l.asks[at]
	l.asks = slices.Delete(l.asks, at, at+1)
	left = ended.batch
	if pending, err := strconv.Atoi(answer.Header.Get("Nats-Pending-Messages")); err == nil && pending >= 0 {
		left = min(pending, ended.batch)
	}
	return left, ended.look
}

func (l *line) foundSomething(now time.Time) {
	l.refused, l.look, l.last, l.nextLook = 0, lookFirst, now, now
}

func (l *line) foundNothing(now time.Time) {
	l.nextLook = now.Add(l.look)
	l.look = min(2*l.look, lookLast)
}

func (l *line) refuse(now time.Time) {
	l.refused = min(max(2*l.refused, refusedFirst), refusedLast)
	l.notBefore = now.Add(l.refused)
}
