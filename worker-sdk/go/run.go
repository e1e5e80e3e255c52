package metafleet

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/metafleet/metafleet/worker-sdk/go/internal/options"
	"github.com/metafleet/metafleet/worker-sdk/go/internal/source"
)

// Exit codes of [Run].
const (
	exitFailed      = 1
	exitUsage       = 2
	exitUnreachable = 4
	exitRejected    = 5
	exitInterrupted = 130
)

// EnvironmentError says which variable of the environment has a value that cannot be used.
type EnvironmentError = options.Error

// CredentialsError says that the broker does not let the worker in.
type CredentialsError struct{ Err error }

func (e *CredentialsError) Error() string {
	return "the broker does not accept the credentials: " + e.Err.Error()
}

// Unwrap gives what the broker said.
func (e *CredentialsError) Unwrap() error { return e.Err }

// RejectedError says that the coordinator does not accept the plugin.
type RejectedError struct {
	// Reasons are all that is to be mended.
	Reasons []string
}

func (e *RejectedError) Error() string {
	return "the coordinator does not accept the plugin: " + strings.Join(e.Reasons, "; ")
}

// Option changes how a worker runs; most plugins need none.
type Option func(*setup)

type setup struct {
	log    *slog.Logger
	tracer Tracer
	env    func(string) string
}

// WithLogger writes the worker's log there, instead of to standard error as METAFLEET_LOG and
// METAFLEET_LOG_FORMAT say.
func WithLogger(log *slog.Logger) Option { return func(s *setup) { s.log = log } }

// WithTracer makes spans of attempts, see the package otel beside this one. Without one the headers of a
// trace are copied through.
func WithTracer(tracer Tracer) Option { return func(s *setup) { s.tracer = tracer } }

// WithEnvironment reads the variables there, instead of from the environment of the process.
func WithEnvironment(env func(string) string) Option { return func(s *setup) { s.env = env } }

// Run serves a plugin until the process is told to stop, and ends the process; the one line of a plugin's
// main.
//
// It reads NATS_* and METAFLEET_* from the environment. The first SIGTERM or SIGINT drains, a second one
// ends at once. Exit codes: 0 drained, 1 failed, 2 the environment is wrong, 4 the broker does not let us
// in, 5 the coordinator does not accept the plugin, 130 ended at once.
func Run(plugin Plugin, opts ...Option) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	drain, stop := context.WithCancel(context.Background())
	go func() {
		<-signals
		slog.Info("told to stop, draining")
		stop()
		<-signals
		os.Exit(exitInterrupted)
	}()
	err := Serve(drain, plugin, opts...)
	if err != nil {
		slog.Error("the worker cannot serve", "error", err)
	}
	os.Exit(exitCode(err))
}

// Serve is [Run] inside of another program: it serves until ctx ends or the coordinator asks for a drain,
// finishes what runs within the grace period, and returns. Its errors are an [*EnvironmentError], a
// [*CredentialsError], a [*RejectedError], or what closed the connection; nothing of it is mended by trying
// again.
func Serve(ctx context.Context, plugin Plugin, opts ...Option) error {
	s := &setup{env: os.Getenv, tracer: noTracer{}}
	for _, option := range opts {
		option(s)
	}
	o, err := options.Read(s.env)
	if err != nil {
		return err
	}
	if s.log == nil {
		s.log = logger(o.LogLevel, o.LogFormat)
		slog.SetDefault(s.log)
	}
	w, err := newWorker(plugin, o, s)
	if err != nil {
		return err
	}
	return w.serve(ctx)
}

func exitCode(err error) int {
	var environment *EnvironmentError
	var credentials *CredentialsError
	var rejected *RejectedError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &environment):
		return exitUsage
	case errors.As(err, &credentials):
		return exitUnreachable
	case errors.As(err, &rejected):
		return exitRejected
	default:
		return exitFailed
	}
}

// logger writes to standard error. Of a list like `info,x=debug` the first word without `=` is the level.
func logger(level, format string) *slog.Logger {
	threshold := slog.LevelInfo
	for _, word := range strings.Split(level, ",") {
		if known, found := levels[strings.ToLower(strings.TrimSpace(word))]; found {
			threshold = known
			break
		}
	}
	handling := &slog.HandlerOptions{Level: threshold}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, handling))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, handling))
}

var levels = map[string]slog.Level{
	"trace": slog.LevelDebug, "debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	"off": slog.LevelError + 4,
}

// httpClient is made when it is first needed.
type httpClient struct {
	once   sync.Once
	client *http.Client
}

func (h *httpClient) get() *http.Client {
	h.once.Do(func() { h.client = source.NewClient() })
	return h.client
}
