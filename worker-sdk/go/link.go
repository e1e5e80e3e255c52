package metafleet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/metafleet/metafleet/worker-sdk/go/internal/options"
)

const (
	longestPause   = 2 * time.Second
	connectTimeout = 5 * time.Second
)

// bell wakes everybody who waits for a change.
type bell struct {
	mu sync.Mutex
	ch chan struct{}
}

// wait gives a channel that is closed at the next ring. Look at what may have changed after that, not before.
func (b *bell) wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}

// link is the connection to the broker; it reconnects without limit.
type link struct {
	nc *nats.Conn
	// changed rings when the connection is lost, made anew or closed.
	changed bell
	mu      sync.Mutex
	// epoch rises with every reconnect.
	epoch uint64
	// closed says why the connection was closed for good.
	closed error
}

// connect opens the link; while nobody is there it tries again until ctx ends, and then gives nil.
func connect(ctx context.Context, o *options.Options, name string, log *slog.Logger) (*link, error) {
	l := &link{}
	settings, err := l.settings(o, name, log)
	if err != nil {
		return nil, err
	}
	for pause := (backoff{first: 100 * time.Millisecond, most: longestPause}); ; {
		nc, err := nats.Connect(strings.Join(o.Servers, ","), settings...)
		if err == nil {
			l.nc = nc
			log.Info("connected to the broker", "server", nc.ConnectedUrlRedacted())
			return l, nil
		}
		if refused(err) {
			return nil, &CredentialsError{err}
		}
		if addressWrong(err) {
			return nil, &options.Error{Name: "NATS_URL", Problem: "it is not the address of a broker"}
		}
		log.Warn("the broker is not there, trying again", "error", err)
		if !sleep(ctx, pause.next()) {
			return nil, nil
		}
	}
}

func refused(err error) bool {
	for _, known := range []error{
		nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired, nats.ErrNkeysNotSupported,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	return strings.Contains(strings.ToLower(err.Error()), "authorization violation")
}

func addressWrong(err error) bool {
	text := err.Error()
	return strings.Contains(text, "parse \"") || strings.Contains(text, "invalid port") || strings.Contains(text, "missing protocol scheme")
}

func (l *link) settings(o *options.Options, name string, log *slog.Logger) ([]nats.Option, error) {
	all := []nats.Option{
		nats.Name(name),
		nats.Timeout(connectTimeout),
		nats.PingInterval(10 * time.Second),
		nats.MaxReconnects(-1),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { log.Debug("could not reconnect", "error", err) }),
		nats.CustomReconnectDelay(func(attempts int) time.Duration {
			return min(25*time.Millisecond<<min(attempts, 7), longestPause) + rand.N(50*time.Millisecond)
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("the connection to the broker is lost, reconnecting", "error", err)
			}
			l.changed.ring()
		}),
		nats.ReconnectHandler(func(*nats.Conn) {
			l.mu.Lock()
			l.epoch++
			l.mu.Unlock()
			log.Info("connected to the broker again")
			l.changed.ring()
		}),
		nats.ClosedHandler(func(nc *nats.Conn) {
			l.mu.Lock()
			l.closed = errors.Join(errors.New("the connection is closed"), nc.LastError())
			l.mu.Unlock()
			l.changed.ring()
		}),
		// What we are not allowed to do shows up nowhere else than here.
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			log.Warn("the broker refused something", "error", err)
		}),
	}
	login, err := loginOption(&o.Login)
	if err != nil {
		return nil, &CredentialsError{err}
	}
	all = append(all, login...)
	if o.CA != "" {
		all = append(all, nats.RootCAs(o.CA))
	}
	if o.Cert != "" {
		if _, err := tls.LoadX509KeyPair(o.Cert, o.Key); err != nil {
			return nil, &options.Error{Name: "NATS_CERT", Problem: err.Error()}
		}
		all = append(all, nats.ClientCert(o.Cert, o.Key))
	}
	return all, nil
}

func loginOption(login *options.Login) ([]nats.Option, error) {
	switch {
	case login.Creds != "":
		if _, err := os.Stat(login.Creds); err != nil {
			return nil, err
		}
		return []nats.Option{nats.UserCredentials(login.Creds)}, nil
	case login.Nkey != "":
		seed := login.Nkey
		if text, err := os.ReadFile(seed); err == nil {
			seed = string(text)
		}
		pair, err := nkeys.FromSeed([]byte(strings.TrimSpace(seed)))
		if err != nil {
			return nil, fmt.Errorf("NATS_NKEY is no seed and no file with one: %w", err)
		}
		public, err := pair.PublicKey()
		if err != nil {
			return nil, err
		}
		return []nats.Option{nats.Nkey(public, pair.Sign)}, nil
	case login.Token != "":
		return []nats.Option{nats.Token(string(login.Token))}, nil
	case login.User != "":
		return []nats.Option{nats.UserInfo(login.User, string(login.Password))}, nil
	default:
		return nil, nil
	}
}

// times says how often the connection was made anew.
func (l *link) times() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epoch
}

// gone says why the connection was closed for good; nil while it is not.
func (l *link) gone() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// connected waits until the connection is up; at once if it is.
func (l *link) connected(ctx context.Context) error {
	for {
		changed := l.changed.wait()
		if l.nc.IsConnected() {
			return nil
		}
		if err := l.gone(); err != nil {
			return err
		}
		moment := time.NewTimer(200 * time.Millisecond)
		select {
		case <-ctx.Done():
			moment.Stop()
			return context.Cause(ctx)
		case <-changed:
		case <-moment.C: // the state may be told before the change is
		}
		moment.Stop()
	}
}

// backoff gives growing pauses with some chance in them, without end.
type backoff struct{ first, most, last time.Duration }

func (b *backoff) next() time.Duration {
	b.last = min(max(2*b.last, b.first), b.most)
	return b.last + rand.N(b.last/2+1)
}

// sleep waits; false if ctx ended first.
func sleep(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
