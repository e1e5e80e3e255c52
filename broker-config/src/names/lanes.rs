//! The names of a plugin's lanes: while two versions of it run, each has tasks of its own, and so
//! has each of its routes.
//!
//! The token of a lane is the plugin's id with `_next` or `_<route>` behind it, which is no plugin
//! id, so that no other plugin can have it.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Names, RecordAddress, RouteName};
use crate::codec;
use crate::id::{Cid, InvalidId, PluginId};
use crate::queue::Queue;

/// Behind the id of a plugin: its second lane.
const NEXT: &str = "_next";
/// Between the id of a plugin and the word for a lane.
const BETWEEN: char = '_';

/// Which of a plugin's tasks: those of its current version, those of the one that is tried, or those
/// of a route.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Lane {
    /// The tasks of the current version; there are no others most of the time.
    #[default]
    Main,
    /// The tasks of a version that is to take the current one's place.
    Next,
    /// Those tasks of the current version that go to workers which can do them.
    Route(RouteName),
}

impl Lane {
    /// Whether it is the usual one.
    #[must_use]
    pub fn is_main(&self) -> bool {
        *self == Self::Main
    }

    /// The token that stands for the plugin's tasks in this lane.
    pub(super) fn token(self, plugin: &PluginId) -> String {
        match self {
            Self::Main => plugin.to_string(),
            Self::Next => format!("{plugin}{NEXT}"),
            Self::Route(route) => format!("{plugin}{BETWEEN}{route}"),
        }
    }

    /// The route that it is.
    #[must_use]
    pub const fn route(self) -> Option<RouteName> {
        match self {
            Self::Route(route) => Some(route),
            Self::Main | Self::Next => None,
        }
    }

    /// Reads such a token.
    pub(super) fn parse(token: &str) -> Option<(PluginId, Self)> {
        match token.split_once(BETWEEN) {
            Some((plugin, lane)) => {
                let lane = lane.parse().ok().filter(|lane| *lane != Self::Main)?;
                Some((plugin.parse().ok()?, lane))
            }
            None => Some((token.parse().ok()?, Self::Main)),
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Main => f.write_str("main"),
            Self::Next => f.write_str("next"),
            Self::Route(route) => f.write_str(route.as_str()),
        }
    }
}

impl FromStr for Lane {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "main" => Ok(Self::Main),
            "next" => Ok(Self::Next),
            route => route.parse().map(Self::Route),
        }
    }
}

impl TryFrom<String> for Lane {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Lane> for String {
    fn from(lane: Lane) -> Self {
        lane.to_string()
    }
}

impl Names {
    /// `mf.task.<queue>.<plugin>_next.<cid>`, in the second lane; else as [`Names::task`].
    #[must_use]
    pub fn task_in(&self, lane: Lane, queue: Queue, plugin: &PluginId, cid: &Cid) -> String {
        let cid = codec::encode(cid.as_str().as_bytes());
        format!("{}{queue}.{}.{cid}", self.task_root, lane.token(plugin))
    }

    /// The same task in whichever queue it is.
    #[must_use]
    pub fn task_in_any_queue(&self, lane: Lane, plugin: &PluginId, cid: &Cid) -> String {
        let cid = codec::encode(cid.as_str().as_bytes());
        format!("{}*.{}.{cid}", self.task_root, lane.token(plugin))
    }

    /// The tasks of one plugin in one queue and lane.
    #[must_use]
    pub fn tasks_in(&self, lane: Lane, queue: Queue, plugin: &PluginId) -> String {
        format!("{}{queue}.{}.*", self.task_root, lane.token(plugin))
    }

    /// Where a task of a lane waits for its time.
    #[must_use]
    pub fn later_in(&self, lane: Lane, plugin: &PluginId, cid: &Cid) -> String {
        let cid = codec::encode(cid.as_str().as_bytes());
        format!("{}.later.{}.{cid}", self.prefix, lane.token(plugin))
    }

    /// The scheduled tasks of one plugin in one lane.
    #[must_use]
    pub fn all_later_in(&self, lane: Lane, plugin: &PluginId) -> String {
        format!("{}.later.{}.*", self.prefix, lane.token(plugin))
    }

    /// The durable consumer of a lane's tasks in one queue, e.g. `ffmpeg_next_fast`.
    #[must_use]
    pub fn consumer_in(lane: Lane, plugin: &PluginId, queue: Queue) -> String {
        format!("{}_{queue}", lane.token(plugin))
    }

    /// Reads the name of such a consumer.
    #[must_use]
    pub fn parse_consumer(name: &str) -> Option<(PluginId, Lane, Queue)> {
        let (token, queue) = name.rsplit_once(BETWEEN)?;
        let (plugin, lane) = Lane::parse(token)?;
        Some((plugin, lane, queue.parse().ok()?))
    }

