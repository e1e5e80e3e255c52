//! One experiment: start everything, kill some of it again and again, wait until nothing is left,
//! look at what is there.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use broker_config::wire::event::{Event, Fact};
use broker_config::wire::instance::{Instance, InstanceState};
use broker_config::{Names, Record};
use coordinator::broker::records::stored_at;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::check::{Kill, Seen, judge};
use super::ledger::Ledgers;
use super::leftover;
use super::plan::{Counts, Faults, plan};
use super::process::{Process, Starter};
use super::recovery::Recovery;
use super::report::Report;
use super::submitter::{Amounts, Handed, Progress, cid, submit};
use super::{GRAPH, Sabotage};
use crate::cluster::{Layout, NODES};
use crate::{Cluster, Fleet, Server, within};

/// Where nobody listens.
const NOWHERE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1));
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
    /// Workers per plugin.
    pub workers: usize,
    /// Tasks at once per worker.
    pub concurrency: usize,
    /// Where ledgers and logs go.
    pub folder: PathBuf,
    /// A breach of the rules.
    pub sabotage: Option<Sabotage>,
}

/// Runs the experiment.
pub async fn run(options: Options) -> anyhow::Result<Report> {
    let mut chaos = Chaos::start(options.clone()).await?;
    let progress = watch::Sender::new(Progress::default());
    let mut submitting = JoinSet::new();
    let (fleet, sabotage) = (chaos.fleet.clone(), options.sabotage);
    let amounts = Amounts::of(options.files, options.kills.total() + options.faults.total());
    let handed = Handed::default();
    submitting.spawn(submit(fleet, amounts, progress.subscribe(), sabotage, handed.clone()));
    let mut random = fastrand::Rng::with_seed(options.seed);
    let executions = amounts.without_kills() * GRAPH.len();
    let planned = plan(&mut random, options.kills, options.faults, executions);
    let started = Instant::now();
    let moves = chaos.disturb(planned.clone(), &progress, &mut submitting).await?;
    let undisturbed = Instant::now();
    let empty = moves && chaos.drain().await?;
    let (seconds, drained) = (started.elapsed(), undisturbed.elapsed());
    submitting.shutdown().await;
    let limit = planned.iter().map(|planned| planned.away).max().unwrap_or_default() + STALL;
    let mut seen = chaos.look(&handed).await?;
    seen.stall_limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    let verdict = judge(&seen);
    let mut problems = chaos.problems;
    if !empty {
        problems.push(format!("nothing moved for {STILL:?}, and there was something left to do"));
    }
    problems.extend(verdict.problems);
    let times = |of: fn(&Recovery) -> u64| {
        let mut all: Vec<u64> = verdict.recoveries.iter().map(of).collect();
        all.sort_unstable();
        all
    };
    let took = times(|recovery| recovery.ms);
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
        recovered: took.len(),
        recovery_ms_p50: took.get(took.len() / 2).copied().unwrap_or(0),
        recovery_ms_max: took.last().copied().unwrap_or(0),
        recovery_ms_max_attended: times(|r| r.attended_ms).last().copied().unwrap_or(0),
        seconds: tenths(seconds),
        drain_seconds: tenths(drained),
        problems,
    })
}

pub(super) struct Chaos {
    options: Options,
    pub(super) fleet: Arc<Fleet>,
    pub(super) cluster: Option<Cluster>,
    /// Which of its servers is away, or may not be disturbed.
    pub(super) absent_node: Option<usize>,
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
}

