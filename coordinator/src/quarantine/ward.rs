//! PURE: what the ends of attempts say of instances, and what follows; the rules are in [`super`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use broker_config::{Cid, InstanceId, PluginId};
use jiff::{SignedDuration, Timestamp};

use super::{Ending, Note, Rules, Seen, Step, Term};

/// What a failure weighs that may pass by trying again.
const PASSING: u32 = 2;
/// What a permanent one weighs.
const PERMANENT: u32 = 1;
/// Failures in a row after which an instance is no measure for others any more.
const DOUBTFUL: usize = 3;
/// Attempts that are remembered of one instance.
const LATELY: usize = 64;
/// Failures that are remembered of one instance.
const MOST_FAILURES: usize = 64;
/// Bad files that are remembered of one plugin.
const MOST_FILES: usize = 1_000;
/// One that does not take up work for a trial is told again so often.
const TELL_AGAIN: SignedDuration = SignedDuration::from_secs(30);

type Key = (PluginId, InstanceId);

/// How an instance fared lately.
#[derive(Clone, Debug, Default)]
struct Course {
    /// The files that have failed since the last attempt that ended well.
    failed: BTreeMap<Cid, (Timestamp, u32)>,
    well: Option<Timestamp>,
    /// Its last attempts, and whether they ended well.
    lately: VecDeque<(Timestamp, bool)>,
    /// Whether its failures were told as nobody's fault in particular.
    is_told: bool,
}

impl Course {
    fn weight(&self) -> u32 {
        self.failed.values().map(|(_, weight)| weight).sum()
    }

    fn remember(&mut self, at: Timestamp, is_well: bool) {
        self.lately.push_back((at, is_well));
        if self.lately.len() > LATELY {
            self.lately.pop_front();
        }
    }

    /// Whether it works: it has ended something well since then, and not failed more than that, nor
    /// does it fail in a row now.
    fn works_since(&self, since: Timestamp) -> bool {
        let lately = || self.lately.iter().filter(|(at, _)| *at >= since);
        let well = lately().filter(|(_, is_well)| *is_well).count();
        well > 0 && well * 2 >= lately().count() && self.failed.len() < DOUBTFUL
    }

    fn since(&self) -> Option<Timestamp> {
        self.failed.values().map(|(at, _)| *at).min()
    }
}

/// Watches over all instances.
#[derive(Clone, Debug, Default)]
pub struct Ward {
    rules: Rules,
    courses: BTreeMap<Key, Course>,
    /// Files that failed at an instance that works, by plugin, with that instance.
    bad: BTreeMap<PluginId, BTreeMap<Cid, InstanceId>>,
    terms: BTreeMap<Key, Term>,
    /// When those on trial were told to take up work.
    told: BTreeMap<Key, Timestamp>,
}

impl Ward {
    /// Goes on with what another one has decided.
    #[must_use]
    pub fn new(rules: Rules, terms: Vec<Term>) -> Self {
        let keyed = |term: Term| ((term.plugin_id.clone(), term.instance.clone()), term);
        Self { rules, terms: terms.into_iter().map(keyed).collect(), ..Self::default() }
    }

    /// All that are out or on trial.
    pub fn terms(&self) -> impl Iterator<Item = &Term> {
        self.terms.values()
    }

    /// Those that take no tasks.
    #[must_use]
    pub fn held(&self) -> BTreeSet<(PluginId, InstanceId)> {
        let held = self.terms.iter().filter(|(_, term)| !term.on_trial);
        held.map(|(key, _)| key.clone()).collect()
    }

    /// Takes in how an attempt ended; says whether something may be to be decided.
    pub fn note(&mut self, note: Note, now: Timestamp) -> bool {
        let Note { plugin, instance, cid, ending } = note;
        let key = (plugin, instance);
        match ending {
            Ending::Well => {
                self.bad.entry(key.0.clone()).or_default().remove(&cid);
                let course = self.courses.entry(key.clone()).or_default();
                let lately = std::mem::take(&mut course.lately);
                *course = Course { well: Some(now), lately, ..Course::default() };
                course.remember(now, true);
                self.courses.values().any(|course| course.weight() >= self.enough())
                    || self.terms.get(&key).is_some_and(|term| term.on_trial)
            }
            Ending::Failed { permanent } => {
                let weight = if permanent { PERMANENT } else { PASSING };
                self.failed(&key, cid, weight, now)
            }
        }
    }

