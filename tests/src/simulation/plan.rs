//! What a seed stands for: plugins, files, workers and faults. A part of it can be left out, which
//! is how the shortest world is found that still goes wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use anyhow::Context as _;
use broker_config::manifest::OnDependencyFailure;
use broker_config::{Cid, Manifest, PluginId, Queue, RetryPolicy};
use coordinator::graph::{Graph, PluginSpec};
use fastrand::Rng;
use serde_json::json;

use super::runtime::Time;

/// A piece of a world that can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// A submission.
    File(usize),
    /// A plugin, with its workers.
    Plugin(usize),
    /// A fault.
    Fault(usize),
    /// A kind of small mishap that comes again and again.
    Noise(usize),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, at) = match self {
            Self::File(at) => ("file", at),
            Self::Plugin(at) => ("plugin", at),
            Self::Fault(at) => ("fault", at),
            Self::Noise(at) => ("noise", at),
        };
        write!(f, "{name}-{at}")
    }
}

impl FromStr for Part {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (name, at) = text.split_once('-').with_context(|| format!("no part: {text}"))?;
        let at = at.parse().with_context(|| format!("no part: {text}"))?;
        match name {
            "file" => Ok(Self::File(at)),
            "plugin" => Ok(Self::Plugin(at)),
            "fault" => Ok(Self::Fault(at)),
            "noise" => Ok(Self::Noise(at)),
            _ => anyhow::bail!("no part: {text}"),
        }
    }
}

/// How a worker of a plugin is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nature {
    /// Does as the protocol says.
    Good,
    /// Does not renew its leases and answers late: others have its tasks by then.
    Zombie,
    /// Dies in the middle of its work now and then.
    Crashing,
    /// Writes and says what is not true, under its own subjects.
    Liar,
    /// Sends much that nobody can read.
    Flooder,
}

#[derive(Clone, Debug)]
pub(super) struct PluginPlan {
    pub(super) at: usize,
    pub(super) needs: Vec<usize>,
    pub(super) queue: Queue,
    pub(super) attempts: u32,
    pub(super) delays_ms: Vec<u64>,
    pub(super) skips: bool,
    pub(super) most: Option<u32>,
    pub(super) timeout: Time,
    /// How long a task takes at most, mostly.
    pub(super) takes: Time,
    /// Of a thousand attempts, so many fail, put it off, or have nothing to say.
    pub(super) fails: u32,
    pub(super) puts_off: u32,
    pub(super) has_nothing: u32,
    pub(super) workers: Vec<Nature>,
    /// The number of the first of them.
    pub(super) first_worker: usize,
    /// The files that kill whoever opens them.
    pub(super) poison: BTreeSet<usize>,
}

#[derive(Clone, Debug)]
pub(super) struct FilePlan {
    pub(super) at: usize,
    pub(super) when: Time,
    /// The content; two submissions may be about the same.
    pub(super) content: usize,
    pub(super) queue: Queue,
    pub(super) force: bool,
    pub(super) overrides: bool,
    pub(super) only: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blow {
    KillWorker(usize),
    PauseWorker(usize, Time),
    KillCoordinator(usize),
    PauseCoordinator(usize, Time),
    KillBroker(Time),
    FillBroker(Time),
    PurgeTasks,
    /// The lease key is overwritten by a hand that does not know what it is.
    SpoilLease,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) when: Time,
    pub(super) blow: Blow,
}

/// Small mishaps, of a thousand chances each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Noise {
    LostRequest,
    LostReply,
    LostAnswer,
    LateAnswer,
    LostAdvisory,
    DoubleAdvisory,
}

const NOISES: [Noise; 6] = [
    Noise::LostRequest,
    Noise::LostReply,
    Noise::LostAnswer,
    Noise::LateAnswer,
    Noise::LostAdvisory,
    Noise::DoubleAdvisory,
];

/// All that happens to one fleet.
#[derive(Clone, Debug)]
pub struct World {
    /// From which everything follows.
    pub seed: u64,
    /// What was left out.
    pub without: BTreeSet<Part>,
    pub(super) plugins: Vec<PluginPlan>,
    pub(super) files: Vec<FilePlan>,
    pub(super) faults: Vec<Fault>,
    pub(super) noise: BTreeMap<Noise, u32>,
    pub(super) coordinators: usize,
    /// Files in hand at once.
    pub(super) places: usize,
    /// Whether faults end, after which everything has to settle.
    pub(super) calms_down: bool,
    /// Until when there are faults.
    pub(super) storm: Time,
}

