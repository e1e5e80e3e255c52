//! `metafleet scan PATH..`
//!
//! Files go to the fleet that runs. Where none does, one is started in this process for as long as
//! the scan takes; what it leaves in the data folder, the next command goes on with.

pub(super) mod summary;
mod wait;

use std::path::PathBuf;
use std::time::Duration;

use broker_config::{Names, PluginId, Queue};
use clap::Args;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use self::wait::{Ended, Waiting};
use super::App;
use super::exit::{Exit, Failure};
use super::launch::{Launch, PluginArgs, TuningArgs};
use super::output::count;
use super::session;
use super::time::duration;
use crate::config::Connection;
use crate::fleet::Fleet;
use crate::fleet::library::{LibraryError, LibraryScan, scan_id};
use crate::shutdown::StopSignals;
use crate::source::{Progress, root_path};
use crate::store::Store;

#[derive(Debug, Args)]
pub(crate) struct ScanArgs {
    /// Folders or single files
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Put all tasks into this queue, whatever the plugins say
    #[arg(long, value_name = "fast|background")]
    queue: Option<Queue>,
    /// Run again what is up to date
    #[arg(long)]
    force: bool,
    /// Run only these plugins and what they need, on unchanged files too
    #[arg(long, value_name = "PLUGIN", num_args = 1.., value_delimiter = ',')]
    only: Vec<PluginId>,
    /// Believe it when a folder is empty or gone, or most of its files are: forget them
    #[arg(long)]
    allow_mass_deletion: bool,
    /// Wait until everything is settled; always so when no fleet runs
    #[arg(long)]
    wait: bool,
    /// Stop waiting after this long; what was handed in stays handed in
    #[arg(long, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,
    #[command(flatten)]
    plugins: PluginArgs,
}

/// How long a fleet may take to answer before it counts as away.
const ANSWER: Duration = Duration::from_secs(4);

/// A scan that is to be done for a command.
struct Job<'a> {
    app: &'a App,
    scan: LibraryScan,
    cancel: CancellationToken,
    deadline: Option<Instant>,
}

/// For how long the command stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Until everything is handed in.
    HandIn,
    /// Until everything it handed in is settled.
    Wait,
    /// Until everything is settled, whoever handed it in: the fleet ends with the command.
    Alone,
}

pub(crate) async fn run(app: &App, args: ScanArgs) -> Result<Exit, Failure> {
    let data_dir = app.data_dir()?;
    let mut running = session::running(app, &data_dir)?;
    let roots = args.paths.iter().map(|path| {
        root_path(path).map_err(|error| {
            Failure::not_found(format!("{} cannot be scanned: {error}", path.display()))
        })
    });
    let mut job = Job {
        app,
        scan: LibraryScan {
            id: scan_id(),
            roots: roots.collect::<Result<_, _>>()?,
            queue: args.queue,
            force: args.force,
            only: args.only,
            allow_mass_deletion: args.allow_mass_deletion,
            // Without a fleet of others the command always waits.
            waits: args.wait || running.is_none(),
        },
        cancel: CancellationToken::new(),
        deadline: args.timeout.map(|timeout| Instant::now() + timeout),
    };
    let signals = StopSignals::listen()
        .map_err(|error| Failure::because(Exit::Failure, "listen for signals", &error))?;
    let done = CancellationToken::new();
    let mut beside = JoinSet::new();
    beside.spawn({
        let (cancel, done) = (job.cancel.clone(), done.clone());
        async move {
            signals.run(cancel, done).await;
        }
    });
    let until = Instant::now() + session::BUSY;
    let ended = loop {
        if let Some((connection, names)) = running {
            match reach(&connection, names).await {
                Ok(store) => {
                    let mode = if args.wait { Mode::Wait } else { Mode::HandIn };
                    let ended = job.run(&store, mode).await;
                    store.close().await;
                    break ended;
                }
                Err(failure)
                    if session::is_ending(&connection, &failure) && Instant::now() < until =>
                {
                    sleep(session::PAUSE).await;
                }
                Err(failure) => break Err(failure),
            }
            running = session::running(app, &data_dir)?;
            job.scan.waits = args.wait || running.is_none();
            continue;
        }
        match job.start_a_fleet(data_dir.clone(), &args.plugins).await {
            Ok(fleet) => break job.run_with(fleet).await,
            // Another command looks at the data, or a fleet starts or ends.
            Err(failure) if failure.exit == Exit::Conflict && Instant::now() < until => {
                sleep(session::PAUSE).await;
            }
            Err(failure) => break Err(failure),
        }
        running = session::running(app, &data_dir)?;
        job.scan.waits = args.wait || running.is_none();
    };
    done.cancel();
    beside.shutdown().await;
    ended
}

