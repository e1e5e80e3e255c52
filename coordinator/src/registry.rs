//! Which plugins there are, and whether one that announces itself may serve.
//!
//! The bucket of plugins is authoritative; this holds its present content, changed by
//! announcements here and by commands elsewhere. The decisions are pure, [`service`] acts on them.

pub mod removed;
pub mod service;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use broker_config::manifest::OnDependencyFailure;
use broker_config::retry::RetryOptions;
use broker_config::wire::plugin::{PluginEntry, PluginType};
use broker_config::{Manifest, PluginId, Queue, RouteName};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::graph::{Graph, PluginSpec, Refusal};
use crate::route::Route;
use crate::transition::Plan;
use crate::version;

#[cfg(test)]
mod tests;

/// The operator's word on a plugin; what is absent, the manifest decides.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PluginPolicy {
    /// Whether it may take part.
    pub disabled: bool,
    /// Values for its configSchema, secrets included.
    pub config: Map<String, Value>,
    /// How failures are tried again.
    pub retry: Option<RetryOptions>,
    /// Where its tasks wait.
    pub queue: Option<Queue>,
    /// How long one attempt may take, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// How long one attempt may go on without a report of progress, in milliseconds.
    pub progress_timeout_ms: Option<u64>,
    /// Tasks at once over the whole fleet.
    pub max_in_flight: Option<NonZeroU32>,
    /// Whether it runs although something it depends on has failed.
    pub on_dependency_failure: Option<OnDependencyFailure>,
    /// Tasks that one instance runs at once.
    pub concurrency: Option<u32>,
    /// How another version takes its place; absent = gracefully.
    pub transition: Option<Plan>,
    /// Workers of their own for some of the files.
    pub routes: Vec<Route>,
}

/// What the operator said about all plugins.
pub type Policies = BTreeMap<PluginId, PluginPolicy>;

/// Everything that the operator says about plugins; it may change while a fleet runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Word {
    /// How they take part.
    pub policies: Policies,
    /// Those that this fleet starts.
    pub expected: BTreeSet<PluginId>,
    /// Manifests of those that may have no instance to announce them.
    pub declared: BTreeMap<PluginId, Manifest>,
}

impl Word {
    /// The routes of a plugin.
    #[must_use]
    pub fn routes_of(&self, plugin: &PluginId) -> &[Route] {
        self.policies.get(plugin).map_or(&[], |policy| &policy.routes)
    }

    /// The routes of all plugins.
    #[must_use]
    pub fn routes(&self) -> BTreeSet<(PluginId, RouteName)> {
        let of = |(id, policy): (&PluginId, &PluginPolicy)| {
            let names: Vec<_> = policy.routes.iter().map(|it| (id.clone(), it.name)).collect();
            names
        };
        self.policies.iter().flat_map(of).collect()
    }

    /// The plugins of which it says something else than `before`.
    #[must_use]
    pub fn differs_for(&self, before: &Self) -> BTreeSet<PluginId> {
        let both = || self.policies.keys().chain(before.policies.keys());
        let policies = both().filter(|id| self.policies.get(*id) != before.policies.get(*id));
        let both = || self.declared.keys().chain(before.declared.keys());
        let declared = both().filter(|id| self.declared.get(*id) != before.declared.get(*id));
        let expected = self.expected.symmetric_difference(&before.expected);
        policies.chain(declared).chain(expected).cloned().collect()
    }
}

/// Whose tasks have a place to go to, and whose have lost it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// Plugins with an entry, those that take no part at the moment included.
    pub present: BTreeSet<PluginId>,
    /// Plugins that were removed and have not come back.
    pub removed: BTreeSet<PluginId>,
    /// The routes that there are.
    pub routes: BTreeSet<(PluginId, RouteName)>,
}

/// An announcement that is granted.
#[derive(Clone, Debug, PartialEq)]
pub struct Granted {
    /// What is to be kept of it, if anything changes.
    pub entry: Option<PluginEntry>,
    /// The settings it gets, secrets included.
    pub settings: Map<String, Value>,
    /// How many tasks the operator lets an instance run at once.
    pub concurrency: Option<u32>,
    /// Whether its tasks wait at the moment.
    pub paused: bool,
}

/// What is known besides the announcement itself.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// All entries.
    pub entries: &'a BTreeMap<PluginId, PluginEntry>,
    /// The operator's word.
    pub policies: &'a Policies,
    /// Plugins that this fleet starts: what they need may come after them.
    pub expected: &'a BTreeSet<PluginId>,
    /// Whether the entry stays as it is, whatever this one says of itself: it is of a version that
    /// is not the current one.
    pub keeps: bool,
}

