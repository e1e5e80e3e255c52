//! Logs and traces of one process.
//!
//! Logs go to standard error; `METAFLEET_LOG` filters them (`info`, `worker_sdk=debug,warn`) and
//! `METAFLEET_LOG_FORMAT` chooses `text` or `json`. Spans are exported over OTLP (HTTP, protobuf)
//! when one of the usual `OTEL_EXPORTER_OTLP_*ENDPOINT` variables is set; the other `OTEL_*`
//! variables mean what they always mean.
//!
//! The trace context travels in the message headers `traceparent` and `tracestate`: a process that
//! exports makes it the parent of its span ([`adopt`]) and writes its own into what it publishes
//! ([`inject`]); a process that does not export copies it through, so that the trace is not cut.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use async_nats::HeaderMap;
use broker_config::Chain;
use broker_config::header::{TRACE_PARENT, TRACE_STATE};
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Span, level_filters::LevelFilter, warn};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::{EnvFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt as log};

use crate::vars;

mod export;

/// Whether spans of this process are exported.
static EXPORTING: AtomicBool = AtomicBool::new(false);

/// Keeps telemetry alive; dropping it exports what is left.
#[must_use = "dropping the guard ends the export of spans"]
pub struct Guard {
    provider: Option<SdkTracerProvider>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("exporting", &self.provider.is_some()).finish()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(provider) = self.provider.take()
            && let Err(error) = provider.shutdown()
        {
            warn!(error = %Chain(&error), "could not export the last spans");
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Starts logging at `info` unless `METAFLEET_LOG` says otherwise; see [`init_with`].
pub fn init(service_name: &str) -> Guard {
    init_with(service_name, "info")
}

/// Starts logging, and the export of spans if the environment asks for it.
///
/// `service_name` is what traces are filed under unless `OTEL_SERVICE_NAME` says otherwise;
/// `default_filter` is what is logged unless `METAFLEET_LOG` says otherwise. A second call in one
/// process changes nothing.
pub fn init_with(service_name: &str, default_filter: &str) -> Guard {
    let filter = vars::from_process("METAFLEET_LOG");
    let filter = EnvFilter::try_new(filter.as_deref().unwrap_or(default_filter));
    let filter_error = filter.as_ref().err().map(ToString::to_string);
    let filter = filter.unwrap_or_else(|_| EnvFilter::new(default_filter));
    let json = vars::from_process("METAFLEET_LOG_FORMAT").is_some_and(|format| format == "json");
    let logs = log::layer().with_writer(std::io::stderr);
    let logs = if json {
        logs.json().flatten_event(true).with_filter(filter).boxed()
    } else {
        let colour = vars::from_process("NO_COLOR").is_none()
            && std::io::IsTerminal::is_terminal(&std::io::stderr());
        logs.with_ansi(colour).with_filter(filter).boxed()
    };

    let exporter = export::from_environment();
    let mut guard = Guard { provider: None, runtime: None };
    let mut export_error = None;
    let spans = match exporter {
        None => None,
        Some(Err(error)) => {
            export_error = Some(error);
            None
        }
        Some(Ok((exporter, runtime))) => {
            let resource = match vars::from_process("OTEL_SERVICE_NAME") {
                Some(_) => Resource::builder().build(),
                None => Resource::builder().with_service_name(service_name.to_owned()).build(),
            };
            let provider = SdkTracerProvider::builder()
                .with_batch_exporter(exporter)
                .with_resource(resource)
                .build();
            let layer = tracing_opentelemetry::layer()
                .with_tracer(provider.tracer("metafleet"))
                .with_location(false)
                .with_threads(false)
                .with_filter(ours());
            guard = Guard { provider: Some(provider), runtime: Some(runtime) };
            EXPORTING.store(true, Ordering::Relaxed);
            Some(layer)
        }
    };
    let started = tracing_subscriber::registry().with(spans).with(logs).try_init().is_ok();
    if !started {
        return guard;
    }
    if let Some(error) = filter_error {
        warn!(error, "METAFLEET_LOG is not a filter, the default holds");
    }
    if let Some(error) = export_error {
        warn!(error, "spans are not exported");
    }
    guard
}

/// Spans of our own crates; those of the exporter's HTTP client would feed on themselves.
fn ours() -> Targets {
    Targets::new().with_default(LevelFilter::INFO).with_targets(
        ["hyper", "hyper_util", "opentelemetry", "tonic", "h2"].map(|t| (t, LevelFilter::OFF)),
    )
}

/// Whether spans of this process are exported.
#[must_use]
pub fn is_exporting() -> bool {
    EXPORTING.load(Ordering::Relaxed)
}

/// Makes the trace context in `headers`, if there is one, the parent of `span`.
pub fn adopt(span: &Span, headers: Option<&HeaderMap>) {
    if !is_exporting() {
        return;
    }
    if let Some(headers) = headers.filter(|headers| headers.get(TRACE_PARENT).is_some()) {
        let parent = TraceContextPropagator::new().extract(&Headers(headers));
        if let Err(error) = span.set_parent(parent) {
            tracing::debug!(error = %error, "could not set the parent of a span");
        }
    }
}

/// Writes the trace context of `span` into `outgoing`; that of `incoming` if nothing is exported.
pub fn inject(span: &Span, incoming: Option<&HeaderMap>, outgoing: &mut HeaderMap) {
    if is_exporting() {
        TraceContextPropagator::new().inject_context(&span.context(), &mut HeadersMut(outgoing));
        return;
    }
    let Some(incoming) = incoming else { return };
    for name in [TRACE_PARENT, TRACE_STATE] {
        if let Some(value) = incoming.get(name) {
            outgoing.insert(name, value.clone());
        }
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(async_nats::HeaderValue::as_str)
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACE_PARENT, TRACE_STATE]
    }
}

struct HeadersMut<'a>(&'a mut HeaderMap);

impl Injector for HeadersMut<'_> {
    fn set(&mut self, key: &str, value: String) {
        if !value.is_empty() {
            self.0.insert(key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_exporter_the_trace_is_copied_through() {
        let mut incoming = HeaderMap::new();
        incoming.insert(TRACE_PARENT, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        incoming.insert("other", "x");

        let mut outgoing = HeaderMap::new();
        inject(&Span::none(), Some(&incoming), &mut outgoing);

        assert_eq!(outgoing.get(TRACE_PARENT), incoming.get(TRACE_PARENT));
        assert!(outgoing.get("other").is_none());
    }
}
