//! A task given up on, kept for a person.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::task::Task;
use crate::id::{Cid, InstanceId, PluginId};
use crate::queue::Queue;

super::message_type!(
    /// `metafleet.dead.v1`
    DeadType = "metafleet.dead.v1"
);

/// Why nobody tries any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// The plugin said that it fails every time.
    Permanent,
    /// It failed as often as it may.
    Attempts,
    /// Its workers died, hung or lost their lease as often as it may be delivered.
    Exhausted,
    /// A worker ended it without saying why.
    Terminated,
}

/// The body of a message on `mf.dead.<queue>.<plugin>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// `metafleet.dead.v1`
    #[serde(rename = "type")]
    pub kind: DeadType,
    /// The plugin.
    pub plugin_id: PluginId,
    /// The file.
    pub cid: Cid,
    /// The queue the task was in.
    pub queue: Queue,
    /// Why nobody tries any more.
    pub cause: Cause,
    /// The last error.
    pub error: String,
    /// Attempts used.
    pub attempts: u32,
    /// The worker that had it last, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
    /// When, RFC 3339.
    pub at: String,
    /// The task itself.
    pub task: Task,
}
