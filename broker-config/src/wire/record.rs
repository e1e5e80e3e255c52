//! The outcome of one plugin on one file: its metadata and the completion event in one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{Cid, InstanceId, PluginId, TaskId};
use crate::meta::{MetaKey, MetaMap};

super::message_type!(
    /// `metafleet.record.v1`
    RecordType = "metafleet.record.v1"
);

/// How a task ended.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum RecordStatus {
    /// The metadata is there.
    Completed,
    /// The plugin had nothing to say about this file.
    Skipped,
    /// Given up on; `meta` is that of an earlier success, if there was one.
    Failed,
}

impl RecordStatus {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        }
    }
}

/// The value of key `<cid>.<plugin>` in the bucket of records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// `metafleet.record.v1`
    #[serde(rename = "type")]
    pub kind: RecordType,
    /// The task it answers.
    pub task_id: TaskId,
    /// Repeats the key, for people.
    pub plugin_id: PluginId,
    /// Repeats the key, for people.
    pub cid: Cid,
    /// How the task ended.
    pub status: RecordStatus,
    /// How long the last attempt took, in milliseconds.
    #[serde(default)]
    pub duration_ms: u64,
    /// Number of the attempt that settled it, from 1.
    #[serde(default = "first")]
    pub attempt: u32,
    /// Version of the plugin that wrote it.
    #[serde(default)]
    pub plugin_version: String,
    /// The task's fingerprint, unchanged; by it the coordinator knows what is up to date.
    #[serde(default)]
    pub fingerprint: String,
    /// When it was written, RFC 3339.
    #[serde(default)]
    pub finished_at: String,
    /// The worker that wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why it was skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The metadata.
    #[serde(default)]
    pub meta: MetaMap,
    /// Keys that the person wants not to see; only in the `user` record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hidden: Vec<MetaKey>,
}

const fn first() -> u32 {
    1
}
