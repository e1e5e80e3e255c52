//! How a fleet is doing, in numbers.

use std::collections::BTreeMap;

use broker_config::wire::instance::{Instance, InstanceState};
use broker_config::wire::lease::{LEASE_KEY, Lease};
use broker_config::{Names, PluginId};
use serde::Serialize;

pub use self::routes::RouteNumbers;
use self::routes::{routes, strangers};
use super::scale::Scaled;
use super::{Store, StoreError};
use crate::quarantine::Term;

mod routes;

/// All numbers of `metafleet status`.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    /// The node that led last; whether it still does, its instances tell.
    pub coordinator: Option<String>,
    /// Files handed in and not settled.
    pub files: Files,
    /// Tasks of all plugins.
    pub tasks: Tasks,
    /// Dead letters.
    pub dead: u64,
    /// Records, those of files that are gone included.
    pub records: u64,
    /// Instances that gave a sign of life lately.
    pub instances: u64,
    /// By plugin, also of those that are known and do not run.
    pub plugins: Vec<PluginNumbers>,
}

/// Files handed in.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Files {
    /// Not yet looked at.
    pub waiting: u64,
    /// Being processed.
    pub in_flight: u64,
}

/// Tasks published.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tasks {
    /// Not yet delivered.
    pub pending: u64,
    /// With a worker, or waiting for their next attempt.
    pub running: u64,
    /// Waiting for their time.
    pub delayed: u64,
}

/// Numbers of one plugin.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginNumbers {
    /// Which.
    pub id: String,
    /// Its version; empty when its entry is gone and tasks or letters are left.
    pub version: String,
    /// Whether it takes part in new runs.
    pub enabled: bool,
    /// Whether its tasks wait.
    pub paused: bool,
    /// Instances that gave a sign of life lately.
    pub instances: u64,
    /// Those of them that take tasks.
    pub ready: u64,
    /// Those of them that cannot serve, crash loops among them.
    pub failing: u64,
    /// Why they cannot, each with the name of the instance.
    pub errors: Vec<String>,
    /// Instances that fail everything and are out of work, or on trial.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub quarantined: Vec<Term>,
    /// Tasks not yet delivered.
    pub pending: u64,
    /// Tasks with a worker, or waiting for their next attempt.
    pub running: u64,
    /// Dead letters.
    pub dead: u64,
    /// Its routes, and what goes none; empty when it has none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RouteNumbers>,
    /// How many instances there should be, where that may change or was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scaled>,
}

/// How a plugin is, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PluginState {
    /// It takes no part in new runs.
    Disabled,
    /// Its tasks wait.
    Paused,
    /// An instance takes tasks.
    Ready,
    /// None does, and some cannot.
    Failing,
    /// None does as yet.
    Starting,
    /// It is known, and no instance gives a sign of life.
    NotRunning,
    /// Only something of it is left.
    Unknown,
}

impl PluginState {
    /// For people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Paused => "paused",
            Self::Ready => "ready",
            Self::Failing => "failing",
            Self::Starting => "starting",
            Self::NotRunning => "not running",
            Self::Unknown => "unknown",
        }
    }
}

impl PluginNumbers {
    /// How it is.
    #[must_use]
    pub fn state(&self) -> PluginState {
        // One that dies before it has announced itself is known by its signs of life only.
        let is_announced = !self.version.is_empty();
        match self {
            _ if is_announced && !self.enabled => PluginState::Disabled,
            _ if is_announced && self.paused => PluginState::Paused,
            _ if self.ready > 0 => PluginState::Ready,
            _ if self.failing > 0 => PluginState::Failing,
            _ if self.instances > 0 => PluginState::Starting,
            _ if is_announced => PluginState::NotRunning,
            _ => PluginState::Unknown,
        }
    }
}

