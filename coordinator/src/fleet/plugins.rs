//! From plugin folders and `plugins.yml` to processes, containers and the coordinator's policies.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use broker_config::{InstanceId, Manifest, PluginId};
use semver::Version;

use super::http::HttpPlugins;
use super::scaling::pools::{Pool, pools};
use super::scaling::selection::Planned;
use super::versions::Decided;
use crate::config::overrides::OverridesError;
use crate::config::plugins::{Libraries, ReadPluginsError, RouteEntry};
use crate::config::{Env, Overrides, PluginEntry, PluginsFile, Runtime, overrides};
use crate::docker;
use crate::internal::{self, Builtins};
use crate::nats_server::Plugins;
use crate::process::{Instances, Surroundings, discover, wanted};
use crate::registry::{PluginPolicy, Policies, Word};
use crate::scale::Cap;

/// Where plugins are found, and what a person says of them.
#[derive(Clone, Debug, Default)]
pub struct PluginSources {
    /// `plugins.yml`; it may come to be later, unless it was named.
    pub file: Option<PathBuf>,
    /// Whether a person has named the file.
    pub is_named: bool,
    /// Plugin folders.
    pub dirs: Vec<PathBuf>,
    /// The one of them that plugins are installed in; it may come to be later.
    pub installed: Option<PathBuf>,
    /// What was changed through the API; `None` = nothing ever is.
    pub overrides: Option<PathBuf>,
    /// The libraries that `plugins.yml` may name, with their folders.
    pub libraries: Libraries,
}

/// What a person says of plugins, and what is on disk.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// What `plugins.yml` says, and of plugins on disk without an entry what goes without saying.
    pub written: BTreeMap<PluginId, PluginEntry>,
    /// The plugins that have an entry in `plugins.yml`.
    pub listed: BTreeSet<PluginId>,
    /// The same with what was changed through the API.
    pub effective: BTreeMap<PluginId, PluginEntry>,
    /// What was changed through the API.
    pub overrides: Overrides,
    /// What plugins on disk say about themselves.
    pub manifests: BTreeMap<PluginId, Manifest>,
    /// Plugins that should run here and are not started, with the reason.
    pub unable: BTreeMap<PluginId, String>,
    /// Plugins of which `plugins.yml` says something that is not valid.
    pub broken: BTreeSet<PluginId>,
}

impl Known {
    /// What is to hold for a plugin, also for one that nobody has said anything of.
    #[must_use]
    pub fn entry(&self, id: &PluginId) -> PluginEntry {
        let blank = || overrides::blank(self.manifests.contains_key(id));
        self.effective.get(id).cloned().unwrap_or_else(blank)
    }

    /// What `plugins.yml` says of a plugin, or what goes without saying.
    #[must_use]
    pub fn written(&self, id: &PluginId) -> PluginEntry {
        let blank = || overrides::blank(self.manifests.contains_key(id));
        self.written.get(id).cloned().unwrap_or_else(blank)
    }
}

/// What each runtime is told of this machine and this fleet.
#[derive(Clone, Debug)]
pub(super) struct Hosts {
    pub(super) processes: Surroundings,
    pub(super) containers: docker::Surroundings,
    /// Plugins that this program carries.
    pub(super) builtins: Builtins,
}

/// What is to run.
#[derive(Clone, Debug)]
pub(super) struct PluginPlan {
    pub(super) instances: Instances,
    pub(super) containers: docker::Instances,
    pub(super) internal: internal::Instances,
    /// How many of each run, and what they may use together.
    pub(super) pools: BTreeMap<PluginId, Pool>,
    pub(super) cap: Cap,
    /// The versions that can be chosen from: in plugin folders, and of images.
    pub(super) on_disk: BTreeMap<PluginId, BTreeSet<Version>>,
    pub(super) policies: Policies,
    /// Those that the bridge serves.
    pub(super) http: HttpPlugins,
    /// For people; what they are about was passed over.
    pub(super) problems: Vec<String>,
    /// Those of them that are in the file: the broken rule without its place, and as it is told.
    pub(super) broken: Vec<(String, String)>,
    /// What it was made of.
    pub(super) known: Arc<Known>,
}

impl PluginSources {
    /// The plugin folders that there are at the moment.
    #[must_use]
    pub fn folders(&self) -> Vec<PathBuf> {
        let is_there = |dir: &&PathBuf| self.installed.as_ref() != Some(*dir) || dir.is_dir();
        self.dirs.iter().filter(is_there).cloned().collect()
    }

    /// What was changed through the API.
    ///
    /// # Errors
    ///
    /// [`OverridesError`] when it cannot be read.
    pub fn read_overrides(&self) -> Result<Overrides, OverridesError> {
        self.overrides.as_deref().map_or_else(|| Ok(Overrides::default()), Overrides::read)
    }
}

impl PluginPlan {
    pub(super) fn make(
        sources: &PluginSources,
        hosts: &Hosts,
        decided: &Decided,
    ) -> Result<Self, ReadPluginsError> {
        Self::make_with(sources, sources.read_overrides()?, hosts, decided)
    }

    /// As [`PluginPlan::make`] with these changes of `plugins.yml`.
    pub(super) fn make_with(
        sources: &PluginSources,
        overrides: Overrides,
        hosts: &Hosts,
        decided: &Decided,
    ) -> Result<Self, ReadPluginsError> {
        let file = match &sources.file {
            Some(path) if sources.is_named || path.exists() => {
                let mut file = PluginsFile::read(path, &Env)?;
                file.locate(path, &sources.libraries);
                file.refuse_routes(path, |id| {
                    let transition = decided.get(id)?.transition.as_ref()?;
                    Some(transition.way.how())
                });
                file
            }
            _ => PluginsFile::default(),
        };
        Ok(Self::of((file, overrides), &sources.folders(), hosts, decided))
    }

