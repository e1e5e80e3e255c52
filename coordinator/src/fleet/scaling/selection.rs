//! Which of the planned instances run.
//!
//! The plan says what may run, this says how many of it do; every change of either is handed to the
//! runtimes at once. It is the only one who tells them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use broker_config::{InstanceId, Lane, PluginId};
use tokio::sync::watch;
use tracing::warn;

use super::pools::Pool;
use crate::docker::{self, DockerHandle};
use crate::process::{self, ProcessHandle};
use crate::scale::{Cap, Grant, MAX_INSTANCES, Wish, grant};
use crate::store::scale::Scaled;

/// What may run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::fleet) struct Planned {
    pub(in crate::fleet) instances: process::Instances,
    pub(in crate::fleet) containers: docker::Instances,
    pub(in crate::fleet) pools: BTreeMap<PluginId, Pool>,
    pub(in crate::fleet) cap: Cap,
}

impl Planned {
    /// The processes of versions that are tried: all of them run, whatever the work.
    pub(in crate::fleet) fn tried(&self) -> impl Iterator<Item = (&InstanceId, &process::Wanted)> {
        self.instances.iter().filter(|(_, wanted)| !wanted.lane.is_main())
    }

    /// The same of containers.
    fn tried_containers(&self) -> impl Iterator<Item = (&InstanceId, &docker::Wanted)> {
        self.containers.iter().filter(|(_, wanted)| !wanted.lane.is_main())
    }
}

/// Decides which of it runs; cheap to clone.
#[derive(Clone, Debug)]
pub(in crate::fleet) struct Selection {
    state: Arc<Mutex<State>>,
    /// Rises with every new plan and every word of a person.
    changes: watch::Sender<u64>,
}

/// How it is at one moment.
#[derive(Clone, Debug)]
pub(in crate::fleet) struct Now {
    pub(in crate::fleet) planned: Planned,
    /// The instances of each that run, those that drain included.
    pub(in crate::fleet) numbers: BTreeMap<PluginId, BTreeSet<u32>>,
    /// What persons have said.
    pub(in crate::fleet) by_hand: BTreeMap<PluginId, u32>,
    plans: u64,
}

#[cfg(test)]
impl Now {
    pub(super) fn of(
        planned: Planned,
        numbers: BTreeMap<PluginId, BTreeSet<u32>>,
        by_hand: BTreeMap<PluginId, u32>,
    ) -> Self {
        Self { planned, numbers, by_hand, plans: 0 }
    }
}

#[derive(Debug)]
struct State {
    planned: Planned,
    /// Rises with every new plan.
    plans: u64,
    /// These do not run, whatever the numbers say.
    except: BTreeSet<InstanceId>,
    /// The instances of each that run, those that drain included.
    numbers: BTreeMap<PluginId, BTreeSet<u32>>,
    by_hand: BTreeMap<PluginId, u32>,
    shown: BTreeMap<PluginId, Scaled>,
    processes: ProcessHandle,
    /// `None` when this fleet was started without containers.
    containers: Option<DockerHandle>,
}

/// The number of instances cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScaleError {
    /// This fleet does not start it.
    #[error("{0} is not started by this fleet")]
    NotHere(PluginId),
    /// Its number is fixed as long as the fleet runs.
    #[error("the number of instances of {0}, an HTTP plugin, changes at the next start only")]
    Fixed(PluginId),
    /// The file allows other numbers.
    #[error("{plugin} may have {min} to {max} instances")]
    OutOfBounds {
        /// The plugin.
        plugin: PluginId,
        /// The fewest.
        min: u32,
        /// The most.
        max: u32,
    },
}

/// How many there are to be of all plugins at a start or when the plan has changed: the minimums,
/// and what runs already.
pub(in crate::fleet) fn start(
    planned: &Planned,
    by_hand: &BTreeMap<PluginId, u32>,
    present: impl Fn(&PluginId) -> u32,
) -> BTreeMap<PluginId, Grant> {
    let wish = |(id, pool): (&PluginId, &Pool)| {
        let least = pool.least(pool.manifest.is_some());
        let bound = pool.bounds.clamp(present(id)).max(least);
        let wanted = by_hand.get(id).copied().unwrap_or(bound);
        let min = least.min(wanted);
        let (share, present) = (pool.share, present(id).min(wanted));
        let wish = Wish { share, min, present, draining: 0, wanted, waits: Duration::ZERO };
        (id.clone(), wish)
    };
    grant(planned.cap, &planned.pools.iter().map(wish).collect())
}

