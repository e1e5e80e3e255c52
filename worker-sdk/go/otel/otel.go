// Package otel makes an OpenTelemetry span of each attempt of a MetaFleet worker.
//
//	metafleet.Run(plugin, metafleet.WithTracer(otel.New()))
//
// The span's parent is the one that the task names, so that one file's way through the fleet is one trace; its
// context is written into the record, signals and submissions. Who gets the spans is set up by the program, as
// for every other use of OpenTelemetry: by a tracer provider of its SDK. Without one nothing is recorded, and
// the context is carried on all the same. This is a module of its own, so that plugins which do without it do
// not depend on OpenTelemetry.
package otel

import (
	"context"

	global "go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	metafleet "github.com/metafleet/metafleet/worker-sdk/go"
)

// Tracer makes the spans; make one with [New].
type Tracer struct {
	tracer    trace.Tracer
	propagate propagation.TraceContext
}

// Option changes where spans go.
type Option func(*Tracer)

// WithProvider has a provider make the spans, instead of the global one.
func WithProvider(provider trace.TracerProvider) Option {
	return func(t *Tracer) { t.tracer = provider.Tracer(name) }
}

const name = "github.com/metafleet/metafleet/worker-sdk/go"

// New makes spans with the global tracer provider.
func New(options ...Option) *Tracer {
	t := &Tracer{tracer: global.Tracer(name)}
	for _, option := range options {
		option(t)
	}
	return t
}

var _ metafleet.Tracer = (*Tracer)(nil)

// Begin implements metafleet.Tracer.
func (t *Tracer) Begin(ctx context.Context, attempt metafleet.Attempt, headers map[string][]string) (context.Context, func(error)) {
	ctx = t.propagate.Extract(ctx, carrier(headers))
	ctx, span := t.tracer.Start(ctx, "process "+attempt.Plugin, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
		attribute.String("messaging.system", "nats"), attribute.String("messaging.destination.name", attempt.Subject),
		attribute.String("plugin.id", attempt.Plugin), attribute.String("instance.id", attempt.Instance), attribute.String("queue", attempt.Queue),
		attribute.String("task.id", attempt.TaskID), attribute.String("file.cid", attempt.CID), attribute.Int64("run.id", int64(attempt.RunID)),
		attribute.Int("attempt", attempt.Number)))
	return ctx, func(err error) {
		if err != nil {
			span.RecordError(err)
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}

// Inject implements metafleet.Tracer. Without a span the headers stay as they came with the task.
func (t *Tracer) Inject(ctx context.Context, headers map[string][]string) {
	if trace.SpanContextFromContext(ctx).IsValid() {
		t.propagate.Inject(ctx, carrier(headers))
	}
}

// carrier holds the headers of the protocol, whose names are case-sensitive.
type carrier map[string][]string

// Get implements propagation.TextMapCarrier.
func (c carrier) Get(key string) string {
	if values := c[key]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// Set implements propagation.TextMapCarrier.
func (c carrier) Set(key, value string) { c[key] = []string{value} }

// Keys implements propagation.TextMapCarrier.
func (c carrier) Keys() []string {
	keys := make([]string, 0, len(c))
	for key := range c {
		keys = append(keys, key)
	}
	return keys
}
