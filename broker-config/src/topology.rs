//! Every stream, bucket and consumer of a fleet, as data.
//!
//! Nothing here talks to a server; `apply` does. The same data is what `metafleet broker
//! render` prints and what the file `topology.json` holds.

use std::time::Duration;

use serde::Serialize;

use crate::id::PluginId;
use crate::manifest::Manifest;
use crate::names::{Lane, Names};
use crate::queue::Queue;
use crate::retry::RetryPolicy;
use crate::wire::instance::{HEARTBEAT_MS, MISSED_HEARTBEATS};
use crate::wire::signal::KEPT_KINDS;

/// How long a delivery belongs to its worker unless renewed; renewed every third of it.
///
/// Nine seconds, because a killed worker's tasks are to run elsewhere within ten.
pub const LEASE: Duration = Duration::from_secs(8);
/// Consumers per stream. Must be said: from 2.15 on a server allows 1,000 unless told otherwise.
const MAX_CONSUMERS: i32 = 20_000;
/// Waiting pull requests per consumer; cannot be changed later, so it is set for a large fleet.
const MAX_WAITING: i64 = 16_384;
/// Deliveries per consumer that may be held or delayed at once.
const MAX_ACK_PENDING: i64 = 20_000;

/// The consumer that keeps tasks which wait for their time; nobody pulls from it.
pub const LATER: &str = "later";

const DAY: Duration = Duration::from_secs(24 * 3600);

/// All streams of a fleet; buckets are streams too.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Topology {
    /// In the order in which they are made.
    pub streams: Vec<StreamSpec>,
}

/// When a stream forgets a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Retention {
    /// When a limit is reached.
    Limits,
    /// When its consumer has acknowledged it.
    WorkQueue,
}

/// Which message gives way at a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Discard {
    /// The oldest.
    Old,
    /// The new one: its publisher gets an error.
    New,
}

/// One stream as it should be.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "they are the server's own switches")]
pub struct StreamSpec {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: &'static str,
    /// What it keeps.
    pub subjects: Vec<String>,
    /// When it forgets.
    pub retention: Retention,
    /// Which message gives way.
    pub discard: Discard,
    /// Age at which a message goes; zero = never.
    #[serde(serialize_with = "seconds", rename = "maxAgeSeconds")]
    pub max_age: Duration,
    /// Messages per subject; -1 = no limit.
    pub max_messages_per_subject: i64,
    /// Bytes in all; -1 = no limit.
    pub max_bytes: i64,
    /// Window of `Nats-Msg-Id` deduplication.
    #[serde(serialize_with = "seconds", rename = "duplicateWindowSeconds")]
    pub duplicate_window: Duration,
    /// Whether messages may carry a time to live.
    pub allow_ttl: bool,
    /// Whether messages may be scheduled.
    pub allow_schedules: bool,
    /// Whether clients may not delete single messages.
    pub deny_delete: bool,
    /// Whether clients may not purge.
    pub deny_purge: bool,
    /// Copies in a cluster.
    pub replicas: usize,
    /// Consumers it may have.
    pub max_consumers: i32,
    /// Consumers that belong to it and that nobody pulls from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keepers: Vec<KeeperSpec>,
}

/// A consumer of a work queue that nobody pulls from.
///
/// An acknowledgement says which message it is for, and the server takes the word of any consumer
/// for a message that no other consumer wants. What waits for its time is therefore wanted by one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeeperSpec {
    /// Its durable name; no plugin's consumer is called so.
    pub name: &'static str,
    /// What it keeps.
    pub filter: String,
}

fn seconds<S: serde::Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(value.as_secs())
}

/// The consumer of one plugin's tasks in one queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskConsumerSpec {
    /// Its durable name, e.g. `ffmpeg_fast`.
    pub name: String,
    /// What it delivers.
    pub filter: String,
    /// The lease in milliseconds.
    pub lease_ms: u64,
    /// Deliveries of one task in all.
    pub max_deliver: i64,
    /// Deliveries held or delayed at once.
    pub max_ack_pending: i64,
    /// Waiting pull requests.
    pub max_waiting: i64,
}

