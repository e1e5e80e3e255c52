//! PURE: from what was seen to how many instances run, and what those are told that are too many.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::num::NonZeroU32;
use std::time::Duration;

use broker_config::wire::instance::{Instance, InstanceState};
use broker_config::wire::signal::Control;
use broker_config::{InstanceId, PluginId};

use super::pools::Pool;
use super::selection::{Now, Planned, name};
use crate::scale::{
    Bounds, Busy, Drain, Grant, History, Mean, Moment, Pace, Sign, Step, Wish, Work, grant, needed,
};
use crate::store::scale::Scaled;
use crate::{docker, process};

/// What the broker and the coordinator know of one plugin.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// Its signs of life.
    pub(super) signs: Vec<Instance>,
    /// Tasks that could be delivered and were not.
    pub(super) waiting: u64,
    /// Tasks delivered and not settled.
    pub(super) held: u64,
    /// Tasks that have ended, and how many seconds they took together.
    pub(super) ended: (u64, f64),
    /// Whether a person has it wait.
    pub(super) is_paused: bool,
    /// The version in the registry, while it takes part.
    pub(super) version: Option<String>,
    /// The time for one attempt by its manifest.
    pub(super) timeout: Option<Duration>,
}

/// What is remembered of all plugins.
#[derive(Debug, Default)]
pub(super) struct Mind(BTreeMap<PluginId, One>);

#[derive(Debug)]
struct One {
    history: History,
    mean: Mean,
    busy: Busy,
    concurrency: Option<NonZeroU32>,
    drains: BTreeMap<u32, Drain>,
    /// Whether an instance has announced itself since it was last wanted otherwise.
    is_seen: bool,
    made_of: (Option<process::Wanted>, Option<docker::Wanted>),
}

/// A number that is another now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) plugin: PluginId,
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) why: String,
}

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Decision {
    pub(super) numbers: BTreeMap<PluginId, BTreeSet<u32>>,
    pub(super) tell: Vec<(PluginId, InstanceId, Control)>,
    pub(super) changes: Vec<Change>,
    pub(super) shown: BTreeMap<PluginId, Scaled>,
    /// Stopped although they may hold something.
    pub(super) overdue: Vec<InstanceId>,
}

impl Mind {
    /// Whether nothing is left to decide until the plan changes.
    pub(super) fn is_at_rest(&self, now: &Now) -> bool {
        let is_as_planned = |(id, pool): (&PluginId, &Pool)| {
            let whole = (1..=pool.bounds.max()).collect::<BTreeSet<u32>>();
            pool.bounds.is_fixed() && now.numbers.get(id) == Some(&whole)
        };
        now.by_hand.is_empty()
            && self.0.values().all(|one| one.drains.is_empty())
            && now.planned.pools.iter().all(is_as_planned)
    }

    /// Takes in that nothing is left to decide.
    pub(super) fn rest(&mut self, now: &Now, at: Moment) {
        for (id, one) in &mut self.0 {
            let number = now.numbers.get(id).map_or(0, BTreeSet::len);
            one.history.stands(count(number), at);
        }
    }

    /// Takes in what was seen; `pace` is given to who leads: nobody else goes by what waits.
    pub(super) fn decide(
        &mut self,
        now: &Now,
        facts: &BTreeMap<PluginId, Facts>,
        pace: Option<&Pace>,
        at: Moment,
    ) -> Decision {
        let (no_facts, no_numbers) = (Facts::default(), BTreeSet::new());
        self.0.retain(|id, _| now.planned.pools.contains_key(id));
        let views = now.planned.pools.iter().map(|(id, pool)| View {
            id,
            pool,
            numbers: now.numbers.get(id).unwrap_or(&no_numbers),
            facts: facts.get(id).unwrap_or(&no_facts),
            by_hand: now.by_hand.get(id).copied(),
            pace,
            at,
        });
        let views: Vec<View<'_>> = views.collect();
        let mut wishes = BTreeMap::new();
        for view in &views {
            let new = || One::new(view.numbers, at);
            let one = self.0.entry(view.id.clone()).or_insert_with(new);
            one.look(view, &now.planned);
            wishes.insert(view.id.clone(), one.wish(view));
        }
        let grants = grant(now.planned.cap, &wishes);
        let mut decision = Decision::default();
        for view in &views {
            if let (Some(one), Some(grant)) = (self.0.get_mut(view.id), grants.get(view.id)) {
                one.act(view, grant, &mut decision);
            }
        }
        decision
    }
}

