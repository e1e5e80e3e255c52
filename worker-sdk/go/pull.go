package metafleet

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/metafleet/metafleet/worker-sdk/go/internal/delivery"
	"github.com/metafleet/metafleet/worker-sdk/go/internal/names"
	"github.com/metafleet/metafleet/worker-sdk/go/internal/share"
)

const (
	// tick is how often overdue requests are looked for.
	tick = 500 * time.Millisecond
	// burst is how many messages are taken in one go before requests are planned again.
	burst = 256
	// lastAnswers is how long deliveries on their way are waited for when pulling ends.
	lastAnswers = 500 * time.Millisecond
	// quietAfter so long without a task, requests may wait longer.
	quietAfter = 10 * time.Second
)

// permits counts the places that running tasks hold, by queue.
type permits struct {
	held  [2]atomic.Int64
	freed chan struct{}
}

func newPermits() *permits { return &permits{freed: make(chan struct{}, 1)} }

func (p *permits) take(queue share.Queue) { p.held[queue].Add(1) }

func (p *permits) giveBack(queue share.Queue) {
	p.held[queue].Add(-1)
	select {
	case p.freed <- struct{}{}:
	default:
	}
}

// puller pulls the tasks of both queues of one lane for one set of places.
//
// share.Plan says what to ask for; here the requests are sent, answers counted, and silence noticed.
type puller struct {
	w     *worker
	lane  string
	lines [2]*line
	sides share.Sides
	home  share.Queue
	token uint64
	epoch uint64
}

func newPuller(w *worker, lane string) (*puller, error) {
	p := &puller{w: w, lane: lane, epoch: w.link.times()}
	if w.manifest.fields.Queue == names.Background {
		p.home = share.Background
	}
	for _, queue := range []share.Queue{share.Fast, share.Background} {
		next := w.names.Next(w.manifest.ID(), lane, queue.String())
		l, err := newLine(w.link.nc, next, time.Now())
		if err != nil {
			return nil, err
		}
		p.lines[queue] = l
	}
	return p, nil
}

// run pulls until ctx ends, the lane is another one or the connection is closed; what is on its way then is
// given back.
func (p *puller) run(ctx context.Context) error {
	defer p.finish()
	timer := time.NewTimer(tick)
	defer timer.Stop()
	for {
		connection, changed := p.w.link.changed.wait(), p.w.standing.changed.wait()
		if err := p.w.link.gone(); err != nil {
			return err
		}
		if epoch := p.w.link.times(); epoch != p.epoch {
			p.epoch = epoch
			p.startAnew()
		}
		now := p.w.standing.now().gate()
		if now.lane != p.lane {
			return nil
		}
		timer.Reset(time.Until(p.ask(now)))
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-connection:
		case <-changed:
		case <-p.w.permits.freed:
		case answer := <-p.lines[share.Fast].answers:
			p.on(share.Fast, answer)
		case answer := <-p.lines[share.Background].answers:
			p.on(share.Background, answer)
		case <-p.lines[share.Fast].step:
			err = p.stepOn(share.Fast)
		case <-p.lines[share.Background].step:
			err = p.stepOn(share.Background)
		case <-timer.C:
			p.sweep()
		}
		if err != nil {
			return err
		}
		p.takeWhatIsThere()
	}
}

// ask sends what the plan says, and says when to look again.
func (p *puller) ask(gate gate) time.Time {
	now := time.Now()
	if !gate.open || !p.w.link.nc.IsConnected() {
		return now.Add(tick)
	}
	quiet := true
	for queue, l := range p.lines {
		p.sides[queue].Held = int(p.w.permits.held[queue].Load())
		p.sides[queue].Due = !l.nextLook.After(now)
		quiet = quiet && now.After(l.last.Add(quietAfter))
	}
	asks := share.Plan(p.w.options.Policy, gate.places, p.home, &p.sides)
	p.sides.Note(asks)
	for _, ask := range asks {
		l := p.lines[ask.Queue]
		if l.notBefore.After(now) || l.stage != asking {
			continue
		}
		p.token++
		if l.send(ask, p.token, quiet, now) {
			p.sides[ask.Queue].Promised += ask.Batch
		}
	}
	again := now.Add(tick)
	if p.sides.Free(gate.places) == 0 {
		return again
	}
	for _, l := range p.lines {
		for _, at := range []time.Time{l.nextLook, l.notBefore} {
			if at.After(now) && at.Before(again) {
				again = at
			}
		}
	}
	return again
}

