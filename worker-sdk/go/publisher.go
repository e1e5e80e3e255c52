package metafleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// answerTimeout is how long a stream may take to acknowledge.
	answerTimeout = 5 * time.Second
	// outRoom is for messages that wait to be written; whoever has more to say waits.
	outRoom = 1024
	// tries is how often a publish is tried while the broker is connected.
	tries = 8
	// Pauses between the tries grow from the first to the last.
	firstPublishPause, lastPublishPause = 200 * time.Millisecond, 5 * time.Second
	// codeFenced is the error of a stream when somebody else has written the record.
	codeFenced = 10071
)

var (
	errFenced   = errors.New("somebody else has settled this task")
	errTooLarge = errors.New("larger than the broker takes")
	errLost     = errors.New("the connection was lost before the broker answered")
	// errAway is unlike errLost sure that the broker has not heard of it.
	errAway = errors.New("the broker is away")
)

// publisher stores messages in streams: many at the same time, each acknowledged on one inbox.
type publisher struct {
	link  *link
	inbox string
	sub   *nats.Subscription
	// most is the largest message that the coordinator says.
	most atomic.Int64
	last atomic.Uint64
	// out is what waits to be written, quit has the writer end, and done says that it has.
	out        chan outgoing
	quit, done chan struct{}

	mu      sync.Mutex
	waiting map[uint64]chan<- error
}

// outgoing is a message that waits to be written.
type outgoing struct {
	message *nats.Msg
	// still says, when its turn has come, whether it is to be sent; nil: it is.
	still func() bool
}

func newPublisher(l *link) (*publisher, error) {
	p := &publisher{
		link: l, inbox: l.nc.NewInbox(), waiting: map[uint64]chan<- error{},
		out: make(chan outgoing, outRoom), quit: make(chan struct{}), done: make(chan struct{}),
	}
	sub, err := l.nc.Subscribe(p.inbox+".*", p.answered)
	if err != nil {
		return nil, err
	}
	// What comes is bounded by what was asked.
	p.sub = sub
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return nil, err
	}
	go p.write()
	return p, nil
}

// write publishes what the tasks have to say, one after the other: what comes close together then leaves in
// one piece, which is easier for both ends of the connection.
func (p *publisher) write() {
	defer close(p.done)
	for {
		select {
		case next := <-p.out:
			// Others that have something to say by now come first.
			runtime.Gosched()
			for range len(p.out) {
				p.publish(next)
				next = <-p.out
			}
			p.publish(next)
		case <-p.quit:
			return
		}
	}
}

func (p *publisher) publish(next outgoing) {
	message := next.message
	if next.still != nil && !next.still() {
		return
	}
	// The client would keep it for later, when nobody waits for it any more.
	if message.Reply != "" && !p.link.nc.IsConnected() {
		p.end(message.Reply, errAway)
		return
	}
	if err := p.link.nc.PublishMsg(message); err != nil && message.Reply != "" {
		p.end(message.Reply, publishError(err))
	}
}

func publishError(err error) error {
	if errors.Is(err, nats.ErrMaxPayload) {
		return errTooLarge
	}
	return err
}

// send hands a message to the writer; false where there is none any more.
func (p *publisher) send(next outgoing) bool {
	select {
	case p.out <- next:
		return true
	case <-p.quit:
		return false
	}
}

// close ends the writer.
func (p *publisher) close() {
	close(p.quit)
	<-p.done
}

func (p *publisher) answered(answer *nats.Msg) { p.end(answer.Subject, stored(answer)) }

// end tells the one who waits for the answer on a subject what came of it.
func (p *publisher) end(subject string, result error) {
	token, err := strconv.ParseUint(subject[strings.LastIndexByte(subject, '.')+1:], 36, 64)
	if err != nil {
		return
	}
	p.mu.Lock()
	waiting := p.waiting[token]
	delete(p.waiting, token)
	p.mu.Unlock()
	if waiting != nil {
		waiting <- result
	}
}