/// Reaches a fleet that answers: one that ends takes connections for a little longer than that, and
/// a broker without our streams would only look as if it were away.
async fn reach(connection: &Connection, names: Names) -> Result<Store, Failure> {
    let store = Store::open(session::connect(connection).await?, names).await?;
    let stream = store.names().submit_stream();
    let answer = timeout(ANSWER, store.stream_state(&stream)).await;
    let failure = match answer {
        Ok(Ok(_)) => return Ok(store),
        Ok(Err(error)) => error.into(),
        Err(_) => {
            Failure::new(Exit::Unreachable, format!("the broker says nothing about {stream}"))
        }
    };
    store.close().await;
    Err(failure)
}

impl Job<'_> {
    async fn start_a_fleet(
        &self,
        data_dir: crate::config::DataDir,
        plugins: &PluginArgs,
    ) -> Result<Fleet, Failure> {
        let tuning = TuningArgs::default();
        let launch = Launch { plugins, tuning: &tuning, connection: None, look_around: true };
        launch.start(self.app, data_dir).await
    }

    /// Runs a whole fleet for as long as the scan takes.
    async fn run_with(&self, mut fleet: Fleet) -> Result<Exit, Failure> {
        let (store, coordinator) = (fleet.store.clone(), fleet.coordinator.clone());
        let processes = fleet.processes.clone();
        let ended = tokio::select! {
            biased;
            failed = fleet.failed() => Err(failed.into()),
            ready = wait::until_leading(self.app, coordinator, processes, &self.cancel) => match ready {
                Some(exit) => Ok(exit),
                None => self.run(&store, Mode::Alone).await,
            },
        };
        // Whoever comes from here on waits, and then starts a fleet of their own.
        fleet.withdraw();
        fleet.stop().await;
        ended
    }

    async fn run(&self, store: &Store, mode: Mode) -> Result<Exit, Failure> {
        let progress = watch::Sender::new(Progress::default());
        if mode == Mode::HandIn {
            let scanned = tokio::select! {
                scanned = Box::pin(self.scan.run(store, None, &progress, &self.cancel)) => scanned,
                () = at(self.deadline) => {
                    self.app.out.say("time is up; the same command goes on where this one ended");
                    return Ok(Exit::TimedOut);
                }
            };
            let scanned = match scanned {
                // It was told to give up waiting for a broker that is away.
                Err(_) if self.cancel.is_cancelled() => return Ok(self.interrupted()),
                scanned => scanned?,
            };
            summary::print_problems(self.app, &scanned.report);
            summary::print_handed_in(self.app, &self.scan.id, &scanned)?;
            if scanned.report.cancelled {
                return Ok(self.interrupted());
            }
            return Ok(summary::verdict(&scanned.report, self.scan.roots.len(), None));
        }
        let started = Instant::now();
        let alone = mode == Mode::Alone;
        let waiting = Waiting { job: self, store, alone, progress: &progress };
        match waiting.run().await? {
            Ended::Settled(scanned, tally) => {
                summary::print_problems(self.app, &scanned.report);
                summary::print(self.app, &scanned, &tally, started.elapsed().as_secs_f64())?;
                Ok(summary::verdict(&scanned.report, self.scan.roots.len(), Some(&tally)))
            }
            Ended::Interrupted => Ok(self.interrupted()),
            Ended::TimedOut { waiting } => {
                let waiting = count(waiting as u64, "file");
                self.app.out.say(&format!("time is up; {waiting} not settled yet"));
                Ok(Exit::TimedOut)
            }
        }
    }

    fn interrupted(&self) -> Exit {
        self.app.out.say("stopped; the same command goes on where this one ended");
        Exit::Interrupted
    }
}

/// Waits for a deadline, if there is one.
async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

impl From<LibraryError> for Failure {
    fn from(error: LibraryError) -> Self {
        let text = broker_config::Chain(&error).to_string();
        match error {
            LibraryError::Store(error) => error.into(),
            LibraryError::Scan(_) | LibraryError::Tell(_) => Self::new(Exit::Failure, text)
                .advise("the same command goes on where this one ended"),
        }
    }
}
