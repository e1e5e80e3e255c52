package metafleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/metafleet/metafleet/worker-sdk/go/internal/dataschema"
	"github.com/metafleet/metafleet/worker-sdk/go/internal/names"
	"github.com/metafleet/metafleet/worker-sdk/go/internal/options"
	"github.com/metafleet/metafleet/worker-sdk/go/internal/source"
)

const (
	// stopping is how long what was told to stop may take to notice.
	stopping = time.Second
	// flushing is how long the last messages may take to leave.
	flushing = 3 * time.Second
)

// worker is everything around the plugin.
type worker struct {
	plugin   Plugin
	manifest Manifest
	checker  *dataschema.Checker
	options  options.Options
	tracer   Tracer
	log      *slog.Logger
	names    names.Names
	instance string
	host     string
	started  time.Time

	link      *link
	publisher *publisher
	leases    *leases
	permits   *permits
	standing  *standing
	totals    totals
	settings  atomic.Pointer[Settings]
	remote    atomic.Pointer[source.Remote]
	http      httpClient
	// beat is the interval between signs of life, in milliseconds.
	beat      atomic.Int64
	announce  chan struct{}
	configure chan configuring

	// drain ends when nothing new is to be taken; abort ends when what runs is to stop, too.
	drain    context.Context
	stopNew  context.CancelFunc
	abort    context.Context
	stopAll  context.CancelFunc
	handlers sync.WaitGroup
	pool     *pool
	// behind counts handlers that were left behind and have not come back; hopeless closes when they are too many.
	behind   atomic.Int64
	hopeless chan struct{}
	giveUp   sync.Once
}

// errHopeless ends a worker that has left too many handlers behind.
var errHopeless = errors.New("too many handlers did not come back after their deadline; only a new process gets rid of them")

// newWorker is a worker that is not connected yet.
func newWorker(plugin Plugin, o options.Options, s *setup) (*worker, error) {
	manifest := plugin.Manifest()
	if err := manifest.check(); err != nil {
		return nil, err
	}
	if o.Plugin != "" && o.Plugin != manifest.ID() {
		return nil, &options.Error{Name: "METAFLEET_PLUGIN", Problem: fmt.Sprintf("this is the plugin %s, not %s", manifest.ID(), o.Plugin)}
	}
	instance := o.Instance
	if instance == "" {
		instance = fmt.Sprintf("%s-%d-%08x", manifest.ID(), os.Getpid(), rand.Uint32())
	}
	host, err := os.Hostname()
	if err != nil {
		host = "" // for people only
	}
	return &worker{
		plugin: plugin, manifest: manifest, checker: dataschema.New(manifest.ID(), manifest.fields.DataSchema), options: o,
		tracer: s.tracer, log: s.log.With("plugin.id", manifest.ID(), "instance.id", instance),
		names: names.New(o.Prefix), instance: instance, host: host, started: time.Now(),
		pool: newPool(), leases: newLeases(), permits: newPermits(), standing: newStanding(),
		announce: make(chan struct{}, 1), configure: make(chan configuring, 16), hopeless: make(chan struct{}),
	}, nil
}

// serve runs until drain ends or the coordinator asks for a drain, finishes what runs, and leaves.
func (w *worker) serve(drain context.Context) error {
	w.drain, w.stopNew = context.WithCancel(drain)
	defer w.stopNew()
	// What runs goes on during a drain.
	w.abort, w.stopAll = context.WithCancel(context.WithoutCancel(drain))
	defer w.stopAll()
	w.log.Info("starting", "version", w.manifest.Version())
	var err error
	if w.link, err = connect(w.drain, &w.options, w.instance, w.log); err != nil || w.link == nil {
		return err
	}
	defer w.link.nc.Close()
	if w.publisher, err = newPublisher(w.link); err != nil {
		return err
	}
	defer w.publisher.close()
	leave, stopParts := context.WithCancel(context.Background())
	defer stopParts()
	var parts sync.WaitGroup
	controls, err := w.listen()
	if err != nil {
		return err
	}
	parts.Go(func() { w.leases.renew(leave, w.publisher) })
	parts.Go(func() { w.showSignsOfLife(leave) })
	parts.Go(func() { w.obey(leave, controls) })
	parts.Go(func() { w.configureInTurn(leave) })

	err = w.pull()
	if w.finish() {
		w.pool.close() // with tasks that go on, the end of the process ends it
	}
	stopParts()
	parts.Wait()
	w.farewell()
	return err
}