impl World {
    /// The world of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        Self::without(seed, BTreeSet::new())
    }

    /// The same without some of its parts.
    #[must_use]
    pub fn without(seed: u64, without: BTreeSet<Part>) -> Self {
        let mut rng = Rng::with_seed(seed);
        let storm = rng.u64(5_000..45_000);
        let mut plugins: Vec<PluginPlan> = Vec::new();
        let mut workers = 0;
        for at in 0..rng.usize(1..=4) {
            let plan = PluginPlan { first_worker: workers, ..plugin(&mut rng, at) };
            workers += plan.workers.len();
            plugins.push(plan);
        }
        let contents = rng.usize(1..=4);
        let files: Vec<FilePlan> = (0..rng.usize(1..=6))
            .map(|at| file(&mut rng, at, contents, plugins.len(), storm))
            .collect();
        let coordinators = rng.usize(1..=2);
        let faults: Vec<Fault> = (0..rng.usize(0..=6))
            .map(|at| {
                let when = rng.u64(0..storm);
                Fault { at, when, blow: blow(&mut rng, workers, coordinators) }
            })
            .collect();
        let mut noise = BTreeMap::new();
        for kind in NOISES {
            if rng.u32(0..3) == 0 {
                noise.insert(kind, rng.u32(10..300));
            }
        }
        let (places, calms_down) = (rng.usize(2..=8), rng.u32(0..5) > 0);
        let world = Self {
            seed,
            without: BTreeSet::new(),
            plugins,
            files,
            faults,
            noise,
            coordinators,
            places,
            calms_down,
            storm,
        };
        world.less(without)
    }

    fn less(mut self, without: BTreeSet<Part>) -> Self {
        self.files.retain(|file| !without.contains(&Part::File(file.at)));
        self.faults.retain(|fault| !without.contains(&Part::Fault(fault.at)));
        self.noise.retain(|kind, _| !without.contains(&Part::Noise(*kind as usize)));
        let is_out = |at: usize| without.contains(&Part::Plugin(at));
        for plugin in &mut self.plugins {
            plugin.needs.retain(|need| !is_out(*need));
        }
        for file in &mut self.files {
            file.only = file.only.filter(|only| !is_out(*only));
        }
        self.plugins.retain(|plugin| !is_out(plugin.at));
        Self { without, ..self }
    }

    /// What can be left out of it.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        let faults = self.faults.iter().map(|fault| Part::Fault(fault.at));
        let noise = self.noise.keys().map(|kind| Part::Noise(*kind as usize));
        let files = self.files.iter().map(|file| Part::File(file.at));
        let plugins = self.plugins.iter().map(|plugin| Part::Plugin(plugin.at));
        faults.chain(noise).chain(files).chain(plugins).collect()
    }

    /// The graph of its plugins; without what depends on what, if that is to be overlooked.
    pub(super) fn graph(&self, overlooks_needs: bool) -> Graph {
        let specs = self.plugins.iter().map(|plugin| plugin.spec(overlooks_needs)).collect();
        Graph::build(specs).0
    }

    /// What it is made of, for people.
    #[must_use]
    pub fn tell(&self) -> String {
        let mut lines = vec![format!(
            "{} coordinators, {} places, faults for {} ms, {}",
            self.coordinators,
            self.places,
            self.storm,
            if self.calms_down { "then calm" } else { "to the end" }
        )];
        lines.extend(self.plugins.iter().map(|plugin| format!("{plugin:?}")));
        lines.extend(self.files.iter().map(|file| format!("{file:?}")));
        lines.extend(self.faults.iter().map(|fault| format!("{fault:?}")));
        lines.extend(self.noise.iter().map(|(kind, chance)| format!("{kind:?}: {chance} ‰")));
        lines.join("\n")
    }
}

impl PluginPlan {
    pub(super) fn id(&self) -> PluginId {
        plugin_id(self.at)
    }

    pub(super) fn can_lie(&self) -> bool {
        self.workers.contains(&Nature::Liar)
    }

    /// How often and after which delays its tasks are tried.
    pub(super) fn retry(&self) -> RetryPolicy {
        let max_attempts = NonZeroU32::new(self.attempts).unwrap_or(NonZeroU32::MIN);
        RetryPolicy { max_attempts, delays_ms: self.delays_ms.clone() }
    }