impl Topology {
    /// The streams of a fleet whose messages are kept on `replicas` servers.
    #[must_use]
    pub fn of(names: &Names, replicas: usize) -> Self {
        let base = StreamSpec {
            name: String::new(),
            description: "",
            subjects: Vec::new(),
            retention: Retention::Limits,
            discard: Discard::Old,
            max_age: Duration::ZERO,
            max_messages_per_subject: -1,
            max_bytes: -1,
            duplicate_window: Duration::from_secs(120),
            allow_ttl: false,
            allow_schedules: false,
            deny_delete: false,
            deny_purge: false,
            replicas,
            max_consumers: MAX_CONSUMERS,
            keepers: Vec::new(),
        };
        let streams = vec![
            StreamSpec {
                name: names.submit_stream(),
                description: "files handed in, until every plugin is done with them",
                subjects: vec![names.all_submits(), names.all_submits_by()],
                retention: Retention::WorkQueue,
                ..base.clone()
            },
            StreamSpec {
                name: names.task_stream(),
                description: "tasks, until they are settled; tasks that wait for their time",
                subjects: vec![names.all_tasks(), names.all_later()],
                retention: Retention::WorkQueue,
                // The server refuses schedules on a stream that discards new messages.
                allow_schedules: true,
                allow_ttl: true,
                keepers: vec![KeeperSpec { name: LATER, filter: names.all_later() }],
                ..base.clone()
            },
            bucket(&base, &names.records_bucket(), "one record per file and plugin"),
            bucket(&base, &names.artifacts_bucket(), "what plugins make beside metadata"),
            StreamSpec {
                name: names.signal_stream(),
                description: "what workers report besides records",
                subjects: KEPT_KINDS.iter().map(|kind| names.signals(kind)).collect(),
                max_age: 7 * DAY,
                ..base.clone()
            },
            StreamSpec {
                name: names.event_stream(),
                description: "what subscribers read",
                subjects: vec![names.all_events()],
                max_age: 7 * DAY,
                ..base.clone()
            },
            StreamSpec {
                name: names.dead_stream(),
                description: "tasks given up on, for a person",
                subjects: vec![names.all_dead()],
                ..base.clone()
            },
            StreamSpec {
                name: names.advisory_stream(),
                description: "what the server says about tasks that were delivered too often",
                subjects: names.task_advisories(),
                max_age: 7 * DAY,
                ..base.clone()
            },
            bucket(&base, &names.plugins_bucket(), "manifests of all known plugins"),
            StreamSpec {
                max_age: Duration::from_millis(HEARTBEAT_MS) * MISSED_HEARTBEATS,
                allow_ttl: true,
                ..bucket(&base, &names.instances_bucket(), "signs of life; they expire")
            },
            bucket(&base, &names.config_bucket(), "settings per plugin; no secrets"),
            bucket(&base, &names.paths_bucket(), "known paths: content id, size, time"),
            bucket(&base, &names.lease_bucket(), "which coordinator leads"),
        ];
        Self { streams }
    }
}

/// A stream in the shape that key-value clients expect.
fn bucket(base: &StreamSpec, bucket: &str, description: &'static str) -> StreamSpec {
    StreamSpec {
        name: Names::bucket_stream(bucket),
        description,
        subjects: vec![format!("$KV.{bucket}.>")],
        discard: Discard::New,
        max_messages_per_subject: 1,
        deny_delete: true,
        ..base.clone()
    }
}

impl TaskConsumerSpec {
    /// The consumer through which all instances of a plugin pull the tasks of one queue.
    ///
    /// No `backoff` list: it would replace the lease and bend the delays of naks.
    #[must_use]
    pub fn of(names: &Names, manifest: &Manifest, queue: Queue, lease: Duration) -> Self {
        Self::for_plugin(names, &manifest.id, queue, lease, &manifest.retry.policy())
    }

    /// The same from its parts.
    #[must_use]
    pub fn for_plugin(
        names: &Names,
        plugin: &PluginId,
        queue: Queue,
        lease: Duration,
        retry: &RetryPolicy,
    ) -> Self {
        Self {
            name: Names::consumer(plugin, queue),
            filter: names.tasks_of(queue, plugin),
            lease_ms: u64::try_from(lease.as_millis()).unwrap_or(u64::MAX),
            max_deliver: i64::from(retry.deliveries()),
            max_ack_pending: MAX_ACK_PENDING,
            max_waiting: MAX_WAITING,
        }
    }

    /// The same for the tasks of one lane.
    #[must_use]
    pub fn in_lane(self, names: &Names, lane: Lane, plugin: &PluginId, queue: Queue) -> Self {
        let (name, filter) =
            (Names::consumer_in(lane, plugin, queue), names.tasks_in(lane, queue, plugin));
        Self { name, filter, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topology_on_file_is_the_one_in_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/topology.json");
        let now = serde_json::to_string_pretty(&Topology::of(&Names::default(), 1)).unwrap() + "\n";
        if std::env::var_os("UPDATE_FILES").is_some() {
            std::fs::write(path, &now).unwrap();
        }
        let file = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(file, now, "run the tests with UPDATE_FILES=1 and look at the difference");
    }

    #[test]
    fn no_keeper_is_taken_for_a_consumer_of_a_plugin() {
        let streams = Topology::of(&Names::default(), 1).streams;
        let keepers: Vec<_> = streams.iter().flat_map(|stream| &stream.keepers).collect();
        assert_eq!(keepers.len(), 1);
        assert!(keepers.iter().all(|keeper| Names::parse_consumer(keeper.name).is_none()));
    }

    #[test]
    fn two_fleets_share_no_subject() {
        let subjects = |prefix: &str| -> Vec<String> {
            let names = Names::new(prefix.parse().unwrap());
            Topology::of(&names, 1).streams.into_iter().flat_map(|s| s.subjects).collect()
        };
        let (one, two) = (subjects("mf"), subjects("mf-2"));
        assert!(one.iter().all(|subject| !two.contains(subject)));
    }
}
