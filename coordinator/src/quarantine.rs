//! PURE: which instance is taken out of work because it fails everything, and when it is tried again.
//!
//! An instance fails everything when, of different files, so many attempts in a row failed that they weigh
//! [`Rules::enough`], within [`Rules::window`], and none ended well. That alone says nothing of whose fault
//! it is, so two more things must be:
//!
//! - *Another instance works*: one of the same version and route that takes tasks, has ended at least as many well
//!   as it failed since the first of these failures, and does not fail in a row itself. So the last instance that serves is
//!   never taken out, and none is when all fail: then the plugin or the files are bad, which is only said.
//! - *The files are not bad*: a file that fails at an instance that works counts against nobody else.
//!
//! A failure that may pass weighs twice a permanent one: what does not mend by trying again is more often
//! the file's fault, and no other instance is given it, which would show. But a missing mount looks
//! permanent to many plugins, so it does count. A file counts once, however often it fails.
//!
//! What is taken out is tried again after a time that doubles up to [`Rules::longest`]: it gets tasks, and the
//! first that ends well sets it free; [`Rules::trial`] failures send it back.

#[cfg(test)]
mod tests;
pub mod ward;
pub mod warden;

use std::fmt;
use std::time::Duration;

use broker_config::{Cid, InstanceId, PluginId, RouteName};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::ward::Ward;
pub use self::warden::{Notes, Warden};

/// When an instance is taken out of work, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// So many failures of different files in a row; permanent ones count half.
    pub enough: u32,
    /// What lies further back does not count.
    pub window: Duration,
    /// How long it is taken out for the first time.
    pub first: Duration,
    /// How long at most.
    pub longest: Duration,
    /// So many failures end a trial; permanent ones count half.
    pub trial: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            enough: 10,
            window: Duration::from_secs(600),
            first: Duration::from_secs(30),
            longest: Duration::from_secs(1_800),
            trial: 3,
        }
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// There is a record that says so.
    Well,
    /// It failed.
    Failed {
        /// Whether it would fail every time, as the plugin says.
        permanent: bool,
    },
}

/// An attempt has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The plugin.
    pub plugin: PluginId,
    /// Who ran it.
    pub instance: InstanceId,
    /// On which file.
    pub cid: Cid,
    /// How.
    pub ending: Ending,
}

/// What an instance said of itself last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its plugin.
    pub plugin: PluginId,
    /// Its name.
    pub instance: InstanceId,
    /// The version that it runs.
    pub version: String,
    /// The route whose files it does.
    pub route: Option<RouteName>,
    /// Whether it takes tasks.
    pub is_ready: bool,
}

/// An instance that is out of work, or on trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Term {
    /// Its plugin.
    pub plugin_id: PluginId,
    /// Its name.
    pub instance: InstanceId,
    /// The version that it runs; another one has done nothing wrong.
    pub version: String,
    /// Why.
    pub why: String,
    /// Since when it is out, or on trial.
    pub since: Timestamp,
    /// When it is tried again.
    pub until: Timestamp,
    /// How often it was taken out without having been free in between.
    pub times: u32,
    /// Whether it is being tried.
    pub on_trial: bool,
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instance, why, until, times, on_trial, .. } = self;
        if *on_trial {
            return write!(f, "{instance}: on trial, after it was quarantined: {why}");
        }
        let again = if *times > 1 { format!(", {times} times by now") } else { String::new() };
        write!(f, "{instance}: quarantined{again}: {why}; it is tried again at {until:.0}")
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is out now, which is to be told.
    Quarantined(Term),
    /// It is free, which is to be told, with the reason.
    Released(PluginId, InstanceId, String),
    /// It is to be told to take no tasks.
    Pause(PluginId, InstanceId),
    /// It is to announce itself: the answer says whether it takes tasks.
    Announce(PluginId, InstanceId),
    /// It fails everything, but nobody else does better: a person should look.
    Doubt(PluginId, InstanceId, String),
}

impl Rules {
    /// How long it is out for the `times`-th time.
    fn pause(&self, times: u32) -> Duration {
        let factor = 2_u32.saturating_pow(times.saturating_sub(1));
        self.first.saturating_mul(factor).min(self.longest)
    }
}
