package metafleet

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/metafleet/metafleet/worker-sdk/go/internal/dataschema"
	"github.com/metafleet/metafleet/worker-sdk/go/internal/delivery"
)

// cleanUp is the time for a handler to come back once its context has ended; then it is left behind.
const cleanUp = 100 * time.Millisecond

// errStopped is why the context of a handler ends when the worker has to stop at once.
var errStopped = errors.New("the worker was stopped")

// said is what a handler came back with.
type said struct {
	outcome Outcome
	err     error
}

// attempt has the handler run once, in a goroutine of its own that run gives, under the deadline and the limit of progress of its task.
//
// Where the time is over the attempt has failed, whatever the handler says in the moment that it gets to
// clean up. A handler that has not come back even then is left behind: the channel is not nil, and is
// closed when it does.
func attempt(base context.Context, run func(func()), plugin Plugin, task *Task, stall time.Duration) (said, <-chan said) {
	ctx, cancel := context.WithDeadline(base, task.deadline)
	defer cancel()
	task.life = ctx
	result := make(chan said, 1)
	run(func() { call(ctx, plugin, task, result) })
	why := watch(ctx, task, stall, result)
	if why.err == nil || !errors.Is(why.err, errOver) {
		return why, nil
	}
	cancel()
	last := time.NewTimer(cleanUp)
	defer last.Stop()
	select {
	case <-result: // whatever it says now, it had its time
		return why, nil
	case <-last.C:
		return why, result
	}
}

// errOver marks the errors of attempts whose time was over before the handler came back.
var errOver = errors.New("its time is over")

// over is an error that reads as its text alone.
type over string

func (o over) Error() string        { return string(o) }
func (o over) Is(target error) bool { return target == errOver }

// watch waits for the handler, for the end of its time, or for too long a time without progress.
func watch(ctx context.Context, task *Task, stall time.Duration, result <-chan said) said {
	var stalled <-chan time.Time
	var timer *time.Timer
	if stall > 0 {
		timer = time.NewTimer(stall)
		defer timer.Stop()
		stalled = timer.C
	}
	for {
		select {
		case got := <-result:
			if got.err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
				got.err = timedOut(task)
			}
			return got
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return said{err: timedOut(task)}
			}
			return said{err: over(errStopped.Error())}
		case <-stalled:
			rest := stall - (time.Since(task.begun) - time.Duration(task.gotOn.Load()))
			if rest <= 0 {
				return said{err: over(fmt.Sprintf("timed out: no progress for %d ms", stall.Milliseconds()))}
			}
			timer.Reset(rest)
		}
	}
}

func timedOut(task *Task) error {
	return over(fmt.Sprintf("timed out after %d ms", task.deadline.Sub(task.begun).Milliseconds()))
}

// call runs the handler, and survives its panic and its Goexit.
func call(ctx context.Context, plugin Plugin, task *Task, result chan<- said) {
	got := said{err: errors.New("the handler ended its goroutine")}
	returned := false
	defer func() {
		if !returned {
			if panicked := recover(); panicked != nil {
				task.Log().Error("the handler panicked", "panic", delivery.Short(fmt.Sprint(panicked)), "stack", string(debug.Stack()))
				got.err = fmt.Errorf("panicked: %v", panicked)
			}
		}
		result <- got
		close(result)
	}()
	got.outcome, got.err = plugin.Process(ctx, task)
	returned = true
}

// check looks whether what a handler said may stand: its metadata must fit the dataSchema.
func check(checker *dataschema.Checker, outcome Outcome) (map[string]Value, error) {
	if outcome.kind == outcomeNone {
		return nil, Permanentf("Process returned no outcome; use metafleet.Completed or another one")
	}
	meta, err := outcome.meta.finish()
	if err != nil {
		return nil, Permanent(err)
	}
	return meta, Permanent(checker.Check(meta))
}
