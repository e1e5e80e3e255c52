//! `metafleet plugin test FILE.. -- CMD..`

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use broker_config::{Manifest, MetaMap};
use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::super::App;
use super::super::exit::{Exit, Failure};
use super::super::interrupt::in_order;
use super::super::time::{some_time, span};
use super::bench::{command, folder, manifest, pair, show, show_log};
use crate::author::events::Events;
use crate::author::process::{Program, WorkerProcess};
use crate::author::round::{self, FileReport, RoundError, Status, millis, until_ready};
use crate::author::trial::{Trial, TrialError};
use crate::author::watch::Watcher;
use crate::process::DEFAULT_GRACE;

/// A plugin that has said nothing for so long is perhaps still being built; a person is told.
const LONG: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// The files to run it on
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The plugin's manifest
    #[arg(long, value_name = "FILE", default_value = "manifest.json")]
    manifest: PathBuf,
    /// Its settings, as JSON or as a file with it
    #[arg(long, value_name = "JSON")]
    settings: Option<String>,
    /// One setting
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    config: Vec<(String, String)>,
    /// What other plugins have said of the files, as JSON or as a file with it
    #[arg(long, value_name = "JSON")]
    existing: Option<String>,
    /// Start the plugin anew when its files change, and run it on the files again
    #[arg(long)]
    watch: bool,
    /// How long it may take to be built and to announce itself, and how long for each file
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = some_time)]
    timeout: Duration,
    /// What runs the plugin [default: `./build`, then what the manifest's entryPoint names]
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// What came of all files.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    plugin: String,
    version: String,
    /// From the start of its process, in milliseconds.
    ready_ms: u64,
    files: Vec<FileReport>,
}

pub(crate) async fn run(app: &App, args: &TestArgs) -> Result<Exit, Failure> {
    let drain = CancellationToken::new();
    let work = async {
        // The start is not broken off: it takes a moment, and what it has made must be removed again.
        let mut bench = Box::pin(Bench::open(app, args)).await?;
        let ended = bench.run(&drain).await;
        bench.close().await;
        ended
    };
    in_order(drain.clone(), Box::pin(work)).await
}

/// The throw-away fleet and the plugin in it.
struct Bench<'a> {
    app: &'a App,
    args: &'a TestArgs,
    manifest: Manifest,
    given: Map<String, Value>,
    existing: MetaMap,
    trial: Trial,
    worker: WorkerProcess,
    watcher: Option<Watcher>,
}

impl<'a> Bench<'a> {
    async fn open(app: &'a App, args: &'a TestArgs) -> Result<Self, Failure> {
        let manifest = manifest(&args.manifest)?;
        let given = given(args)?;
        check_settings(&manifest, &given)?;
        let existing = match &args.existing {
            Some(text) => parse::<MetaMap>("--existing", text)?,
            None => MetaMap::new(),
        };
        let dir = folder(&args.manifest)?;
        let command = command(&args.command, &manifest, &dir)?;
        let missing = args.files.iter().find(|file| !file.is_file());
        if let Some(file) = missing {
            return Err(Failure::not_found(format!("there is no file {}", file.display())));
        }
        let watcher = if args.watch {
            let paths = std::iter::once(dir.clone()).chain(args.files.iter().cloned());
            Some(Watcher::new(paths.collect()).await)
        } else {
            None
        };
        // A relative folder would not be found from another one.
        let bin = std::path::absolute(app.data_dir()?.bin()).unwrap_or_default();
        let trial = Trial::start(&manifest, given.clone(), &bin).await?;
        let worker = WorkerProcess::new(Program {
            plugin: manifest.id.clone(),
            command,
            dir,
            name: format!("test-{}", manifest.id),
            connection: trial.plugin.clone(),
            prefix: trial.store.names().prefix().clone(),
            log_dir: trial.log_dir(),
            grace: DEFAULT_GRACE,
        });
        Ok(Self { app, args, manifest, given, existing, trial, worker, watcher })
    }

    async fn close(self) {
        self.worker.close().await;
        self.trial.stop().await;
    }

