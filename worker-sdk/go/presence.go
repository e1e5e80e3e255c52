package metafleet

import (
	"context"
	"os"
	"sync/atomic"
	"time"

	"github.com/metafleet/metafleet/worker-sdk/go/internal/delivery"
	"github.com/metafleet/metafleet/worker-sdk/go/wire"
)

const (
	// firstBeat is the interval of signs of life until the coordinator says another one.
	firstBeat = 5 * time.Second
	// healthTimeout is how long a plugin may think about its health.
	healthTimeout = 2 * time.Second
)

// totals is what a worker has done since its start.
type totals struct {
	started, completed, skipped, failed, retried, deferred, superseded, fetched atomic.Uint64
	// busy is the time spent in handlers, in nanoseconds.
	busy atomic.Int64
}

// lifeSign is wire.Instance with the bytes that came by HTTP.
type lifeSign struct {
	wire.Instance
	Totals totalsWithFetched `json:"totals"`
}

type totalsWithFetched struct {
	wire.Totals
	FetchedBytes uint64 `json:"fetchedBytes,omitempty"`
}

// showSignsOfLife shows one at every beat and at every change, until ctx ends.
func (w *worker) showSignsOfLife(ctx context.Context) {
	for {
		changed := w.standing.changed.wait()
		w.showSignOfLife()
		beat := firstBeat
		if ms := w.beat.Load(); ms > 0 {
			beat = time.Duration(ms) * time.Millisecond
		}
		timer := time.NewTimer(beat)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-changed:
		case <-timer.C:
			w.checkHealth(ctx)
		}
		timer.Stop()
	}
}

func (w *worker) checkHealth(ctx context.Context) {
	checker, ok := w.plugin.(HealthChecker)
	if !ok {
		return
	}
	limited, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	why := ""
	if err := beside(healthTimeout, func() error { return checker.Health(limited) }); err != nil {
		why = delivery.Short(w.hide(err.Error()))
	}
	w.standing.update(func(s *state) { s.unhealthy = why })
}

func (w *worker) showSignOfLife() {
	if !w.link.nc.IsConnected() {
		return
	}
	body, err := wire.Marshal(w.lifeSign(time.Now()))
	if err == nil {
		err = w.link.nc.Publish(w.names.Instance(w.manifest.ID(), w.instance), body)
	}
	if err != nil {
		w.log.Debug("could not show a sign of life", "error", err)
	}
}

func (w *worker) lifeSign(at time.Time) lifeSign {
	standing := w.standing.now()
	shown, problem := standing.shown()
	healthy := standing.unhealthy == ""
	sums := &w.totals
	return lifeSign{
		Instance: wire.Instance{
			Type: wire.InstanceType, PluginID: w.manifest.ID(), Instance: w.instance, State: shown, Error: problem, Healthy: &healthy,
			Version: w.manifest.Version(), Route: w.options.Route, Host: w.host, PID: uint32(os.Getpid()),
			StartedAt: w.started.UTC().Format(time.RFC3339), At: at.UTC().Format("2006-01-02T15:04:05.000Z"),
			Concurrency: uint32(standing.places), Running: w.leases.running(at),
		},
		Totals: totalsWithFetched{
			Totals: wire.Totals{
				Started: sums.started.Load(), Completed: sums.completed.Load(), Skipped: sums.skipped.Load(), Failed: sums.failed.Load(),
				Retried: sums.retried.Load(), Deferred: sums.deferred.Load(), Superseded: sums.superseded.Load(),
				BusyMs: millis(time.Duration(sums.busy.Load())),
			},
			FetchedBytes: sums.fetched.Load(),
		},
	}
}
