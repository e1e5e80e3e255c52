//! `metafleet up`: everything on this machine, until it is told to stop.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::App;
use super::exit::{Exit, Failure};
use super::files::FilesArgs;
use super::launch::{Launch, PluginArgs, TuningArgs};
use super::output::complain;
use super::scan::summary::{IF_MEANT, may_be_meant};
use super::session;
use super::time::some_time;
use crate::config::plugins::Libraries;
use crate::fleet::library::{LibraryScan, scan_id};
use crate::fleet::{Fleet, FleetOptions, containers};
use crate::service::Phase;
use crate::shutdown::StopSignals;
use crate::source::{Progress, root_path};
use crate::store::Store;

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// A folder to scan at the start and on SIGHUP; may be given several times
    #[arg(
        long = "library",
        value_name = "NAME=PATH",
        value_parser = libraries()
    )]
    libraries: Vec<Library>,
    #[command(flatten)]
    files: FilesArgs,
    /// Scan the libraries again and again, e.g. every 1h
    #[arg(long, value_name = "TIME", value_parser = some_time)]
    rescan: Option<Duration>,
    /// Only print what would be done with plugins
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    plugins: PluginArgs,
    #[command(flatten)]
    tuning: TuningArgs,
}

/// Reads `NAME=PATH`.
pub(super) fn libraries() -> impl TypedValueParser<Value = Library> {
    OsStringValueParser::new().try_map(|given| library(&given))
}

/// A folder with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Library {
    name: String,
    path: PathBuf,
}

/// The name must be text, the path need not be.
fn library(given: &OsStr) -> Result<Library, &'static str> {
    let given = given.as_bytes();
    let parts = given.iter().position(|byte| *byte == b'=').map(|at| given.split_at(at));
    match parts.map(|(name, path)| (std::str::from_utf8(name), path.get(1..).unwrap_or_default())) {
        Some((Ok(name), path)) if !name.is_empty() && !path.is_empty() => {
            Ok(Library { name: name.to_owned(), path: OsStr::from_bytes(path).into() })
        }
        _ => Err("must be NAME=PATH, e.g. films=/media/films"),
    }
}

pub(crate) async fn run(app: &App, args: UpArgs) -> Result<Exit, Failure> {
    let data_dir = app.data_dir()?;
    // Not the fleet that already runs over the folder: starting a second one is an error.
    let connection = session::existing_broker(app)?;
    let root = data_dir.root().display().to_string();
    let tuning = args.tuning.clone();
    let launch = Launch {
        plugins: &args.plugins,
        tuning: &tuning,
        connection,
        look_around: true,
        roots: roots(&args.libraries),
        libraries: named(&args.libraries),
        files: args.files.clone(),
        temporary: false,
    };
    if args.dry_run {
        return dry_run(app, launch.options(app, data_dir)).await;
    }
    let fleet = launch.start(app, data_dir).await?;
    app.out.say(&format!("metafleet is up: broker {}, data in {root}", fleet.connection.url));
    serve(fleet, args.libraries, args.rescan).await
}

/// Prints what would be done with plugins; ends badly when some of it cannot be.
async fn dry_run(app: &App, options: FleetOptions) -> Result<Exit, Failure> {
    let plan = containers::dry_run(&options).await?;
    for problem in &plan.problems {
        complain(&format!("warning: {problem}"));
    }
    app.out.document(&serde_json::json!({ "steps": &plan.steps }), |lines| {
        if plan.steps.is_empty() {
            lines.line("Nothing is to be done.");
        }
        for step in &plan.steps {
            lines.line(step);
        }
    })?;
    Ok(if plan.problems.is_empty() { Exit::Ok } else { Exit::Failure })
}

/// The folders of libraries by name, as the paths of their files begin.
pub(super) fn named(libraries: &[Library]) -> Libraries {
    let mut named = Libraries::new();
    for Library { name, path } in libraries {
        // One that is away for now may come back.
        let folder = root_path(path).unwrap_or_else(|_| path.clone());
        named.entry(name.clone()).or_default().push(folder);
    }
    named
}

/// The folders of all libraries that there are.
fn roots(libraries: &[Library]) -> Vec<PathBuf> {
    libraries.iter().filter_map(|library| root_path(&library.path).ok()).collect()
}

