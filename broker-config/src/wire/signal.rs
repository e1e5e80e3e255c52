//! What workers report besides records, how they announce themselves, and what they obey.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::files::FilesOffer;
use super::task::Task;
use crate::id::{Cid, InstanceId, TaskId};
use crate::manifest::Manifest;
use crate::names::{Lane, RouteName};
use crate::queue::Queue;

super::message_type!(
    /// `metafleet.signal.v1`
    SignalType = "metafleet.signal.v1"
);
super::message_type!(
    /// `metafleet.announce.v1`
    AnnounceType = "metafleet.announce.v1"
);

/// The kinds that the stream of signals keeps; the others are heard by whoever listens.
pub const KEPT_KINDS: [&str; 3] = ["failed", "retrying", "deferred"];
/// Kind of the request by which a worker announces itself.
pub const ANNOUNCE: &str = "announce";
/// Kind of the signal that a task has got on; not kept.
pub const PROGRESS: &str = "progress";

/// Longest error or reason text in bytes; longer ones are cut by the sender.
pub const MAX_TEXT_BYTES: usize = 4096;

/// The body of a message on `mf.signal.<plugin>.<kind>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Signal {
    /// `metafleet.signal.v1`
    #[serde(rename = "type")]
    pub message: SignalType,
    /// The task it is about.
    pub task_id: TaskId,
    /// The file it is about.
    pub cid: Cid,
    /// The queue the task came from.
    pub queue: Queue,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// The worker.
    pub instance: InstanceId,
    /// When, RFC 3339.
    pub at: String,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What a signal says; `kind` is also the last token of its subject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub enum What {
    /// There is no further attempt. Sent, and acknowledged by the stream, before the task is
    /// terminated.
    Failed {
        /// The last error.
        error: String,
        /// Whether it would fail every time (as opposed to: attempts used up).
        permanent: bool,
        /// How long the attempt took, in milliseconds.
        duration_ms: u64,
        /// The task itself, so that a dead letter can be tried again.
        task: Box<Task>,
    },
    /// The attempt failed and the task comes again after a delay.
    Retrying {
        /// The error.
        error: String,
        /// The delay in milliseconds.
        delay_ms: u64,
        /// How long the attempt took, in milliseconds.
        duration_ms: u64,
    },
    /// The task is to be published again after a delay. Sent, and acknowledged by the stream,
    /// before the task is acknowledged.
    Deferred {
        /// Why.
        reason: String,
        /// The delay in milliseconds.
        delay_ms: u64,
        /// Attempts used up so far: this one counts after an error, not after *retry later*.
        attempts_used: u32,
        /// The task itself.
        task: Box<Task>,
    },
    /// The task has got on.
    Progress {
        /// From 0 to 1.
        #[serde(deserialize_with = "from_nothing_to_all")]
        fraction: f32,
        /// For people.
        note: String,
    },
}

impl What {
    /// The last token of the subject.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Failed { .. } => "failed",
            Self::Retrying { .. } => "retrying",
            Self::Deferred { .. } => "deferred",
            Self::Progress { .. } => PROGRESS,
        }
    }
}

/// Reads a share; what is beyond its bounds is taken for the nearer of them. A number that its type
/// cannot hold would come out as none when the signal is written again.
fn from_nothing_to_all<'de, D: Deserializer<'de>>(number: D) -> Result<f32, D::Error> {
    f32::deserialize(number).map(|share| share.clamp(0.0, 1.0))
}

/// The request on `mf.signal.<plugin>.announce`, sent once connected and after every reconnect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Announce {
    /// `metafleet.announce.v1`
    #[serde(rename = "type")]
    pub kind: AnnounceType,
    /// This process.
    pub instance: InstanceId,
    /// What the plugin says about itself.
    pub manifest: Manifest,
    /// The machine it runs on, for people.
    #[serde(default)]
    pub host: String,
    /// Its process id there, for people.
    #[serde(default)]
    pub pid: u32,
    /// The SDK and its version, for people.
    #[serde(default)]
    pub sdk: String,
    /// Whether it pulls from the lane that the answer names, and keeps trials apart.
    #[serde(default)]
    pub lanes: bool,
    /// The route whose tasks it does; absent = the tasks that go no route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<RouteName>,
}

// `Debug` shows no settings, for there are secrets among them.
/// The answer to an announcement.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "status", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub enum AnnounceReply {
    /// The plugin may pull its tasks once it has taken its settings.
    Accepted {
        /// Values for the manifest's configSchema, defaults filled in.
        settings: serde_json::Map<String, serde_json::Value>,
        /// How long a delivery belongs to its worker without renewal, in milliseconds.
        lease_ms: u64,
        /// How often the sign of life is due, in milliseconds.
        heartbeat_ms: u64,
        /// Largest message in bytes.
        max_payload: usize,
        /// Tasks at once that the operator allows this instance; absent = the plugin decides.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        concurrency: Option<u32>,
        /// Whether the plugin's consumers are paused at the moment.
        #[serde(default)]
        paused: bool,
        /// Whose tasks it is to pull: `main`, those of the current version; `next`, those of the
        /// one that is tried; else those of the route of this name.
        #[serde(default, skip_serializing_if = "Lane::is_main")]
        lane: Lane,
        /// Where to get the bytes of files that the worker cannot see; absent = nobody offers them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        files: Option<FilesOffer>,
    },
    /// The plugin may not serve; each reason says what to mend.
    Rejected {
        /// For people.
        reasons: Vec<String>,
    },
}

// `Debug` shows no settings.
/// A request on `mf.control.<plugin>` or `mf.control.<plugin>.<instance>`.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "action", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub enum Control {
    /// Pull nothing new; what runs goes on.
    Pause,
    /// Pull again.
    Resume,
    /// Finish what runs, give back the rest, stop.
    Drain,
    /// Take new settings.
    Configure {
        /// All values, defaults filled in.
        settings: serde_json::Map<String, serde_json::Value>,
    },
    /// Announce again.
    Announce,
    /// Answer.
    Ping,
}

impl fmt::Debug for AnnounceReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted { settings, paused, lane, .. } => f
                .debug_struct("Accepted")
                .field("settings", &settings.keys())
                .field("paused", paused)
                .field("lane", lane)
                .finish_non_exhaustive(),
            Self::Rejected { reasons } => {
                f.debug_struct("Rejected").field("reasons", reasons).finish()
            }
        }
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pause => "Pause",
            Self::Resume => "Resume",
            Self::Drain => "Drain",
            Self::Configure { .. } => "Configure",
            Self::Announce => "Announce",
            Self::Ping => "Ping",
        })
    }
}

/// The answer to a [`Control`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ControlReply {
    /// Whether it was done.
    pub success: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Who answers.
    pub instance: InstanceId,
}