func (p *puller) takeWhatIsThere() {
	for queue, l := range p.lines {
		for range min(len(l.answers), burst) {
			p.on(share.Queue(queue), <-l.answers)
		}
	}
}

// on takes an answer: a task, or a status.
func (p *puller) on(queue share.Queue, answer *nats.Msg) {
	now := time.Now()
	l, side := p.lines[queue], &p.sides[queue]
	l.heard = now
	if place, isTask := delivery.ParsePlace(answer.Reply); isTask {
		side.Promised = max(0, side.Promised-1)
		if side.Promised == 0 {
			l.asks = nil // every request is answered in full
		}
		l.foundSomething(now)
		side.Waiting = place.Pending
		p.home = queue
		p.w.deliver(answer, place, queue)
		return
	}
	status := answer.Header.Get("Status")
	if status == "100" {
		return
	}
	left, look := l.over(answer)
	side.Promised = max(0, side.Promised-left)
	side.Waiting = 0
	switch status {
	case "404", "408":
		l.refused = 0
		if look {
			l.foundNothing(now)
		}
	default:
		why := answer.Header.Get("Description")
		p.w.log.Debug("the broker refused a pull request", "queue", queue.String(), "status", status, "why", why)
		l.refuse(now)
		if status == "503" || strings.Contains(why, "Deleted") {
			p.w.announceAgain()
		}
	}
}

// sweep looks for requests that nobody has ended in time, and for long ones that have gone silent.
func (p *puller) sweep() {
	if !p.w.link.nc.IsConnected() {
		return // a new connection starts anew
	}
	// After a suspend the answers are older than the tick.
	p.takeWhatIsThere()
	for queue, l := range p.lines {
		if l.stage == asking && p.inDoubt(share.Queue(queue), time.Now()) {
			l.doubt()
		}
	}
}

func (p *puller) inDoubt(queue share.Queue, now time.Time) bool {
	l := p.lines[queue]
	return l.silent(now) || l.overdue(now, p.sides[queue].Promised)
}

// stepOn follows an answer of the broker to what a line has asked for.
func (p *puller) stepOn(queue share.Queue) error {
	// What came before the answer counts.
	p.takeWhatIsThere()
	now, l := time.Now(), p.lines[queue]
	switch {
	case l.stage == leaving:
		p.sides[queue].Promised, p.sides[queue].Waiting = 0, 0
		return l.open(now)
	case p.inDoubt(queue, now) && p.w.link.nc.IsConnected():
		p.w.log.Warn("the broker forgot a pull request, asking again", "queue", queue.String())
		l.leave()
	default:
		l.stage, l.step = asking, nil
	}
	return nil
}

// startAnew follows a reconnect: the server may still answer the requests of before.
func (p *puller) startAnew() {
	for _, l := range p.lines {
		l.refused, l.notBefore = 0, time.Now()
		if l.stage != leaving {
			l.leave()
		}
	}
}

// finish gives back what is on its way. Once the server has heard that nobody listens any more, nothing comes
// after the answer to a flush.
func (p *puller) finish() {
	fast, background := p.lines[share.Fast].answers, p.lines[share.Background].answers
	for _, l := range p.lines {
		l.unsubscribe()
	}
	over := time.NewTimer(lastAnswers)
	defer over.Stop()
	flushed := make(chan struct{})
	go func() {
		defer close(flushed)
		if err := p.w.link.nc.FlushTimeout(lastAnswers); err != nil {
			p.w.log.Debug("could not wait for the last deliveries", "error", err)
		}
	}()
	for {
		select {
		case late := <-fast:
			p.w.giveBack(late, share.Fast)
			continue
		case late := <-background:
			p.w.giveBack(late, share.Background)
			continue
		default:
		}
		select {
		case late := <-fast:
			p.w.giveBack(late, share.Fast)
		case late := <-background:
			p.w.giveBack(late, share.Background)
		case <-flushed:
			if len(fast)+len(background) == 0 {
				return
			}
		case <-over.C:
			return
		}
	}
}
