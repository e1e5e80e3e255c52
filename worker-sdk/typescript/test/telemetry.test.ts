import assert from "node:assert/strict";
import { before, test } from "node:test";

import { context, propagation, trace, type Context, type Span, type SpanOptions, type Tracer } from "@opentelemetry/api";

import { activeTrace, loadTelemetry, traced } from "../src/telemetry.js";

const TRACE_ID = "0af7651916cd43dd8448eb211c80319c";
const traceparent = `00-${TRACE_ID}-b7ad6b7169203331-01`;
const ended = { is: "completed", meta: "{}" } as const;

before(async () => await loadTelemetry());

test("without a tracer nothing is made up", async () => {
  assert.deepEqual(await traced({ traceparent }, {}, () => Promise.resolve(ended)), { ended });
  assert.equal(activeTrace(), undefined);
});

test("with a tracer an attempt is a span under the task's, and its context goes on", async () => {
  const spans: Array<{ parent: string | undefined; options: SpanOptions; ended: boolean; status?: unknown }> = [];
  const tracer = {
    startSpan(_name: string, options: SpanOptions, parent: Context): Span {
      const seen: (typeof spans)[number] = { parent: trace.getSpan(parent)?.spanContext().spanId, options, ended: false };
      spans.push(seen);
      const span = {
        spanContext: () => ({ traceId: TRACE_ID, spanId: "00f067aa0ba902b7", traceFlags: 1 }),
        isRecording: () => !seen.ended,
        setStatus: (status: unknown) => ((seen.status = status), span),
        end: () => void (seen.ended = true),
      } as unknown as Span;
      return span;
    },
  } as Tracer;
  trace.setGlobalTracerProvider({ getTracer: () => tracer });
  propagation.setGlobalPropagator({
    inject: (from, carrier) => {
      const at = trace.getSpan(from)?.spanContext();
      (carrier as Record<string, string>)["traceparent"] = `00-${at?.traceId}-${at?.spanId}-01`;
    },
    extract: (from, carrier) => {
      const [, traceId = "", spanId = ""] = (carrier as { traceparent: string }).traceparent.split("-");
      return trace.setSpan(from, trace.wrapSpanContext({ traceId, spanId, traceFlags: 1 }));
    },
    fields: () => ["traceparent"],
  });
  try {
    const result = await traced({ traceparent }, { attempt: 2 }, () => Promise.resolve({ is: "failed", error: "no", permanent: true }));
    assert.equal(result.trace?.traceparent, `00-${TRACE_ID}-00f067aa0ba902b7-01`);
    assert.equal(spans[0]?.parent, "b7ad6b7169203331");
    assert.deepEqual(spans[0]?.options.attributes, { attempt: 2 });
    assert.equal(spans[0]?.ended, true);
    assert.deepEqual(spans[0]?.status, { code: 2, message: "no" });
  } finally {
    trace.disable();
    propagation.disable();
    context.disable();
  }
});
