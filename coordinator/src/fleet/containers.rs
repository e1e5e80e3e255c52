//! What the Docker runtime is told by the fleet, and what it is told of the plugins in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use broker_config::{Chain, InstanceId, PluginId, Prefix};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::plugins::{Hosts, PluginPlan};
use super::scaling::selection;
use super::versions::Decided;
use super::{FleetError, FleetOptions};
use crate::config::data_dir::DataDirError;
use crate::config::{DataDir, Env};
use crate::docker::broker::Broker;
use crate::docker::memory::HEALTH_EVERY;
use crate::docker::naming::FleetId;
use crate::docker::{
    self, DockerHandle, DockerOptions, STOP_GRACE, Surroundings, credentials, engine,
};
use crate::nats_server::{Access, Logins};
use crate::process::{self, Masks};
use crate::store::Store;

/// How long the broker may take to say who is alive.
const ANSWER: Duration = Duration::from_secs(10);

/// What all containers of the fleet over this data folder share.
///
/// A root that is not there yet cannot be shown to a container; the scan tells it.
///
/// # Errors
///
/// [`DataDirError`] when the node has no name.
pub fn surroundings(
    data_dir: &DataDir,
    prefix: &Prefix,
    grace: Duration,
    roots: &[PathBuf],
) -> Result<Surroundings, DataDirError> {
    let fleet = FleetId::new(prefix, &data_dir.node_id()?);
    let roots: Vec<PathBuf> = roots.iter().filter(|root| root.exists()).cloned().collect();
    Ok(Surroundings::new(fleet, prefix.clone(), grace.min(STOP_GRACE), &roots, &Env))
}

/// How containers are run.
#[must_use]
pub fn options(data_dir: &DataDir, shared: &Surroundings, access: &Access) -> DockerOptions {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    DockerOptions {
        address: engine::address(&Env),
        fleet: shared.fleet.clone(),
        broker: Broker::new(access),
        bridge: None,
        secrets: secrets_of(data_dir),
        log_dir: data_dir.log(),
        masks: Masks::default(),
        registry_config: credentials::config_file(&Env),
        user: (uid.as_raw(), gid.as_raw()),
        grace: shared.grace,
    }
}

/// Whether a fleet over this data folder has ended without removing its containers.
pub(super) fn may_be_left(data_dir: &DataDir) -> bool {
    secrets_of(data_dir).exists()
}

/// Absolute: the engine knows nothing of the folder we are in.
fn secrets_of(data_dir: &DataDir) -> PathBuf {
    let path = data_dir.root().join("secrets");
    std::path::absolute(&path).unwrap_or(path)
}

/// What starting the fleet would do with plugins.
#[derive(Clone, Debug, Default)]
pub struct DryRun {
    /// The steps, in words.
    pub steps: Vec<String>,
    /// What is wrong with plugins or `plugins.yml`.
    pub problems: Vec<String>,
}

/// How plugins would reach the broker, if that ran.
pub(super) fn access(options: &FleetOptions) -> Access {
    let url = "nats://127.0.0.1:4222".to_owned();
    let own = || Access::Each(Logins::nobody(url));
    options.connection.clone().map_or_else(own, Access::Shared)
}

/// Finds out what starting the fleet would do with plugins, and does nothing of it.
///
/// # Errors
///
/// [`FleetError`] when the data folder or the list of plugins cannot be used.
pub async fn dry_run(options: &FleetOptions) -> Result<DryRun, FleetError> {
    let prefix = options.coordinator.names.prefix();
    let access = access(options);
    let shared = surroundings(&options.data_dir, prefix, options.grace, &options.roots)?;
    let confines = super::confines::of(options, &access);
    let around =
        process::Surroundings::new(access.common(), prefix.clone(), options.grace, confines, &Env);
    let hosts = Hosts { processes: around, containers: shared, builtins: options.builtins.clone() };
    // Nothing is asked of the broker, so nobody knows what was decided on versions.
    let plan = PluginPlan::make(&options.plugins, &hosts, &Decided::new())?;
    let numbers = selection::start(&plan.planned(), &BTreeMap::new(), |_| 0);
    let begins = |name: &InstanceId, plugin: &PluginId| {
        let number = numbers.get(plugin).map_or(0, |grant| grant.number);
        (1..=number).any(|n| selection::name(plugin, n).as_ref() == Some(name))
    };
    let mut boxed = plan.containers.clone();
    boxed.retain(|name, wanted| begins(name, &wanted.plugin));
    let processes = plan.instances.iter().filter(|(name, wanted)| begins(name, &wanted.plugin));
    let mut steps: Vec<String> =
        processes.map(|(name, _)| format!("start the process {name}")).collect();
    steps.extend(plan.internal.keys().map(|name| format!("run {name} in this process")));
    let mut problems = plan.problems;
    if !plan.containers.is_empty() || may_be_left(&options.data_dir) {
        let docker = self::options(&options.data_dir, &hosts.containers, &access);
        match docker::dry_run(&docker, &boxed).await {
            Ok(more) => steps.extend(more),
            Err(error) => problems.push(Chain(&error).to_string()),
        }
    }
    Ok(DryRun { steps, problems })
}

/// Tells the runtime who has given a sign of life, until `stop`.
pub(super) async fn tell_signs(store: Store, handle: DockerHandle, stop: CancellationToken) {
    let mut due = interval(HEALTH_EVERY);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        if stop.run_until_cancelled(due.tick()).await.is_none() {
            return;
        }
        let look = timeout(ANSWER, store.instances());
        match stop.run_until_cancelled(look).await {
            None => return,
            Some(Ok(Ok(instances))) => {
                // Signs that are given in the name of others have no version.
                let alive: BTreeSet<InstanceId> = instances
                    .into_values()
                    .flatten()
                    .filter(|instance| !instance.version.is_empty())
                    .map(|instance| instance.instance)
                    .collect();
                handle.tell_signs(alive);
            }
            // While nobody can be heard, nobody is silent.
            Some(Ok(Err(error))) => debug!(error = %Chain(&error), "signs of life are not read"),
            Some(Err(_)) => debug!("signs of life are not read in time"),
        }
    }
}
