//! From plugin folders and `plugins.yml` to processes, containers and the coordinator's policies.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use broker_config::PluginId;
use semver::Version;

use super::http::HttpPlugins;
use super::versions::Decided;
use crate::config::plugins::ReadPluginsError;
use crate::config::{Env, PluginEntry, PluginsFile};
use crate::docker;
use crate::process::{Instances, Surroundings, discover, wanted};
use crate::registry::{PluginPolicy, Policies, Word};

/// Where plugins are found, and what a person says of them.
#[derive(Clone, Debug, Default)]
pub struct PluginSources {
    /// `plugins.yml`; it may come to be later, unless it was named.
    pub file: Option<PathBuf>,
    /// Whether a person has named the file.
    pub is_named: bool,
    /// Plugin folders.
    pub dirs: Vec<PathBuf>,
}

/// What is to run.
#[derive(Clone, Debug)]
pub(super) struct PluginPlan {
    pub(super) instances: Instances,
    pub(super) containers: docker::Instances,
    /// The versions in plugin folders.
    pub(super) on_disk: BTreeMap<PluginId, BTreeSet<Version>>,
    pub(super) policies: Policies,
    /// Those that the bridge serves.
    pub(super) http: HttpPlugins,
    /// For people; what they are about was passed over.
    pub(super) problems: Vec<String>,
    /// Those of them that are in the file: the broken rule without its place, and as it is told.
    pub(super) broken: Vec<(String, String)>,
}

impl PluginPlan {
    pub(super) fn make(
        sources: &PluginSources,
        surroundings: &Surroundings,
        containers: &docker::Surroundings,
        decided: &Decided,
    ) -> Result<Self, ReadPluginsError> {
        let file = match &sources.file {
            Some(path) if sources.is_named || path.exists() => PluginsFile::read(path, &Env)?,
            _ => PluginsFile::default(),
        };
        Ok(Self::of(&file, &sources.dirs, (surroundings, containers), decided))
    }

    pub(super) fn of(
        file: &PluginsFile,
        dirs: &[PathBuf],
        (surroundings, containers): (&Surroundings, &docker::Surroundings),
        decided: &Decided,
    ) -> Self {
        let mut found = discover(dirs);
        found.add_named(file);
        found.choose(decided);
        let on_disk = found.plugins.keys().map(|id| (id.clone(), found.versions_of(id)));
        let on_disk = on_disk.collect();
        let mut plan = wanted(file, &found, surroundings);
        let boxed = docker::wanted(file, &found, containers);
        plan.problems.extend(boxed.problems);
        let problems = file.problems.iter().chain(&found.problems).map(ToString::to_string);
        let unable = plan.problems.iter().map(|(id, reason)| format!("plugin {id}: {reason}"));
        let broken = file.problems.iter().map(|problem| {
            let rule = format!("{:?}: {}", problem.plugin, problem.rule);
            (rule, problem.to_string())
        });
        Self {
            problems: problems.chain(unable).collect(),
            broken: broken.collect(),
            policies: file.entries.iter().map(|(id, entry)| (id.clone(), policy(entry))).collect(),
            instances: plan.instances,
            containers: boxed.instances,
            on_disk,
            http: HttpPlugins::of(file),
        }
    }

    /// What the coordinator is to know of it.
    pub(super) fn word(&self) -> Word {
        Word { policies: self.policies.clone(), expected: self.expected() }
    }

    /// Plugins that this fleet starts or serves.
    pub(super) fn expected(&self) -> BTreeSet<PluginId> {
        let processes = self.instances.values().map(|wanted| &wanted.plugin);
        let containers = self.containers.values().map(|wanted| &wanted.plugin);
        processes.chain(containers).chain(self.http.ids()).cloned().collect()
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
        transition: entry.transition.clone(),
    }
}
