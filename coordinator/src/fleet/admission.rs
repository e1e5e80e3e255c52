//! Who may log in to the fleet's own broker, as plugins come and go.
//!
//! A plugin is let in before its first instance starts, and shut out after its last one has ended. A
//! login is a file in a folder of its own, for its processes and for whoever runs it elsewhere.

use std::path::{Path, PathBuf};

use broker_config::{Chain, PluginId};
use tracing::{info, warn};

use super::plugins::{Hosts, PluginPlan};
use super::versions::Decided;
use super::{FleetError, FleetOptions, confines, containers};
use crate::config::data_dir::DataDirError;
use crate::config::{DataDir, Env};
use crate::docker;
use crate::docker::naming::FleetId;
use crate::nats_server::{Access, Logins, NotLetIn, Plugins};
use crate::process::Surroundings;

/// Keeps the logins for a fleet.
#[derive(Debug)]
pub(super) struct Admission {
    logins: Logins,
    /// Where the files of logins are.
    files: PathBuf,
    /// Where it is noted whom somebody wants to run besides.
    asked: PathBuf,
    let_in: Plugins,
}

/// A plugin cannot be let in.
#[derive(Debug, thiserror::Error)]
pub enum AdmissionError {
    /// The broker does not.
    #[error("plugins could not be let in")]
    Logins(#[from] NotLetIn),
    /// Its login cannot be written.
    #[error(transparent)]
    Files(#[from] DataDirError),
}

impl Admission {
    /// Nobody is let in by it yet; `None` = all have the login that somebody else has given.
    pub(super) fn new(access: &Access, data_dir: &DataDir) -> Option<Self> {
        let Access::Each(logins) = access else { return None };
        Some(Self {
            logins: logins.clone(),
            files: confines::login_dir(data_dir),
            asked: data_dir.asked_logins(),
            let_in: Plugins::new(),
        })
    }

    /// Lets in these and those that somebody has asked for, and shuts out all others but those that
    /// still run.
    pub(super) async fn hold(
        &mut self,
        mut plugins: Plugins,
        runs: impl Fn(&PluginId) -> bool,
    ) -> Result<(), AdmissionError> {
        for id in asked(&self.asked) {
            plugins.entry(id).or_default();
        }
        for (id, routes) in &self.let_in {
            if runs(id) {
                plugins.entry(id.clone()).or_default().extend(routes);
            }
        }
        if plugins == self.let_in {
            return Ok(());
        }
        self.logins.let_in(plugins.clone()).await?;
        let (come, gone) = changes(&self.let_in, &plugins);
        for id in &come {
            let dir = self.files.join(id.as_str());
            confines::write_files(&dir, &self.logins.of(id).login_files(&dir))?;
        }
        for id in &gone {
            confines::remove_files(&self.files.join(id.as_str()));
        }
        if !self.let_in.is_empty() {
            info!(?come, ?gone, "other plugins may log in to the broker");
        }
        self.let_in = plugins;
        Ok(())
    }

    /// As [`Admission::hold`] while the fleet runs: what does not work is told and tried again with
    /// the next look.
    pub(super) async fn follow(&mut self, plugins: Plugins, runs: impl Fn(&PluginId) -> bool) {
        if let Err(error) = self.hold(plugins, runs).await {
            warn!(error = %Chain(&error), "the logins of plugins are not as they should be");
        }
    }
}

/// PURE: who has come and who has gone.
fn changes(before: &Plugins, now: &Plugins) -> (Vec<PluginId>, Vec<PluginId>) {
    let without = |all: &Plugins, others: &Plugins| {
        all.keys().filter(|id| !others.contains_key(*id)).cloned().collect()
    };
    (without(now, before), without(before, now))
}

/// PURE: these plugins with the routes of both.
pub(super) fn together(mut one: Plugins, other: Plugins) -> Plugins {
    for (id, routes) in other {
        one.entry(id).or_default().extend(routes);
    }
    one
}

/// Those that somebody runs besides what the fleet knows of.
fn asked(dir: &Path) -> Vec<PluginId> {
    let names = std::fs::read_dir(dir).into_iter().flatten().flatten();
    names.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Whom the fleet's own broker lets in from its start on.
pub(super) fn first(options: &FleetOptions) -> Result<Plugins, FleetError> {
    let prefix = options.coordinator.names.prefix();
    let access = containers::access(options);
    let confines = confines::of(options, &access);
    let (common, grace) = (access.common(), options.grace);
    let hosts = Hosts {
        processes: Surroundings::new(common, prefix.clone(), grace, confines, &Env),
        containers: docker::Surroundings::new(
            FleetId::new(prefix, ""),
            prefix.clone(),
            grace,
            &[],
            &Env,
        ),
        builtins: options.builtins.clone(),
    };
    // Who runs follows from it, and not yet how.
    let plan = PluginPlan::make(&options.plugins, &hosts, &Decided::new())?;
    let others = asked(&options.data_dir.asked_logins()).into_iter();
    let others = others.map(|id| (id, Default::default())).collect();
    Ok(together(plan.tenants(), others))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugins(of: &[(&str, &[&str])]) -> Plugins {
        let routes = |all: &[&str]| all.iter().map(|route| route.parse().unwrap()).collect();
        of.iter().map(|(id, all)| (id.parse().unwrap(), routes(all))).collect()
    }

    #[test]
    fn a_plugin_that_stays_keeps_all_its_routes_until_the_change_is_made() {
        let old = plugins(&[("a", &["gpu"]), ("b", &[])]);
        let new = plugins(&[("a", &["big"]), ("c", &[])]);
        let both = together(old.clone(), new.clone());
        assert_eq!(both, plugins(&[("a", &["big", "gpu"]), ("b", &[]), ("c", &[])]));
        let id = |text: &str| vec![text.parse::<PluginId>().unwrap()];
        assert_eq!(changes(&old, &new), (id("c"), id("b")));
        assert_eq!(changes(&old, &old), (Vec::new(), Vec::new()));
    }

    #[test]
    fn what_is_no_id_is_asked_for_by_nobody() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        assert_eq!(asked(&home.path().join("none")), []);
        for name in ["tool", "Not an id"] {
            std::fs::write(home.path().join(name), "")?;
        }
        assert_eq!(asked(home.path()), ["tool".parse()?]);
        Ok(())
    }
}
