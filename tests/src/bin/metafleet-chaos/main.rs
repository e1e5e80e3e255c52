//! Kills coordinator, workers and broker at random moments and checks that nothing is lost; and
//! plays the same in a simulated world.

mod parts;
mod power;
mod simulate;
mod soak;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use coordinator::exec;
use integration_tests::chaos::Sabotage;
use integration_tests::chaos::experiment::{self, Options};
use integration_tests::chaos::plan::{Counts, Faults, Links, Partition, Place, Soak};
use integration_tests::chaos::power::Setting;
use integration_tests::chaos::report::Report;
use integration_tests::chaos::series;
use serde::Serialize;

/// Kills coordinator, workers and broker at random moments and checks that nothing is lost.
#[derive(Debug, Parser)]
#[command(name = "metafleet-chaos")]
struct Cli {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Run an experiment; ends with 1 when something is wrong
    Run(RunArgs),
    /// Cut off the coordinator, workers and a server of a cluster in every way, for 1, 5 and 15 seconds
    Partitions(PartitionsArgs),
    /// Let files come at a steady rate for an hour, with faults all the time; ends with 1 when anything grows
    Soak(soak::SoakArgs),
    /// Play seeds of the simulated world; ends with 1 when one of them goes wrong
    Simulate(simulate::SimulateArgs),
    /// Cut the power of a broker that is written to; ends with 1 when more is lost than promised
    Power(power::PowerArgs),
    /// Serve one plugin of the experiment
    #[command(hide = true)]
    Worker(parts::WorkerArgs),
    /// Lead the experiment's fleet
    #[command(hide = true)]
    Coordinator(parts::CoordinatorArgs),
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Decides who is killed when [default: made up]
    #[arg(long)]
    seed: Option<u64>,
    /// How many experiments to run, with this seed and those that follow
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Files; each goes through six plugins
    #[arg(long, default_value_t = 2_000)]
    files: usize,
    /// How often a worker is killed
    #[arg(long, default_value_t = 20)]
    worker_kills: usize,
    /// How often the coordinator is killed
    #[arg(long, default_value_t = 5)]
    coordinator_kills: usize,
    /// How often the broker is killed
    #[arg(long, default_value_t = 3)]
    broker_kills: usize,
    /// How often a worker is stopped for longer than the lease of its tasks, and goes on
    #[arg(long, default_value_t = 0)]
    worker_pauses: usize,
    /// How often the coordinator that leads is stopped for longer than its lease; another one is there
    #[arg(long, default_value_t = 0)]
    coordinator_pauses: usize,
    /// How often the server that leads one of the streams is killed; on a cluster of three
    #[arg(long, default_value_t = 0)]
    leader_kills: usize,
    /// How often the leader of a stream, of a consumer or of the cluster is told to step down
    #[arg(long, default_value_t = 0)]
    step_downs: usize,
    /// How often all servers of the cluster are restarted, one after the other
    #[arg(long, default_value_t = 0)]
    rolling_restarts: usize,
    /// How often links are broken, and mended
    #[arg(long, default_value_t = 0)]
    partitions: usize,
    /// What does not get through then [default: any]
    #[arg(long, value_enum)]
    partition: Option<Partition>,
    /// Who is cut off: the coordinator, half of the workers, or a server of a cluster [default: any]
    #[arg(long, value_enum)]
    cut_off: Option<CutOff>,
    /// For how long [default: 1, 5 or 15]
    #[arg(long, value_name = "SECONDS")]
    partition_seconds: Option<u64>,
    /// How often the coordinator dies right after a certain message to the broker
    #[arg(long, default_value_t = 0)]
    crash_points: usize,
    /// How often somebody deletes a consumer, or the stream of tasks
    #[arg(long, default_value_t = 0)]
    deletions: usize,
    /// How often the broker's disk is full, for 2 to 8 seconds; needs root
    #[arg(long, default_value_t = 0)]
    full_disks: usize,
    /// How often the broker's machine loses its power: what was not synced is gone; needs root
    #[arg(long, default_value_t = 0)]
    power_cuts: usize,
    /// How soon the broker has on disk what it is given, where its power is cut
    #[arg(long, value_enum, default_value = "always")]
    sync: Setting,
    /// How often the clock of a worker is turned by an hour or a day; needs libfaketime
    #[arg(long, default_value_t = 0)]
    clock_jumps: usize,
    #[command(flatten)]
    setup: Setup,
}

