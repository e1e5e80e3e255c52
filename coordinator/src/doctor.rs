//! What this machine gives a fleet and what it lacks: facts are looked up, then judged.

pub mod ask;
pub mod broker;
pub mod judge;
mod look;

use std::path::PathBuf;

use serde::Serialize;

pub use self::ask::Asked;
pub use self::broker::Broker;
pub use self::judge::{Finding, Level, judge};
pub use self::look::{Places, look};
use crate::docker::engine::About;
use crate::sandbox::Support;

/// What was seen on a machine; an `Err` says why something was not.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// The kernel's release.
    pub kernel: String,
    /// Whether we are root.
    pub is_root: bool,
    /// What of the sandbox the kernel knows.
    pub sandbox: Support,
    /// Whether a user may make user namespaces.
    pub user_namespaces: bool,
    /// The version of control groups; 0 = none is mounted.
    pub cgroups: u8,
    /// The Docker engine.
    pub engine: Result<About, String>,
    /// Where it was looked for.
    pub engine_address: String,
    /// The nats-server: its path and version.
    pub nats_server: Result<(PathBuf, String), String>,
    /// Whether a broker that exists was named.
    pub has_broker: bool,
    /// The broker that was named, or that of the fleet that runs over the data folder; `None` =
    /// there is neither.
    pub broker: Option<Result<Broker, String>>,
    /// What ffprobe says it is.
    pub ffprobe: Result<String, String>,
    /// The data folder.
    pub data: Data,
    /// Files that may be open at once.
    pub open_files: u64,
    /// The year by the clock.
    pub year: i16,
    /// Whether the clock follows others; `None` = nobody says so.
    pub clock_follows: Option<bool>,
    /// What `plugins.yml` says; an `Err` says why it cannot be used.
    pub plugins: Result<Plugins, String>,
}

/// The data folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Data {
    /// Where it is.
    pub path: PathBuf,
    /// Why nothing can be written there.
    pub problem: Option<String>,
    /// Its file system.
    pub file_system: String,
    /// Bytes free.
    pub free: u64,
}

/// What `plugins.yml` says, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plugins {
    /// Plugins that run in containers.
    pub in_containers: Vec<String>,
    /// Plugins whose processes are not kept apart.
    pub without_isolation: Vec<String>,
    /// What is wrong in the file.
    pub problems: Vec<String>,
}
