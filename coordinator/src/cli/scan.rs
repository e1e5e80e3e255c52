//! `metafleet scan PATH..`
//!
//! Files go to the fleet that runs. Where none does, one is started in this process for as long as
//! the scan takes; what it leaves in the data folder, the next command goes on with.

pub(super) mod summary;
mod wait;

use std::path::PathBuf;
use std::time::Duration;

use broker_config::{PluginId, Queue};
use clap::Args;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use self::wait::{Ended, Waiting};
use super::App;
use super::exit::{Exit, Failure};
use super::files::FilesArgs;
use super::interrupt::in_order;
use super::launch::{Launch, PluginArgs, TuningArgs};
use super::output::{complain, count};
use super::session::{self, Running};
use super::time::duration;
use crate::config::DataDir;
use crate::config::plugins::Libraries;
use crate::fleet::Fleet;
use crate::fleet::library::{LibraryError, LibraryScan, scan_id};
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
    args: ScanArgs,
    roots: Vec<PathBuf>,
    data_dir: DataDir,
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

/// Where a scan goes.
enum Target {
    /// To a fleet of others.
    Running(Box<(Running, Store)>),
    /// To a fleet that was started for it.
    Own(Box<Fleet>),
}

/// One scan into one fleet.
struct Attempt {
    scan: LibraryScan,
    mode: Mode,
    cancel: CancellationToken,
}

pub(crate) async fn run(app: &App, args: ScanArgs) -> Result<Exit, Failure> {
    let roots = args.paths.iter().map(|path| {
        root_path(path).map_err(|error| {
            Failure::not_found(format!("{} cannot be scanned: {error}", path.display()))
        })
    });
    let job = Job {
        app,
        roots: roots.collect::<Result<_, _>>()?,
        data_dir: app.data_dir()?,
        cancel: CancellationToken::new(),
        deadline: args.timeout.map(|timeout| Instant::now() + timeout),
        args,
    };
    let ended = in_order(job.cancel.clone(), Box::pin(job.run())).await;
    if matches!(ended, Ok(Exit::Interrupted)) {
        app.out.say("stopped; the same command goes on where this one ended");
    }
    ended
}