impl Chaos {
    async fn start(options: Options) -> anyhow::Result<Self> {
        let cluster = if options.faults.of_a_cluster() > 0 {
            let layout = Layout::free()?;
            let routes = layout.routes.clone();
            let route = |_, to: usize| routes.get(to).copied().unwrap_or(NOWHERE);
            Some(Box::pin(Cluster::start(&layout, route)).await?)
        } else {
            None
        };
        let server = match &cluster {
            Some(cluster) => cluster.nodes.first().context("a server")?.clone(),
            None => Arc::new(Server::start().await?),
        };
        let url = cluster.as_ref().map_or_else(|| server.url(), Cluster::url);
        let fleet = Fleet::at(&url, &server, Names::default()).await?;
        let mut starter = Starter {
            folder: options.folder.clone(),
            concurrency: options.concurrency,
            sabotage: options.sabotage,
            replicas: if cluster.is_some() { NODES } else { 1 },
            started: 0,
        };
        let nodes = if options.faults.depose() { 2 } else { 1 };
        let coordinators: Vec<Process> = (1..=nodes)
            .map(|node| starter.coordinator(&format!("coordinator-{node}"), &url))
            .collect::<anyhow::Result<_>>()?;
        let mut workers = Vec::new();
        let instances = Names::bucket_stream(&fleet.names.instances_bucket());
        for (plugin, ..) in GRAPH {
            for _ in 0..options.workers {
                workers.push(starter.worker(plugin, &url)?);
            }
            // A plugin that needs one that nobody has heard of is refused.
            within(START, &format!("{plugin} to be ready"), async || {
                let entries = fleet.stored(&instances).await?;
                let ready = entries.iter().filter(|stored| {
                    serde_json::from_slice::<Instance>(&stored.payload)
                        .is_ok_and(|said| said.state == InstanceState::Ready)
                });
                Ok((ready.count() == workers.len()).then_some(()))
            })
            .await?;
        }
        Ok(Self {
            ledgers: Ledgers::of(options.folder.clone()),
            options,
            fleet: Arc::new(fleet),
            cluster,
            absent_node: None,
            starter,
            coordinators,
            deposed: None,
            workers,
            kills: Vec::new(),
            killed: Counts { workers: 0, coordinator: 0, broker: 0 },
            done: Faults::default(),
            begun_kills: 0,
            problems: Vec::new(),
        })
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

    /// Looks at everything that is there in the end.
    async fn look(&mut self, handed: &Handed) -> anyhow::Result<Seen> {
        let mut processes = std::mem::take(&mut self.workers);
        processes.append(&mut self.coordinators);
        for process in &mut processes {
            self.note_end(process)?;
        }
        let fleet = &self.fleet;
        let mut settled: BTreeMap<String, usize> = BTreeMap::new();
        let (mut repaired, mut work, mut written_at) = (0, Vec::new(), Vec::new());
        let handed = handed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for stored in fleet.stored(&fleet.names.event_stream()).await.context("read the events")? {
            let event: Event = serde_json::from_slice(&stored.payload)?;
            if let Fact::FileSettled { cid, .. } = &event.what {
                *settled.entry(cid.to_string()).or_default() += 1;
                let from = handed.get(cid.as_str()).copied();
                work.extend(from.map(|from| (from, stored_at(&stored) / 1_000)));
            }
            repaired += usize::from(matches!(event.what, Fact::TaskRepaired { .. }));
        }
        let mut records = Vec::new();
        for stored in
            fleet.stored(&fleet.names.record_stream()).await.context("read the records")?
        {
            let Some(address) = fleet.names.parse_record(&stored.subject) else {
                bail!("{} is no record", stored.subject);
            };
            let record: Record = serde_json::from_slice(&stored.payload)?;
            written_at.push(stored_at(&stored) / 1_000);
            records.push((address.cid.to_string(), address.plugin.to_string(), record.status));
        }
        self.ledgers.read()?;
        let kills: String = self.kills.iter().map(|kill| format!("{kill:?}\n")).collect();
        std::fs::write(self.options.folder.join("kills.txt"), kills)?;
        std::fs::write(self.options.folder.join("left.txt"), leftover::describe(fleet).await?)?;
        Ok(Seen {
            files: (0..self.options.files).map(cid).collect(),
            executions: self.ledgers.executions(),
            kills: std::mem::take(&mut self.kills),
            records,
            written: fleet.state(&fleet.names.record_stream()).await?.1,
            settled,
            submissions_left: fleet.state(&fleet.names.submit_stream()).await?.0,
            tasks_left: fleet.state(&fleet.names.task_stream()).await?.0,
            dead_letters: fleet.dead_letters().await?.len(),
            repaired,
            work,
            written_at,
            stall_limit_ms: 0,
        })
    }
}

fn tenths(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}
