package metafleet

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/metafleet/metafleet/worker-sdk/go/internal/delivery"
	"github.com/metafleet/metafleet/worker-sdk/go/wire"
)

const (
	// controlsRoom is for requests that were not obeyed yet; more are dropped, and told again by who sent them.
	controlsRoom = 256
	// tellTimeout is how long a plugin may take to hear of a pause.
	tellTimeout = 2 * time.Second
)

// listen subscribes to what this worker is told.
func (w *worker) listen() (<-chan *nats.Msg, error) {
	requests := make(chan *nats.Msg, controlsRoom)
	for _, instance := range []string{"", w.instance} {
		if _, err := w.link.nc.ChanSubscribe(w.names.Control(w.manifest.ID(), instance), requests); err != nil {
			return nil, err
		}
	}
	return requests, nil
}

// obey does what the worker is told, until ctx ends.
func (w *worker) obey(ctx context.Context, requests <-chan *nats.Msg) {
	for {
		select {
		case <-ctx.Done():
			return
		case request := <-requests:
			control, err := wire.ParseControl(request.Data)
			if err != nil {
				w.log.Warn("a control request cannot be obeyed", "error", err)
				w.reply(request, err)
				continue
			}
			if settings, ok := control.(*wire.ControlConfigure); ok {
				w.obeyConfigure(request, settings.Settings)
				continue
			}
			w.obeyOne(control)
			w.reply(request, nil)
		}
	}
}

func (w *worker) obeyOne(control wire.Control) {
	switch control.(type) {
	case *wire.ControlPause:
		w.pause(true)
	case *wire.ControlResume:
		w.pause(false)
	case *wire.ControlDrain:
		w.log.Info("told to drain")
		w.stopNew()
	case *wire.ControlAnnounce:
		w.announceAgain()
	default: // a ping is only answered
	}
}

// obeyConfigure does not wait for the plugin: it may take a minute, and a drain must be heard meanwhile.
func (w *worker) obeyConfigure(request *nats.Msg, settings Settings) {
	done := make(chan error, 1)
	select {
	case w.configure <- configuring{settings, done}:
		go func() { w.reply(request, <-done) }()
	default:
		w.reply(request, errors.New("the plugin still thinks about earlier settings"))
	}
}

func (w *worker) reply(request *nats.Msg, err error) {
	if request.Reply == "" {
		return
	}
	answer := wire.ControlReply{Success: err == nil, Instance: w.instance}
	if err != nil {
		answer.Error = delivery.Short(err.Error())
	}
	body, err := wire.Marshal(answer)
	if err == nil {
		err = request.Respond(body)
	}
	if err != nil {
		w.log.Warn("could not answer a control request", "error", err)
	}
}

// pause pauses or resumes; the plugin is told only when that is a change, and not waited for long.
func (w *worker) pause(paused bool) {
	if !w.standing.update(func(s *state) { s.paused = paused }) {
		return
	}
	w.log.Info("pulling was switched", "paused", paused)
	pauser, ok := w.plugin.(Pauser)
	if !ok {
		return
	}
	tell := pauser.OnResume
	if paused {
		tell = pauser.OnPause
	}
	if err := beside(tellTimeout, func() error { tell(); return nil }); err != nil {
		w.log.Warn("the plugin did not take it well", "paused", paused, "error", err)
	}
}