#[derive(Debug, Args)]
struct PartitionsArgs {
    /// Decides who is cut off when [default: made up]
    #[arg(long)]
    seed: Option<u64>,
    /// Files of each experiment; each goes through six plugins
    #[arg(long, default_value_t = 600)]
    files: usize,
    /// How often somebody is cut off in each experiment
    #[arg(long, default_value_t = 2)]
    times: usize,
    #[command(flatten)]
    setup: Setup,
}

#[derive(Debug, Args)]
struct Setup {
    /// Workers per plugin
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// Tasks at once per worker
    #[arg(long, default_value_t = 4)]
    concurrency: usize,
    /// The form of what is printed to standard output; a table goes to standard error
    #[arg(long, value_enum, default_value = "table")]
    output: Form,
    /// Keep ledgers and logs in this folder [default: a temporary one, kept when something is wrong]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Break the rules, to see whether that is noticed
    #[arg(long, hide = true, value_enum)]
    sabotage: Option<Sabotage>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    Table,
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum CutOff {
    Coordinator,
    Workers,
    Server,
}

impl CutOff {
    const fn place(self) -> Place {
        match self {
            Self::Coordinator => Place::Coordinator(0),
            Self::Workers => Place::Workers(0),
            Self::Server => Place::Server(0),
        }
    }
}

fn main() -> ExitCode {
    // Children are started through this program, so that they die with it.
    if std::env::args_os().nth(1).is_some_and(|first| first == exec::GUARD_ARGUMENT) {
        return exec::exec_main(std::env::args_os().skip(2));
    }
    let ended = match Cli::parse().role {
        Role::Run(args) => run(&args),
        Role::Partitions(args) => partitions(&args),
        Role::Soak(args) => soak::run(&args),
        Role::Simulate(args) => simulate::run(args),
        Role::Power(args) => power::run(args),
        Role::Coordinator(args) => parts::coordinate(args),
        Role::Worker(args) => parts::work(&args),
    };
    ended.unwrap_or_else(|error| {
        writeln!(io::stderr(), "error: {error:#}").ok();
        ExitCode::FAILURE
    })
}

fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let first = args.seed.unwrap_or_else(|| fastrand::u64(..));
    let kills = Counts {
        workers: args.worker_kills,
        coordinator: args.coordinator_kills,
        broker: args.broker_kills,
    };
    let faults = Faults {
        worker_pauses: args.worker_pauses,
        coordinator_pauses: args.coordinator_pauses,
        leader_kills: args.leader_kills,
        step_downs: args.step_downs,
        rolling_restarts: args.rolling_restarts,
        links: Links {
            times: args.partitions,
            place: args.cut_off.map(CutOff::place),
            partition: args.partition,
            seconds: args.partition_seconds,
        },
        crashes: args.crash_points,
        deletions: args.deletions,
        full_disks: args.full_disks,
        power_cuts: args.power_cuts,
        clock_jumps: args.clock_jumps,
    };
    let sync = args.sync;
    let seeds = (0..args.seeds.max(1)).map(|more| first.wrapping_add(more));
    let experiments = seeds.map(|seed| {
        (format!("seed {seed}"), What { seed, files: args.files, kills, faults, sync, soak: None })
    });
    all(&args.setup, experiments.collect())
}

