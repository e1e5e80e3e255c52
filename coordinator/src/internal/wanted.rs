//! PURE: `plugins.yml` → the built-in plugins that should run in this process.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use broker_config::{InstanceId, PluginId};

use super::Builtins;
use crate::config::{PluginEntry, PluginsFile, Runtime};
use crate::permission::{Asked, effective};

/// Instances by name.
pub type Instances = BTreeMap<InstanceId, Wanted>;

/// One instance that should run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// `plugin-<id>-<n>`.
    pub name: InstanceId,
    /// The plugin.
    pub plugin: PluginId,
    /// Tasks at once; `None` = as its manifest says.
    pub concurrency: Option<NonZeroU32>,
}

/// What should run, and what of it cannot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// By name.
    pub instances: Instances,
    /// Plugins that should run here and cannot, with the reason.
    pub problems: BTreeMap<PluginId, String>,
}

/// Lists the instances of all entries that are switched on and say `internal`.
#[must_use]
pub fn wanted(file: &PluginsFile, builtins: &Builtins) -> Plan {
    let mut plan = Plan::default();
    for (id, entry) in &file.entries {
        if !entry.enabled || entry.runtime != Runtime::Internal {
            continue;
        }
        if let Err(reason) = may_run(id, entry, builtins) {
            plan.problems.insert(id.clone(), reason);
            continue;
        }
        for n in 1..=entry.instances.get() {
            let Ok(name) = format!("plugin-{id}-{n}").parse::<InstanceId>() else { continue };
            let (plugin, concurrency) = (id.clone(), entry.concurrency);
            plan.instances.insert(name.clone(), Wanted { name, plugin, concurrency });
        }
    }
    plan
}

fn may_run(id: &PluginId, entry: &PluginEntry, builtins: &Builtins) -> Result<(), String> {
    let Some(builtin) = builtins.get(id) else {
        let known: Vec<&str> = builtins.keys().map(PluginId::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(format!("it is not built in (`runtime: internal`); built in are {known}"));
    };
    let declared = builtin.manifest().permissions;
    let asked =
        Asked { declared: Some(&declared), granted: &entry.permissions, has_writable_mount: false };
    effective(&asked).map(drop)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use worker_sdk::{Context, Failure, Manifest, Outcome, Plugin};

    use super::super::Builtin;
    use super::*;
    use crate::config::vars::vars;

    struct Wants;

    impl Plugin for Wants {
        fn manifest(&self) -> Manifest {
            worker_sdk::manifest(
                r#"{"id": "a", "name": "a", "version": "1.0.0", "priority": 50, "queue": "fast",
                    "dataSchema": {}, "permissions": ["network.http"]}"#,
            )
        }

        async fn process(&self, _ctx: &Context) -> Result<Outcome, Failure> {
            Ok(Outcome::skipped("never asked"))
        }
    }

    #[test]
    fn what_is_built_in_and_granted_runs() {
        let builtins: Builtins =
            ["a", "b"].map(|id| (id.parse().unwrap(), Builtin::new(|| Wants))).into();
        let text = "plugins:\n  \
            a: {runtime: internal, instances: 2, concurrency: 3, permissions: [network.http]}\n  \
            b: {type: internal}\n  c: {runtime: internal}\n  d: {command: [x]}\n  \
            e: {runtime: internal, enabled: false}\n";
        let file = PluginsFile::parse(Path::new("/p.yml"), text, &vars(&[])).unwrap();

        let plan = wanted(&file, &builtins);

        let names: Vec<&str> = plan.instances.keys().map(InstanceId::as_str).collect();
        assert_eq!(names, ["plugin-a-1", "plugin-a-2"]);
        let told: Vec<(&str, &str)> =
            plan.problems.iter().map(|(id, reason)| (id.as_str(), reason.as_str())).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].1.contains("it wants `network.http`"), "{told:?}");
        assert_eq!(told[1].1, "it is not built in (`runtime: internal`); built in are a, b");
    }
}