// stored reads the acknowledgement of a stream.
func stored(answer *nats.Msg) error {
	if len(answer.Data) == 0 {
		return fmt.Errorf("no stream takes it at the moment (status %s)", answer.Header.Get("Status"))
	}
	var body struct {
		Seq   uint64 `json:"seq"`
		Error *struct {
			Code        int    `json:"err_code"`
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(answer.Data, &body); err != nil {
		return fmt.Errorf("the answer of the stream cannot be read: %w", err)
	}
	switch {
	case body.Error != nil && body.Error.Code == codeFenced:
		return errFenced
	case body.Error != nil:
		return fmt.Errorf("the stream refuses: %s (%d)", body.Error.Description, body.Error.Code)
	case body.Seq == 0:
		return errors.New("the answer of the stream has no sequence")
	default:
		return nil
	}
}

// sizeOf is the size of a message as the limit counts it: headers and body.
func sizeOf(message *nats.Msg) int64 {
	size := len(message.Data)
	if len(message.Header) > 0 {
		size += len("NATS/1.0\r\n\r\n")
	}
	for name, values := range message.Header {
		for _, value := range values {
			size += len(name) + len(": ") + len(value) + len("\r\n")
		}
	}
	return int64(size)
}

// fits is nil for a message that is small enough.
func (p *publisher) fits(message *nats.Msg) error {
	most := p.link.nc.MaxPayload()
	if said := p.most.Load(); said > 0 {
		most = min(most, said)
	}
	if sizeOf(message) > most {
		return fmt.Errorf("%w (%d bytes, headers included)", errTooLarge, most)
	}
	return nil
}

// once publishes and waits for the acknowledgement; while the broker is away it says so.
func (p *publisher) once(ctx context.Context, message *nats.Msg) error {
	if err := p.fits(message); err != nil {
		return err
	}
	changed := p.link.changed.wait()
	if !p.link.nc.IsConnected() {
		return errAway
	}
	token := p.last.Add(1)
	answer := make(chan error, 1)
	p.mu.Lock()
	p.waiting[token] = answer
	p.mu.Unlock()
	// A message of its own: that of an earlier try may still wait to be written.
	try := *message
	try.Reply = p.inbox + "." + strconv.FormatUint(token, 36)
	forget := func(err error) error {
		p.mu.Lock()
		delete(p.waiting, token)
		p.mu.Unlock()
		return err
	}
	if !p.send(outgoing{&try, func() bool { return p.isWaitedFor(token) }}) {
		return forget(errAway)
	}
	timer := time.NewTimer(answerTimeout)
	defer timer.Stop()
	for {
		select {
		case err := <-answer:
			return err
		case <-changed:
			if !p.link.nc.IsConnected() || p.link.gone() != nil {
				return forget(errLost)
			}
			changed = p.link.changed.wait()
		case <-timer.C:
			return forget(errors.New("the stream does not answer"))
		case <-ctx.Done():
			return forget(context.Cause(ctx))
		}
	}
}

// isWaitedFor says whether somebody still waits for an answer: what an attempt has stored ends with it.
func (p *publisher) isWaitedFor(token uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, waiting := p.waiting[token]
	return waiting
}

// store publishes until it is acknowledged, see [publisher.again].
func (p *publisher) store(ctx context.Context, message *nats.Msg) error {
	err := p.once(ctx, message)
	if !tryAgain(err) {
		return err
	}
	return p.again(ctx, message, err)
}

func tryAgain(err error) bool {
	return err != nil && !errors.Is(err, errFenced) && !errors.Is(err, errTooLarge)
}

// again tries what may have been stored already, only without our hearing of it: the message must have a fence
// or an id, or be one that may come twice. It waits while the broker is away, and gives up after some tries
// while it is there. What the first try ended with is said.
func (p *publisher) again(ctx context.Context, message *nats.Msg, err error) error {
	wentOut := !errors.Is(err, errAway)
	pause := backoff{first: firstPublishPause, most: lastPublishPause}
	for try := 2; ; {
		if !sleep(ctx, pause.next()) {
			return context.Cause(ctx)
		}
		if err := p.link.connected(ctx); err != nil {
			return err
		}
		err := p.once(ctx, message)
		switch {
		case errors.Is(err, errFenced) && wentOut:
			return nil // most likely by the earlier try; the record is there in any case
		case !tryAgain(err):
			return err
		case errors.Is(err, errAway):
			continue
		case errors.Is(err, errLost):
		case try >= tries:
			return err
		default:
			try++
		}
		wentOut = true
	}
}
