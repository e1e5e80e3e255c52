//! PURE: the plugins that this fleet starts, as the number of their instances is decided.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Duration;

use broker_config::{Manifest, PluginId};

use crate::config::plugins::{Protocol, Resources};
use crate::config::{PluginEntry, PluginsFile, Runtime};
use crate::process::Discovered;
use crate::scale::cap::millis;
use crate::scale::{Bounds, Share};

/// What draining may take beyond the time for one attempt.
const MARGIN: Duration = Duration::from_secs(30);
/// How long an attempt may take when nobody says so; as in manifests.
const TIMEOUT: Duration = Duration::from_secs(30);

/// One plugin.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::fleet) struct Pool {
    /// How many there may be.
    pub(in crate::fleet) bounds: Bounds,
    /// Whether a person may set another number while the fleet runs: the bridge is told at its
    /// start how many there are of an HTTP plugin.
    pub(in crate::fleet) is_flexible: bool,
    /// What one instance counts for.
    pub(in crate::fleet) share: Share,
    /// The manifest, when it is known without an instance.
    pub(in crate::fleet) manifest: Option<Manifest>,
    /// What the file says of the time for one attempt.
    pub(in crate::fleet) timeout: Option<Duration>,
    /// What the file, or else the manifest on disk, says of tasks at once in one instance.
    pub(in crate::fleet) concurrency: Option<NonZeroU32>,
    /// After how many tasks an instance is replaced by a fresh one.
    pub(in crate::fleet) recycle: Option<NonZeroU32>,
}

impl Pool {
    fn of(entry: &PluginEntry, manifest: Option<&Manifest>) -> Self {
        // What an image holds, only one that runs can tell.
        let known = manifest.filter(|_| entry.runtime == Runtime::Process);
        Self {
            bounds: entry.bounds(),
            is_flexible: entry.protocol == Protocol::Nats,
            share: share(entry.resources),
            manifest: known.cloned(),
            timeout: entry.timeout,
            concurrency: entry.concurrency.or_else(|| manifest.and_then(|m| m.concurrency)),
            recycle: entry.recycle,
        }
    }

    /// How long draining may take; `declared` is the time for one attempt by the manifest.
    pub(in crate::fleet) fn drain_limit(&self, declared: Option<Duration>) -> Duration {
        self.timeout.or(declared).unwrap_or(TIMEOUT) + MARGIN
    }

    /// The fewest there should be; `is_known` = its manifest is in the registry, so that its tasks
    /// are published while it has no instance.
    pub(in crate::fleet) fn least(&self, is_known: bool) -> u32 {
        if is_known { self.bounds.min() } else { self.bounds.min().max(1) }
    }
}

fn share(resources: Resources) -> Share {
    let default = Share::default();
    Share {
        millicpus: resources.cpus.map_or(default.millicpus, millis),
        memory: resources.memory.map_or(default.memory, std::num::NonZeroU64::get),
    }
}

/// One for each of `ids`, which are started here.
pub(in crate::fleet) fn pools<'a>(
    ids: impl Iterator<Item = &'a PluginId>,
    file: &PluginsFile,
    found: &Discovered,
) -> BTreeMap<PluginId, Pool> {
    let default = PluginEntry::default();
    let ids: BTreeSet<&PluginId> = ids.collect();
    let pool = |id: &PluginId| {
        let entry = file.entries.get(id).unwrap_or(&default);
        Pool::of(entry, found.plugins.get(id).map(|found| &found.manifest))
    };
    ids.into_iter().map(|id| (id.clone(), pool(id))).collect()
}
