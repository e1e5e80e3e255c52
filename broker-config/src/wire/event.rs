//! What subscribers read: facts about files, scans, tasks, plugins and the fleet.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::record::RecordStatus;
use crate::id::{Cid, InstanceId, PluginId, RunId, TaskId};
use crate::queue::Queue;

super::message_type!(
    /// `metafleet.event.v1`
    EventType = "metafleet.event.v1"
);

/// The body of a message on `mf.event.<entity>.<what>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// `metafleet.event.v1`
    #[serde(rename = "type")]
    pub kind: EventType,
    /// When, RFC 3339.
    pub at: String,
    /// What.
    #[serde(flatten)]
    pub what: Fact,
}

/// How a plugin's part in a run ended.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It ran and wrote metadata.
    Completed,
    /// It ran and had nothing to say, or did not run because something it needs has failed.
    Skipped,
    /// It was given up on.
    Failed,
    /// Its record was up to date.
    Cached,
    /// The plugin left the fleet meanwhile.
    Gone,
}

/// Numbers of tasks by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct TaskCounts {
    /// Ran and wrote metadata.
    pub completed: u64,
    /// Had nothing to say.
    pub skipped: u64,
    /// Given up on.
    pub failed: u64,
    /// Up to date.
    pub cached: u64,
}

impl TaskCounts {
    /// Counts one outcome.
    pub fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Completed => self.completed += 1,
            Outcome::Skipped => self.skipped += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::Cached => self.cached += 1,
            Outcome::Gone => {}
        }
    }

    /// Adds other numbers.
    pub fn add(&mut self, other: Self) {
        self.completed += other.completed;
        self.skipped += other.skipped;
        self.failed += other.failed;
        self.cached += other.cached;
    }
}

/// The facts; `event` repeats the subject after `mf.event.`. Paths are readable approximations where
/// they are not UTF-8, times are in milliseconds, attempts count from 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all_fields = "camelCase")]
#[expect(missing_docs, reason = "the fields repeat the names of the messages they come from")]
pub enum Fact {
    /// A path was seen for the first time.
    #[serde(rename = "file.discovered")]
    FileDiscovered { cid: Cid, path: String, scan_id: String },
    /// A known path has other content.
    #[serde(rename = "file.changed")]
    FileChanged { cid: Cid, previous_cid: Cid, path: String, scan_id: String },
    /// The same content is at another path.
    #[serde(rename = "file.moved")]
    FileMoved { cid: Cid, from: String, path: String, scan_id: String },
    /// A path is gone.
    #[serde(rename = "file.deleted")]
    FileDeleted { cid: Cid, path: String, scan_id: String },
    /// Every plugin is done with a file.
    #[serde(rename = "file.settled")]
    FileSettled {
        cid: Cid,
        run_id: RunId,
        path: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scan_id: Option<String>,
        tasks: TaskCounts,
        plugins: BTreeMap<PluginId, Outcome>,
        duration_ms: u64,
    },
    /// A scan began.
    #[serde(rename = "scan.started")]
    ScanStarted { scan_id: String, roots: Vec<String> },
    /// A scan goes on; numbers so far.
    #[serde(rename = "scan.progress")]
    ScanProgress { scan_id: String, counts: ScanCounts },
    /// A scan has looked at everything; what it submitted may still be waiting.
    #[serde(rename = "scan.completed")]
    ScanCompleted {
        scan_id: String,
        counts: ScanCounts,
        duration_ms: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// A record was written.
    #[serde(rename = "task.settled")]
    TaskSettled {
        cid: Cid,
        plugin_id: PluginId,
        task_id: TaskId,
        status: RecordStatus,
        attempt: u32,
        duration_ms: u64,
        revision: u64,
    },
    /// An attempt failed and another one follows.
    #[serde(rename = "task.retrying")]
    TaskRetrying {
        cid: Cid,
        plugin_id: PluginId,
        task_id: TaskId,
        attempt: u32,
        delay_ms: u64,
        error: String,
    },
    /// A plugin asked to be called again later; costs no attempt.
    #[serde(rename = "task.deferred")]
    TaskDeferred { cid: Cid, plugin_id: PluginId, task_id: TaskId, delay_ms: u64, reason: String },
    /// A task was given up on.
    #[serde(rename = "task.dead")]
    TaskDead {
        cid: Cid,
        plugin_id: PluginId,
        task_id: TaskId,
        queue: Queue,
        attempts: u32,
        error: String,
    },
    /// A message that was handed in as a file could not be read.
    #[serde(rename = "submission.rejected")]
    SubmissionRejected { run_id: RunId, reason: String },
    /// A task was lost and published again.
    #[serde(rename = "task.repaired")]
    TaskRepaired { cid: Cid, plugin_id: PluginId },
    /// A plugin is known now, or in another version.
    #[serde(rename = "plugin.registered")]
    PluginRegistered {
        plugin_id: PluginId,
        version: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        previous: Option<String>,
    },
    /// A plugin may not serve.
    #[serde(rename = "plugin.rejected")]
    PluginRejected { plugin_id: PluginId, reasons: Vec<String> },
    /// A changed `plugins.yml` took effect.
    #[serde(rename = "plugins.applied")]
    PluginsApplied { plugin_ids: Vec<PluginId> },
    /// A changed `plugins.yml` is not valid; the one before stays in effect.
    #[serde(rename = "plugins.refused")]
    PluginsRefused { reasons: Vec<String> },
    /// A plugin takes no part any more.
    #[serde(rename = "plugin.removed")]
    PluginRemoved { plugin_id: PluginId },
    /// A plugin has another number of instances.
    #[serde(rename = "plugin.scaled")]
    PluginScaled { plugin_id: PluginId, from: u32, to: u32, why: String },
    /// A plugin's tasks wait.
    #[serde(rename = "plugin.paused")]
    PluginPaused { plugin_id: PluginId },
    /// A plugin's tasks go on.
    #[serde(rename = "plugin.resumed")]
    PluginResumed { plugin_id: PluginId },
    /// Another version of a plugin begins to take the current one's place.
    #[serde(rename = "plugin.transition.started")]
    TransitionStarted { plugin_id: PluginId, how: String, from: String, to: String },
    /// The new version now gets this share of the files, in percent.
    #[serde(rename = "plugin.transition.advanced")]
    TransitionAdvanced { plugin_id: PluginId, to: String, percent: u8 },
    /// The new version is the current one.
    #[serde(rename = "plugin.transition.completed")]
    TransitionCompleted { plugin_id: PluginId, from: String, to: String },
    /// The version before is the current one again, or has stayed it.
    #[serde(rename = "plugin.transition.reverted")]
    TransitionReverted {
        plugin_id: PluginId,
        from: String,
        to: String,
        automatic: bool,
        reason: String,
    },
    /// An instance announced itself.
    #[serde(rename = "instance.started")]
    InstanceStarted { plugin_id: PluginId, instance: InstanceId, version: String },
    /// An instance said goodbye.
    #[serde(rename = "instance.stopped")]
    InstanceStopped { plugin_id: PluginId, instance: InstanceId },
    /// An instance gave no sign of life for too long.
    #[serde(rename = "instance.lost")]
    InstanceLost { plugin_id: PluginId, instance: InstanceId },
    /// An instance fails everything while others work; it gets no tasks until it is tried again.
    #[serde(rename = "instance.quarantined")]
    InstanceQuarantined {
        plugin_id: PluginId,
        instance: InstanceId,
        why: String,
        until: String,
        times: u32,
    },
    /// An instance that was quarantined is not any more.
    #[serde(rename = "instance.released")]
    InstanceReleased { plugin_id: PluginId, instance: InstanceId, why: String },
    /// Files wait and nothing has settled for too long.
    #[serde(rename = "fleet.stalled")]
    FleetStalled { open_files: u64, for_ms: u64, waiting_for: BTreeMap<PluginId, u64> },
    /// It goes on after a stall.
    #[serde(rename = "fleet.recovered")]
    FleetRecovered { for_ms: u64 },
    /// A coordinator leads.
    #[serde(rename = "coordinator.leading")]
    CoordinatorLeading { holder: String, epoch: u64 },
}

/// What a scan has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ScanCounts {
    /// Directories read.
    pub directories: u64,
    /// Files seen.
    pub files: u64,
    /// Files as they were.
    pub unchanged: u64,
    /// Files hashed.
    pub hashed: u64,
    /// Bytes read for hashing.
    pub hashed_bytes: u64,
    /// Files handed in.
    pub submitted: u64,
    /// Entries left out: special files, links that leave the root, excluded names.
    pub skipped: u64,
    /// Entries that could not be read.
    pub unreadable: u64,
    /// Paths that are gone.
    pub deleted: u64,
    /// Paths that moved.
    pub moved: u64,
}

