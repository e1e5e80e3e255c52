/**
 * Spans, where the program has the OpenTelemetry API installed and a tracer registered; else nothing, and
 * the headers of the task are copied.
 */
import type { TraceHeaders } from "./bridge.js";
import { failed, type Ended } from "./outcome.js";
import { explain } from "./text.js";

type Otel = typeof import("@opentelemetry/api");

let otel: Otel | undefined;

/** Looks once whether the API is there. */
export async function loadTelemetry(): Promise<void> {
  try {
    otel = await import("@opentelemetry/api");
  } catch {
    otel = undefined;
  }
}

/** Runs `work` in a span whose parent is the task's; returns the headers of that span, if there is one. */
export async function traced(
  trace: TraceHeaders | undefined,
  attributes: Readonly<Record<string, string | number>>,
  work: () => Promise<Ended>,
): Promise<{ ended: Ended; trace?: TraceHeaders }> {
  if (otel === undefined) return { ended: await work() };
  const { context, propagation, trace: api, SpanKind, SpanStatusCode } = otel;
  const parent = propagation.extract(context.active(), { ...trace });
  const span = api.getTracer("@metafleet/worker").startSpan("process", { kind: SpanKind.CONSUMER, attributes }, parent);
  const inside = api.setSpan(parent, span);
  try {
    const ended = await context.with(inside, work);
    if (ended.is === "failed") span.setStatus({ code: SpanStatusCode.ERROR, message: ended.error });
    return span.isRecording() ? { ended, trace: headersOf(propagation, inside) } : { ended };
  } catch (error) {
    return { ended: failed(explain(error)) };
  } finally {
    span.end();
  }
}

/** The headers of the active span, for what is published meanwhile. */
export function activeTrace(): TraceHeaders | undefined {
  if (otel === undefined) return undefined;
  const active = otel.context.active();
  return otel.trace.getSpan(active)?.isRecording() === true ? headersOf(otel.propagation, active) : undefined;
}

function headersOf(propagation: Otel["propagation"], context: Parameters<Otel["propagation"]["inject"]>[0]): TraceHeaders {
  const headers: { traceparent?: string; tracestate?: string } = {};
  propagation.inject(context, headers);
  return headers;
}
