//! Plugins that were removed, and who may not bring them back; pure.
//!
//! A plugin that is removed loses its consumers, and its workers announce themselves again when
//! they see that. Taking that for a new announcement would undo what a person has just done. So a
//! process that served before the removal is refused; one that was started after it is welcome.

use std::collections::{BTreeMap, BTreeSet};

use broker_config::wire::instance::{Instance, InstanceState};
use broker_config::{Announce, InstanceId, PluginId};

/// One process of a plugin, as it names itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    instance: InstanceId,
    host: String,
    pid: u32,
}

impl Process {
    /// The process that announces itself.
    #[must_use]
    pub fn that_announces(announce: &Announce) -> Self {
        let Announce { instance, host, pid, .. } = announce;
        Self { instance: instance.clone(), host: host.clone(), pid: *pid }
    }

    /// The process of a sign of life; `None` while it was not accepted yet.
    fn that_served(sign: Instance) -> Option<Self> {
        let Instance { instance, host, pid, state, .. } = sign;
        match state {
            InstanceState::Starting => None,
            InstanceState::Ready
            | InstanceState::Paused
            | InstanceState::Draining
            | InstanceState::Failed => Some(Self { instance, host, pid }),
        }
    }
}

/// When a plugin was removed, as far as this leader knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before this leader led.
    Before,
    /// While it led.
    Meanwhile,
}

#[derive(Debug)]
struct Removal {
    when: When,
    served: BTreeSet<Process>,
}

/// The plugins that were removed and have not come back.
#[derive(Debug, Default)]
pub struct Removed(BTreeMap<PluginId, Removal>);

impl Removed {
    /// Takes note of a removal, with the signs of life that the plugin's instances gave until then.
    pub fn note(&mut self, plugin: PluginId, when: When, signs: Vec<Instance>) {
        let served = signs.into_iter().filter_map(Process::that_served).collect();
        self.0.insert(plugin, Removal { when, served });
    }

    /// Takes note that a plugin is back.
    pub fn forget(&mut self, plugin: &PluginId) {
        self.0.remove(plugin);
    }

    /// Which they are.
    pub fn plugins(&self) -> impl Iterator<Item = &PluginId> {
        self.0.keys()
    }

    /// Why a process may not bring its plugin back; `None` if it may, or if there is nothing to
    /// bring back.
    ///
    /// `managed`: whether this fleet starts the plugin. Then a process that is new is no word of a
    /// person: it was started because the one before was refused.
    #[must_use]
    pub fn refusal(&self, plugin: &PluginId, process: &Process, managed: bool) -> Option<String> {
        let removal = self.0.get(plugin)?;
        if removal.served.contains(process) {
            return Some(format!("{plugin} was removed while this worker served; start it anew"));
        }
        let by_fleet = managed && removal.when == When::Meanwhile;
        by_fleet.then(|| {
            format!("{plugin} was removed; it comes back when the fleet that starts it starts anew")
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sign(instance: &str, pid: u32, state: &str) -> Instance {
        let sign = json!({
            "type": "metafleet.instance.v1", "pluginId": "p", "instance": instance,
            "state": state, "version": "1.0.0", "host": "here", "pid": pid,
        });
        serde_json::from_value(sign).unwrap()
    }

    fn process(instance: &str, pid: u32) -> Process {
        Process { instance: instance.parse().unwrap(), host: "here".into(), pid }
    }

    #[test]
    fn only_who_was_started_after_a_removal_brings_a_plugin_back() {
        let plugin: PluginId = "p".parse().unwrap();
        let signs = || vec![sign("old", 1, "ready"), sign("waits", 2, "starting")];
        for (case, when, instance, pid, managed, refused) in [
            ("served", When::Meanwhile, "old", 1, false, Some("while this worker served")),
            ("served, removed before", When::Before, "old", 1, true, Some("while this worker")),
            ("started again", When::Meanwhile, "old", 3, false, None),
            ("was waiting to be accepted", When::Before, "waits", 2, false, None),
            ("of this fleet", When::Meanwhile, "old", 3, true, Some("starts anew")),
            ("of the next fleet", When::Before, "old", 3, true, None),
        ] {
            let mut removed = Removed::default();
            removed.note(plugin.clone(), when, signs());
            let reason = removed.refusal(&plugin, &process(instance, pid), managed);
            assert_eq!(reason.is_some(), refused.is_some(), "{case}: {reason:?}");
            let reason = reason.unwrap_or_default();
            assert!(reason.contains(refused.unwrap_or_default()), "{case}: {reason}");

            removed.forget(&plugin);
            assert_eq!(removed.refusal(&plugin, &process(instance, pid), managed), None, "{case}");
        }
    }
}
