//! What is known about one instance.

use std::path::PathBuf;

use broker_config::{InstanceId, PluginId};
use jiff::Timestamp;
use serde::Serialize;

/// One instance, as status shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessInfo {
    /// `plugin-<id>-<n>`.
    pub name: InstanceId,
    /// The plugin it runs.
    pub plugin: PluginId,
    /// The version found on disk, when there is a manifest.
    pub version: Option<String>,
    /// The process, while there is one.
    pub pid: Option<u32>,
    /// Whether it is kept apart from the rest of the machine.
    pub isolated: bool,
    /// How it is.
    pub state: ProcessState,
    /// Times it was started again, since it is wanted as it is now.
    pub restarts: u32,
    /// When the process was started.
    pub started: Option<Timestamp>,
    /// When it will be started again.
    pub next_start: Option<Timestamp>,
    /// How the last process ended.
    pub last_exit: Option<LastExit>,
    /// Where what it prints is kept.
    pub log: PathBuf,
}

/// How an instance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ProcessState {
    /// About to be started.
    Starting,
    /// There is a process.
    Running,
    /// It has ended and will be started again.
    Waiting,
    /// It ends soon after each start; it is still started again, after long pauses.
    CrashLoop,
    /// It was asked to stop.
    Stopping,
    /// It has stopped, because everything stops.
    Stopped,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LastExit {
    /// When.
    pub at: Timestamp,
    /// Its exit code, unless a signal ended it or it was never started.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The same for people.
    pub reason: String,
    /// The last lines it printed.
    pub lines: Vec<String>,
}