fn partitions(args: &PartitionsArgs) -> anyhow::Result<ExitCode> {
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    let kills = Counts { workers: 0, coordinator: 0, broker: 0 };
    let mut experiments = Vec::new();
    for cut_off in [CutOff::Coordinator, CutOff::Workers, CutOff::Server] {
        for partition in Partition::ALL {
            for seconds in [1, 5, 15] {
                let links = Links {
                    times: args.times,
                    place: Some(cut_off.place()),
                    partition: Some(partition),
                    seconds: Some(seconds),
                };
                let faults = Faults { links, ..Faults::default() };
                let name = format!("{cut_off:?}, {partition:?}, {seconds} s").to_lowercase();
                let sync = Setting::default();
                experiments.push((
                    name,
                    What { seed, files: args.files, kills, faults, sync, soak: None },
                ));
            }
        }
    }
    all(&args.setup, experiments)
}

/// What differs between experiments.
#[derive(Clone, Copy, Debug)]
struct What {
    seed: u64,
    files: usize,
    kills: Counts,
    faults: Faults,
    sync: Setting,
    soak: Option<Soak>,
}

/// Runs experiments one after the other, and shows them in one table when there are several. One that
/// cannot be judged, because it could not begin for example, keeps those after it from nothing.
fn all(setup: &Setup, experiments: Vec<(String, What)>) -> anyhow::Result<ExitCode> {
    let (several, mut done, mut failed) = (experiments.len() > 1, Vec::new(), Vec::new());
    for (number, (name, what)) in experiments.into_iter().enumerate() {
        let folder = setup
            .folder
            .clone()
            .map(|folder| if several { folder.join(format!("{number:03}")) } else { folder });
        let report = match one(setup, folder, what) {
            Ok(report) => report,
            Err(error) if several => {
                let problem = format!("{error:#}");
                writeln!(io::stderr(), "{name}: {problem}")?;
                if setup.output == Form::Json {
                    let told = serde_json::json!({ "experiment": name, "problems": [problem] });
                    writeln!(io::stdout(), "{told}")?;
                }
                failed.push((name, problem));
                continue;
            }
            Err(error) => return Err(error),
        };
        if several {
            writeln!(io::stderr(), "{name}: {} problems", report.problems.len())?;
        } else {
            write!(io::stderr(), "{}", report.table())?;
        }
        if setup.output == Form::Json {
            let told = Told { experiment: &name, report: &report };
            writeln!(io::stdout(), "{}", serde_json::to_string(&told)?)?;
        }
        done.push((name, report));
    }
    if several {
        write!(io::stderr(), "{}", series::table(&done, &failed))?;
    }
    let good = failed.is_empty() && done.iter().all(|(_, report)| report.problems.is_empty());
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A result as it is printed.
#[derive(Debug, Serialize)]
struct Told<'a> {
    experiment: &'a str,
    #[serde(flatten)]
    report: &'a Report,
}

fn one(setup: &Setup, folder: Option<PathBuf>, what: What) -> anyhow::Result<Report> {
    let What { seed, files, kills, faults, sync, soak } = what;
    let (temporary, folder) = match folder {
        Some(folder) => (None, folder),
        None => {
            let made = tempfile::TempDir::with_prefix("metafleet-chaos-")?;
            let path = made.path().to_owned();
            (Some(made), path)
        }
    };
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let is_empty = std::fs::read_dir(&folder)?.next().is_none();
    anyhow::ensure!(is_empty, "{} is not empty", folder.display());
    writeln!(io::stderr(), "seed {seed}, ledgers and logs in {}", folder.display())?;
    let options = Options {
        seed,
        files,
        kills,
        faults,
        sync,
        workers: setup.workers.max(1),
        concurrency: setup.concurrency.max(1),
        folder: folder.clone(),
        sabotage: setup.sabotage,
        soak,
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let report = runtime.block_on(Box::pin(experiment::run(options)));
    let good = report.as_ref().is_ok_and(|report| report.problems.is_empty());
    if let (Some(temporary), false) = (temporary, good) {
        keep(temporary, &folder)?;
    }
    report
}

fn keep(temporary: tempfile::TempDir, folder: &Path) -> io::Result<()> {
    let _kept = temporary.keep();
    writeln!(io::stderr(), "kept {}", folder.display())
}
