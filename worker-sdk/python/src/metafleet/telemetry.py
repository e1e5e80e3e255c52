"""Traces: spans where OpenTelemetry is installed and told where to send them; else the headers are copied through."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

log = logging.getLogger(__name__)

_HEADERS = ("traceparent", "tracestate")
_NOTHING = contextlib.nullcontext()


class Tracing:
    """Copies the trace of a task through to what follows from it."""

    def begin(self, headers: Mapping[str, str] | None, attributes: Callable[[], Mapping[str, Any]]) -> Any:
        """The span of a delivery that came with these headers."""
        return headers

    def inject(self, span: Any, headers: dict[str, str]) -> None:
        """Writes the context of a span into the headers of what follows from it."""
        if span:
            headers.update((name, span[name]) for name in _HEADERS if name in span)

    def end(self, span: Any, error: str | None = None) -> None:
        """The delivery is settled."""

    def current(self, job: Any) -> contextlib.AbstractContextManager[Any]:
        """Makes the span of a job the current one of its handler."""
        return _NOTHING

    def close(self) -> None:
        """Sends the last spans."""


class OpenTelemetry(Tracing):
    """Exports a span for each delivery."""

    def __init__(self, api: Any, propagator: Any, provider: Any) -> None:
        self._api = api
        self._propagator = propagator
        self._provider = provider
        self._tracer = provider.get_tracer("metafleet")

    def begin(self, headers: Mapping[str, str] | None, attributes: Callable[[], Mapping[str, Any]]) -> Any:
        parent = self._propagator.extract(dict(headers or {}))
        kind = self._api.SpanKind.CONSUMER
        return self._tracer.start_span("process", context=parent, kind=kind, attributes=dict(attributes()))

    def inject(self, span: Any, headers: dict[str, str]) -> None:
        self._propagator.inject(headers, context=self._api.set_span_in_context(span))

    def end(self, span: Any, error: str | None = None) -> None:
        if error is not None:
            span.set_status(self._api.Status(self._api.StatusCode.ERROR, error))
        span.end()

    def current(self, job: Any) -> contextlib.AbstractContextManager[Any]:
        span: contextlib.AbstractContextManager[Any] = self._api.use_span(
            job.port.span, end_on_exit=False, record_exception=False, set_status_on_exception=False
        )
        return span

    def close(self) -> None:
        self._provider.shutdown()


def start(service: str, environment: Mapping[str, str] = os.environ) -> Tracing:
    """Exports spans if OTEL_EXPORTER_OTLP_ENDPOINT (or that of traces) says where to, and the packages are there."""
    wanted = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    if not any(environment.get(name) for name in wanted) or environment.get("OTEL_SDK_DISABLED") == "true":
        return Tracing()
    try:
        api = importlib.import_module("opentelemetry.trace")
        propagation = importlib.import_module("opentelemetry.trace.propagation.tracecontext")
        exporting = importlib.import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
        resources = importlib.import_module("opentelemetry.sdk.resources")
        sdk = importlib.import_module("opentelemetry.sdk.trace")
        batches = importlib.import_module("opentelemetry.sdk.trace.export")
    except ImportError as error:
        log.warning("spans are not exported: %s; install metafleet[otel]", error)
        return Tracing()
    named = {} if environment.get("OTEL_SERVICE_NAME") else {"service.name": service}
    provider = sdk.TracerProvider(resource=resources.Resource.create(named))
    provider.add_span_processor(batches.BatchSpanProcessor(exporting.OTLPSpanExporter()))
    return OpenTelemetry(api, propagation.TraceContextTextMapPropagator(), provider)
