package metafleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/metafleet/metafleet/worker-sdk/go/internal/delivery"
	"github.com/metafleet/metafleet/worker-sdk/go/wire"
)

// patience is how long settling may take, a restart of the broker included; the lease is renewed so long.
const patience = 10 * time.Minute

// settle carries out what a handler said, in an order that loses nothing:
//
//	completed, skipped    record, acknowledged            → ack
//	forward               submission, acknowledged        → record, acknowledged → ack
//	retryable             signal `retrying`, best effort  → nak with the delay
//	retryable, long wait  signal `deferred`, acknowledged → ack
//	retry later           signal `deferred`, acknowledged → ack
//	no further attempt    signal `failed`, acknowledged   → term
//
// A crash between two steps repeats the first one: the record is fenced by the revision it replaces, signals
// are recognised by what they are about.
func (j *job) settle(outcome Outcome, meta map[string]Value, err error) {
	j.w.leases.keep(j.held, time.Now().Add(patience))
	if err != nil {
		j.fail(err)
		return
	}
	switch outcome.kind {
	case outcomeSkipped:
		j.record(wire.RecordStatusSkipped, nil, outcome.reason)
	case outcomeLater:
		j.w.totals.deferred.Add(1)
		j.postpone(outcome.after, outcome.reason, j.attemptNumber()-1) // waiting costs no attempt
	case outcomeFile, outcomePlugin:
		j.forward(outcome, meta)
	default:
		j.record(wire.RecordStatusCompleted, meta, "")
	}
}

func (j *job) forward(outcome Outcome, meta map[string]Value) {
	reason, err := j.handOn(outcome)
	switch {
	case errors.Is(err, errNotHandedOn):
		j.leaveToLease(err)
	case err != nil:
		j.fail(err)
	case len(meta) == 0:
		j.record(wire.RecordStatusSkipped, nil, reason)
	default:
		j.record(wire.RecordStatusCompleted, meta, "")
	}
}

func (j *job) record(status wire.RecordStatus, meta map[string]Value, reason string) {
	attempt := j.attemptNumber()
	record := wire.Record{
		Type: wire.RecordType, TaskID: j.task.TaskID, PluginID: j.task.PluginID, Cid: j.task.Cid, Status: status,
		DurationMs: millis(j.took), Attempt: &attempt, PluginVersion: j.w.manifest.Version(), Fingerprint: j.task.Fingerprint,
		FinishedAt: now(), Instance: j.w.instance, Reason: delivery.Short(j.w.hide(reason)), Meta: meta,
	}
	body, err := wire.Marshal(record)
	if err != nil {
		j.fail(Permanent(err))
		return
	}
	message := j.carrying(j.w.names.Record(j.task.Cid, j.task.PluginID, j.task.Trial), body)
	message.Header["Nats-Expected-Last-Subject-Sequence"] = []string{strconv.FormatUint(j.task.RecordRevision, 10)}
	switch err := j.store(message); {
	case err == nil && status == wire.RecordStatusCompleted:
		j.w.totals.completed.Add(1)
		j.ack()
	case err == nil:
		j.w.totals.skipped.Add(1)
		j.ack()
	case errors.Is(err, errFenced):
		j.w.totals.superseded.Add(1)
		j.ack()
	case errors.Is(err, errTooLarge):
		j.fail(Permanentf("the record has %d bytes, %w", len(body), err))
	default:
		j.leaveToLease(err)
	}
}

func (j *job) fail(err error) {
	text, attempt := delivery.Short(j.w.hide(err.Error())), j.attemptNumber()
	verdict, delay := delivery.Judge(j.task.Retry, IsPermanent(err), attempt)
	switch verdict {
	case delivery.Retry:
		j.w.totals.retried.Add(1)
		signal := wire.SignalRetrying{SignalBase: j.about(), Kind: "retrying", Error: text, DelayMs: millis(delay), DurationMs: millis(j.took)}
		// For people only: the nak says the same to the broker.
		if err := j.say("retrying", signal); err != nil {
			j.w.log.Debug("could not report a failed attempt", "error", err)
		}
		j.nak(delay)
	case delivery.Schedule:
		j.w.totals.retried.Add(1)
		j.postpone(delay, text, attempt)
	case delivery.GiveUp:
		j.w.totals.failed.Add(1)
		j.w.log.Info("the task failed", "task.id", j.task.TaskID, "file.cid", j.task.Cid, "error", text, "permanent", IsPermanent(err))
		signal := failed{SignalFailed: wire.SignalFailed{SignalBase: j.about(), Kind: "failed", Error: text, Permanent: IsPermanent(err), DurationMs: millis(j.took)}}
		j.report("failed", func(task json.RawMessage) any { signal.Task = task; return signal }, func() { j.answer(delivery.Term(text), true) })
	}
}

// postpone has the coordinator publish the task again; used is how many attempts are used up.
func (j *job) postpone(delay time.Duration, reason string, used uint32) {
	signal := deferred{SignalDeferred: wire.SignalDeferred{SignalBase: j.about(), Kind: "deferred", Reason: delivery.Short(j.w.hide(reason)), DelayMs: max(1, millis(delay)), AttemptsUsed: used}}
	j.report("deferred", func(task json.RawMessage) any { signal.Task = task; return signal }, j.ack)
}

