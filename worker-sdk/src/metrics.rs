//! What this instance has done since its start; shown in its sign of life.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use broker_config::wire::instance::Totals;

/// Totals that any task may add to.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Attempts begun.
    pub(crate) started: AtomicU64,
    /// Records `completed`.
    pub(crate) completed: AtomicU64,
    /// Records `skipped`.
    pub(crate) skipped: AtomicU64,
    /// Failures without a further attempt.
    pub(crate) failed: AtomicU64,
    /// Failures with one.
    pub(crate) retried: AtomicU64,
    /// *Retry later* answers.
    pub(crate) deferred: AtomicU64,
    /// Outcomes that came second.
    pub(crate) superseded: AtomicU64,
    /// Time spent in the handler, in microseconds.
    pub(crate) busy_us: AtomicU64,
}

impl Counters {
    /// The totals as they are now.
    pub(crate) fn totals(&self) -> Totals {
        Totals {
            started: self.started.load(Relaxed),
            completed: self.completed.load(Relaxed),
            skipped: self.skipped.load(Relaxed),
            failed: self.failed.load(Relaxed),
            retried: self.retried.load(Relaxed),
            deferred: self.deferred.load(Relaxed),
            superseded: self.superseded.load(Relaxed),
            busy_ms: self.busy_us.load(Relaxed) / 1000,
            // Counted by those who get them.
            fetched_bytes: 0,
        }
    }
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
