//! PURE: what a change through the API leaves to be kept.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use broker_config::Manifest;
use broker_config::manifest::SettingProblem;
use broker_config::manifest::settings::MASK;
use serde_json::{Map, Value as Json};

use super::{ConfigChanges, Override};
use crate::config::{PluginEntry, Runtime};
use crate::scale::Bounds;

/// Something that a person wants of a plugin.
#[derive(Clone, Debug)]
pub enum Change {
    /// It takes part, or does not.
    Enable(bool),
    /// So many of it run.
    Scale(NonZeroU32),
    /// It has these settings and no others; a masked value stands for the one that it has.
    Configure {
        /// What it asks for.
        manifest: Box<Manifest>,
        /// The settings.
        settings: Settings,
        /// The settings that it must have now; `None` = any.
        seen: Option<Settings>,
    },
    /// It is as `plugins.yml` says.
    Reset,
}

/// Settings as they were given; `Debug` prints their names only, because a value may be a secret.
#[derive(Clone, Default)]
pub struct Settings(pub Map<String, Json>);

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Why a change cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It contradicts what the plugin is, or what goes on.
    Conflict(String),
    /// Somebody has changed the settings since they were seen.
    Stale,
    /// Settings are wrong.
    Settings(Vec<SettingProblem>),
    /// It could not be kept.
    Failed(String),
}

impl Override {
    /// What is kept after a change; `written` is what `plugins.yml` says of the plugin.
    ///
    /// Only what differs from `written` is kept.
    ///
    /// # Errors
    ///
    /// [`Refusal`]; nothing is changed.
    pub fn changed(mut self, change: &Change, written: &PluginEntry) -> Result<Self, Refusal> {
        match change {
            Change::Enable(enabled) => {
                if *enabled {
                    let rule = |rule| Refusal::Conflict(format!("plugins.yml: {rule}"));
                    written.may_run().map_err(rule)?;
                }
                self.enabled = (*enabled != written.enabled).then_some(*enabled);
            }
            Change::Scale(instances) => match written.runtime {
                Runtime::Process | Runtime::Docker | Runtime::Internal => {
                    let is_other = Bounds::fixed(*instances) != written.bounds();
                    self.instances = is_other.then_some(*instances);
                }
                Runtime::Remote => {
                    let why = "somebody else runs its instances; start or stop some there";
                    return Err(Refusal::Conflict(why.to_owned()));
                }
            },
            Change::Configure { manifest, settings, seen } => {
                let mut entry = written.clone();
                self.apply(&mut entry);
                if seen.as_ref().is_some_and(|seen| seen.0 != entry.config.0) {
                    return Err(Refusal::Stale);
                }
                self.config = self.configured(manifest, &settings.0, written)?;
            }
            Change::Reset => self = Self::default(),
        }
        Ok(self)
    }

