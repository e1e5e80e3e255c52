//! One plugin's work on one file: all that a worker in any language needs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::file::{FileFacts, FilePath};
use crate::id::{Cid, PluginId, RunId, TaskId};
use crate::meta::MetaMap;
use crate::names::Lane;
use crate::retry::RetryPolicy;

super::message_type!(
    /// `metafleet.task.v1`
    TaskType = "metafleet.task.v1"
);

/// The body of a message on `mf.task.<queue>.<plugin>.<cid>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// `metafleet.task.v1`
    #[serde(rename = "type")]
    pub kind: TaskType,
    /// Follows from the work itself; the same after a restart of the coordinator.
    pub task_id: TaskId,
    /// The pass through the graph that this belongs to.
    pub run_id: RunId,
    /// Repeats the subject, for people; workers go by the subject.
    pub plugin_id: PluginId,
    /// Repeats the subject, for people; workers go by the subject.
    pub cid: Cid,
    /// Where the file is, as the worker sees it.
    #[serde(flatten)]
    pub path: FilePath,
    /// Size, media type, name.
    #[serde(default)]
    pub file: FileFacts,
    /// Metadata of the plugins it depends on and of the person, as far as the manifest `reads` it.
    #[serde(default)]
    pub existing_meta: MetaMap,
    /// Stream sequence of the record that this task replaces; 0 = there is none. The new record is
    /// written with `Nats-Expected-Last-Subject-Sequence` set to it.
    #[serde(default)]
    pub record_revision: u64,
    /// Plugin version, settings and inputs in one hash; goes into the record unchanged.
    pub fingerprint: String,
    /// How long one attempt may take, in milliseconds.
    pub deadline_ms: u64,
    /// How long an attempt may go on without a report of progress, in milliseconds; absent = as the
    /// manifest says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_timeout_ms: Option<u64>,
    /// How failures are tried again.
    pub retry: RetryPolicy,
    /// The version of the plugin that it is for. A worker of another version gives it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin_version: Option<String>,
    /// Whom it is for: `main`, workers of the plugin's current version; `next`, those of the one
    /// that is to take its place; else those that serve the route of this name.
    #[serde(default, skip_serializing_if = "Lane::is_main")]
    pub lane: Lane,
    /// Whether its outcome is only to be compared: then it goes under the key of trials.
    #[serde(default, skip_serializing_if = "is_false")]
    pub trial: bool,
    /// How many plugins made files from files on the way here; see [`super::submission::MAX_DEPTH`].
    #[serde(default)]
    pub depth: u32,
    /// The scan that found the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scan_id: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_false(value: &bool) -> bool {
    !*value
}
