//! What the engine has, as decisions need to know it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use broker_config::{InstanceId, PluginId};
use jiff::Timestamp;

use super::describe::Description;
use super::naming::{CONFIG_HASH, FleetId, INSTANCE, PLUGIN_ID};

/// A container of our fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The engine's name for it.
    pub id: String,
    /// Its name now; somebody may have changed it.
    pub name: String,
    /// The instance that it was made for.
    pub instance: InstanceId,
    /// Its plugin.
    pub plugin: PluginId,
    /// The hash that it was made with.
    pub hash: String,
    /// How it is.
    pub state: State,
    /// When it was started last.
    pub started: Option<Timestamp>,
    /// The identities of its networks; Podman says their names instead.
    pub networks: BTreeSet<String>,
    /// Its address there, while it runs.
    pub address: Option<IpAddr>,
}

/// How a container is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Made and never started.
    Created,
    /// It runs.
    Running,
    /// Somebody has halted it.
    Paused,
    /// On its way to one of the others.
    Changing,
    /// It has ended.
    Exited(Exit),
    /// The engine could not remove it.
    Dead,
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code; above 128: a signal.
    pub code: i64,
    /// Whether the kernel killed it because it used too much memory.
    pub oom: bool,
    /// What the engine says.
    pub error: String,
    /// When.
    pub finished: Option<Timestamp>,
}

impl Exit {
    /// The same for people.
    #[must_use]
    pub fn reason(&self) -> String {
        let how = match self.signal() {
            Some(signal) => format!("ended by signal {signal}"),
            None => format!("ended with exit code {}", self.code),
        };
        match (self.oom, self.error.is_empty()) {
            (true, _) => {
                format!("out of memory: {how}; `resources.memory` limits it")
            }
            (false, false) => format!("{how}: {}", self.error),
            (false, true) => how,
        }
    }

    /// The signal that ended it.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        let signal = i32::try_from(self.code.checked_sub(128)?).ok()?;
        (1..=64).contains(&signal).then_some(signal)
    }
}

impl Found {
    /// Whether it is in the network that is described.
    #[must_use]
    pub fn is_in(&self, description: &Description) -> bool {
        [&description.network_id, &description.network].iter().any(|it| self.networks.contains(*it))
    }

    /// How long it has lived when it ended.
    #[must_use]
    pub fn lived(&self) -> Duration {
        let State::Exited(Exit { finished: Some(finished), .. }) = &self.state else {
            return Duration::ZERO;
        };
        let lived = self.started.map(|started| finished.duration_since(started));
        lived.and_then(|lived| lived.try_into().ok()).unwrap_or_default()
    }
}

/// Reads the labels of a container: `None` when it is not of this fleet, or only pretends to be.
#[must_use]
pub fn whose(
    fleet: &FleetId,
    labels: &BTreeMap<String, String>,
) -> Option<(InstanceId, PluginId, String)> {
    if !fleet.owns(labels) {
        return None;
    }
    let instance = labels.get(INSTANCE)?.parse().ok()?;
    let plugin = labels.get(PLUGIN_ID)?.parse().ok()?;
    Some((instance, plugin, labels.get(CONFIG_HASH)?.clone()))
}

#[cfg(test)]
mod tests {
    use super::super::describe::tests::{description, wanted};
    use super::super::reconcile::tests::found;
    use super::*;

    #[test]
    fn the_reason_says_what_happened() {
        let exit =
            |code, oom, error: &str| Exit { code, oom, error: error.to_owned(), finished: None };
        for (exit, reason) in [
            (exit(3, false, ""), "ended with exit code 3"),
            (exit(137, false, ""), "ended by signal 9"),
            (exit(127, false, "no such file"), "ended with exit code 127: no such file"),
            (exit(255, false, ""), "ended with exit code 255"),
        ] {
            assert_eq!(exit.reason(), reason);
        }
        let reason = exit(137, true, "").reason();
        assert!(reason.starts_with("out of memory: ended by signal 9"), "{reason}");
    }

    #[test]
    fn an_engine_may_call_a_network_by_its_identity_or_its_name() {
        let description = description(&wanted("a", 1));
        for (said, is_in) in [("n1", true), ("n", true), ("n2", false)] {
            let networks = BTreeSet::from([said.to_owned()]);
            assert_eq!(Found { networks, ..found("a", "1") }.is_in(&description), is_in, "{said}");
        }
    }

    #[test]
    fn a_container_without_all_our_labels_is_nobody() {
        let fleet = FleetId::new(&"p".parse().unwrap(), "1");
        let mut labels = fleet.labels(&"a".parse().unwrap());
        assert_eq!(whose(&fleet, &labels), None);
        labels.insert(INSTANCE.to_owned(), "plugin-a-1".to_owned());
        labels.insert(CONFIG_HASH.to_owned(), "h".to_owned());
        assert!(whose(&fleet, &labels).is_some());
        assert_eq!(whose(&FleetId::new(&"p".parse().unwrap(), "2"), &labels), None);
    }
}
