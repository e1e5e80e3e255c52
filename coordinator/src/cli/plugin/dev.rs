//! `metafleet plugin dev [DIR] -- CMD..`

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use broker_config::wire::event::Fact;
use broker_config::wire::instance::InstanceState;
use broker_config::{InstanceId, Manifest, Record};
use clap::Args;
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::super::App;
use super::super::exit::{Exit, Failure};
use super::super::interrupt::in_order;
use super::super::output::count;
use super::super::session::{self, Running};
use super::bench::{command, folder, manifest, show};
use super::login::Guest;
use crate::author::events::Events;
use crate::author::process::{LogTail, Program, WorkerProcess};
use crate::author::round::millis;
use crate::author::watch::Watcher;
use crate::config::private_file;
use crate::fleet::GRACE;
use crate::store::Store;

/// How often the fleet and the log are looked at.
const LOOK: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// The folder of the plugin
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// What runs the plugin [default: `./build`, then what the manifest's entryPoint names]
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// A record of the plugin, with the file it is about.
#[derive(Serialize)]
struct Settled<'a> {
    file: String,
    record: &'a Record,
}

pub(crate) async fn run(app: &App, args: &DevArgs) -> Result<Exit, Failure> {
    let drain = CancellationToken::new();
    in_order(drain.clone(), Box::pin(work(app, args, &drain))).await
}

async fn work(app: &App, args: &DevArgs, drain: &CancellationToken) -> Result<Exit, Failure> {
    let file = args.dir.join("manifest.json");
    let manifest = manifest(&file)?;
    let dir = folder(&file)?;
    let command = command(&args.command, &manifest, &dir)?;
    let data_dir = app.data_dir()?;
    let reach = async |running: Running| {
        let client = session::connect(&running.connection).await?;
        let store = Store::open(client, running.names.clone()).await?;
        Ok((running, store))
    };
    let otherwise = async || {
        Err(Failure::new(Exit::Unreachable, "no fleet runs here").advise(
            "start one with `metafleet up`, or try the plugin alone with `metafleet plugin test`",
        ))
    };
    let (running, store) = session::running_or(app, &data_dir, reach, otherwise).await?;
    let log_dir = data_dir.log();
    let made = private_file::make_dir(&log_dir).map_err(|error| {
        Failure::because(Exit::Failure, &format!("make {}", log_dir.display()), &error)
    });
    let let_in = match made {
        Ok(()) => Guest::let_in(&running.connection, &data_dir, &manifest.id).await,
        Err(failure) => Err(failure),
    };
    let ended = match let_in {
        Ok(guest) => {
            let program = Program {
                plugin: manifest.id.clone(),
                command,
                dir: dir.clone(),
                name: format!("dev-{}-{}", manifest.id, std::process::id()),
                connection: guest.connection.clone(),
                prefix: running.names.prefix().clone(),
                log_dir,
                grace: GRACE,
            };
            let bench = Dev { app, manifest, store: &store, dir };
            let ended = bench.run(program, drain).await;
            guest.leave();
            ended
        }
        Err(failure) => Err(failure),
    };
    store.close().await;
    ended
}

struct Dev<'a> {
    app: &'a App,
    manifest: Manifest,
    store: &'a Store,
    dir: PathBuf,
}