    fn failed(&mut self, key: &Key, cid: Cid, weight: u32, now: Timestamp) -> bool {
        let limit = self.limit(key);
        let (plugin, instance) = (&key.0, &key.1);
        let window = self.rules.window;
        let course = self.courses.entry(key.clone()).or_default();
        course.failed.retain(|_, (at, _)| is_within(*at, now, window));
        let works = course.well.is_some_and(|well| is_within(well, now, window));
        let works = works && course.failed.len() < DOUBTFUL;
        course.remember(now, false);
        let bad = self.bad.entry(plugin.clone()).or_default();
        let is_bad = bad.get(&cid).is_some_and(|by| by != instance);
        if !is_bad {
            course.failed.insert(cid.clone(), (now, weight));
            if course.failed.len() > MOST_FAILURES {
                course.failed.pop_first();
            }
        }
        let is_enough = course.weight() >= limit;
        if works && !is_bad {
            let others = self.courses.iter_mut();
            for (_, other) in others.filter(|(of, _)| of.0 == key.0 && of.1 != key.1) {
                other.failed.remove(&cid);
            }
            bad.insert(cid, instance.clone());
            if bad.len() > MOST_FILES {
                bad.pop_first();
            }
        }
        is_enough
    }

    fn enough(&self) -> u32 {
        self.rules.enough.saturating_mul(PASSING)
    }

    fn limit(&self, key: &Key) -> u32 {
        let on_trial = self.terms.get(key).is_some_and(|term| term.on_trial);
        let number = if on_trial { self.rules.trial } else { self.rules.enough };
        number.saturating_mul(PASSING)
    }

    /// What follows from what is known now.
    pub fn decide(&mut self, seen: &[Seen], now: Timestamp) -> Vec<Step> {
        let window = self.rules.window;
        let is_there =
            |key: &Key| seen.iter().any(|one| one.plugin == key.0 && one.instance == key.1);
        self.courses.retain(|key, course| {
            course.failed.retain(|_, (at, _)| is_within(*at, now, window));
            let is_recent = course.well.is_some_and(|well| is_within(well, now, window));
            is_there(key) || is_recent || !course.failed.is_empty()
        });
        self.bad.retain(|plugin, _| seen.iter().any(|one| one.plugin == *plugin));
        let mut steps = Vec::new();
        for key in self.terms.keys().cloned().collect::<Vec<_>>() {
            self.look_at_term(&key, seen, now, &mut steps);
        }
        let ready = seen.iter().filter(|one| one.is_ready);
        for one in ready {
            self.look_at_course(one, seen, now, &mut steps);
        }
        steps
    }