impl Store {
    /// Reads all numbers.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; [`StoreError::NotFound`] where no fleet has been on this broker yet.
    pub async fn overview(&self) -> Result<Overview, StoreError> {
        let names = &self.names;
        let (submit_stream, task_stream) = (names.submit_stream(), names.task_stream());
        let (dead_stream, record_stream) = (names.dead_stream(), names.record_stream());
        let (all_dead, all_later) = (names.all_dead(), names.all_later());
        let lease_bucket = names.lease_bucket();
        let (submitted, readers, queues, later, dead, records) = tokio::try_join!(
            self.stream_state(&submit_stream),
            self.consumers(&submit_stream),
            self.consumers(&task_stream),
            self.subjects(&task_stream, &all_later),
            self.subjects(&dead_stream, &all_dead),
            self.stream_state(&record_stream),
        )?;
        let (known, instances, lease, scaled, quarantined) = tokio::try_join!(
            self.plugins(),
            self.instances(),
            self.value(&lease_bucket, LEASE_KEY),
            self.scaled(),
            self.quarantined(),
        )?;
        let in_flight: u64 = readers.values().map(|reader| reader.num_ack_pending).sum();
        let mut numbers: BTreeMap<String, PluginNumbers> = BTreeMap::new();
        for (id, known) in &known {
            let of_plugin = at(&mut numbers, id.as_str());
            of_plugin.version = known.entry.manifest.version.to_string();
            of_plugin.enabled = known.entry.enabled;
            of_plugin.paused = known.entry.paused;
            let its = |name: &String| Names::parse_consumer(name).is_some_and(|it| it.0 == *id);
            for (_, consumer) in queues.iter().filter(|(name, _)| its(name)) {
                of_plugin.pending += consumer.num_pending;
                of_plugin.running += consumer.num_ack_pending;
                of_plugin.paused |= consumer.paused;
            }
            let signs = instances.get(id).map_or(&[][..], Vec::as_slice);
            of_plugin.routes = routes(id, &queues, signs);
        }
        for (id, instances) in &instances {
            let of_plugin = at(&mut numbers, id.as_str());
            of_plugin.instances = instances.len() as u64;
            let is_ready = |state: InstanceState| state == InstanceState::Ready;
            of_plugin.ready = instances.iter().filter(|i| is_ready(i.state)).count() as u64;
            let failed = |i: &&Instance| i.state == InstanceState::Failed;
            of_plugin.failing = instances.iter().filter(failed).count() as u64;
            of_plugin.errors = instances
                .iter()
                .filter_map(|i| Some(format!("{}: {}", i.instance, i.error.as_ref()?)))
                .chain(strangers(instances, &of_plugin.routes))
                .collect();
        }
        for (id, scaled) in scaled {
            at(&mut numbers, id.as_str()).scale = Some(scaled);
        }
        for term in quarantined {
            at(&mut numbers, term.plugin_id.as_str()).quarantined.push(term);
        }
        for (subject, count) in &dead {
            if let Some(Ok(id)) = subject.rsplit('.').next().map(str::parse::<PluginId>) {
                at(&mut numbers, id.as_str()).dead += count;
            }
        }
        Ok(Overview {
            coordinator: lease
                .and_then(|stored| serde_json::from_slice::<Lease>(&stored.payload).ok())
                .map(|lease| lease.holder),
            files: Files { waiting: submitted.messages.saturating_sub(in_flight), in_flight },
            tasks: Tasks {
                pending: queues.values().map(|queue| queue.num_pending).sum(),
                running: queues.values().map(|queue| queue.num_ack_pending).sum(),
                delayed: later.values().sum(),
            },
            dead: dead.values().sum(),
            records: records.messages,
            instances: instances.values().map(|list| list.len() as u64).sum(),
            plugins: numbers.into_values().collect(),
        })
    }
}

fn at<'a>(numbers: &'a mut BTreeMap<String, PluginNumbers>, id: &str) -> &'a mut PluginNumbers {
    numbers
        .entry(id.to_owned())
        .or_insert_with(|| PluginNumbers { id: id.to_owned(), ..PluginNumbers::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_in_one_state() {
        let base = PluginNumbers {
            id: "a".to_owned(),
            version: "1.0.0".to_owned(),
            enabled: true,
            paused: false,
            instances: 0,
            ready: 0,
            failing: 0,
            errors: Vec::new(),
            quarantined: Vec::new(),
            pending: 0,
            running: 0,
            dead: 0,
            routes: Vec::new(),
            scale: None,
        };
        let unknown = || PluginNumbers { version: String::new(), enabled: false, ..base.clone() };
        for (plugin, expected) in [
            (base.clone(), "not running"),
            (PluginNumbers { enabled: false, ready: 1, ..base.clone() }, "disabled"),
            (PluginNumbers { paused: true, ready: 1, ..base.clone() }, "paused"),
            (PluginNumbers { instances: 3, ready: 1, failing: 1, ..base.clone() }, "ready"),
            (PluginNumbers { instances: 2, failing: 1, ..base.clone() }, "failing"),
            (PluginNumbers { instances: 1, ..base.clone() }, "starting"),
            (PluginNumbers { instances: 1, failing: 1, ..unknown() }, "failing"),
            (PluginNumbers { instances: 1, ..unknown() }, "starting"),
            (PluginNumbers { dead: 1, ..unknown() }, "unknown"),
        ] {
            assert_eq!(plugin.state().as_str(), expected, "{plugin:?}");
        }
    }
}
