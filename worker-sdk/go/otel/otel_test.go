package otel

import (
	"context"
	"errors"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	metafleet "github.com/metafleet/metafleet/worker-sdk/go"
)

const traceID, parent = "0af7651916cd43dd8448eb211c80319c", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestAnAttemptIsASpanOfTheTraceOfItsTask(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	tracer := New(WithProvider(trace.NewTracerProvider(trace.WithSpanProcessor(recorder))))
	task := map[string][]string{"traceparent": {parent}, "tracestate": {"k=v"}}
	ctx, end := tracer.Begin(context.Background(), metafleet.Attempt{Plugin: "lines", TaskID: "task", Number: 2}, task)
	record := map[string][]string{"traceparent": {parent}, "tracestate": {"k=v"}}
	tracer.Inject(ctx, record)
	end(errors.New("not UTF-8"))
	spans := recorder.Ended()
	if len(spans) != 1 {
		t.Fatalf("%d spans", len(spans))
	}
	span := spans[0]
	if span.Parent().SpanID().String() != "b7ad6b7169203331" || span.SpanContext().TraceID().String() != traceID || span.Status().Code != codes.Error {
		t.Errorf("%+v", span)
	}
	want := "00-" + traceID + "-" + span.SpanContext().SpanID().String() + "-01"
	if record["traceparent"][0] != want || record["tracestate"][0] != "k=v" {
		t.Errorf("%v, not %s", record, want)
	}
}

func TestWithoutAProviderTheContextIsCarriedOn(t *testing.T) {
	tracer := New()
	ctx, end := tracer.Begin(context.Background(), metafleet.Attempt{}, map[string][]string{"traceparent": {parent}})
	defer end(nil)
	record := map[string][]string{}
	tracer.Inject(ctx, record)
	if len(record["traceparent"]) != 1 || !strings.Contains(record["traceparent"][0], traceID) {
		t.Errorf("%v", record)
	}
	none := map[string][]string{}
	ctx, end = tracer.Begin(context.Background(), metafleet.Attempt{}, none)
	defer end(nil)
	tracer.Inject(ctx, none)
	if len(none) != 0 {
		t.Errorf("%v", none)
	}
}
