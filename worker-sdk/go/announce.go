package metafleet

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"reflect"
	"slices"
	"time"

	"github.com/metafleet/metafleet/worker-sdk/go/internal/delivery"
	"github.com/metafleet/metafleet/worker-sdk/go/internal/mask"
	"github.com/metafleet/metafleet/worker-sdk/go/internal/names"
	"github.com/metafleet/metafleet/worker-sdk/go/internal/options"
	"github.com/metafleet/metafleet/worker-sdk/go/internal/source"
	"github.com/metafleet/metafleet/worker-sdk/go/wire"
)

// Version is the version of this package.
const Version = "0.1.0"

const (
	// rest is the shortest time between two announcements.
	rest = 500 * time.Millisecond
	// configureTimeout is how long a plugin may think about its settings.
	configureTimeout = time.Minute
	// complainEvery so many tries the log says that nobody answers.
	complainEvery = 15
)

// announcement is wire.Announce with the manifest as it was written.
type announcement struct {
	wire.Announce
	Manifest json.RawMessage `json:"manifest"`
}

// accepted is the answer, with the offer of files.
type accepted struct {
	wire.AnnounceReplyAccepted
	Files *struct {
		URL   string `json:"url"`
		Token string `json:"token"`
	} `json:"files"`
}

// announceAgain says that there is reason to.
func (w *worker) announceAgain() {
	select {
	case w.announce <- struct{}{}:
	default:
	}
}

// announceUntilAccepted asks until the coordinator answers, and takes what it says; nil also when ctx came
// first.
func (w *worker) announceUntilAccepted(ctx context.Context) error {
	pause := backoff{first: 100 * time.Millisecond, most: longestPause}
	for try := 0; ; try++ {
		reply, err := w.ask(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && w.link.gone() != nil:
			return w.closed(w.link.gone())
		case err != nil && try%complainEvery == 0:
			w.log.Warn("no coordinator answers, announcing again", "why", err)
		case err != nil:
			w.log.Debug("no coordinator answers, announcing again", "why", err)
		default:
			return w.take(ctx, reply)
		}
		if !sleep(ctx, pause.next()) {
			return nil
		}
	}
}

// announceWhenNeeded announces after every reconnect and whenever there is reason to, until ctx ends or the
// fleet says no.
func (w *worker) announceWhenNeeded(ctx context.Context) error {
	epoch := w.link.times()
	for {
		changed := w.link.changed.wait()
		if times := w.link.times(); times == epoch {
			select {
			case <-ctx.Done():
				return nil
			case <-changed:
				continue
			case <-w.announce:
			}
		}
		epoch = w.link.times()
		if err := w.announceUntilAccepted(ctx); err != nil {
			return err
		}
		if !sleep(ctx, rest) {
			return nil
		}
	}
}