    pub(super) fn of(
        (mut file, overrides): (PluginsFile, Overrides),
        dirs: &[PathBuf],
        hosts: &Hosts,
        decided: &Decided,
    ) -> Self {
        let mut found = discover(dirs);
        found.add_named(&file);
        found.choose(decided);
        let on_disk = found.plugins.keys().map(|id| (id.clone(), found.versions_of(id)));
        let mut on_disk: BTreeMap<PluginId, BTreeSet<Version>> = on_disk.collect();
        let boxed = file.entries.iter().filter(|(_, entry)| entry.runtime == Runtime::Docker);
        let images = boxed.filter_map(|(id, entry)| Some((id, entry.image.as_ref()?)));
        on_disk.extend(images.map(|(id, images)| (id.clone(), images.versions())));
        let written = file.entries.clone();
        overrides.apply(&mut file, |id| found.plugins.contains_key(id));
        let file = file;
        let mut plan = wanted(&file, &found, &hosts.processes);
        let boxed = docker::wanted(&file, &found, decided, &hosts.containers);
        plan.problems.extend(boxed.problems);
        let inside = internal::wanted(&file, &hosts.builtins);
        plan.problems.extend(inside.problems);
        let problems = file.problems.iter().chain(&found.problems).map(ToString::to_string);
        let unable = plan.problems.iter().map(|(id, reason)| format!("plugin {id}: {reason}"));
        let broken = file.problems.iter().map(|problem| {
            let rule = format!("{:?}: {}", problem.plugin, problem.rule);
            (rule, problem.to_string())
        });
        let mut known = Known {
            listed: written.keys().cloned().collect(),
            written,
            effective: file.entries.clone(),
            overrides,
            manifests: BTreeMap::new(),
            unable: plan.problems.clone(),
            broken: file
                .problems
                .iter()
                .filter_map(|it| it.plugin.as_ref()?.parse().ok())
                .collect(),
        };
        for (id, found) in &found.plugins {
            if !file.is_broken(id) {
                known.written.entry(id.clone()).or_default();
                known.effective.entry(id.clone()).or_default();
            }
            known.manifests.insert(id.clone(), found.manifest.clone());
        }
        let processes = plan.instances.values().map(|wanted| &wanted.plugin);
        let started = processes.chain(boxed.instances.values().map(|wanted| &wanted.plugin));
        Self {
            pools: pools(started, &file, &found),
            cap: file.cap,
            problems: problems.chain(unable).collect(),
            broken: broken.collect(),
            policies: file.entries.iter().map(|(id, entry)| (id.clone(), policy(entry))).collect(),
            instances: plan.instances,
            containers: boxed.instances,
            on_disk,
            http: HttpPlugins::of(&file),
            internal: inside.instances,
            known: Arc::new(known),
        }
    }

    /// What the coordinator is to know of it.
    pub(super) fn word(&self) -> Word {
        let declared = self.pools.iter().filter(|(_, pool)| pool.bounds.min() == 0);
        let declared = declared.filter_map(|(id, pool)| Some((id.clone(), pool.manifest.clone()?)));
        Word {
            policies: self.policies.clone(),
            expected: self.expected(),
            declared: declared.collect(),
        }
    }

    /// What may run, as the number of instances is decided.
    pub(super) fn planned(&self) -> Planned {
        Planned {
            instances: self.instances.clone(),
            containers: self.containers.clone(),
            pools: self.pools.clone(),
            cap: self.cap,
        }
    }

    /// Whose instances these are.
    pub(super) fn plugins_of(&self, names: &BTreeSet<InstanceId>) -> BTreeSet<PluginId> {
        let processes = self.instances.iter().map(|(name, wanted)| (name, &wanted.plugin));
        let containers = self.containers.iter().map(|(name, wanted)| (name, &wanted.plugin));
        let all = processes.chain(containers).filter(|(name, _)| names.contains(*name));
        all.map(|(_, plugin)| plugin.clone()).collect()
    }

    /// Plugins with a login of their own where each has one: all that somebody has said something of,
    /// also those that run elsewhere or not at the moment, with their routes.
    pub(super) fn tenants(&self) -> Plugins {
        let of_entry = |(id, entry): (&PluginId, &PluginEntry)| {
            (id.clone(), entry.routes.iter().map(|route| route.name).collect())
        };
        let mut all: Plugins = self.known.effective.iter().map(of_entry).collect();
        let others = self.expected().into_iter().chain(self.known.broken.iter().cloned());
        for id in others {
            all.entry(id).or_default();
        }
        all
    }

    /// Plugins that this fleet starts or serves.
    pub(super) fn expected(&self) -> BTreeSet<PluginId> {
        let processes = self.instances.values().map(|wanted| &wanted.plugin);
        let containers = self.containers.values().map(|wanted| &wanted.plugin);
        let internal = self.internal.values().map(|wanted| &wanted.plugin);
        processes.chain(containers).chain(internal).chain(self.http.ids()).cloned().collect()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What of an entry is the coordinator's business.
fn policy(entry: &PluginEntry) -> PluginPolicy {
    PluginPolicy {
        disabled: !entry.enabled,
        config: entry.config.0.clone(),
        retry: entry.retry.clone(),
        queue: entry.queue,
        timeout_ms: entry.timeout.map(millis),
        progress_timeout_ms: entry.progress_timeout.map(millis),
        max_in_flight: entry.max_in_flight,
        on_dependency_failure: entry.on_dependency_failure,
        concurrency: entry.concurrency.map(std::num::NonZeroU32::get),
        transition: entry.transition.clone(),
        routes: entry.routes.iter().map(RouteEntry::route).collect(),
    }
}
