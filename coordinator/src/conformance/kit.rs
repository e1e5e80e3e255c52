//! Runs cases: some at the same time, each with a broker of its own for as long as it takes.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::case::Case;
use super::lane::Lane;
use super::report::{CaseReport, Report, Verdict};
use super::seen::{What, text};
use super::stage::{About, NotApplicable, Scene, Setup, Stage};
use super::worker::Subject;
use crate::nats_server::Binary;

/// How long a worker may take from its start to its announcement.
const FIRST: Duration = Duration::from_secs(60);

/// What is tried, and with what.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the worker is started from.
    pub subject: Subject,
    /// Files for its tasks; one is made, if there are none.
    pub files: Vec<PathBuf>,
    /// Settings of the plugin, where it needs other ones than its defaults.
    pub settings: Map<String, Value>,
    /// What is tried.
    pub cases: Vec<&'static Case>,
    /// Cases at the same time.
    pub jobs: usize,
    /// The broker's program.
    pub binary: Binary,
    /// Where everything is put; nothing of it is needed afterwards.
    pub folder: PathBuf,
    /// Cancelled when no more cases are to be tried, and the current ones are to be broken off.
    pub stop: CancellationToken,
}

/// What all lanes share.
struct Shared {
    setup: Setup,
    about: Arc<About>,
    files: Arc<Vec<PathBuf>>,
    folder: PathBuf,
    waiting: Mutex<VecDeque<(usize, &'static Case)>>,
    stop: CancellationToken,
}

/// Tries a worker; `told` is called with what came of each case as soon as that is known. A run that
/// is stopped knows nothing of the other cases.
///
/// # Errors
///
/// When the kit itself cannot work: there is no broker, or the folder cannot be written.
pub async fn run(options: &Options, told: impl Fn(&CaseReport)) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let setup = Setup { subject: options.subject.clone(), settings: options.settings.clone() };
    // All are there before the first case, so that none is broken off when one does not start.
    let mut lanes = Vec::new();
    for number in 0..options.jobs.clamp(1, options.cases.len().max(1)) {
        match lane(options, number).await {
            Ok(lane) => lanes.push(lane),
            Err(error) => {
                stop(lanes).await;
                return Err(error);
            }
        }
    }
    let first = lanes.first().context("a lane")?;
    let met = meet(first, &setup, options.folder.join("first"), &options.stop).await;
    let about = match met {
        Some(Ok(about)) => Arc::new(about),
        None => {
            stop(lanes).await;
            return Ok(Report::new(Default::default(), begun.elapsed(), Vec::new()));
        }
        Some(Err(error)) => {
            let failed = |(at, case): (usize, &&'static Case)| {
                // What was seen is the same for all.
                let seen = if at == 0 { error.1.clone() } else { "as above".to_owned() };
                let why = error.0.clone();
                let report = CaseReport::new(case, Verdict::Failed { why, seen }, begun.elapsed());
                told(&report);
                report
            };
            let cases = options.cases.iter().enumerate().map(failed).collect();
            stop(lanes).await;
            return Ok(Report::new(Default::default(), begun.elapsed(), cases));
        }
    };
    let manifest = &about.manifest;
    let sdk = text(&about.announcement, "sdk");
    let whose = (manifest.id.to_string(), manifest.version.to_string(), sdk);
    let shared = Arc::new(Shared {
        setup,
        about,
        files: Arc::new(options.files.clone()),
        folder: options.folder.clone(),
        waiting: Mutex::new(options.cases.iter().copied().enumerate().collect()),
        stop: options.stop.clone(),
    });
    let (sender, mut reports) = mpsc::unbounded_channel();
    let mut running = JoinSet::new();
    for lane in lanes {
        running.spawn(serve(lane, shared.clone(), sender.clone()));
    }
    drop(sender);
    let mut all = Vec::new();
    while let Some((at, report)) = reports.recv().await {
        told(&report);
        all.push((at, report));
    }
    while let Some(ended) = running.join_next().await {
        ended.context("a case of the kit went wrong")?;
    }
    all.sort_by_key(|(at, _)| *at);
    let cases = all.into_iter().map(|(_, report)| report).collect();
    Ok(Report::new(whose, begun.elapsed(), cases))
}