impl Event {
    /// Dates a fact.
    #[must_use]
    pub fn new(at: String, what: Fact) -> Self {
        Self { kind: EventType::V1, at, what }
    }
}

impl Fact {
    /// `<entity>.<what>`: the end of its subject.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::FileDiscovered { .. } => "file.discovered",
            Self::FileChanged { .. } => "file.changed",
            Self::FileMoved { .. } => "file.moved",
            Self::FileDeleted { .. } => "file.deleted",
            Self::FileSettled { .. } => "file.settled",
            Self::ScanStarted { .. } => "scan.started",
            Self::ScanProgress { .. } => "scan.progress",
            Self::ScanCompleted { .. } => "scan.completed",
            Self::TaskSettled { .. } => "task.settled",
            Self::TaskRetrying { .. } => "task.retrying",
            Self::TaskDeferred { .. } => "task.deferred",
            Self::TaskDead { .. } => "task.dead",
            Self::SubmissionRejected { .. } => "submission.rejected",
            Self::TaskRepaired { .. } => "task.repaired",
            Self::PluginRegistered { .. } => "plugin.registered",
            Self::PluginRejected { .. } => "plugin.rejected",
            Self::PluginsApplied { .. } => "plugins.applied",
            Self::PluginsRefused { .. } => "plugins.refused",
            Self::PluginRemoved { .. } => "plugin.removed",
            Self::PluginScaled { .. } => "plugin.scaled",
            Self::PluginPaused { .. } => "plugin.paused",
            Self::PluginResumed { .. } => "plugin.resumed",
            Self::TransitionStarted { .. } => "plugin.transition.started",
            Self::TransitionAdvanced { .. } => "plugin.transition.advanced",
            Self::TransitionCompleted { .. } => "plugin.transition.completed",
            Self::TransitionReverted { .. } => "plugin.transition.reverted",
            Self::InstanceStarted { .. } => "instance.started",
            Self::InstanceStopped { .. } => "instance.stopped",
            Self::InstanceLost { .. } => "instance.lost",
            Self::InstanceQuarantined { .. } => "instance.quarantined",
            Self::InstanceReleased { .. } => "instance.released",
            Self::FleetStalled { .. } => "fleet.stalled",
            Self::FleetRecovered { .. } => "fleet.recovered",
            Self::CoordinatorLeading { .. } => "coordinator.leading",
        }
    }
}