/// Serves until a signal; returns after everything has stopped.
pub(super) async fn serve(
    mut fleet: Fleet,
    libraries: Vec<Library>,
    rescan: Option<Duration>,
) -> Result<Exit, Failure> {
    let (drain, done) = (CancellationToken::new(), CancellationToken::new());
    let signals = match StopSignals::listen() {
        Ok(signals) => signals,
        Err(cause) => {
            fleet.stop().await;
            return Err(Failure::because(Exit::Failure, "listen for signals", &cause));
        }
    };
    let mut beside = JoinSet::new();
    beside.spawn({
        let (drain, done) = (drain.clone(), done.clone());
        async move {
            signals.run(drain, done).await;
        }
    });
    let phase = fleet.coordinator.phase();
    let store = fleet.store.clone();
    beside.spawn(scan_again_and_again(store, phase, libraries, rescan, drain.clone()));
    beside.spawn(reload_on_hangup(fleet.reload.clone(), drain.clone()));
    let ended = tokio::select! {
        biased;
        () = drain.cancelled() => Ok(Exit::Ok),
        failed = fleet.failed() => Err(Failure::from(failed)),
    };
    drain.cancel();
    fleet.stop().await;
    done.cancel();
    while let Some(ended) = beside.join_next().await {
        if let Err(error) = ended {
            error!(%error, "a part of the command failed");
        }
    }
    ended
}

/// Has `plugins.yml` read again on SIGHUP, also while libraries are scanned.
async fn reload_on_hangup(reload: Arc<Notify>, drain: CancellationToken) {
    let mut hangups = match signal(SignalKind::hangup()) {
        Ok(hangups) => hangups,
        Err(error) => return error!(%error, "SIGHUP cannot be heard"),
    };
    while let Some(Some(())) = drain.run_until_cancelled(hangups.recv()).await {
        reload.notify_one();
    }
}

/// Scans all libraries at the start, on SIGHUP and whenever it is time.
async fn scan_again_and_again(
    store: Store,
    mut phase: watch::Receiver<Phase>,
    libraries: Vec<Library>,
    rescan: Option<Duration>,
    drain: CancellationToken,
) {
    let mut hangups = match signal(SignalKind::hangup()) {
        Ok(hangups) => hangups,
        Err(error) => return error!(%error, "SIGHUP cannot be heard; libraries are not scanned"),
    };
    // Without an interval the timer is there and nobody asks it.
    let mut due = interval(rescan.unwrap_or(Duration::from_secs(3600)));
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    due.tick().await;
    loop {
        // Only now it is known which plugins there are, and so what unchanged files still need.
        let leading = phase.wait_for(|phase| *phase == Phase::Leading);
        if !matches!(drain.run_until_cancelled(leading).await, Some(Ok(_))) {
            return;
        }
        for library in &libraries {
            if !drain.is_cancelled() {
                scan(&store, library, &drain).await;
            }
        }
        tokio::select! {
            biased;
            () = drain.cancelled() => return,
            _ = hangups.recv() => info!("asked to scan again"),
            _ = due.tick(), if rescan.is_some() => info!("time to scan again"),
        }
    }
}

async fn scan(store: &Store, library: &Library, drain: &CancellationToken) {
    let root = match root_path(&library.path) {
        Ok(root) => root,
        Err(error) => {
            let (name, path) = (&library.name, library.path.display());
            return error!(library = name, %path, %error, "library cannot be scanned");
        }
    };
    let scan = LibraryScan { id: scan_id(), roots: vec![root], ..LibraryScan::default() };
    let progress = watch::Sender::new(Progress::default());
    let library = &library.name;
    info!(library, scan.id = scan.id, "scan begins");
    match Box::pin(scan.run(store, None, &progress, drain)).await {
        Ok(scanned) => {
            for root in &scanned.report.failed_roots {
                warn!(library, error = %broker_config::Chain(root), "a part was not scanned");
                if may_be_meant(root) {
                    warn!("{IF_MEANT}");
                }
            }
            for problem in &scanned.report.problems {
                info!(library, %problem, "left out");
            }
            let counts = &scanned.report.counts;
            info!(
                library,
                files = counts.files,
                submitted = counts.submitted,
                deleted = counts.deleted,
                unreadable = counts.unreadable,
                "scan ends"
            );
        }
        Err(error) => {
            error!(library, error = %broker_config::Chain(&error), "scan broke off; the next one goes on");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_has_a_name_and_a_path() {
        for path in [b"/a=b/c".as_slice(), b"/not utf-8 \xff"] {
            let path = OsStr::from_bytes(path);
            let mut given = std::ffi::OsString::from("films=");
            given.push(path);
            assert_eq!(library(&given), Ok(Library { name: "films".into(), path: path.into() }));
        }
        for text in [b"".as_slice(), b"films", b"=x", b"films=", b"\xff=x"] {
            assert!(library(OsStr::from_bytes(text)).is_err(), "{text:?}");
        }
    }
}