func (w *worker) ask(ctx context.Context) (json.RawMessage, error) {
	body, err := wire.Marshal(announcement{
		Announce: wire.Announce{
			Type: wire.AnnounceType, Instance: w.instance, Host: w.host, PID: uint32(os.Getpid()), Sdk: "go " + Version, Lanes: true,
			Route: w.options.Route,
		},
		Manifest: w.manifest.raw,
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	answer, err := w.link.nc.RequestWithContext(ctx, w.names.Signal(w.manifest.ID(), "announce"), body)
	if err != nil {
		return nil, err
	}
	return answer.Data, nil
}

// take does what the coordinator says.
func (w *worker) take(ctx context.Context, reply json.RawMessage) error {
	parsed, err := wire.ParseAnnounceReply(reply)
	if err != nil {
		w.log.Warn("the coordinator's answer cannot be read", "error", err)
		w.announceAgain()
		return nil
	}
	if rejected, ok := parsed.(*wire.AnnounceReplyRejected); ok {
		return &RejectedError{rejected.Reasons}
	}
	var answer accepted
	if err := json.Unmarshal(reply, &answer); err != nil {
		return err
	}
	lane := answer.Lane
	if lane == "" {
		lane = names.LaneMain
	}
	mine := lane
	if w.options.Route != "" {
		mine = w.options.Route
	}
	w.leases.setLease(delivery.Millis(max(answer.LeaseMs, 100)))
	w.beat.Store(int64(min(max(answer.HeartbeatMs, 100), 3_600_000)))
	w.publisher.most.Store(int64(min(answer.MaxPayload, 1<<40)))
	w.takeFiles(&answer)
	places := w.places(answer.Concurrency)
	w.log.Info("accepted by the coordinator", "lane", mine, "places", places)
	w.standing.update(func(s *state) { s.places, s.lane = places, mine })
	// Who serves a route was not started for other tasks, whoever answers.
	w.pause(answer.Paused || lane != mine)
	settings := w.settings.Load()
	if settings == nil || !same(*settings, answer.Settings) {
		// What comes of it is shown in the sign of life.
		if err := w.configureNow(ctx, answer.Settings); err != nil {
			w.log.Warn("the plugin refuses its settings, it does not serve", "error", err)
		}
	}
	return nil
}

func same(a, b map[string]any) bool {
	return maps.EqualFunc(a, b, func(x, y any) bool { return reflect.DeepEqual(x, y) })
}

// takeFiles notes who offers bytes of files that are not here; the environment goes before the answer.
func (w *worker) takeFiles(answer *accepted) {
	url, token := w.options.FilesURL, string(w.options.FilesToken)
	if answer.Files != nil {
		if url == "" {
			url = answer.Files.URL
		}
		if token == "" {
			token = answer.Files.Token
		}
	}
	if url == "" {
		w.remote.Store(nil)
		return
	}
	if err := options.CheckFilesURL(url); err != nil {
		w.log.Warn("the coordinator's offer of files cannot be used", "error", err)
		return
	}
	w.remote.Store(source.NewRemote(w.http.get(), url, token, &w.totals.fetched))
}

// configuring is one set of settings on its way to the plugin.
type configuring struct {
	settings Settings
	done     chan<- error
}

// configureNow has the plugin take settings, and waits for what it says; it ends with ctx.
func (w *worker) configureNow(ctx context.Context, settings Settings) error {
	done := make(chan error, 1)
	select {
	case w.configure <- configuring{settings, done}:
	case <-ctx.Done():
		return errors.New("the worker is draining")
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return errors.New("the worker is draining")
	}
}

// configureInTurn hands settings to the plugin one after the other, in the order in which they came.
func (w *worker) configureInTurn(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case next := <-w.configure:
			next.done <- w.configurePlugin(ctx, next.settings)
		}
	}
}

// hide takes the secrets among the settings out of a text for people.
func (w *worker) hide(text string) string {
	settings := w.settings.Load()
	if settings == nil {
		return text
	}
	return w.mask(*settings).Text(text)
}

// mask is for those settings that are secret, or may be because nobody has declared them.
func (w *worker) mask(settings Settings) mask.Mask {
	schema := w.manifest.Fields().ConfigSchema
	return mask.Of(settings, func(key string) bool {
		field, declared := schema[key]
		return !declared || field.Secret
	})
}

func (w *worker) configurePlugin(ctx context.Context, settings Settings) error {
	if settings == nil {
		settings = Settings{}
	}
	var err error
	if plugin, ok := w.plugin.(Configurer); ok {
		limited, cancel := context.WithTimeout(ctx, configureTimeout)
		defer cancel()
		result := make(chan error, 1)
		go func() {
			result <- beside(configureTimeout, func() error { return plugin.Configure(limited, maps.Clone(settings)) })
		}()
		select {
		case err = <-result:
		case <-ctx.Done():
			return errors.New("the worker is draining")
		}
	}
	refused := ""
	if err != nil {
		refused = delivery.Short(w.mask(settings).Text(err.Error()))
		err = errors.New(refused)
	} else {
		w.log.Info("configured", "settings", slices.Sorted(maps.Keys(settings)))
	}
	w.settings.Store(&settings)
	w.standing.update(func(s *state) { s.configured, s.refused = true, refused })
	return err
}