// failed and deferred send the task back as it came, with what this package does not know.
type failed struct {
	wire.SignalFailed
	Task json.RawMessage `json:"task"`
}

type deferred struct {
	wire.SignalDeferred
	Task json.RawMessage `json:"task"`
}

// about gives what all signals have.
func (j *job) about() wire.SignalBase {
	return wire.SignalBase{
		Type: wire.SignalType, TaskID: j.task.TaskID, Cid: j.task.Cid, Queue: wire.Queue(j.address.Queue), Attempt: j.attemptNumber(),
		Instance: j.w.instance, At: now(),
	}
}

// report stores a signal that must not be lost, and then answers. Where the task makes it too large, what
// others wrote about the file is left out; the coordinator has that.
func (j *job) report(kind string, signal func(task json.RawMessage) any, then func()) {
	send := func(task json.RawMessage) error {
		body, err := wire.Marshal(signal(task))
		if err != nil {
			return err
		}
		message := j.carrying(j.w.names.Signal(j.task.PluginID, kind), body)
		message.Header["Nats-Msg-Id"] = []string{fmt.Sprintf("%s.%d.%d.%s", kind, j.held.message.sequence, j.attemptNumber(), secret)}
		return j.store(message)
	}
	asItCame := json.RawMessage(j.message.Data)
	var err error
	if len(asItCame) == 0 {
		asItCame, err = wire.Marshal(j.task)
	}
	if err == nil {
		err = send(asItCame)
	}
	if errors.Is(err, errTooLarge) {
		var fields map[string]json.RawMessage
		if err = json.Unmarshal(asItCame, &fields); err == nil {
			delete(fields, "existingMeta")
			if asItCame, err = wire.Marshal(fields); err == nil {
				err = send(asItCame)
			}
		}
	}
	if err != nil {
		j.leaveToLease(err)
		return
	}
	then()
}

// giveBack returns the task, because this worker stops: somebody else is to run it soon.
//
// The last delivery that the broker would make goes through the coordinator instead: a nak would make a dead
// letter of it.
func (j *job) giveBack() {
	attempt := j.attemptNumber()
	if attempt < j.task.Retry.MaxAttempts {
		j.nak(giveBackDelay)
		return
	}
	j.postpone(giveBackDelay, errStopped.Error(), attempt-1)
}

// leaveToOther does not run a task that is for another version of the plugin. The last delivery ends here:
// whoever still wants the task finds it missing and publishes it anew.
func (j *job) leaveToOther() {
	if j.attemptNumber() < j.task.Retry.MaxAttempts {
		j.nak(otherVersionDelay)
		return
	}
	j.ack()
}

// leaveToLease says nothing to the broker: the lease runs out and the task comes again.
func (j *job) leaveToLease(err error) {
	j.w.log.Warn("could not settle, leaving the task to its lease", "task.id", j.task.TaskID, "error", err)
	j.w.leases.end(j.held, false)
}

func (j *job) ack() { j.answer(delivery.Ack, true) }

// answer ends the delivery; settled tasks are remembered.
func (j *job) answer(body []byte, settled bool) {
	reply, _ := j.w.leases.latest(j.held)
	j.w.leases.end(j.held, settled)
	j.w.tell(reply, body)
}

// nak asks for the task again, as long as it is surely ours and the broker hears of it now: later somebody else
// may have it, whose delivery a nak would end, and the last one would become a dead letter while it runs. Else the
// lease runs out, which has the same effect.
func (j *job) nak(delay time.Duration) {
	w, h := j.w, j.held
	reply, _ := w.leases.latest(h)
	w.leases.end(h, false)
	still := func() bool {
		sure := w.link.nc.IsConnected() && w.leases.isSure(h, time.Now())
		if !sure {
			w.log.Info("somebody else may have the task by now, leaving it to its lease", "task.id", j.task.TaskID)
		}
		return sure
	}
	w.publisher.send(outgoing{&nats.Msg{Subject: reply, Data: delivery.Nak(delay)}, still})
}

func (j *job) store(message *nats.Msg) error {
	err := j.w.publisher.once(context.Background(), message)
	if !tryAgain(err) {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), patience, errors.New("the broker is away"))
	defer cancel()
	return j.w.publisher.again(ctx, message, err)
}

// say publishes a signal that may be lost.
func (j *job) say(kind string, signal any) error {
	body, err := wire.Marshal(signal)
	if err != nil {
		return err
	}
	return j.w.link.nc.PublishMsg(j.carrying(j.w.names.Signal(j.task.PluginID, kind), body))
}

// carrying makes a message that carries the trace on.
func (j *job) carrying(subject string, body []byte) *nats.Msg {
	message := &nats.Msg{Subject: subject, Data: body, Header: nats.Header{}}
	for _, name := range []string{"traceparent", "tracestate"} {
		if values := j.message.Header[name]; len(values) > 0 {
			message.Header[name] = values
		}
	}
	j.w.tracer.Inject(j.trace, message.Header)
	return message
}

func now() string { return time.Now().UTC().Format("2006-01-02T15:04:05.000Z") }