    /// `$KV.mf-records.<cid>.<plugin>_next`: what a version on trial says of a file. It is no
    /// record: nobody merges it and nothing follows from it.
    #[must_use]
    pub fn trial(&self, cid: &Cid, plugin: &PluginId) -> String {
        let cid = codec::encode(cid.as_str().as_bytes());
        format!("{}{cid}.{plugin}{NEXT}", self.record_root)
    }

    /// All that a version of this plugin has said on trial.
    #[must_use]
    pub fn trials_of(&self, plugin: &PluginId) -> String {
        format!("{}*.{plugin}{NEXT}", self.record_root)
    }

    /// Reads the subject of what a version on trial said.
    #[must_use]
    pub fn parse_trial(&self, subject: &str) -> Option<RecordAddress> {
        let (cid, token) = subject.strip_prefix(&self.record_root)?.split_once('.')?;
        let plugin = token.strip_suffix(NEXT)?.parse().ok()?;
        Some(RecordAddress { cid: codec::decode_text(cid).ok()?.try_into().ok()?, plugin })
    }

    /// `<plugin>.versions` in the bucket of plugins: which version is to run, and which is to take
    /// its place.
    #[must_use]
    pub fn versions_key(plugin: &PluginId) -> String {
        format!("{plugin}.versions")
    }

    /// The versions of all plugins.
    #[must_use]
    pub fn all_versions(&self) -> String {
        Self::key_subject(&self.plugins_bucket(), "*.versions")
    }

    /// Reads the plugin from the subject of its versions.
    #[must_use]
    pub fn parse_versions(&self, subject: &str) -> Option<PluginId> {
        let keys = Self::key_subject(&self.plugins_bucket(), "");
        subject.strip_prefix(&keys)?.strip_suffix(".versions")?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::TaskAddress;

    #[test]
    fn each_lane_has_names_of_its_own_that_are_read_back() {
        let names = Names::default();
        let (plugin, cid): (PluginId, Cid) =
            ("ffmpeg".parse().unwrap(), "midhash256:ab".parse().unwrap());
        for (lane, task, consumer) in [
            (Lane::Main, "mf.task.fast.ffmpeg.midhash256=3Aab", "ffmpeg_fast"),
            (Lane::Next, "mf.task.fast.ffmpeg_next.midhash256=3Aab", "ffmpeg_next_fast"),
            (
                Lane::Route("gpu".parse().unwrap()),
                "mf.task.fast.ffmpeg_gpu.midhash256=3Aab",
                "ffmpeg_gpu_fast",
            ),
            (
                Lane::Route("fast".parse().unwrap()),
                "mf.task.fast.ffmpeg_fast.midhash256=3Aab",
                "ffmpeg_fast_fast",
            ),
        ] {
            let subject = names.task_in(lane, Queue::Fast, &plugin, &cid);
            assert_eq!(subject, task);
            let (queue, plugin, cid) = (Queue::Fast, plugin.clone(), cid.clone());
            assert_eq!(Names::consumer_in(lane, &plugin, queue), consumer);
            assert_eq!(Names::parse_consumer(consumer), Some((plugin.clone(), lane, queue)));
            let json = serde_json::to_value(lane).unwrap();
            assert_eq!(json, lane.to_string());
            assert_eq!(serde_json::from_value::<Lane>(json).unwrap(), lane);
            let later = names.later_in(lane, &plugin, &cid);
            assert_eq!(names.parse_later(&later), Some((plugin.clone(), lane, cid.clone())));
            let address = TaskAddress { queue, lane, plugin, cid };
            assert_eq!(names.parse_task(&subject), Some(address));
        }
        let main = names.task_in(Lane::Main, Queue::Fast, &plugin, &cid);
        assert_eq!(main, names.task(Queue::Fast, &plugin, &cid));
    }

    #[test]
    fn what_is_no_lane_of_a_plugin_is_not_taken_for_one() {
        for token in ["ffmpeg_main", "ffmpeg_", "_gpu", "ffmpeg_a_b", "ffmpeg_GPU"] {
            assert_eq!(Lane::parse(token), None, "{token}");
        }
        for name in ["ffmpeg", "ffmpeg_slow", "mf-events_fast_x", "_fast"] {
            assert_eq!(Names::parse_consumer(name), None, "{name}");
        }
    }

    #[test]
    fn what_a_version_on_trial_says_is_no_record() {
        let names = Names::default();
        let (plugin, cid): (PluginId, Cid) = ("p".parse().unwrap(), "film".parse().unwrap());
        let subject = names.trial(&cid, &plugin);
        assert_eq!(subject, "$KV.mf-records.film.p_next");
        assert_eq!(names.parse_record(&subject), None);
        let address = RecordAddress { cid: cid.clone(), plugin: plugin.clone() };
        assert_eq!(names.parse_trial(&subject), Some(address));
        assert_eq!(names.parse_trial(&names.record(&cid, &plugin)), None);
        let versions = Names::key_subject(&names.plugins_bucket(), &Names::versions_key(&plugin));
        assert_eq!(names.parse_versions(&versions), Some(plugin));
    }
}
