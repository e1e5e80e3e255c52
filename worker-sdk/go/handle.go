package metafleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/metafleet/metafleet/worker-sdk/go/internal/delivery"
	"github.com/metafleet/metafleet/worker-sdk/go/internal/names"
	"github.com/metafleet/metafleet/worker-sdk/go/internal/share"
	"github.com/metafleet/metafleet/worker-sdk/go/wire"
)

const (
	// afterDeadline the lease goes on so long, for the handler to clean up.
	afterDeadline = 2 * time.Second
	// progressEvery is the shortest time between two reports of progress.
	progressEvery = time.Second
	// giveBackDelay is before a task that is given back is delivered elsewhere.
	giveBackDelay = 100 * time.Millisecond
	// otherVersionDelay is for tasks for another version: time to take them out of the stream.
	otherVersionDelay = time.Second
)

// deliver takes hold of a delivery and has it run; it does not wait.
func (w *worker) deliver(message *nats.Msg, place delivery.Place, queue share.Queue) {
	now := time.Now()
	// Nothing begins later than this, and it is set anew when the attempt begins.
	until := now.Add(w.manifest.limit(0) + afterDeadline)
	h, what := w.leases.begin(now, message.Subject, message.Reply, place, until)
	switch what {
	case begunRunning:
	case begunSettled:
		w.tell(message.Reply, delivery.Ack)
	case begunNew:
		w.permits.take(queue)
		w.handlers.Add(1)
		w.pool.run(func() {
			defer w.handlers.Done()
			defer w.permits.giveBack(queue)
			w.run(message, h)
		})
	}
}

// giveBack returns a delivery that came when nothing was to be begun any more.
func (w *worker) giveBack(message *nats.Msg, queue share.Queue) {
	place, isTask := delivery.ParsePlace(message.Reply)
	if !isTask {
		return
	}
	now := time.Now()
	h, what := w.leases.begin(now, message.Subject, message.Reply, place, now.Add(w.options.Grace+afterDeadline))
	switch what {
	case begunRunning:
	case begunSettled:
		w.tell(message.Reply, delivery.Ack)
	case begunNew:
		w.handlers.Go(func() {
			if j, err := w.read(message, h); err == nil {
				j.giveBack()
			} else {
				w.leases.end(h, false)
			}
		})
	}
}

// tell answers a delivery; an answer that is lost has the effect of a crash.
func (w *worker) tell(reply string, body []byte) {
	if !w.publisher.send(outgoing{message: &nats.Msg{Subject: reply, Data: body}}) {
		w.log.Warn("could not answer a delivery any more")
	}
}

// job is one delivery that this worker has taken hold of.
type job struct {
	w       *worker
	held    *held
	message *nats.Msg
	address names.Address
	task    wire.Task
	path    string
	used    uint64
	took    time.Duration
	// trace says which context goes into what is published.
	trace context.Context

	mu   sync.Mutex
	told time.Time
}

// read makes a job of a delivery. Which plugin and which file it is about, its subject says. A body that
// cannot be read leaves a job that stands for it, so that its failure can be told.
func (w *worker) read(message *nats.Msg, h *held) (*job, error) {
	j := &job{w: w, held: h, message: message, trace: context.Background()}
	var err error
	if said := message.Header.Get("Mf-Attempts-Used"); said != "" {
		if j.used, err = strconv.ParseUint(said, 10, 32); err != nil {
			j.used = 0 // as without the header
		}
	}
	if j.address, err = w.names.ParseTask(message.Subject); err != nil {
		return nil, err
	}
	err = json.Unmarshal(message.Data, &j.task)
	if err == nil && j.task.Type != wire.TaskType {
		err = fmt.Errorf("type: `%s` is not `%s`", j.task.Type, wire.TaskType)
	}
	if err == nil && j.task.Retry.MaxAttempts == 0 {
		err = errors.New("retry: maxAttempts is missing")
	}
	if err == nil {
		j.path, err = exactPath(j.task.FilePath, j.task.FilePathBytes)
	}
	if err != nil {
		j.task = unreadable(j.address, h)
		j.message = &nats.Msg{Subject: message.Subject, Header: message.Header}
	}
	j.task.PluginID, j.task.Cid, j.task.Lane = j.address.Plugin, j.address.CID, j.address.Lane
	return j, err
}

