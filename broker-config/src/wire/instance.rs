//! An instance's sign of life, and the numbers that go with it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{Cid, InstanceId, PluginId, TaskId};
use crate::names::RouteName;

super::message_type!(
    /// `metafleet.instance.v1`
    InstanceType = "metafleet.instance.v1"
);

/// Default interval between two signs of life, in milliseconds.
pub const HEARTBEAT_MS: u64 = 5_000;
/// An entry that was not refreshed for this many intervals is gone.
pub const MISSED_HEARTBEATS: u32 = 3;

/// What an instance is doing.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum InstanceState {
    /// Announced, not yet configured.
    Starting,
    /// Takes tasks.
    Ready,
    /// Told to take none.
    Paused,
    /// Finishing what it holds.
    Draining,
    /// Cannot serve; the error says why.
    Failed,
}

/// The value of key `<plugin>.<instance>` in the bucket of instances.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    /// `metafleet.instance.v1`
    #[serde(rename = "type")]
    pub kind: InstanceType,
    /// The plugin.
    pub plugin_id: PluginId,
    /// The instance.
    pub instance: InstanceId,
    /// What it is doing.
    pub state: InstanceState,
    /// Why it cannot serve, or that its own health check failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whether the plugin's own health check is content.
    #[serde(default = "healthy")]
    pub healthy: bool,
    /// The plugin's version.
    pub version: String,
    /// The route that it serves; absent = the tasks that go no route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<RouteName>,
    /// The machine.
    #[serde(default)]
    pub host: String,
    /// The process id there.
    #[serde(default)]
    pub pid: u32,
    /// Start, RFC 3339.
    #[serde(default)]
    pub started_at: String,
    /// This sign of life, RFC 3339.
    #[serde(default)]
    pub at: String,
    /// How many tasks it runs at once.
    #[serde(default)]
    pub concurrency: u32,
    /// What runs now, at most 16 entries.
    #[serde(default)]
    pub running: Vec<Running>,
    /// Totals since the start.
    #[serde(default)]
    pub totals: Totals,
}

const fn healthy() -> bool {
    true
}

/// A task that an instance holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Running {
    /// The task.
    pub task_id: TaskId,
    /// Its file.
    pub cid: Cid,
    /// For how long already, in milliseconds.
    pub for_ms: u64,
    /// The last reported progress, from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fraction: Option<f32>,
}

/// What an instance has done since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Totals {
    /// Attempts begun.
    pub started: u64,
    /// Records `completed`.
    pub completed: u64,
    /// Records `skipped`.
    pub skipped: u64,
    /// Failures without a further attempt.
    pub failed: u64,
    /// Failures with one.
    pub retried: u64,
    /// *Retry later* answers.
    pub deferred: u64,
    /// Outcomes that came second: somebody else had finished the task.
    pub superseded: u64,
    /// Time spent in the handler, in milliseconds.
    pub busy_ms: u64,
    /// Bytes of files that came by HTTP, because the instance does not see them.
    pub fetched_bytes: u64,
}
