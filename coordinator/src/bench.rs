//! Measures the coordinator and the SDK beside the ceiling of the broker, in one run.
//!
//! The ceiling is a minimal loop that does the same stream writes, deliveries and acknowledgements
//! and nothing else: the graph is six bits per file, there are no decisions, no records are read,
//! bodies are constants of the same size.
//! Rounds alternate, so that a machine whose speed drifts drifts for both; medians are reported.

mod noop;
mod ours;
mod raw;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use async_nats::Client;
use broker_config::apply::apply;
use broker_config::topology::Topology;
use broker_config::wire::file::FilePath;
use broker_config::{Cid, FileFacts, Names, Submission};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::config::connection::Connection;
use crate::source::bench as scan;
use crate::store::Store;
use crate::store::paths::BrokerIndex;
use crate::store::patience::Patience;

/// Tasks that the workers of one plugin hold at once, on both sides of the comparison.
const IN_HAND: usize = 512;

/// What to measure.
#[derive(Clone, Debug)]
pub struct BenchOptions {
    /// The broker; it should have nothing else to do.
    pub broker: Connection,
    /// Files per measurement with one plugin.
    pub files: usize,
    /// Files per measurement with the graph of six plugins.
    pub graph_files: usize,
    /// Rounds; the median counts.
    pub rounds: usize,
    /// Files sent one by one for the latency.
    pub latency_files: usize,
    /// Submissions that wait while the memory is looked at; 0 = do not.
    pub waiting: usize,
    /// Small files that the scanner is measured on, and where to make them; 0 = do not.
    pub scan: (usize, PathBuf),
}

/// What was measured; rates in tasks per second, times in milliseconds.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BenchReport {
    /// Ours over the ceiling, one plugin per file.
    pub ratio_single: f64,
    /// Ours over the ceiling, six plugins per file.
    pub ratio_graph: f64,
    /// Ours, one plugin per file.
    pub tasks_per_second: f64,
    /// The ceiling, one plugin per file.
    pub ceiling_tasks_per_second: f64,
    /// Ours, six plugins per file.
    pub graph_tasks_per_second: f64,
    /// The ceiling, six plugins per file.
    pub ceiling_graph_tasks_per_second: f64,
    /// One file through the idle graph.
    pub latency_ms_p50: f64,
    /// One file through the idle graph.
    pub latency_ms_p99: f64,
    /// Resident memory of this process (coordinator, workers and measuring together), in MB,
    /// before and while `waitingSubmissions` wait.
    pub memory_mb_before: f64,
    /// See above.
    pub memory_mb_waiting: f64,
    /// How many waited.
    pub waiting_submissions: usize,
    /// The scanner, with its index in the broker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scanner: Option<scan::BenchReport>,
    /// Rounds.
    pub rounds: usize,
    /// Version of the server.
    pub server: String,
}

/// Measures everything.
///
/// # Errors
///
/// When the broker cannot be reached or a measurement does not end.
pub async fn run(options: &BenchOptions) -> anyhow::Result<BenchReport> {
    let client = connect(&options.broker).await?;
    let mut rates: [Vec<f64>; 4] = Default::default();
    for round in 0..options.rounds {
        let [raw_single, our_single, raw_graph, our_graph] = &mut rates;
        for (kind, files, plugins, into) in [
            ("raw1", options.files, 1, raw_single),
            ("our1", options.files, 1, our_single),
            ("raw6", options.graph_files, 6, raw_graph),
            ("our6", options.graph_files, 6, our_graph),
        ] {
            let bench = Bench::new(options, &format!("bench-{kind}-{round}"), files, plugins)?;
            let took = match kind {
                "raw1" | "raw6" => raw::measure(&bench).await,
                _ => ours::throughput(&bench).await,
            };
            bench.clean(&client).await;
            let took = took.with_context(|| format!("measure {kind}, round {round}"))?;
            let rate = as_float(files * plugins) / took.as_secs_f64();
            tracing::info!(kind, round, rate, "measured");
            into.push(rate);
        }
    }
    let bench = Bench::new(options, "bench-latency", options.latency_files, 6)?;
    let latencies = ours::latency(&bench).await;
    bench.clean(&client).await;
    let latencies = latencies.context("measure the latency")?;
    let bench = Bench::new(options, "bench-memory", options.waiting, 1)?;
    let memory = ours::memory(&bench).await;
    bench.clean(&client).await;
    let (before, waiting) = memory.context("measure the memory")?;
    let scanner = scanner(options, &client).await.context("measure the scanner")?;
    let [raw_single, our_single, raw_graph, our_graph] = rates;
    Ok(BenchReport {
        ratio_single: round2(median(&our_single) / median(&raw_single)),
        ratio_graph: round2(median(&our_graph) / median(&raw_graph)),
        tasks_per_second: median(&our_single).round(),
        ceiling_tasks_per_second: median(&raw_single).round(),
        graph_tasks_per_second: median(&our_graph).round(),
        ceiling_graph_tasks_per_second: median(&raw_graph).round(),
        latency_ms_p50: round2(percentile(&latencies, 0.50)),
        latency_ms_p99: round2(percentile(&latencies, 0.99)),
        memory_mb_before: before.round(),
        memory_mb_waiting: waiting.round(),
        waiting_submissions: options.waiting,
        scanner,
        rounds: options.rounds,
        server: client.server_info().version,
    })
}