/// Decides whether the plugin that announced itself on the subject of `plugin` may serve.
///
/// # Errors
///
/// All reasons why not, for its author and the operator.
pub fn decide(
    plugin: &PluginId,
    manifest: &Manifest,
    known: Known<'_>,
    now: &str,
) -> Result<Granted, Vec<String>> {
    let mut reasons = Vec::new();
    if manifest.id != *plugin {
        reasons.push(format!("the manifest is of `{}`, the subject of `{plugin}`", manifest.id));
    }
    reasons.extend(manifest.engine_problem(&version::ours()));
    let default = PluginPolicy::default();
    let policy = known.policies.get(plugin).unwrap_or(&default);
    if policy.disabled {
        reasons
            .push(format!("{plugin} is disabled in plugins.yml or by `metafleet plugin disable`"));
    }
    let settings = manifest.settings(&policy.config).unwrap_or_else(|problems| {
        reasons.extend(problems.into_iter().map(|problem| format!("settings: {problem}")));
        Map::new()
    });
    let present = known.entries.get(plugin);
    let entry = entry_for(manifest, present, known, now);
    let mut entries = known.entries.clone();
    entries.insert(plugin.clone(), entry.clone());
    if let Some(refusal) = graph(&entries, known.policies).1.remove(plugin)
        && !may_still_come(&refusal, known.expected)
    {
        reasons.push(refusal.to_string());
    }
    if !reasons.is_empty() {
        return Err(reasons);
    }
    let paused = entry.paused;
    let entry = (present != Some(&entry)).then_some(entry);
    Ok(Granted { entry, settings, concurrency: policy.concurrency, paused })
}

fn may_still_come(refusal: &Refusal, expected: &BTreeSet<PluginId>) -> bool {
    match refusal {
        Refusal::Unknown(way) => way.last().is_some_and(|missing| expected.contains(missing)),
        Refusal::Cycle(_) => false,
    }
}

/// What the bucket should hold after this announcement.
fn entry_for(
    manifest: &Manifest,
    present: Option<&PluginEntry>,
    known: Known<'_>,
    now: &str,
) -> PluginEntry {
    let managed = known.expected.contains(&manifest.id);
    let default = PluginPolicy::default();
    let policy = known.policies.get(&manifest.id).unwrap_or(&default);
    let settings_hash = spec(manifest, policy).settings_hash;
    let Some(present) = present else {
        return PluginEntry {
            kind: PluginType::V1,
            manifest: manifest.clone(),
            enabled: true,
            managed,
            paused: false,
            settings_hash,
            registered_at: now.to_owned(),
        };
    };
    if known.keeps {
        return present.clone();
    }
    // Files were settled without one that was switched off: for a scan it is new.
    let is_new = *manifest != present.manifest || !present.enabled;
    PluginEntry {
        manifest: manifest.clone(),
        managed,
        enabled: true,
        settings_hash,
        registered_at: if is_new { now.to_owned() } else { present.registered_at.clone() },
        ..present.clone()
    }
}

/// The graph of all plugins that may take part, and those that cannot, with the reason.
#[must_use]
pub fn graph(
    entries: &BTreeMap<PluginId, PluginEntry>,
    policies: &Policies,
) -> (Graph, BTreeMap<PluginId, Refusal>) {
    let default = PluginPolicy::default();
    let specs = entries
        .iter()
        .filter(|(_, entry)| entry.enabled)
        .filter_map(|(id, entry)| {
            let policy = policies.get(id).unwrap_or(&default);
            (!policy.disabled).then(|| spec(&entry.manifest, policy))
        })
        .collect();
    Graph::build(specs)
}

/// A plugin as the engine needs it.
#[must_use]
pub fn spec(manifest: &Manifest, policy: &PluginPolicy) -> PluginSpec {
    let settings = manifest.settings(&policy.config).unwrap_or_default();
    let mut hash = Sha256::new();
    // A map of JSON values serialises.
    hash.update(serde_json::to_vec(&settings).unwrap_or_default());
    PluginSpec {
        queue: policy.queue.unwrap_or(manifest.queue),
        timeout_ms: policy.timeout_ms.unwrap_or(manifest.timeout),
        progress_timeout_ms: policy.progress_timeout_ms.or(manifest.progress_timeout),
        retry: policy.retry.as_ref().unwrap_or(&manifest.retry).policy(),
        on_dependency_failure: policy
            .on_dependency_failure
            .unwrap_or(manifest.on_dependency_failure),
        max_in_flight: policy.max_in_flight.or(manifest.max_in_flight),
        settings_hash: data_encoding::HEXLOWER.encode(&hash.finalize()[..16]),
        routes: policy.routes.clone(),
        manifest: manifest.clone(),
    }
}
