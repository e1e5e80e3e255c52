//! The coordinator's part of a file's trace.
//!
//! One file's run is one trace: whoever hands in the file begins it (or the coordinator does, if
//! the submission carries none), every task is a `dispatch` span in it and carries it to its
//! worker, whose `process` span carries it to the record. While nothing is exported, the context
//! of the submission is copied through as it came. Names follow OpenTelemetry's messaging
//! conventions where they exist.

use async_nats::HeaderMap;
use broker_config::{Queue, RunId, Task};
use tracing::info_span;
use worker_sdk::telemetry::{adopt, inject, is_exporting};

use crate::broker::{trace_headers, trace_of};
use crate::run::{Opening, Trace};

/// The trace of a run: the submission's, or a new one if there is none and somebody looks.
#[must_use]
pub fn of_run(run: RunId, file: &str, submitted: Trace) -> Trace {
    if submitted.parent.is_some() || !is_exporting() {
        return submitted;
    }
    let span = info_span!("run", run.id = %run, file.cid = file);
    let mut headers = HeaderMap::new();
    inject(&span, None, &mut headers);
    trace_of(Some(&headers))
}

/// The headers of a task that is about to be published.
#[must_use]
pub fn of_dispatch(opening: &Opening, queue: Queue, task: &Task, subject: &str) -> HeaderMap {
    let incoming = trace_headers(&opening.trace);
    if !is_exporting() {
        return incoming;
    }
    let span = info_span!(
        "dispatch",
        otel.kind = "producer",
        messaging.system = "nats",
        messaging.operation.name = "publish",
        messaging.operation.r#type = "send",
        messaging.destination.name = subject,
        messaging.message.id = %task.task_id,
        messaging.message.conversation_id = %task.run_id,
        run.id = %task.run_id,
        task.id = %task.task_id,
        plugin.id = %task.plugin_id,
        file.cid = %task.cid,
        queue = %queue,
    );
    adopt(&span, Some(&incoming));
    let mut headers = HeaderMap::new();
    inject(&span, Some(&incoming), &mut headers);
    headers
}
