//! One attempt: runs the handler under its deadline, survives its panic, checks what it wrote.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use broker_config::wire::signal::MAX_TEXT_BYTES;
use broker_config::{Manifest, MetaMap};
use futures_util::FutureExt as _;
use tokio::time::{sleep_until, timeout};

use crate::context::Context;
use crate::outcome::{Destination, Failure, Outcome};
use crate::plugin::Plugin;

/// Time for a handler to clean up once it is cancelled; then its future is dropped.
const CLEAN_UP: Duration = Duration::from_millis(100);

/// How an attempt ended that did not fail; the metadata is checked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ended {
    Completed(MetaMap),
    Skipped(String),
    RetryLater { after: Duration, reason: String },
    Forward { to: Destination, meta: MetaMap },
}

/// Runs the handler once.
///
/// The deadline cancels the context and then fails the attempt as retryable; so do too long a time without
/// progress, and a panic. A
/// handler that ignores both because it blocks its thread is waited for, and if it succeeds after
/// all, its outcome counts: the fence of the record decides whether it came too late.
pub(crate) async fn run<P: Plugin>(
    plugin: &P,
    manifest: &Manifest,
    ctx: &Context,
) -> Result<Outcome, Failure> {
    let mut handler =
        std::pin::pin!(AssertUnwindSafe(async { plugin.process(ctx).await }).catch_unwind());
    let stalled = async {
        match progress_limit(manifest, ctx) {
            Some(limit) => {
                ctx.stalled(limit).await;
                limit
            }
            None => std::future::pending().await,
        }
    };
    let why = tokio::select! {
        biased;
        ended = &mut handler => return ended.unwrap_or_else(|panic| {
            Err(Failure::retryable(format!("panicked: {}", words(&*panic))))
        }),
        () = sleep_until(ctx.deadline) => timed_out(manifest, ctx),
        limit = stalled => format!("timed out: no progress for {} ms", limit.as_millis()),
        () = ctx.cancelled.cancelled() => {
            if ctx.remaining().is_zero() {
                timed_out(manifest, ctx)
            } else {
                "the worker was stopped".to_owned()
            }
        }
    };
    ctx.cancelled.cancel();
    // Whatever it says now, it had its time.
    drop(timeout(CLEAN_UP, handler).await);
    Err(Failure::retryable(why))
}

fn timed_out(manifest: &Manifest, ctx: &Context) -> String {
    format!("timed out after {} ms", limit(manifest, ctx).as_millis())
}

/// How long an attempt may go on without a report of progress, where that is limited: what the task
/// says, or else the manifest.
fn progress_limit(manifest: &Manifest, ctx: &Context) -> Option<Duration> {
    let limit = ctx.task.progress_timeout_ms.or(manifest.progress_timeout)?;
    Some(Duration::from_millis(limit))
}

/// The time that one attempt may take: what the task says, or else the manifest.
pub(crate) fn limit(manifest: &Manifest, ctx: &Context) -> Duration {
    time_limit(manifest, ctx.task.deadline_ms)
}

pub(crate) fn time_limit(manifest: &Manifest, deadline_ms: u64) -> Duration {
    if deadline_ms == 0 { manifest.deadline() } else { Duration::from_millis(deadline_ms) }
}

/// Checks the metadata of an outcome against the manifest's dataSchema.
pub(crate) fn check(manifest: &Manifest, outcome: Outcome) -> Result<Ended, Failure> {
    let checked = |meta: crate::meta::Meta| {
        let meta = meta.finish().map_err(Failure::permanent)?;
        let problems = manifest.data_problems(&meta);
        if problems.is_empty() { Ok(meta) } else { Err(Failure::permanent(problems.join("; "))) }
    };
    Ok(match outcome {
        Outcome::Completed(meta) => Ended::Completed(checked(meta)?),
        Outcome::Skipped { reason } => Ended::Skipped(short(reason)),
        Outcome::RetryLater { after, reason } => Ended::RetryLater { after, reason: short(reason) },
        Outcome::Forward(forward) => {
            Ended::Forward { to: forward.to, meta: checked(forward.meta)? }
        }
    })
}

/// Cuts a text for people at the limit of the wire, on a character boundary.
pub(crate) fn short(mut text: String) -> String {
    if text.len() > MAX_TEXT_BYTES {
        text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES - '…'.len_utf8()));
        text.push('…');
    }
    text
}

fn words(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_at_a_character() {
        for (text, expected) in [
            ("x".repeat(MAX_TEXT_BYTES), MAX_TEXT_BYTES),
            ("x".repeat(MAX_TEXT_BYTES + 1), MAX_TEXT_BYTES),
            ("é".repeat(MAX_TEXT_BYTES), MAX_TEXT_BYTES - 1),
        ] {
            assert_eq!(short(text).len(), expected);
        }
    }
}