async fn lane(options: &Options, number: usize) -> anyhow::Result<Arc<Lane>> {
    let folder = options.folder.join(format!("broker-{number}"));
    Ok(Arc::new(Lane::start(folder, options.binary.clone()).await?))
}

async fn stop(lanes: Vec<Arc<Lane>>) {
    for lane in lanes {
        if let Some(lane) = Arc::into_inner(lane) {
            lane.stop().await;
        }
    }
}

/// Waits for the worker's first announcement; else why there is none, and what was seen. `None`: it
/// was stopped.
async fn meet(
    lane: &Arc<Lane>,
    setup: &Setup,
    folder: PathBuf,
    stop: &CancellationToken,
) -> Option<Result<About, (String, String)>> {
    let mut scene = match Scene::open(lane.clone(), setup, folder).await {
        Ok(scene) => scene,
        Err(error) => return Some(Err((format!("{error:#}"), String::new()))),
    };
    let about = stop.run_until_cancelled(announced(&mut scene)).await;
    let about = about.map(|it| it.map_err(|error| (format!("{error:#}"), scene.evidence())));
    scene.close().await;
    about
}

async fn announced(scene: &mut Scene) -> anyhow::Result<About> {
    let mut worker = scene.start_worker(&[]).await?;
    let announced =
        scene.tape.first("the first announcement", FIRST, |seen| seen.what == What::Announce);
    let announced = tokio::select! {
        biased;
        announced = announced => announced?,
        ended = worker.ended(FIRST * 2) => {
            anyhow::bail!("the worker ended with {} and did not announce itself", ended?)
        }
    };
    About::read(&announced.json())
}

/// Does one case after the other until none is left.
async fn serve(
    lane: Arc<Lane>,
    shared: Arc<Shared>,
    reports: mpsc::UnboundedSender<(usize, CaseReport)>,
) {
    while !shared.stop.is_cancelled() {
        let next = shared.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some((at, case)) = next else { break };
        let begun = Instant::now();
        let Some(verdict) = Box::pin(try_case(&lane, &shared, case)).await else { break };
        let report = CaseReport::new(case, verdict, begun.elapsed());
        if reports.send((at, report)).is_err() {
            break;
        }
    }
    stop(vec![lane]).await;
}

/// What comes of a case; `None`: it was stopped.
async fn try_case(lane: &Arc<Lane>, shared: &Shared, case: &'static Case) -> Option<Verdict> {
    if case.kind == super::case::Kind::Scripted && !shared.about.scripted {
        let why = "the plugin follows no script (capabilities.conformance)".to_owned();
        return Some(Verdict::NotApplicable { why });
    }
    let folder = shared.folder.join(case.name);
    let scene = match Scene::open(lane.clone(), &shared.setup, folder).await {
        Ok(scene) => scene,
        Err(error) => {
            let why = format!("the kit could not begin: {error:#}");
            return Some(Verdict::Failed { why, seen: String::new() });
        }
    };
    let mut stage = Stage::new(scene, shared.about.clone(), shared.files.clone());
    let trial = timeout(case.limit, (case.run)(&mut stage));
    let ended = shared.stop.run_until_cancelled(trial).await;
    let verdict = ended.map(|ended| {
        let ended = ended.unwrap_or_else(|_| {
            Err(anyhow::anyhow!("the case did not end within {} s", case.limit.as_secs()))
        });
        verdict(ended, || stage.evidence())
    });
    stage.scene.close().await;
    verdict
}

fn verdict(ended: anyhow::Result<()>, evidence: impl FnOnce() -> String) -> Verdict {
    match ended {
        Ok(()) => Verdict::Passed,
        Err(error) => match error.downcast_ref::<NotApplicable>() {
            Some(NotApplicable(why)) => Verdict::NotApplicable { why: why.clone() },
            None => Verdict::Failed { why: format!("{error:#}"), seen: evidence() },
        },
    }
}