/// First scan, unchanged re-scan and hashing, with the index of paths in the broker.
async fn scanner(
    options: &BenchOptions,
    client: &Client,
) -> anyhow::Result<Option<scan::BenchReport>> {
    let (files, dir) = &options.scan;
    if *files == 0 {
        return Ok(None);
    }
    let bench = Bench::new(options, "bench-scan", 0, 0)?;
    bench.prepare(client).await?;
    let store = Store::open(connect(&options.broker).await?, bench.names.clone()).await?;
    let index = BrokerIndex::new(store, Patience::new(CancellationToken::new()));
    let options = scan::BenchOptions { files: *files, ..scan::BenchOptions::new(dir.clone()) };
    let report = scan::run(&index, &options).await;
    bench.clean(client).await;
    Ok(Some(report?))
}

/// One measurement.
#[derive(Clone, Debug)]
struct Bench {
    broker: Connection,
    names: Names,
    files: usize,
    plugins: usize,
}

impl Bench {
    fn new(
        options: &BenchOptions,
        prefix: &str,
        files: usize,
        plugins: usize,
    ) -> anyhow::Result<Self> {
        let names = Names::new(prefix.parse()?);
        Ok(Self { broker: options.broker.clone(), names, files, plugins })
    }

    /// Deletes the measurement's streams; what is left only takes room.
    async fn clean(&self, client: &Client) {
        let js = async_nats::jetstream::new(client.clone());
        for stream in Topology::of(&self.names, 1).streams {
            if js.delete_stream(&stream.name).await.is_err() {
                tracing::debug!(stream = stream.name, "not deleted");
            }
        }
    }

    async fn prepare(&self, client: &Client) -> anyhow::Result<()> {
        let js = async_nats::jetstream::new(client.clone());
        apply(&js, &Topology::of(&self.names, 1)).await?;
        Ok(())
    }

    fn submission(&self, number: usize) -> anyhow::Result<Submission> {
        // As long as a real content id.
        let cid: Cid =
            format!("bagacbabaeddealivdfucjicjvwd4g4nfar5gonjvykwimb7cx6{number:010}").parse()?;
        let path = FilePath {
            file_path: format!("/library/films/Some Film ({number})/Some Film ({number}).mkv"),
            file_path_bytes: None,
        };
        let file = FileFacts {
            size: 4_294_967_296,
            mime: "video/x-matroska".to_owned(),
            name: format!("Some Film ({number}).mkv"),
            extension: "mkv".to_owned(),
            ..FileFacts::default()
        };
        Ok(Submission::new(cid, path, file))
    }
}

async fn connect(broker: &Connection) -> anyhow::Result<Client> {
    let options = broker.connect_options("metafleet-bench")?;
    options.connect(broker.url.as_str()).await.context("connect to the broker")
}

/// The resident memory of this process, in MB.
fn resident_mb() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(PathBuf::from("/proc/self/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes: f64 = line
        .and_then(|line| line.trim().split(' ').next())
        .context("read the resident memory")?
        .parse()?;
    Ok(kilobytes / 1024.0)
}

/// Waits until `done`, at most for `limit`.
async fn until(limit: Duration, mut done: impl FnMut() -> bool) -> anyhow::Result<()> {
    let waited = tokio::time::timeout(limit, async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    ensure!(waited.await.is_ok(), "not done after {limit:?}");
    Ok(())
}

fn median(values: &[f64]) -> f64 {
    percentile(values, 0.5)
}

fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a length is an index"
    )]
    let at = (as_float(sorted.len().saturating_sub(1)) * share).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn as_float(count: usize) -> f64 {
    count as f64
}

fn round2(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