    fn configured(
        &self,
        manifest: &Manifest,
        given: &Map<String, Json>,
        written: &PluginEntry,
    ) -> Result<ConfigChanges, Refusal> {
        let written = &written.config.0;
        let mut problems = Vec::new();
        let mut changes = BTreeMap::new();
        for (key, value) in given {
            let field = manifest.config_schema.get(key);
            let is_hidden = field.is_none_or(|field| field.secret);
            let default = field.and_then(|field| field.default.as_ref());
            let before = self.config.0.get(key);
            if is_hidden && value.as_str() == Some(MASK) {
                let has_one = match before {
                    Some(changed) => changed.is_some(),
                    None => written.contains_key(key),
                };
                if !has_one && default.is_none() {
                    let rule = "there is no value that the mask could stand for".to_owned();
                    problems.push(SettingProblem { key: key.clone(), rule });
                }
                if let Some(before) = before {
                    changes.insert(key.clone(), before.clone());
                }
            } else if Some(value) != written.get(key).or(default) {
                changes.insert(key.clone(), Some(value.clone()));
            }
        }
        for key in written.keys().filter(|key| !given.contains_key(*key)) {
            changes.insert(key.clone(), None);
        }
        let changes = ConfigChanges(changes);
        let mut entry = PluginEntry::default();
        entry.config.0.clone_from(written);
        Self { config: changes.clone(), ..Self::default() }.apply(&mut entry);
        if let Err(more) = manifest.checked_settings(&entry.config.0) {
            // The mask is told once.
            let is_new = |found: &SettingProblem| problems.iter().all(|p| p.key != found.key);
            let more: Vec<SettingProblem> = more.into_iter().filter(is_new).collect();
            problems.extend(more);
        }
        if problems.is_empty() { Ok(changes) } else { Err(Refusal::Settings(problems)) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifest() -> Box<Manifest> {
        let manifest = json!({
            "id": "p", "name": "P", "version": "1.0.0", "priority": 20, "queue": "fast",
            "dataSchema": {}, "configSchema": {
                "key": {"type": "string", "secret": true},
                "site": {"type": "string", "required": true, "default": "example.org"},
                "level": {"type": "number"},
            },
        });
        Box::new(Manifest::from_json(&manifest.to_string()).unwrap())
    }

    fn written(config: &Json) -> PluginEntry {
        let mut entry = PluginEntry::default();
        entry.config.0 = config.as_object().unwrap().clone();
        entry
    }

    fn kept(config: &Json) -> Override {
        Override { config: serde_json::from_value(config.clone()).unwrap(), ..Override::default() }
    }

    #[test]
    fn settings_keep_only_what_differs_and_a_mask_keeps_what_there_is() {
        let nothing = json!({});
        let secret = json!({"key": "of-file"});
        let own = json!({"key": "of-api"});
        for (case, file, before, given, expected) in [
            (
                "as it is",
                &secret,
                &nothing,
                json!({"key": "***", "site": "example.org"}),
                json!({}),
            ),
            (
                "another site",
                &secret,
                &nothing,
                json!({"key": "***", "site": "b"}),
                json!({"site": "b"}),
            ),
            ("another key", &secret, &nothing, json!({"key": "new"}), json!({"key": "new"})),
            ("its own key stays", &nothing, &own, json!({"key": "***"}), own.clone()),
            ("over that of the file", &secret, &own, json!({"key": "***"}), own.clone()),
            ("back to the file's", &secret, &own, json!({"key": "of-file"}), json!({})),
            ("taken away", &secret, &own, json!({}), json!({"key": null})),
            ("taken away, not in the file", &nothing, &own, json!({}), json!({})),
            ("set again", &secret, &json!({"key": null}), json!({"key": "n"}), json!({"key": "n"})),
        ] {
            let settings = Settings(given.as_object().unwrap().clone());
            let change = Change::Configure { manifest: manifest(), settings, seen: None };
            let after = kept(before).changed(&change, &written(file));
            assert_eq!(after, Ok(kept(&expected)), "{case}");
        }
    }

    #[test]
    fn settings_that_somebody_else_has_changed_are_not_written_over() {
        let settings = |json: &Json| Settings(json.as_object().unwrap().clone());
        let (file, changed) =
            (written(&json!({"key": "a", "level": 1})), kept(&json!({"level": 2})));
        for (seen, is_taken) in [
            (json!({"key": "a", "level": 2}), true),
            (json!({"key": "a", "level": 1}), false),
            (json!({"key": "b", "level": 2}), false),
            (json!({}), false),
        ] {
            let change = Change::Configure {
                manifest: manifest(),
                settings: settings(&json!({"key": "c"})),
                seen: Some(settings(&seen)),
            };
            let after = changed.clone().changed(&change, &file);
            assert_eq!(after.is_ok(), is_taken, "{seen}");
            assert!(is_taken || after == Err(Refusal::Stale), "{seen}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_by_its_key_and_never_quoted() {
        for (case, file, before, given, keys) in [
            ("kind", json!({}), json!({}), json!({"level": "hush"}), vec!["level"]),
            ("unknown", json!({}), json!({}), json!({"other": "hush"}), vec!["other"]),
            ("empty", json!({}), json!({}), json!({"site": ""}), vec!["site"]),
            ("a mask of nothing", json!({}), json!({}), json!({"key": "***"}), vec!["key"]),
            (
                "of what was removed",
                json!({"key": "x"}),
                json!({"key": null}),
                json!({"key": "***"}),
                vec!["key"],
            ),
            ("unknown and masked", json!({}), json!({}), json!({"other": "***"}), vec!["other"]),
            (
                "several",
                json!({}),
                json!({}),
                json!({"level": [], "site": true}),
                vec!["level", "site"],
            ),
        ] {
            let settings = Settings(given.as_object().unwrap().clone());
            let change = Change::Configure { manifest: manifest(), settings, seen: None };
            let Err(Refusal::Settings(found)) = kept(&before).changed(&change, &written(&file))
            else {
                panic!("{case} is taken")
            };
            let named: Vec<&str> = found.iter().map(|problem| problem.key.as_str()).collect();
            assert_eq!(named, keys, "{case}");
            assert!(!format!("{found:?} {change:?}").contains("hush"), "{case}");
        }
    }

    #[test]
    fn what_is_as_in_the_file_is_not_kept() {
        let n = |n: u32| NonZeroU32::new(n).unwrap();
        let file = PluginEntry { instances: n(2), ..PluginEntry::default() };
        let far = PluginEntry { runtime: Runtime::Remote, ..PluginEntry::default() };
        // Without an image.
        let boxed =
            PluginEntry { runtime: Runtime::Docker, enabled: false, ..PluginEntry::default() };
        let (off, three) = (
            Override { enabled: Some(false), ..Override::default() },
            Override { instances: Some(n(3)), ..Override::default() },
        );
        let none = Override::default();
        for (before, change, written, expected) in [
            (&none, Change::Enable(false), &file, Some(&off)),
            (&off, Change::Enable(true), &file, Some(&none)),
            (&none, Change::Scale(n(3)), &file, Some(&three)),
            (&three, Change::Scale(n(2)), &file, Some(&none)),
            (&three, Change::Reset, &file, Some(&none)),
            (&none, Change::Scale(n(3)), &far, None),
            (&none, Change::Enable(false), &far, Some(&off)),
            (&none, Change::Enable(true), &boxed, None),
        ] {
            let after = before.clone().changed(&change, written);
            assert_eq!(after.as_ref().ok(), expected, "{change:?}");
        }
    }
}