/// Reaches a fleet that answers: one that ends takes connections for a little longer than that, and
/// a broker without our streams would only look as if it were away.
async fn reach(running: &Running) -> Result<Store, Failure> {
    let client = session::connect(&running.connection).await?;
    let store = Store::open(client, running.names.clone()).await?;
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
    /// Scans into the fleet that runs, or into one of its own; and into the next when it was in the
    /// fleet of another command that ended first. A second try finds what the first handed in.
    async fn run(&self) -> Result<Exit, Failure> {
        loop {
            let running = async |running: Running| {
                let store = reach(&running).await?;
                Ok(Target::Running(Box::new((running, store))))
            };
            let otherwise = async || Ok(Target::Own(Box::new(self.start_a_fleet().await?)));
            let target = session::running_or(self.app, &self.data_dir, running, otherwise).await?;
            match target {
                Target::Own(fleet) => return self.run_with(*fleet).await,
                Target::Running(reached) => {
                    let (running, store) = *reached;
                    let ended = self.run_in(&running, &store).await;
                    store.close().await;
                    if let Some(ended) = ended {
                        return ended;
                    }
                    self.app.out.say("the fleet has ended with the command that ran it; going on");
                }
            }
        }
    }

    async fn start_a_fleet(&self) -> Result<Fleet, Failure> {
        let tuning = TuningArgs::default();
        let launch = Launch {
            plugins: &self.args.plugins,
            tuning: &tuning,
            connection: None,
            look_around: true,
            roots: self.roots.clone(),
            libraries: Libraries::new(),
            files: FilesArgs::default(),
            temporary: true,
        };
        launch.start(self.app, self.data_dir.clone()).await
    }

    /// Says which folders the plugins of the fleet were not started for.
    fn warn_of_closed_roots(&self, open: &[PathBuf]) {
        for root in closed(&self.roots, open) {
            complain(&format!(
                "warning: plugin processes of the running fleet cannot read {}: it was started with \
                 other libraries; name this one with --library, or with `mounts` in plugins.yml",
                root.display()
            ));
        }
    }

    fn attempt(&self, mode: Mode) -> Attempt {
        Attempt {
            scan: LibraryScan {
                id: scan_id(),
                roots: self.roots.clone(),
                queue: self.args.queue,
                force: self.args.force,
                only: self.args.only.clone(),
                allow_mass_deletion: self.args.allow_mass_deletion,
                waits: mode != Mode::HandIn,
            },
            mode,
            cancel: self.cancel.child_token(),
        }
    }

    /// Runs in a fleet of others; `None` when that was temporary and went away before the end.
    async fn run_in(&self, running: &Running, store: &Store) -> Option<Result<Exit, Failure>> {
        self.warn_of_closed_roots(&running.roots);
        let attempt = self.attempt(if self.args.wait { Mode::Wait } else { Mode::HandIn });
        let mut scanning = Box::pin(self.scan(store, &attempt));
        let ended = tokio::select! {
            biased;
            ended = &mut scanning => ended,
            () = session::gone(&self.data_dir, running) => {
                attempt.cancel.cancel();
                scanning.await
            }
        };
        let is_cut_short = match &ended {
            Ok(exit) => *exit == Exit::Interrupted,
            Err(_) => session::has_gone(&self.data_dir, running),
        };
        (self.cancel.is_cancelled() || !is_cut_short).then_some(ended)
    }

    /// Runs a whole fleet for as long as the scan takes.
    async fn run_with(&self, mut fleet: Fleet) -> Result<Exit, Failure> {
        let (store, coordinator) = (fleet.store.clone(), fleet.coordinator.clone());
        let processes = fleet.processes.clone();
        let attempt = self.attempt(Mode::Alone);
        let ended = tokio::select! {
            biased;
            failed = fleet.failed() => Err(failed.into()),
            ready = wait::until_leading(self.app, coordinator, processes, &self.cancel) => match ready {
                Some(exit) => Ok(exit),
                None => self.scan(&store, &attempt).await,
            },
        };
        // Whoever comes from here on waits, and then starts a fleet of their own.
        fleet.withdraw();
        fleet.stop().await;
        ended
    }

    async fn scan(&self, store: &Store, attempt: &Attempt) -> Result<Exit, Failure> {
        let Attempt { scan, mode, cancel } = attempt;
        let progress = watch::Sender::new(Progress::default());
        if *mode == Mode::HandIn {
            let scanned = tokio::select! {
                scanned = Box::pin(scan.run(store, None, &progress, cancel)) => scanned,
                () = at(self.deadline) => {
                    self.app.out.say("time is up; the same command goes on where this one ended");
                    return Ok(Exit::TimedOut);
                }
            };
            let scanned = match scanned {
                // It was told to give up waiting for a broker that is away.
                Err(_) if cancel.is_cancelled() => return Ok(Exit::Interrupted),
                scanned => scanned?,
            };
            let is_cancelled = scanned.report.cancelled;
            if is_cancelled && !self.cancel.is_cancelled() {
                // Another try follows, and tells of all.
                return Ok(Exit::Interrupted);
            }
            summary::print_problems(self.app, &scanned.report);
            summary::print_handed_in(self.app, &scan.id, &scanned)?;
            return Ok(if is_cancelled {
                Exit::Interrupted
            } else {
                summary::verdict(&scanned.report, scan.roots.len(), None)
            });
        }
        let started = Instant::now();
        let waiting = Waiting { job: self, attempt, store, progress: &progress };
        match waiting.run().await? {
            Ended::Settled(scanned, tally) => {
                summary::print_problems(self.app, &scanned.report);
                summary::print(self.app, &scanned, &tally, started.elapsed().as_secs_f64())?;
                Ok(summary::verdict(&scanned.report, scan.roots.len(), Some(&tally)))
            }
            Ended::Interrupted => Ok(Exit::Interrupted),
            Ended::TimedOut { waiting } => {
                let waiting = count(waiting as u64, "file");
                self.app.out.say(&format!("time is up; {waiting} not settled yet"));
                Ok(Exit::TimedOut)
            }
        }
    }
}

/// The folders that are not among those that are open; nothing = everything is.
fn closed<'a>(roots: &'a [PathBuf], open: &[PathBuf]) -> Vec<&'a PathBuf> {
    let is_open =
        |root: &&PathBuf| open.is_empty() || open.iter().any(|open| root.starts_with(open));
    roots.iter().filter(|root| !is_open(root)).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_the_fleet_was_not_started_for_are_known() {
        let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect::<Vec<_>>();
        let roots = paths(&["/films", "/films/new", "/filmsold"]);
        for (open, expected) in [
            (&[] as &[&str], &[] as &[&str]),
            (&["/films"], &["/filmsold"]),
            (&["/"], &[]),
            (&["/other"], &["/films", "/films/new", "/filmsold"]),
        ] {
            let found: Vec<PathBuf> = closed(&roots, &paths(open)).into_iter().cloned().collect();
            assert_eq!(found, paths(expected), "{open:?}");
        }
    }
}