/// All about one plugin at one moment.
struct View<'a> {
    id: &'a PluginId,
    pool: &'a Pool,
    /// The instances that run, those that drain included.
    numbers: &'a BTreeSet<u32>,
    facts: &'a Facts,
    by_hand: Option<u32>,
    pace: Option<&'a Pace>,
    at: Moment,
}

impl View<'_> {
    /// Instances that serve and whose number is not decided here.
    fn elsewhere(&self) -> impl Iterator<Item = &Instance> {
        let serves = |sign: &&Instance| sign.state == InstanceState::Ready && !self.is_ours(sign);
        self.facts.signs.iter().filter(serves)
    }

    fn is_ours(&self, sign: &Instance) -> bool {
        self.numbers.iter().any(|n| name(self.id, *n).as_ref() == Some(&sign.instance))
    }

    /// For how long the oldest task runs: it takes at least so long.
    fn longest(&self) -> Option<Duration> {
        let running = self.facts.signs.iter().flat_map(|sign| &sign.running);
        running.map(|running| Duration::from_millis(running.for_ms)).max()
    }
}

impl One {
    fn new(numbers: &BTreeSet<u32>, at: Moment) -> Self {
        Self {
            history: History::new(count(numbers.len()), at),
            mean: Mean::default(),
            busy: Busy::default(),
            concurrency: None,
            drains: BTreeMap::new(),
            is_seen: false,
            made_of: (None, None),
        }
    }

    fn look(&mut self, view: &View<'_>, planned: &Planned) {
        self.drains.retain(|n, _| view.numbers.contains(n));
        let first = name(view.id, 1);
        let first = first.as_ref();
        let made_of = (
            first.and_then(|name| planned.instances.get(name)).cloned(),
            first.and_then(|name| planned.containers.get(name)).cloned(),
        );
        if self.made_of != made_of {
            self.made_of = made_of;
            self.is_seen = false;
        }
        let serves = |sign: &&Instance| {
            matches!(sign.state, InstanceState::Ready | InstanceState::Paused) && view.is_ours(sign)
        };
        let ours = view.facts.signs.iter().filter(serves);
        self.is_seen |= ours.clone().next().is_some();
        let most = ours.filter_map(|sign| NonZeroU32::new(sign.concurrency)).max();
        self.concurrency = most.or(self.concurrency);
        let (ended, seconds) = view.facts.ended;
        self.mean.look(ended, seconds);
        if let Some(pace) = view.pace {
            self.busy.look(seconds, pace.shrink_after, view.at);
        }
    }

    /// Whether its tasks are published while it has no instance.
    fn is_known(&self, view: &View<'_>) -> bool {
        match &view.pool.manifest {
            // Until somebody leads, nobody has looked at what is on disk.
            Some(_) if view.pace.is_none() => true,
            Some(manifest) => {
                let version = Some(manifest.version.to_string());
                self.is_seen || view.facts.version == version
            }
            None => self.is_seen && view.facts.version.is_some(),
        }
    }

