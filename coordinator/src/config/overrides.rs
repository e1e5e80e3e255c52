//! What was changed through the API, over what `plugins.yml` says.
//!
//! `plugins.yml` is the person's file and is never written. What the API changes of a plugin is
//! kept in a file of the fleet's own, with only what differs: a change of `plugins.yml` still
//! counts for everything else. All but reading and writing the file is pure.

mod change;
mod file;

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;

use broker_config::PluginId;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

pub use self::change::{Change, Refusal, Settings};
pub use self::file::OverridesError;
use super::{PluginEntry, PluginsFile, Runtime};

/// What was changed of all plugins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Overrides {
    /// By plugin; one of which nothing is changed is not there.
    #[serde(default)]
    pub plugins: BTreeMap<PluginId, Override>,
}

/// What was changed of one plugin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Override {
    /// Whether it is to run at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// How many of it run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances: Option<NonZeroU32>,
    /// Its settings.
    #[serde(skip_serializing_if = "ConfigChanges::is_empty")]
    pub config: ConfigChanges,
}

/// Changed settings; `None` takes away what `plugins.yml` sets. `Debug` prints their names only,
/// because a value may be a secret.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConfigChanges(pub BTreeMap<String, Option<Json>>);

impl ConfigChanges {
    /// Whether nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for ConfigChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Override {
    /// Whether nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Changes the entry.
    pub fn apply(&self, entry: &mut PluginEntry) {
        if let Some(enabled) = self.enabled {
            entry.enabled = enabled;
        }
        if let Some(instances) = self.instances {
            entry.instances = instances;
            // Whoever says a number does not want it to be decided.
            entry.scale = None;
        }
        for (key, value) in &self.config.0 {
            match value {
                Some(value) => drop(entry.config.0.insert(key.clone(), value.clone())),
                None => drop(entry.config.0.remove(key)),
            }
        }
    }
}

impl Overrides {
    /// What was changed of a plugin.
    #[must_use]
    pub fn of(&self, id: &PluginId) -> Override {
        self.plugins.get(id).cloned().unwrap_or_default()
    }

    /// Replaces what was changed of a plugin.
    pub fn set(&mut self, id: &PluginId, changed: Override) {
        if changed.is_empty() {
            self.plugins.remove(id);
        } else {
            self.plugins.insert(id.clone(), changed);
        }
    }

    /// Changes what `plugins.yml` says; `is_on_disk` tells plugins that run without an entry.
    ///
    /// An entry that is broken stays out: it must not come to life as if it were not there.
    pub fn apply(&self, file: &mut PluginsFile, is_on_disk: impl Fn(&PluginId) -> bool) {
        for (id, changed) in &self.plugins {
            if !file.entries.contains_key(id) && file.is_broken(id) {
                continue;
            }
            let entry = file.entries.entry(id.clone()).or_insert_with(|| blank(is_on_disk(id)));
            changed.apply(entry);
        }
    }
}

/// What an entry that nobody wrote says: a plugin that is not on disk is started by somebody else.
#[must_use]
pub fn blank(is_on_disk: bool) -> PluginEntry {
    let runtime = if is_on_disk { Runtime::Process } else { Runtime::Remote };
    PluginEntry { runtime, ..PluginEntry::default() }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::config::vars::vars;

    #[test]
    fn only_what_was_changed_differs_from_the_file() {
        let text = "plugins:\n  a: {command: [a], instances: 2, config: {k: 1, gone: 2}}\n  \
                    broken: {instanzes: 1}\n";
        let mut file = PluginsFile::parse(Path::new("p.yml"), text, &vars(&[])).unwrap();
        let overrides: Overrides = serde_json::from_value(json!({"plugins": {
            "a": {"instances": 3, "config": {"k": 7, "gone": null, "new": "x"}},
            "broken": {"enabled": false},
            "disk": {"enabled": false},
            "far": {"config": {"k": true}},
        }}))
        .unwrap();

        overrides.apply(&mut file, |id| id.as_str() == "disk");

        let entry = |id: &str| file.entries.get(&id.parse::<PluginId>().unwrap());
        let a = entry("a").unwrap();
        assert_eq!((a.instances.get(), a.enabled, a.command.is_some()), (3, true, true));
        assert_eq!(json!(a.config.0), json!({"k": 7, "new": "x"}));
        assert_eq!(entry("broken"), None);
        let disk = entry("disk").unwrap();
        assert_eq!((disk.enabled, disk.runtime), (false, Runtime::Process));
        assert_eq!(entry("far").unwrap().runtime, Runtime::Remote);
        assert!(!format!("{overrides:?}").contains('7'), "{overrides:?} shows a value");
    }
}