impl Dev<'_> {
    async fn run(&self, program: Program, drain: &CancellationToken) -> Result<Exit, Failure> {
        self.say_who_else_is_there().await?;
        let mut watcher = Watcher::new(vec![self.dir.clone()]).await;
        let mut events = Events::open(self.store).await?;
        let mut worker = WorkerProcess::new(program);
        let ended = self.serve(&mut worker, &mut watcher, &mut events, drain).await;
        self.app.out.say("stopping; what it holds is finished first");
        worker.close().await;
        // What it has finished while it drained.
        let last = self.tell(&mut events, None).await;
        ended.and_then(|exit| last.map(|()| exit))
    }

    async fn serve(
        &self,
        worker: &mut WorkerProcess,
        watcher: &mut Watcher,
        events: &mut Events,
        drain: &CancellationToken,
    ) -> Result<Exit, Failure> {
        loop {
            let Some(name) = worker.start() else {
                return Err(Failure::usage("no instance can be called after this plugin"));
            };
            let mut log = worker.log().map(LogTail::new);
            let mut is_ready = false;
            let mut due = interval(LOOK);
            due.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut has_ended = false;
            // Kept from look to look: files have to rest for a moment.
            let changed = watcher.changed();
            tokio::pin!(changed);
            let changed = loop {
                tokio::select! {
                    biased;
                    () = drain.cancelled() => return Ok(Exit::Ok),
                    changed = &mut changed => break changed,
                    exit = worker.ended(), if !has_ended => {
                        has_ended = true;
                        self.tell_log(&mut log).await;
                        let id = &self.manifest.id;
                        self.app.out.say(&format!("{id} {}; waiting for changes", exit.reason));
                    }
                    _ = due.tick() => {
                        self.tell_log(&mut log).await;
                        self.tell(events, Some(&name)).await?;
                        if !is_ready && self.is_ready(&name).await? {
                            is_ready = true;
                            let took = millis(worker.started().elapsed());
                            let id = &self.manifest.id;
                            self.app.out.say(&format!("{id} is ready after {took} ms as {name}"));
                        }
                    }
                }
            };
            let count = count(changed.len() as u64, "file");
            self.app.out.say(&format!("{count} changed, starting anew"));
            worker.stop().await;
            self.tell_log(&mut log).await;
        }
    }

    async fn is_ready(&self, name: &InstanceId) -> Result<bool, Failure> {
        let instances = self.store.instances().await?;
        let mut all = instances.get(&self.manifest.id).into_iter().flatten();
        Ok(all.any(|it| it.instance == *name && it.state == InstanceState::Ready))
    }

    async fn tell_log(&self, log: &mut Option<LogTail>) {
        if let Some(log) = log {
            for line in log.read().await {
                self.app.out.say(&format!("| {line}"));
            }
        }
    }

    /// Says what the fleet has of this plugin, which stays as it is.
    async fn say_who_else_is_there(&self) -> Result<(), Failure> {
        let id = &self.manifest.id;
        let known = self.store.plugin(id).await?;
        let version = &self.manifest.version;
        if let Some(known) = &known
            && known.entry.manifest.version != *version
        {
            let other = &known.entry.manifest.version;
            self.app.out.say(&format!(
                "the fleet has {id} {other}: {version} takes its place when it is the higher one, or waits; \
                 `metafleet plugin rollback {id}` goes back"
            ));
        }
        let instances = self.store.instances().await?;
        let others = instances.get(id).map_or(0, Vec::len) as u64;
        if others > 0 {
            let others = count(others, "instance");
            self.app.out.say(&format!(
                "{others} of {id} in this fleet stay as they are and share the work with this one"
            ));
        }
        Ok(())
    }

    /// Prints what has come of files, by whichever instance of the plugin.
    async fn tell(&self, events: &mut Events, mine: Option<&InstanceId>) -> Result<(), Failure> {
        let mut shown = BTreeMap::new();
        let read = match events.read().await {
            Ok(read) => read,
            // It comes back, and then the same is read.
            Err(error) if error.is_retryable() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let id = &self.manifest.id;
        for fact in read {
            if let Fact::TaskSettled { cid, plugin_id, revision, .. } = &fact
                && plugin_id == id
            {
                shown.insert(*revision, cid.clone());
            }
            if let Fact::TaskRetrying { plugin_id, attempt, error, .. } = &fact
                && plugin_id == id
            {
                self.app.out.say(&format!("attempt {attempt} failed: {error}"));
            }
            if let Fact::PluginRejected { plugin_id, reasons } = fact
                && plugin_id == *id
            {
                self.app.out.say(&format!("the fleet does not take it: {}", reasons.join("; ")));
            }
        }
        for cid in shown.into_values() {
            let Some((_, record)) = self.store.records(&cid).await?.remove(id) else { continue };
            let paths = self.store.paths_of(&cid).await?;
            let file =
                paths.first().map_or_else(|| cid.to_string(), |it| it.path.display().to_string());
            let by = match &record.instance {
                Some(instance) if Some(instance) != mine => format!(" by {instance}"),
                Some(_) | None => String::new(),
            };
            let settled = Settled { file, record: &record };
            self.app.out.document(&settled, |lines| {
                let (status, took) = (record.status.as_str(), record.duration_ms);
                lines.title(&format!("{}: {status} in {took} ms{by}", settled.file));
                show(lines, &record);
            })?;
        }
        Ok(())
    }
}
