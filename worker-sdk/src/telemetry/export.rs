//! The OTLP exporter, with a runtime of its own.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::Duration;

use broker_config::Chain;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::SpanData;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::vars;

const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];

/// The exporter that the environment asks for, or why it cannot be had; `None` if none is wanted.
pub(super) fn from_environment() -> Option<Result<(InRuntime, Runtime), String>> {
    let wanted = ENDPOINTS.iter().any(|name| vars::from_process(name).is_some());
    let off = vars::from_process("OTEL_SDK_DISABLED").is_some_and(|value| value == "true")
        || vars::from_process("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none");
    (wanted && !off).then(build)
}

fn build() -> Result<(InRuntime, Runtime), String> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("otlp")
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let handle = runtime.handle().clone();
    let exporter = {
        let _entered = handle.enter();
        SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .build()
            .map_err(|error| Chain(&error).to_string())?
    };
    Ok((InRuntime { exporter, handle }, runtime))
}

/// Polls an exporter inside a runtime: the SDK exports from a plain thread, where the HTTP
/// client finds no reactor.
#[derive(Debug)]
pub(super) struct InRuntime {
    exporter: SpanExporter,
    handle: Handle,
}

impl opentelemetry_sdk::trace::SpanExporter for InRuntime {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let mut export = pin!(self.exporter.export(batch));
        poll_fn(|cx| {
            let _entered = self.handle.enter();
            export.as_mut().poll(cx)
        })
        .await
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        opentelemetry_sdk::trace::SpanExporter::shutdown_with_timeout(&self.exporter, timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