// unreadable stands for a task that cannot be read.
func unreadable(address names.Address, h *held) wire.Task {
	return wire.Task{
		Type: wire.TaskType, TaskID: fmt.Sprintf("00000000-0000-8000-8000-%012x", h.message.sequence&0xffffffffffff),
		PluginID: address.Plugin, Cid: address.CID, Retry: wire.RetryPolicy{MaxAttempts: 1, DelaysMs: []uint64{}},
	}
}

// attemptNumber counts from 1; a newer delivery of the running task raises it.
func (j *job) attemptNumber() uint32 {
	_, delivered := j.w.leases.latest(j.held)
	return delivery.Attempt(delivered, j.used)
}

// run is the life of one delivery: read it, run the handler, settle it.
func (w *worker) run(message *nats.Msg, h *held) {
	j, err := w.read(message, h)
	if j == nil {
		// The consumer's filter keeps this from happening; nobody could be told.
		w.log.Error("a task whose subject makes no sense is dropped", "error", err)
		w.tell(message.Reply, delivery.Term("the subject makes no sense"))
		w.leases.end(h, true)
		return
	}
	w.totals.started.Add(1)
	if err != nil {
		j.fail(Permanent(fmt.Errorf("the task cannot be read: %w", err)))
		return
	}
	if version := j.task.PluginVersion; version != "" && version != w.manifest.Version() {
		j.leaveToOther()
		return
	}
	begun := time.Now()
	task := j.begin(begun)
	ctx, end := w.tracer.Begin(w.abort, j.span(task), message.Header)
	j.trace = ctx
	got, leftBehind := attempt(ctx, w.pool.run, w.plugin, task, w.manifest.stall(&j.task))
	j.took = time.Since(begun)
	w.totals.busy.Add(int64(j.took))
	if leftBehind != nil {
		w.leave(task, leftBehind)
	} else {
		task.end()
	}
	defer func() { end(got.err) }()
	if got.err != nil && w.abort.Err() != nil {
		j.giveBack()
		return
	}
	var meta map[string]Value
	if got.err == nil {
		meta, got.err = check(w.checker, got.outcome)
	}
	j.settle(got.outcome, meta, got.err)
}

// begin makes the task that the handler sees.
func (j *job) begin(now time.Time) *Task {
	w := j.w
	deadline := now.Add(w.manifest.limit(j.task.DeadlineMs))
	w.leases.keep(j.held, deadline.Add(afterDeadline))
	w.leases.name(j.held, j.task.TaskID, j.task.Cid)
	task := &Task{
		body: &j.task, filePath: j.path, attempt: j.attemptNumber(), deadline: deadline, begun: now, port: j,
		files: files{w.options.Paths, w.remote.Load()}, base: w.log,
	}
	if settings := w.settings.Load(); settings != nil {
		task.settings = *settings
	}
	return task
}

// leave watches a handler that has not come back in time. There may be some such; with too many, only a new
// process helps.
func (w *worker) leave(task *Task, result <-chan said) {
	behind := w.behind.Add(1)
	most := max(8, 2*int64(w.standing.now().places))
	task.Log().Warn("the handler does not heed the end of its context, it is left behind", "behind", behind)
	if behind >= most {
		w.giveUp.Do(func() { close(w.hopeless) })
	}
	go func() {
		for range result { // what it says now comes too late
		}
		w.behind.Add(-1)
		task.end()
	}()
}

// progress implements port.
func (j *job) progress(_ *Task, fraction float64, note string) {
	w, now := j.w, time.Now()
	w.leases.progress(j.held, fraction)
	j.mu.Lock()
	due := j.told.IsZero() || now.Sub(j.told) >= progressEvery
	if due {
		j.told = now
	}
	j.mu.Unlock()
	if !due {
		return
	}
	signal := wire.SignalProgress{SignalBase: j.about(), Kind: "progress", Fraction: fraction, Note: delivery.Short(w.hide(note))}
	if err := j.say("progress", signal); err != nil {
		w.log.Debug("could not report progress", "error", err)
	}
}