    fn look_at_term(&mut self, key: &Key, seen: &[Seen], now: Timestamp, steps: &mut Vec<Step>) {
        let sign = seen.iter().find(|one| one.plugin == key.0 && one.instance == key.1);
        let others = seen.iter().any(|one| {
            let is_held = || {
                let key = (one.plugin.clone(), one.instance.clone());
                self.terms.contains_key(&key)
            };
            one.plugin == key.0 && one.instance != key.1 && one.is_ready && !is_held()
        });
        let Some(term) = self.terms.get_mut(key) else { return };
        // One that only says that it cannot serve names no version.
        let is_other = |one: &Seen| !one.version.is_empty() && one.version != term.version;
        if sign.is_some_and(is_other) {
            self.courses.remove(key);
            self.release(key, "it runs another version now", steps);
            return steps.push(Step::Announce(key.0.clone(), key.1.clone()));
        }
        if term.on_trial {
            let course = self.courses.get(key);
            let since = term.since;
            let is_well = course.and_then(|course| course.well).is_some_and(|well| well >= since);
            let told = self.told.get(key).copied();
            if is_well {
                return self.release(key, "a task ended well", steps);
            }
            match sign {
                None if !is_within(since, now, self.rules.window) => {
                    self.release(key, "it has gone", steps);
                }
                Some(sign) if !sign.is_ready => {
                    let is_due = told.is_none_or(|told| now.duration_since(told) >= TELL_AGAIN);
                    if is_due {
                        self.told.insert(key.clone(), now);
                        steps.push(Step::Announce(key.0.clone(), key.1.clone()));
                    }
                }
                _ => {}
            }
            return;
        }
        // Where nobody else serves, even a bad one is better than none: it waits for the first time only.
        let shortest = plus(term.since, self.rules.first);
        let until = if others { term.until } else { term.until.min(shortest) };
        match sign {
            Some(sign) if now < until && sign.is_ready => {
                steps.push(Step::Pause(key.0.clone(), key.1.clone()));
            }
            _ if now < until => {}
            // After a change of hands nobody has been heard for a moment.
            None if now >= plus(until, self.rules.first) => {
                self.release(key, "it has gone", steps);
            }
            None => {}
            Some(_) => {
                (term.on_trial, term.since) = (true, now);
                self.courses.remove(key);
                self.told.insert(key.clone(), now);
                steps.push(Step::Announce(key.0.clone(), key.1.clone()));
            }
        }
    }

    fn release(&mut self, key: &Key, why: &str, steps: &mut Vec<Step>) {
        self.terms.remove(key);
        self.told.remove(key);
        steps.push(Step::Released(key.0.clone(), key.1.clone(), why.to_owned()));
    }

    fn look_at_course(&mut self, one: &Seen, seen: &[Seen], now: Timestamp, steps: &mut Vec<Step>) {
        let key = (one.plugin.clone(), one.instance.clone());
        let term = self.terms.get(&key);
        if term.is_some_and(|term| !term.on_trial) {
            return;
        }
        let limit = self.limit(&key);
        let times = term.map_or(0, |term| term.times);
        let Some(course) = self.courses.get(&key) else { return };
        let Some(since) = course.since().filter(|_| course.weight() >= limit) else { return };
        let (files, is_told) = (course.failed.len(), course.is_told);
        let works = |other: &&Seen| self.works(other, one, since);
        let Some(other) = seen.iter().find(works) else {
            if !is_told && let Some(course) = self.courses.get_mut(&key) {
                course.is_told = true;
                let why =
                    format!("{files} files in a row failed, and no other instance does better");
                steps.push(Step::Doubt(key.0, key.1, why));
            }
            return;
        };
        let again = if times == 0 { "" } else { " on trial" };
        let why = format!("{files} files in a row failed{again}, while {} works", other.instance);
        let times = times.saturating_add(1);
        let until = plus(now, self.rules.pause(times));
        let (plugin_id, instance) = key.clone();
        let version = one.version.clone();
        let term =
            Term { plugin_id, instance, version, why, since: now, until, times, on_trial: false };
        self.courses.remove(&key);
        self.told.remove(&key);
        self.terms.insert(key.clone(), term.clone());
        steps.push(Step::Quarantined(term));
        steps.push(Step::Pause(key.0, key.1));
    }

    /// Whether `other` shows that what `one` fails at since then can be done.
    fn works(&self, other: &Seen, one: &Seen, since: Timestamp) -> bool {
        let key = (other.plugin.clone(), other.instance.clone());
        let is_free = !self.terms.contains_key(&key);
        let is_peer = other.plugin == one.plugin
            && other.version == one.version
            && other.route == one.route
            && other.instance != one.instance;
        let course = self.courses.get(&key);
        let is_well = course.is_some_and(|course| course.works_since(since));
        other.is_ready && is_peer && is_free && is_well
    }
}

fn is_within(at: Timestamp, now: Timestamp, window: Duration) -> bool {
    now.duration_since(at).unsigned_abs() <= window
}

fn plus(at: Timestamp, duration: Duration) -> Timestamp {
    at.saturating_add(duration).unwrap_or(at)
}
