//! One experiment: start everything, kill some of it again and again, wait until nothing is left,
//! look at what is there.

mod look;
mod start;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::check::{Kill, judge};
use super::disk::Disk;
use super::ledger::Ledgers;
use super::net::Net;
use super::plan::{Counts, Faults, Planned, Soak, plan};
use super::power::Setting;
use super::process::{Process, Starter};
use super::recovery::Recovery;
use super::report::Report;
use super::soak::{Watch, flat};
use super::submitter::{Amounts, Handed, Progress, submit};
use super::{GRAPH, Sabotage};
use crate::{Cluster, Fleet};

/// How often is looked what is to be done.
pub(super) const LOOK: Duration = Duration::from_millis(20);
/// How long nothing may move before the rest is given up: more than any lease in the system.
pub(super) const STILL: Duration = Duration::from_secs(45);
/// How long nothing may be written although there is work, not counting the longest planned absence:
/// a lease runs out, and whoever takes over begins.
const STALL: Duration = Duration::from_secs(15);
/// How long the start may take.
const START: Duration = Duration::from_secs(60);

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Decides who is killed when.
    pub seed: u64,
    /// Files.
    pub files: usize,
    /// Kills.
    pub kills: Counts,
    /// What else happens.
    pub faults: Faults,
    /// How soon the broker has on disk what it is given, where it may lose its power.
    pub sync: Setting,
    /// Workers per plugin.
    pub workers: usize,
    /// Tasks at once per worker.
    pub concurrency: usize,
    /// Where ledgers and logs go.
    pub folder: PathBuf,
    /// A breach of the rules.
    pub sabotage: Option<Sabotage>,
    /// Files come and things happen by time, and who grows is looked at.
    pub soak: Option<Soak>,
}

impl Options {
    fn amounts(&self) -> Amounts {
        match self.soak {
            Some(soak) => Amounts::paced(self.files, soak.between()),
            None => Amounts::of(self.files, self.kills.total() + self.faults.total()),
        }
    }

    fn plan(&self) -> Vec<Planned> {
        let mut random = fastrand::Rng::with_seed(self.seed);
        let (kills, faults) = (self.kills, self.faults);
        match self.soak {
            Some(soak) => soak.plan(&mut random, kills, faults),
            None => {
                let executions = self.amounts().without_kills() * GRAPH.len();
                plan(&mut random, kills, faults, executions)
            }
        }
    }
}

/// Runs the experiment.
pub async fn run(options: Options) -> anyhow::Result<Report> {
    let mut chaos = Chaos::start(options.clone()).await?;
    let progress = watch::Sender::new(Progress::default());
    let mut submitting = JoinSet::new();
    let (fleet, sabotage) = (chaos.fleet.clone(), options.sabotage);
    let handed = Handed::default();
    let heard = progress.subscribe();
    submitting.spawn(submit(fleet, options.amounts(), heard, sabotage, handed.clone()));
    let planned = options.plan();
    let started = Instant::now();
    let watch = options.soak.map(|soak| Watch::begin(soak, &chaos.fleet, &options.folder));
    chaos.watch = watch.transpose()?;
    let moves = chaos.disturb(planned.clone(), &progress, &mut submitting).await?;
    let undisturbed = Instant::now();
    let empty = moves && chaos.drain().await?;
    let (seconds, drained) = (started.elapsed(), undisturbed.elapsed());
    submitting.shutdown().await;
    let limit = planned.iter().map(|planned| planned.away).max().unwrap_or_default() + STALL;
    let watch = chaos.watch.take();
    let mut seen = chaos.look(&handed).await?;
    seen.stall_limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    let verdict = judge(&seen);
    let mut problems = chaos.problems;
    if !empty {
        problems.push(format!("nothing moved for {STILL:?}, and there was something left to do"));
    }
    problems.extend(verdict.problems);
    let mut soaked = None;
    if let (Some(watch), Some(soak)) = (watch, options.soak) {
        let names = &chaos.fleet.names;
        let (submissions, tasks, records) =
            (names.submit_stream(), names.task_stream(), names.record_stream());
        let streams = flat::Streams { waiting: [&submissions, &tasks], records: &records };
        let samples = watch.end().await?;
        let judged = flat::judge(soak, &samples, streams, seen.records.len(), seconds);
        problems.extend(judged.problems.clone());
        soaked = Some(judged);
    }
    let times = |of: fn(&Recovery) -> u64| {
        let mut all: Vec<u64> = verdict.recoveries.iter().map(of).collect();
        all.sort_unstable();
        all
    };
    let took = times(|recovery| recovery.ms);
    let mut ready = chaos.ready_ms;
    ready.sort_unstable();
    Ok(Report {
        seed: options.seed,
        files: options.files,
        plugins: GRAPH.len(),
        kills: chaos.killed,
        faults: chaos.done,
        executions: seen.executions.len(),
        reexecutions: verdict.reexecutions,
        bound: verdict.bound,
        stale: verdict.stale,
        lost: verdict.lost,
        duplicates: verdict.duplicates,
        unsettled: verdict.unsettled,
        left_over: seen.submissions_left + seen.tasks_left,
        dead_letters: seen.dead_letters,
        repaired: seen.repaired,
        stall_ms_max: verdict.stall_ms,
        wrong_times: seen.wrong_times,
        told_twice: seen.told_twice,
        ready_ms: ready,
        recovered: took.len(),
        recovery_ms_p50: took.get(took.len() / 2).copied().unwrap_or(0),
        recovery_ms_max: took.last().copied().unwrap_or(0),
        recovery_ms_max_attended: times(|r| r.attended_ms).last().copied().unwrap_or(0),
        seconds: tenths(seconds),
        drain_seconds: tenths(drained),
        soak: soaked,
        problems,
    })
}