    fn wish(&mut self, view: &View<'_>) -> Wish {
        let pool = view.pool;
        let draining = count(self.drains.len());
        let present = count(view.numbers.len()).saturating_sub(draining);
        let least = pool.least(self.is_known(view));
        let max = NonZeroU32::new(pool.bounds.max()).unwrap_or(NonZeroU32::MIN);
        let bounds = Bounds::new(least, max).unwrap_or(pool.bounds);
        let wanted = match (view.by_hand, view.pace) {
            (Some(number), _) => number,
            (None, _) if pool.bounds.is_fixed() => pool.bounds.min(),
            (None, None) => bounds.clamp(present),
            (None, Some(pace)) => {
                let work = self.work(view);
                let busy = self.busy.instances(view.facts.ended.1, work.concurrency, view.at);
                let elsewhere = count(view.elsewhere().count());
                let asked = (needed(&work, present), busy.saturating_sub(elsewhere));
                self.history.look(asked, bounds, pace, view.at)
            }
        };
        Wish {
            share: pool.share,
            min: least.min(wanted),
            present: present.min(wanted),
            draining: draining + present.saturating_sub(wanted),
            wanted,
            waits: self.history.waits(view.at),
        }
    }

    fn work(&self, view: &View<'_>) -> Work {
        let facts = view.facts;
        // A version that is tried has tasks of its own, and does nothing of what waits here.
        let version = facts.version.as_ref();
        let helps = |sign: &&Instance| version.is_none_or(|version| *version == sign.version);
        Work {
            // What a person has wait, no instance more would make go faster.
            waiting: if facts.is_paused { 0 } else { facts.waiting },
            held: facts.held,
            task: self.mean.get().or_else(|| view.longest()),
            concurrency: self.concurrency.or(view.pool.concurrency).unwrap_or(NonZeroU32::MIN),
            elsewhere: count(view.elsewhere().filter(helps).count()),
        }
    }

    /// Adds what is missing, has the rest drain.
    fn act(&mut self, view: &View<'_>, grant: &Grant, decision: &mut Decision) {
        let from = self.history.number();
        if from != grant.number {
            let why = self.why(view, grant);
            let (plugin, to) = (view.id.clone(), grant.number);
            decision.changes.push(Change { plugin, from, to, why });
            self.history.stands(grant.number, view.at);
        }
        let mut numbers = view.numbers.clone();
        for n in 1..=grant.number {
            if self.drains.remove(&n).is_some()
                && let Some(name) = name(view.id, n)
            {
                decision.tell.push((view.id.clone(), name, Control::Resume));
            }
            numbers.insert(n);
        }
        let limit = view.pool.drain_limit(view.facts.timeout);
        for n in numbers.clone().into_iter().filter(|n| *n > grant.number) {
            let Some(name) = name(view.id, n) else { continue };
            let drain = self.drains.entry(n).or_insert_with(|| Drain::new(view.at));
            let sign = view.facts.signs.iter().find(|sign| sign.instance == name).map(Sign::of);
            match drain.look(sign, limit, view.at) {
                Step::Pause => decision.tell.push((view.id.clone(), name, Control::Pause)),
                step @ (Step::Stop | Step::GiveUp) => {
                    if step == Step::GiveUp {
                        decision.overdue.push(name);
                    }
                    numbers.remove(&n);
                    self.drains.remove(&n);
                }
            }
        }
        decision.numbers.insert(view.id.clone(), numbers);
        let (bounds, draining) = (view.pool.bounds, count(self.drains.len()));
        let (by_hand, refused) = (view.by_hand.is_some(), grant.refused.clone());
        if !bounds.is_fixed() || by_hand || refused.is_some() || draining > 0 {
            let (number, min, max) = (grant.number, bounds.min(), bounds.max());
            let shown = Scaled { number, draining, min, max, by_hand, refused };
            decision.shown.insert(view.id.clone(), shown);
        }
    }

    fn why(&self, view: &View<'_>, grant: &Grant) -> String {
        let facts = view.facts;
        if let Some(refused) = &grant.refused {
            return refused.clone();
        }
        if view.by_hand.is_some() {
            return "set by hand".to_owned();
        }
        if view.pool.bounds.is_fixed() {
            return "plugins.yml says so".to_owned();
        }
        let mut why = format!("{} tasks wait, {} are being done", facts.waiting, facts.held);
        if let Some(task) = self.mean.get() {
            // A text takes all that is written to it.
            write!(why, ", {} ms each", task.as_millis()).ok();
        }
        why
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
