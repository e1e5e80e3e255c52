//! What a run is made of: its submission, the records, its tasks.

use std::sync::Arc;

use broker_config::{Lane, MetaKey, MetaMap, PluginId, Queue, RecordStatus, RunId, Submission};
use semver::Version;

/// The submission that a run serves.
#[derive(Clone, Debug, PartialEq)]
pub struct Opening {
    /// Its stream sequence.
    pub id: RunId,
    /// The queue it came by.
    pub queue: Queue,
    /// When the server stored it, in nanoseconds of Unix time.
    pub submitted_at: i64,
    /// What was handed in.
    pub submission: Submission,
    /// Trace context, copied into every task.
    pub trace: Trace,
}

impl Opening {
    /// Whether it is this very submission. A broker that lost its last moments numbers anew, so that
    /// the number alone does not say.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.id == other.id
            && self.submitted_at == other.submitted_at
            && self.submission.cid == other.submission.cid
    }
}

/// W3C trace context as it travels in headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// `traceparent`
    pub parent: Option<String>,
    /// `tracestate`
    pub state: Option<String>,
}

/// What a run needs to know of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownRecord {
    /// Its stream sequence.
    pub revision: u64,
    /// When the server stored it, in nanoseconds of Unix time.
    pub stored_at: i64,
    /// How the task ended.
    pub status: RecordStatus,
    /// What it was made from.
    pub fingerprint: String,
    /// The version of the plugin that wrote the metadata; `None` where that does not matter.
    pub version: Option<Version>,
    /// The metadata.
    pub meta: Arc<MetaMap>,
    /// Keys the person hides.
    pub hidden: Arc<[MetaKey]>,
}

/// Whether, by an event, a task left the broker's hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// It was not there, or still is.
    No,
    /// It counted against the plugin's limit.
    Held,
    /// It waited for a time that the plugin asked for, and counted against nothing.
    Deferred,
}

/// A task in the broker's hands, as the reconciler asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InFlight {
    /// The plugin.
    pub plugin: PluginId,
    /// The queue its task went to.
    pub queue: Queue,
    /// The lane it went to.
    pub lane: Lane,
    /// When it was published, on the engine's clock.
    pub since: u64,
    /// Whether it waits for a time that the plugin asked for.
    pub deferred: bool,
}
