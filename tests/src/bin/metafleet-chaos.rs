//! Kills coordinator, workers and broker at random moments and checks that nothing is lost; and
//! plays the same in a simulated world.

use std::io::{self, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use coordinator::config::connection::{Connection, Login, Origin, Tls};
use coordinator::exec;
use coordinator::service::{Coordinator, CoordinatorOptions};
use integration_tests::chaos::Sabotage;
use integration_tests::chaos::experiment::{self, Options};
use integration_tests::chaos::noop::Noop;
use integration_tests::chaos::plan::{Counts, Faults};
use integration_tests::simulation::{Breach, Part, World, play, sweep};
use tokio_util::sync::CancellationToken;

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
    /// Play seeds of the simulated world; ends with 1 when one of them goes wrong
    Simulate(SimulateArgs),
    /// Serve one plugin of the experiment
    #[command(hide = true)]
    Worker(WorkerArgs),
    /// Lead the experiment's fleet
    #[command(hide = true)]
    Coordinator(CoordinatorArgs),
}

#[derive(Debug, Args)]
struct CoordinatorArgs {
    #[arg(long, env = "NATS_URL")]
    nats: String,
    #[arg(long)]
    node: String,
    #[arg(long)]
    replicas: usize,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Decides who is killed when [default: made up]
    #[arg(long)]
    seed: Option<u64>,
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

#[derive(Debug, Args)]
struct SimulateArgs {
    /// The seeds, the last one left out
    #[arg(long, value_name = "A..B", value_parser = seeds)]
    seeds: Range<u64>,
    /// Threads
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// What the program was built from; printed with a seed that goes wrong
    #[arg(long, env = "METAFLEET_COMMIT", default_value = "unknown")]
    commit: String,
    /// Leave a part out, for example `fault-2`; plays the first seed only
    #[arg(long, value_name = "PART")]
    without: Vec<Part>,
    /// Print all that happens; plays the first seed only
    #[arg(long)]
    trace: bool,
    /// Break a rule, to see whether that is noticed
    #[arg(long, hide = true, value_enum)]
    breach: Option<Breach>,
}

fn seeds(text: &str) -> anyhow::Result<Range<u64>> {
    let (from, to) = text.split_once("..").context("two numbers with `..` between them")?;
    Ok(from.parse()?..to.parse()?)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    Table,
    Json,
}

#[derive(Debug, Args)]
struct WorkerArgs {
    plugin: String,
    #[arg(long)]
    ledgers: PathBuf,
    #[arg(long, env = "NATS_URL")]
    nats: String,
    #[arg(long, value_enum)]
    sabotage: Option<Sabotage>,
}

fn main() -> ExitCode {
    // Children are started through this program, so that they die with it.
    if std::env::args_os().nth(1).is_some_and(|first| first == exec::GUARD_ARGUMENT) {
        return exec::exec_main(std::env::args_os().skip(2));
    }
    let ended = match Cli::parse().role {
        Role::Run(args) => run(&args),
        Role::Simulate(args) => simulate(args),
        Role::Coordinator(args) => coordinate(args),
        Role::Worker(WorkerArgs { plugin, ledgers, nats, sabotage }) => {
            Noop::new(&plugin, &ledgers, &nats, sabotage).map(worker_sdk::run)
        }
    };
    ended.unwrap_or_else(|error| {
        writeln!(io::stderr(), "error: {error:#}").ok();
        ExitCode::FAILURE
    })
}

fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    let (temporary, folder) = match &args.folder {
        Some(folder) => (None, folder.clone()),
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
    let kills = Counts {
        workers: args.worker_kills,
        coordinator: args.coordinator_kills,
        broker: args.broker_kills,
    };
    let options = Options {
        seed,
        files: args.files,
        kills,
        faults: Faults {
            worker_pauses: args.worker_pauses,
            coordinator_pauses: args.coordinator_pauses,
            leader_kills: args.leader_kills,
            step_downs: args.step_downs,
            rolling_restarts: args.rolling_restarts,
        },
        workers: args.workers.max(1),
        concurrency: args.concurrency.max(1),
        folder: folder.clone(),
        sabotage: args.sabotage,
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let report = runtime.block_on(Box::pin(experiment::run(options)));
    let good = report.as_ref().is_ok_and(|report| report.problems.is_empty());
    if let (Some(temporary), false) = (temporary, good) {
        keep(temporary, &folder)?;
    }
    let report = report?;
    write!(io::stderr(), "{}", report.table())?;
    if args.output == Form::Json {
        writeln!(io::stdout(), "{}", serde_json::to_string(&report)?)?;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn simulate(args: SimulateArgs) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    if args.trace || !args.without.is_empty() {
        let world = World::without(args.seeds.start, args.without.into_iter().collect());
        let played = play(&world, args.breach, args.trace);
        writeln!(out, "{}\n{}", world.tell(), played.trace.join("\n"))?;
        let wrong = played.wrong.as_deref().unwrap_or("nothing");
        writeln!(out, "{} steps, {} ms, wrong: {wrong}", played.steps, played.lasted)?;
        return Ok(if played.wrong.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let report = sweep(args.seeds, args.threads, args.breach);
    writeln!(out, "{}", report.text(&args.commit))?;
    Ok(if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn keep(temporary: tempfile::TempDir, folder: &Path) -> io::Result<()> {
    let _kept = temporary.keep();
    writeln!(io::stderr(), "kept {}", folder.display())
}

fn coordinate(args: CoordinatorArgs) -> anyhow::Result<ExitCode> {
    let _telemetry = worker_sdk::telemetry::init("coordinator");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let CoordinatorArgs { nats, node, replicas } = args;
        let connection = Connection {
            url: nats,
            login: Login::Anonymous,
            tls: Tls::default(),
            origin: Origin::Flag,
        };
        let connect = connection.connect_options(&node)?.retry_on_initial_connect();
        let client = connect.connect(connection.addresses().as_slice()).await?;
        let options = CoordinatorOptions { node, replicas, ..CoordinatorOptions::default() };
        let (coordinator, _handle) = Coordinator::new(client, options);
        Box::pin(coordinator.run(CancellationToken::new())).await?;
        Ok(ExitCode::SUCCESS)
    })
}