    async fn run(&mut self, drain: &CancellationToken) -> Result<Exit, Failure> {
        loop {
            let mut watcher = self.watcher.take();
            let changed = {
                let changed = async {
                    match &mut watcher {
                        Some(watcher) => watcher.changed().await,
                        None => std::future::pending().await,
                    }
                };
                tokio::pin!(changed);
                let ended = tokio::select! {
                    biased;
                    () = drain.cancelled() => return Ok(Exit::Interrupted),
                    changed = &mut changed => Err(changed),
                    ended = self.round() => Ok(ended),
                };
                match ended {
                    Err(changed) => changed,
                    Ok(ended) if !self.args.watch => return ended,
                    Ok(ended) => {
                        if let Err(failure) = ended {
                            self.complain(&failure);
                        }
                        self.app.out.say("waiting for changes; Ctrl-C ends");
                        tokio::select! {
                            biased;
                            () = drain.cancelled() => return Ok(Exit::Interrupted),
                            changed = changed => changed,
                        }
                    }
                }
            };
            self.watcher = watcher;
            self.app.out.say(&format!("{} changed, starting anew", names(&changed)));
            self.worker.stop().await;
            self.read_again();
        }
    }

    fn complain(&self, failure: &Failure) {
        self.app.out.say(&format!("error: {}", failure.what));
        if !failure.advice.is_empty() {
            self.app.out.say(&format!("       {}", failure.advice));
        }
    }

    /// Takes a changed manifest into account.
    fn read_again(&mut self) {
        match manifest(&self.args.manifest) {
            Ok(manifest) if manifest.id == self.manifest.id => {
                let dir = folder(&self.args.manifest);
                match dir.and_then(|dir| command(&self.args.command, &manifest, &dir)) {
                    Ok(command) => self.worker.run_instead(command),
                    Err(failure) => self.complain(&failure),
                }
                self.manifest = manifest;
                self.trial.say(&self.manifest, self.given.clone());
            }
            Ok(manifest) => {
                let id = manifest.id;
                self.app.out.say(&format!("it is called {id} now: begin anew for that"));
            }
            Err(failure) => self.complain(&failure),
        }
    }

    /// Starts the plugin and runs it on every file; says what came of it.
    async fn round(&mut self) -> Result<Exit, Failure> {
        let ended = self.files().await;
        match ended {
            Ok(report) => {
                let failed = report.files.iter().any(|file| file.status == Status::Failed);
                self.print(&report)?;
                if failed || self.app.globals.verbose > 0 {
                    show_log(|line| self.app.out.say(line), self.worker.log()).await;
                }
                Ok(if failed { Exit::Failure } else { Exit::Ok })
            }
            Err(failure) => {
                show_log(|line| self.app.out.say(line), self.worker.log()).await;
                Err(failure)
            }
        }
    }

    async fn files(&mut self) -> Result<Report, Failure> {
        let store = self.trial.store.clone();
        let id = self.manifest.id.clone();
        let mut events = Events::open(&store).await?;
        let Some(name) = self.worker.start() else {
            let what = format!("no instance can be called after {id}");
            return Err(Failure::usage(what));
        };
        let ready = until_ready(&store, &id, &name, &mut events);
        let ready = self.unless_it_ends(ready, "announce itself").await?;
        ready?;
        let mut report = Report {
            plugin: id.to_string(),
            version: self.manifest.version.to_string(),
            ready_ms: millis(self.worker.started().elapsed()),
            files: Vec::new(),
        };
        for file in &self.args.files {
            let tell = |text: &str| self.app.out.say(text);
            let run = round::run(&store, &self.manifest, file, &self.existing, tell);
            let what = format!("settle {}", file.display());
            let done = self.unless_it_ends(run, &what).await?;
            report.files.push(done?);
        }
        Ok(report)
    }

