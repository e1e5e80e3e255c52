//! From plugin folders and `plugins.yml` to processes, containers and the coordinator's policies.

use std::collections::BTreeSet;
use std::path::PathBuf;

use broker_config::PluginId;

use crate::config::plugins::ReadPluginsError;
use crate::config::{Env, PluginEntry, PluginsFile};
use crate::docker;
use crate::process::{Instances, Surroundings, discover, wanted};
use crate::registry::{PluginPolicy, Policies};

/// Where plugins are found, and what a person says of them.
#[derive(Clone, Debug, Default)]
pub struct PluginSources {
    /// `plugins.yml`.
    pub file: Option<PathBuf>,
    /// Plugin folders.
    pub dirs: Vec<PathBuf>,
}

/// What is to run.
#[derive(Debug)]
pub(super) struct PluginPlan {
    pub(super) instances: Instances,
    pub(super) containers: docker::Instances,
    pub(super) policies: Policies,
    /// For people; what they are about was passed over.
    pub(super) problems: Vec<String>,
}

impl PluginPlan {
    pub(super) fn make(
        sources: &PluginSources,
        surroundings: &Surroundings,
        containers: &docker::Surroundings,
    ) -> Result<Self, ReadPluginsError> {
        let file = match &sources.file {
            Some(path) => PluginsFile::read(path, &Env)?,
            None => PluginsFile::default(),
        };
        let mut found = discover(&sources.dirs);
        found.add_named(&file);
        let mut plan = wanted(&file, &found, surroundings);
        let boxed = docker::wanted(&file, &found, containers);
        plan.problems.extend(boxed.problems);
        let problems = file.problems.iter().chain(&found.problems).map(ToString::to_string);
        let unable = plan.problems.iter().map(|(id, reason)| format!("plugin {id}: {reason}"));
        Ok(Self {
            problems: problems.chain(unable).collect(),
            policies: file.entries.iter().map(|(id, entry)| (id.clone(), policy(entry))).collect(),
            instances: plan.instances,
            containers: boxed.instances,
        })
    }

    /// The plugins that are to announce themselves.
    pub(super) fn expected(&self) -> BTreeSet<PluginId> {
        let processes = self.instances.values().map(|wanted| &wanted.plugin);
        let containers = self.containers.values().map(|wanted| &wanted.plugin);
        processes.chain(containers).cloned().collect()
    }
}

/// What of an entry is the coordinator's business.
fn policy(entry: &PluginEntry) -> PluginPolicy {
    PluginPolicy {
        disabled: !entry.enabled,
        config: entry.config.0.clone(),
        retry: entry.retry.clone(),
        queue: entry.queue,
        timeout_ms: entry
            .timeout
            .map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
        max_in_flight: entry.max_in_flight,
        on_dependency_failure: entry.on_dependency_failure,
        concurrency: entry.concurrency.map(std::num::NonZeroU32::get),
    }
}
