//! `metafleet-chaos soak`: for an hour files come at a steady rate, and something bad happens all the time.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use integration_tests::chaos::plan::{Counts, Faults, Links, Soak};
use integration_tests::chaos::power::Setting;

use crate::{Setup, What, all};

#[derive(Debug, Args)]
pub(crate) struct SoakArgs {
    /// Decides what happens to whom when [default: made up]
    #[arg(long)]
    seed: Option<u64>,
    /// How long files are handed in
    #[arg(long, default_value_t = 60.0)]
    minutes: f64,
    /// Tasks a second; each file is six
    #[arg(long, default_value_t = 220)]
    rate: u32,
    /// Tasks a second that are to be settled; less is a problem
    #[arg(long, default_value_t = 200)]
    at_least: u32,
    /// How often a worker is killed in an hour
    #[arg(long, default_value_t = 60)]
    worker_kills: usize,
    /// How often a worker is stopped for longer than the lease of its tasks, in an hour
    #[arg(long, default_value_t = 15)]
    worker_pauses: usize,
    /// How often a coordinator or half of the workers are cut off for 1 to 5 seconds, in an hour
    #[arg(long, default_value_t = 30)]
    partitions: usize,
    /// How often a consumer is deleted in an hour
    #[arg(long, default_value_t = 12)]
    deletions: usize,
    /// How often the coordinator is killed in an hour, all of it in the first third
    #[arg(long, default_value_t = 10)]
    coordinator_kills: usize,
    /// How often the broker is killed in an hour, all of it in the first third
    #[arg(long, default_value_t = 6)]
    broker_kills: usize,
    #[command(flatten)]
    setup: Setup,
}

pub(crate) fn run(args: &SoakArgs) -> anyhow::Result<ExitCode> {
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    let lasting = Duration::try_from_secs_f64(args.minutes * 60.0)?;
    anyhow::ensure!(lasting >= Duration::from_secs(10), "too short to see anything");
    anyhow::ensure!((1..=1_000_000).contains(&args.rate), "the rate is to be 1 to 1000000");
    let soak = Soak { lasting, rate: args.rate, at_least: args.at_least };
    let kills = Counts {
        workers: soak.times(args.worker_kills),
        coordinator: soak.times(args.coordinator_kills),
        broker: soak.times(args.broker_kills),
    };
    let faults = Faults {
        worker_pauses: soak.times(args.worker_pauses),
        links: Links { times: soak.times(args.partitions), ..Links::default() },
        deletions: soak.times(args.deletions),
        ..Faults::default()
    };
    let (files, sync, soak) = (soak.files(), Setting::default(), Some(soak));
    let what = What { seed, files, kills, faults, sync, soak };
    all(&args.setup, vec![(format!("soak, seed {seed}"), what)])
}