    /// Waits for something that the plugin is to bring about.
    async fn unless_it_ends<T>(
        &self,
        what: impl Future<Output = T>,
        shown: &str,
    ) -> Result<T, Failure> {
        let id = &self.manifest.id;
        let late = async {
            sleep(LONG.min(self.args.timeout)).await;
            let rest = self.args.timeout.saturating_sub(LONG);
            if !rest.is_zero() {
                self.app.out.say(&format!("{id} takes its time to {shown}; still waiting"));
                sleep(rest).await;
            }
        };
        tokio::select! {
            biased;
            done = what => Ok(done),
            exit = self.worker.ended() => {
                let what = format!("the process of {id} {} before it could {shown}", exit.reason);
                Err(Failure::new(Exit::Failure, what))
            }
            () = late => {
                let limit = span(self.args.timeout);
                let what = format!("{id} did not {shown} within {limit}");
                let advice = "see what it has printed; --timeout gives it more time";
                Err(Failure::new(Exit::TimedOut, what).advise(advice))
            }
        }
    }

    fn print(&self, report: &Report) -> Result<(), Failure> {
        self.app.out.document(report, |lines| {
            lines.line(&format!(
                "{} {} was ready after {} ms",
                report.plugin, report.version, report.ready_ms
            ));
            for file in &report.files {
                let status = file.status.as_str();
                let took = match &file.record {
                    Some(record) => format!(
                        " in {} ms, attempt {} took {} ms",
                        file.total_ms, record.attempt, record.duration_ms
                    ),
                    None => String::new(),
                };
                lines.title(&format!("{}: {status}{took}", file.file));
                if let Some(reason) = &file.reason {
                    lines.line(&format!("  {reason}"));
                }
                if let Some(record) = &file.record {
                    show(lines, record);
                }
            }
        })
    }
}

/// What changed, for a person.
fn names(changed: &[PathBuf]) -> String {
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match changed {
        [one] => name(one),
        [one, rest @ ..] => format!("{} and {} more", name(one), rest.len()),
        [] => "something".to_owned(),
    }
}

fn given(args: &TestArgs) -> Result<Map<String, Value>, Failure> {
    let mut given = match &args.settings {
        Some(text) => parse::<Map<String, Value>>("--settings", text)?,
        None => Map::new(),
    };
    let pairs = args.config.iter().cloned();
    given.extend(pairs.map(|(key, value)| (key, Value::String(value))));
    Ok(given)
}

fn check_settings(manifest: &Manifest, given: &Map<String, Value>) -> Result<(), Failure> {
    manifest.settings(given).map(drop).map_err(|problems| {
        Failure::usage(format!("settings: {}", problems.join("; ")))
            .advise("give them with --config KEY=VALUE, as configSchema of the manifest says")
    })
}

/// JSON on the command line, or in a file.
fn parse<T: serde::de::DeserializeOwned>(option: &str, text: &str) -> Result<T, Failure> {
    let is_json = text.trim_start().starts_with('{');
    let read = if is_json { Ok(text.to_owned()) } else { std::fs::read_to_string(Path::new(text)) };
    let json =
        read.map_err(|error| Failure::usage(format!("{option}: {text} cannot be read: {error}")))?;
    serde_json::from_str(&json)
        .map_err(|error| Failure::usage(format!("{option}: {error}")).advise("give a JSON object"))
}

impl From<RoundError> for Failure {
    fn from(error: RoundError) -> Self {
        let text = broker_config::Chain(&error).to_string();
        match error {
            RoundError::Rejected { .. } => Self::new(Exit::Failure, text)
                .advise("`metafleet plugin check` says what to do about a manifest"),
            RoundError::Unfit { .. } => Self::new(Exit::Failure, text),
            RoundError::File { .. } => Self::not_found(text),
            RoundError::Store(error) => error.into(),
        }
    }
}

impl From<TrialError> for Failure {
    fn from(error: TrialError) -> Self {
        match error {
            TrialError::Embedded(error) => error.into(),
            TrialError::Connect(error) => error.into(),
            TrialError::Apply(error) => error.into(),
            TrialError::Store(error) => error.into(),
            TrialError::Folder { .. } | TrialError::Coordinator => {
                Self::new(Exit::Failure, broker_config::Chain(&error).to_string())
            }
        }
    }
}