pub(super) struct Chaos {
    options: Options,
    pub(super) fleet: Arc<Fleet>,
    pub(super) cluster: Option<Cluster>,
    /// What the broker keeps its store on, if that can be full.
    pub(super) disk: Option<Disk>,
    /// The links, if they go through proxies.
    pub(super) net: Net,
    /// Whether tasks were taken away, so that the coordinator is to miss them.
    pub(super) may_repair: bool,
    /// Whether a coordinator is to die, or is not ready yet.
    pub(super) is_crashing: bool,
    /// How long coordinators took to be ready.
    pub(super) ready_ms: Vec<u64>,
    /// Whether a fault of it is on: with two servers away nothing can be stored.
    pub(super) strikes_cluster: bool,
    pub(super) starter: Starter,
    pub(super) coordinators: Vec<Process>,
    /// Which of them is stopped.
    pub(super) deposed: Option<usize>,
    pub(super) workers: Vec<Process>,
    pub(super) ledgers: Ledgers,
    pub(super) kills: Vec<Kill>,
    pub(super) killed: Counts,
    pub(super) done: Faults,
    /// Kills of which the time has come.
    pub(super) begun_kills: usize,
    pub(super) problems: Vec<String>,
    /// Who looks at a soak.
    pub(super) watch: Option<Watch>,
}

impl Chaos {
    /// Whether one worker of a plugin may be spared for good.
    pub(super) const fn several_workers(&self) -> bool {
        self.options.workers > 1
    }

    /// A process that ended before it was killed is a fault, whatever came of it.
    pub(super) fn note_end(&mut self, process: &mut Process) -> anyhow::Result<()> {
        if let Some(status) = process.ended()? {
            let Process { role, pid, .. } = process;
            self.problems.push(format!("{role} {pid} ended by itself: {status}"));
        }
        Ok(())
    }

    /// Waits until no submission and no task is left; false if nothing moves any more.
    async fn drain(&mut self) -> anyhow::Result<bool> {
        let (submissions, tasks) =
            (self.fleet.names.submit_stream(), self.fleet.names.task_stream());
        let mut last = None;
        let mut moved = Instant::now();
        loop {
            let left = async {
                anyhow::Ok((
                    self.fleet.state(&submissions).await?.0,
                    self.fleet.state(&tasks).await?.0,
                ))
            };
            let left = left.await.ok();
            if left == Some((0, 0)) {
                return Ok(true);
            }
            let state = Some((left, self.ledgers.read()?));
            if state != last {
                (last, moved) = (state, Instant::now());
            }
            if moved.elapsed() > STILL {
                return Ok(false);
            }
            sleep(LOOK).await;
        }
    }
}

fn tenths(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}
