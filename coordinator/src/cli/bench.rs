//! `metafleet bench`

use std::path::PathBuf;

use broker_config::Names;
use clap::Args;

use super::App;
use super::exit::{Exit, Failure};
use super::session;
use crate::bench::{BenchOptions, run as measure};
use crate::config::DataDir;
use crate::fleet::embedded::EmbeddedBroker;
use crate::nats_server::Tenants;

/// Takes a few minutes; nothing else should run meanwhile.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Files per measurement with one plugin
    #[arg(long, default_value_t = 30_000)]
    files: usize,
    /// Files per measurement with the graph of six plugins
    #[arg(long, default_value_t = 6_000)]
    graph_files: usize,
    /// Rounds; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Files sent one by one for the latency
    #[arg(long, default_value_t = 300)]
    latency_files: usize,
    /// Submissions that wait while the memory is looked at; 0 leaves it out
    #[arg(long, default_value_t = 200_000)]
    waiting: usize,
    /// Small files that the scanner is measured on; 0 leaves it out
    #[arg(long, default_value_t = 100_000)]
    scan_files: usize,
    /// Where files and a broker of its own are put, in a folder that is removed again [default: the
    /// data folder]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(crate) async fn run(app: &App, args: &BenchArgs) -> Result<Exit, Failure> {
    // Not beside a fleet's own data: its broker must have nothing else to do.
    let parent = match &args.dir {
        Some(dir) => dir.clone(),
        None => app.data_dir()?.root().to_owned(),
    };
    // A folder of this process alone: it is removed with all that is in it.
    let dir = parent.join(format!("metafleet-bench-{}", std::process::id()));
    let options = |broker| BenchOptions {
        scan: (args.scan_files, dir.join("files")),
        broker,
        files: args.files.max(1),
        graph_files: args.graph_files.max(1),
        rounds: args.rounds.max(1),
        latency_files: args.latency_files.max(1),
        waiting: args.waiting,
    };
    let report = if let Some((broker, _)) = session::existing_broker(app)? {
        measure(&options(broker)).await
    } else {
        let own = EmbeddedBroker::start(DataDir::new(&dir), Names::default(), Tenants::AsBefore);
        let own = own.await?;
        let report = measure(&options(own.handle.coordinator.clone())).await;
        own.stop().await;
        report
    };
    if dir.exists()
        && let Err(error) = std::fs::remove_dir_all(&dir)
    {
        app.out.say(&format!("{} could not be removed: {error}", dir.display()));
    }
    let report =
        report.map_err(|error| Failure::new(Exit::Failure, format!("bench: {error:#}")))?;
    let shown = serde_json::to_value(&report)
        .map_err(|error| Failure::because(Exit::Failure, "write as JSON", &error))?;
    app.out.document(&report, |lines| {
        for (name, value) in shown.as_object().into_iter().flatten() {
            lines.line(&format!("{name:<28}{value}"));
        }
    })?;
    Ok(Exit::Ok)
}