impl Selection {
    /// Nothing is planned yet.
    pub(in crate::fleet) fn new(
        processes: ProcessHandle,
        containers: Option<DockerHandle>,
    ) -> Self {
        let state = State {
            planned: Planned::default(),
            plans: 0,
            except: BTreeSet::new(),
            numbers: BTreeMap::new(),
            by_hand: BTreeMap::new(),
            shown: BTreeMap::new(),
            processes,
            containers,
        };
        Self { state: Arc::new(Mutex::new(state)), changes: watch::channel(0).0 }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Follows changes of the plan and words of persons.
    pub(in crate::fleet) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Replaces what may run, and holds some of it back. What runs and is one too many goes on until
    /// it has drained; what is missing starts now.
    pub(in crate::fleet) fn plan(&self, planned: Planned, except: &BTreeSet<InstanceId>) {
        let mut state = self.lock();
        let same = |id: &PluginId| {
            let bounds = |planned: &Planned| planned.pools.get(id).map(|pool| pool.bounds);
            bounds(&state.planned) == bounds(&planned)
        };
        let kept = state.by_hand.iter().filter(|(id, _)| same(id));
        let by_hand: BTreeMap<PluginId, u32> = kept.map(|(id, n)| (id.clone(), *n)).collect();
        let count = |id: &PluginId| state.numbers.get(id).map_or(0, BTreeSet::len);
        let granted = start(&planned, &by_hand, |id| u32::try_from(count(id)).unwrap_or(u32::MAX));
        let mut numbers = std::mem::take(&mut state.numbers);
        numbers.retain(|id, _| planned.pools.contains_key(id));
        for (id, grant) in granted {
            numbers.entry(id).or_default().extend(1..=grant.number);
        }
        state.numbers = numbers;
        state.by_hand = by_hand;
        state.planned = planned;
        state.plans += 1;
        state.except.clone_from(except);
        state.apply();
        drop(state);
        self.note();
    }

    /// Replaces which instances run, unless the plan is another by now than that of `seen`.
    pub(in crate::fleet) fn run(&self, seen: &Now, numbers: &BTreeMap<PluginId, BTreeSet<u32>>) {
        let mut state = self.lock();
        if state.plans != seen.plans {
            return;
        }
        let mut differs = false;
        for (id, numbers) in numbers {
            if state.numbers.get(id) != Some(numbers) {
                state.numbers.insert(id.clone(), numbers.clone());
                differs = true;
            }
        }
        if differs {
            state.apply();
        }
    }

    /// How it is.
    pub(in crate::fleet) fn now(&self) -> Now {
        let state = self.lock();
        Now {
            planned: state.planned.clone(),
            numbers: state.numbers.clone(),
            by_hand: state.by_hand.clone(),
            plans: state.plans,
        }
    }

    /// The names of all instances of some plugins that run.
    pub(in crate::fleet) fn names_of(&self, plugins: &BTreeSet<PluginId>) -> BTreeSet<InstanceId> {
        let state = self.lock();
        let of = |id: &PluginId| state.numbers.get(id).cloned().unwrap_or_default();
        let names = plugins.iter().flat_map(|id| of(id).into_iter().filter_map(|n| name(id, n)));
        let tried = state.planned.tried().map(|(name, wanted)| (name, &wanted.plugin));
        let boxed = state.planned.tried_containers().map(|(name, wanted)| (name, &wanted.plugin));
        let tried = tried.chain(boxed).filter(|(_, plugin)| plugins.contains(*plugin));
        names.chain(tried.map(|(name, _)| name.clone())).collect()
    }

    /// Notes what is to be shown of each.
    pub(in crate::fleet) fn show(&self, shown: BTreeMap<PluginId, Scaled>) {
        self.lock().shown = shown;
    }

    pub(super) fn shown(&self) -> BTreeMap<PluginId, Scaled> {
        self.lock().shown.clone()
    }

    pub(super) fn set_by_hand(
        &self,
        plugin: &PluginId,
        number: Option<u32>,
    ) -> Result<(), ScaleError> {
        let mut state = self.lock();
        let Some(pool) = state.planned.pools.get(plugin) else {
            return Err(ScaleError::NotHere(plugin.clone()));
        };
        if !pool.is_flexible {
            return Err(ScaleError::Fixed(plugin.clone()));
        }
        let is_scaled = !pool.bounds.is_fixed();
        let (min, max) =
            if is_scaled { (pool.bounds.min(), pool.bounds.max()) } else { (0, MAX_INSTANCES) };
        if number.is_some_and(|number| !(min..=max).contains(&number)) {
            return Err(ScaleError::OutOfBounds { plugin: plugin.clone(), min, max });
        }
        match number {
            Some(number) => state.by_hand.insert(plugin.clone(), number),
            None => state.by_hand.remove(plugin),
        };
        drop(state);
        self.note();
        Ok(())
    }
}

/// The name of instance `n` of a plugin, of those whose number is decided.
pub(in crate::fleet) fn name(plugin: &PluginId, n: u32) -> Option<InstanceId> {
    process::instance_name(plugin, Lane::Main, n)
}

impl State {
    /// Tells the runtimes.
    fn apply(&self) {
        let planned = &self.planned;
        let (mut processes, mut containers) = (process::Instances::new(), docker::Instances::new());
        for (id, numbers) in &self.numbers {
            for n in numbers {
                let Some(name) = name(id, *n).filter(|name| !self.except.contains(name)) else {
                    continue;
                };
                let first = self::name(id, 1);
                let first = first.as_ref();
                let process =
                    planned.instances.get(&name).cloned().or_else(|| {
                        first.and_then(|first| planned.instances.get(first))?.numbered(*n)
                    });
                let container = planned.containers.get(&name).cloned().or_else(|| {
                    first.and_then(|first| planned.containers.get(first))?.numbered(*n)
                });
                processes.extend(process.map(|wanted| (name.clone(), wanted)));
                containers.extend(container.map(|wanted| (name, wanted)));
            }
        }
        let tried = planned.tried().filter(|(name, _)| !self.except.contains(*name));
        processes.extend(tried.map(|(name, wanted)| (name.clone(), wanted.clone())));
        let tried = planned.tried_containers().filter(|(name, _)| !self.except.contains(*name));
        containers.extend(tried.map(|(name, wanted)| (name.clone(), wanted.clone())));
        self.processes.set_wanted(processes);
        match &self.containers {
            Some(handle) => handle.set_wanted(containers),
            None if containers.is_empty() => {}
            None => warn!("this fleet was started without containers; they come at the next start"),
        }
    }
}