// pull announces the worker, and pulls until the drain or until it cannot go on.
func (w *worker) pull() error {
	if err := w.announceUntilAccepted(w.drain); err != nil || w.drain.Err() != nil {
		return err
	}
	pulling, stop := context.WithCancelCause(w.drain)
	defer stop(nil)
	var beside sync.WaitGroup
	defer beside.Wait()
	beside.Go(func() {
		if err := w.announceWhenNeeded(pulling); err != nil {
			stop(err)
		}
	})
	beside.Go(func() {
		select {
		case <-w.hopeless:
			stop(errHopeless)
		case <-pulling.Done():
		}
	})
	for pulling.Err() == nil {
		p, err := newPuller(w, w.standing.now().lane)
		if err == nil {
			err = p.run(pulling)
		}
		if err != nil {
			stop(nil)
			return w.closed(err)
		}
	}
	if cause := context.Cause(pulling); !errors.Is(cause, context.Canceled) && w.drain.Err() == nil {
		return cause
	}
	return nil
}

// closed says whether it were the credentials that closed the connection.
func (w *worker) closed(err error) error {
	if refused(err) {
		return &CredentialsError{err}
	}
	return err
}

// finish waits for what runs, within the grace period, and gives back the rest; false where something hangs
// in the broker even then.
func (w *worker) finish() bool {
	w.stopNew()
	w.standing.update(func(s *state) { s.draining = true })
	w.log.Info("draining")
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.handlers.Wait()
	}()
	grace := time.NewTimer(w.options.Grace)
	defer grace.Stop()
	select {
	case <-done:
		return true
	case <-grace.C:
	}
	w.log.Warn("the grace period is over, running tasks are given back")
	w.stopAll()
	last := time.NewTimer(answerTimeout + stopping)
	defer last.Stop()
	select {
	case <-done:
		return true
	case <-last.C:
		return false
	}
}

// farewell takes the sign of life down and sends what is left to send.
func (w *worker) farewell() {
	if w.link.nc.IsConnected() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*stopping)
		defer cancel()
		gone := nats.NewMsg(w.names.Instance(w.manifest.ID(), w.instance))
		gone.Header.Set("KV-Operation", "DEL")
		if err := w.publisher.once(ctx, gone); err != nil {
			w.log.Debug("could not take the sign of life down", "error", err)
		}
		if err := w.link.nc.FlushTimeout(flushing); err != nil {
			w.log.Debug("could not flush", "error", err)
		}
	}
	if stopper, ok := w.plugin.(Stopper); ok {
		if err := beside(stopping, func() error { stopper.OnStop(); return nil }); err != nil {
			w.log.Warn("the plugin did not stop well", "error", err)
		}
	}
	w.log.Info("stopped")
}

// places is how many tasks run at once: what the environment says, else the operator, else the manifest, else
// one for each processor.
func (w *worker) places(operator *uint32) int {
	switch {
	case w.options.Concurrency > 0:
		return w.options.Concurrency
	case operator != nil && *operator > 0:
		return int(*operator)
	case w.manifest.fields.Concurrency != nil && *w.manifest.fields.Concurrency > 0:
		return int(*w.manifest.fields.Concurrency)
	default:
		return runtime.GOMAXPROCS(0)
	}
}

// beside runs code of the plugin that may take a while, or panic. One that hangs is left behind.
func beside(limit time.Duration, call func() error) error {
	done := make(chan error, 1)
	go func() {
		err := errors.New("it ended its goroutine")
		defer func() {
			if panicked := recover(); panicked != nil {
				err = fmt.Errorf("it panicked: %v", panicked)
			}
			done <- err
		}()
		err = call()
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return fmt.Errorf("it does not answer within %v", limit)
	}
}
