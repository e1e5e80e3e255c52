//! Watches a fleet while it soaks: what each process and each stream holds, every few seconds.

pub mod flat;
pub mod sample;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::TryStreamExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use self::sample::{Held, ProcessState, Sample, StreamState};
use super::experiment::Chaos;
use super::plan::Soak;
use crate::Fleet;

/// How often is looked.
const EVERY: Duration = Duration::from_secs(5);
/// So many times is looked at least, however short it is.
const LOOKS: u32 = 60;
/// How long the broker may take to say what it holds; while it is away it says nothing.
const ANSWER: Duration = Duration::from_secs(3);
/// Where the samples go, in the folder of the experiment.
const SAMPLES: &str = "samples.jsonl";

/// Looks, and says who is left alone.
#[derive(Debug)]
pub(super) struct Watch {
    soak: Soak,
    started: Instant,
    next: Duration,
    /// Workers that are not killed any more: who is replaced every few minutes cannot be seen growing.
    spared: Option<BTreeSet<u32>>,
    looks: mpsc::UnboundedSender<Sample>,
    samples: JoinSet<anyhow::Result<Vec<Sample>>>,
}

impl Watch {
    pub(super) fn begin(soak: Soak, fleet: &Arc<Fleet>, folder: &Path) -> anyhow::Result<Self> {
        let (looks, looked) = mpsc::unbounded_channel();
        let path = folder.join(SAMPLES);
        let file = std::fs::File::create(&path).with_context(|| path.display().to_string())?;
        let mut samples = JoinSet::new();
        samples.spawn(keep(fleet.clone(), file, looked));
        let (started, next) = (Instant::now(), Duration::ZERO);
        Ok(Self { soak, started, next, spared: None, looks, samples })
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn spares(&self, pid: u32) -> bool {
        self.spared.as_ref().is_some_and(|spared| spared.contains(&pid))
    }

    /// All that was seen.
    pub(super) async fn end(mut self) -> anyhow::Result<Vec<Sample>> {
        drop(self.looks);
        self.samples.join_next().await.context("nobody looked")??
    }
}

impl Chaos {
    /// How far the experiment is, in what its plan counts: executions, or the milliseconds of a soak.
    pub(super) fn reached(&self, begun: usize) -> usize {
        let millis = |watch: &Watch| usize::try_from(watch.elapsed().as_millis()).ok();
        self.watch.as_ref().map_or(begun, |watch| millis(watch).unwrap_or(usize::MAX))
    }

    /// Which worker a number stands for, of those that may be killed.
    pub(super) fn victim(&self, number: usize) -> Option<usize> {
        let is_spared = |pid| self.watch.as_ref().is_some_and(|watch| watch.spares(pid));
        let numbered = self.workers.iter().enumerate();
        let others: Vec<usize> =
            numbered.filter(|(_, worker)| !is_spared(worker.pid)).map(|(at, _)| at).collect();
        others.get(number.checked_rem(others.len())?).copied()
    }

    /// Looks at every process when it is time to.
    pub(super) fn observe(&mut self, begun: usize) {
        let several = self.several_workers();
        let Some(watch) = &mut self.watch else { return };
        let elapsed = watch.started.elapsed();
        if several && watch.spared.is_none() && elapsed >= watch.soak.judged_from() {
            let mut roles = BTreeSet::new();
            let first = self.workers.iter().filter(|worker| roles.insert(worker.role.as_str()));
            watch.spared = Some(first.map(|worker| worker.pid).collect());
        }
        if elapsed < watch.next {
            return;
        }
        watch.next = elapsed + EVERY.min(watch.soak.lasting / LOOKS);
        let broker = self.fleet.server.pid().map(|pid| (sample::BROKER, pid));
        let coordinators = self.coordinators.iter().map(|it| (sample::COORDINATOR, it.pid));
        let workers = self.workers.iter().map(|worker| (worker.role.as_str(), worker.pid));
        let ourselves = (sample::HARNESS, std::process::id());
        let all = [ourselves].into_iter().chain(broker).chain(coordinators).chain(workers);
        let processes = all.filter_map(|(role, pid)| {
            Some(ProcessState { role: role.to_owned(), pid, held: Held::by(pid).ok()? })
        });
        let at_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let sample =
            Sample { at_ms, begun, rate: 0, processes: processes.collect(), streams: Vec::new() };
        // It is told at the end why nobody takes it.
        watch.looks.send(sample).ok();
    }
}

/// Asks the broker, too, and writes it all down.
async fn keep(
    fleet: Arc<Fleet>,
    mut file: std::fs::File,
    mut looked: mpsc::UnboundedReceiver<Sample>,
) -> anyhow::Result<Vec<Sample>> {
    let mut samples: Vec<Sample> = Vec::new();
    while let Some(mut sample) = looked.recv().await {
        let streams = timeout(ANSWER, streams(&fleet)).await;
        sample.streams = streams.ok().and_then(Result::ok).unwrap_or_default();
        sample.rate = samples.last().map_or(0, |before| sample.rate_since(before));
        writeln!(file, "{}", serde_json::to_string(&sample)?)?;
        samples.push(sample);
    }
    Ok(samples)
}

async fn streams(fleet: &Fleet) -> anyhow::Result<Vec<StreamState>> {
    let mut infos = fleet.js.streams();
    let mut states = Vec::new();
    while let Some(info) = infos.try_next().await? {
        let state = info.state;
        let mut held = StreamState {
            name: info.config.name,
            messages: state.messages,
            bytes: state.bytes,
            ..StreamState::default()
        };
        if state.consumer_count > 0 {
            let mut consumers = fleet.js.get_stream(&held.name).await?.consumers();
            while let Some(consumer) = consumers.try_next().await? {
                let stays = consumer.config.durable_name.is_some();
                *if stays { &mut held.durable } else { &mut held.ephemeral } += 1;
            }
        }
        states.push(held);
    }
    Ok(states)
}