    fn spec(&self, overlooks_needs: bool) -> PluginSpec {
        let needs: Vec<String> = self.needs.iter().map(|at| format!("p{at}")).collect();
        let needs = if overlooks_needs { Vec::new() } else { needs };
        let id = format!("p{}", self.at);
        let text = json!({
            "id": id, "name": id, "version": "1.0.0", "priority": 10 + self.at,
            "queue": self.queue.as_str(), "dataSchema": {}, "dependencies": needs,
            "timeout": self.timeout,
        });
        let manifest = Manifest::from_json(&text.to_string());
        let manifest = manifest.unwrap_or_else(|error| unreachable!("a manifest of ours: {error}"));
        PluginSpec {
            queue: manifest.queue,
            timeout_ms: manifest.timeout,
            progress_timeout_ms: None,
            retry: self.retry(),
            on_dependency_failure: if self.skips {
                OnDependencyFailure::Skip
            } else {
                OnDependencyFailure::Run
            },
            max_in_flight: self.most.and_then(NonZeroU32::new),
            settings_hash: String::new(),
            routes: Vec::new(),
            manifest,
        }
    }
}

pub(super) fn plugin_id(at: usize) -> PluginId {
    format!("p{at}").parse().unwrap_or_else(|_| PluginId::user())
}

pub(super) fn cid_of(content: usize) -> Cid {
    let made = format!("f:{content}").parse::<Cid>();
    made.unwrap_or_else(|error| unreachable!("a content id of ours: {error}"))
}

fn queue(rng: &mut Rng) -> Queue {
    if rng.bool() { Queue::Fast } else { Queue::Background }
}

fn plugin(rng: &mut Rng, at: usize) -> PluginPlan {
    let of = |rng: &mut Rng, most: u32| if rng.bool() { 0 } else { rng.u32(0..most) };
    let workers = rng.usize(1..=2);
    PluginPlan {
        at,
        needs: (0..at).filter(|_| rng.u32(0..5) < 2).collect(),
        queue: queue(rng),
        attempts: rng.u32(1..=3),
        delays_ms: match rng.u32(0..6) {
            0 => vec![70_000],
            1 => vec![200, 5_000],
            _ => vec![rng.u64(50..3_000)],
        },
        skips: rng.bool(),
        most: rng.bool().then(|| rng.u32(1..=3)),
        timeout: rng.u64(3_000..20_000),
        takes: if rng.u32(0..4) == 0 { 12_000 } else { 1_500 },
        fails: of(rng, 500),
        puts_off: of(rng, 200),
        has_nothing: of(rng, 200),
        workers: (0..workers)
            .map(|_| match rng.u32(0..10) {
                0 => Nature::Zombie,
                1 => Nature::Crashing,
                2 if rng.bool() => Nature::Liar,
                3 => Nature::Flooder,
                _ => Nature::Good,
            })
            .collect(),
        first_worker: 0,
        poison: (0..4).filter(|_| rng.u32(0..12) == 0).collect(),
    }
}

fn file(rng: &mut Rng, at: usize, contents: usize, plugins: usize, storm: Time) -> FilePlan {
    FilePlan {
        at,
        when: rng.u64(0..storm),
        content: rng.usize(0..contents),
        queue: queue(rng),
        force: rng.u32(0..4) == 0,
        overrides: rng.u32(0..4) == 0,
        only: (rng.u32(0..5) == 0).then(|| rng.usize(0..plugins)),
    }
}

fn blow(rng: &mut Rng, workers: usize, coordinators: usize) -> Blow {
    match rng.u32(0..16) {
        0..=2 => Blow::KillWorker(rng.usize(0..workers)),
        3..=5 => Blow::PauseWorker(rng.usize(0..workers), rng.u64(1_000..20_000)),
        6..=8 => Blow::KillCoordinator(rng.usize(0..coordinators)),
        9..=11 => Blow::PauseCoordinator(rng.usize(0..coordinators), rng.u64(1_000..20_000)),
        12 | 13 => Blow::KillBroker(rng.u64(200..8_000)),
        14 => match rng.u32(0..3) {
            0 => Blow::SpoilLease,
            _ => Blow::FillBroker(rng.u64(500..8_000)),
        },
        _ => Blow::PurgeTasks,
    }
}
