//! Built-in plugins in this process: no program to start, no isolation either.
//!
//! ```text
//! plugins.yml ─► wanted ─► one task per instance: a thread with a runtime ─► worker ─► ended
//!                                  ▲                                                    │
//!                                  └──────────── pause, longer each time ◄──────────────┘
//! ```
//!
//! Each instance has a runtime of its own, so that a plugin that blocks or panics disturbs neither
//! the coordinator nor other plugins. A panic in a task fails that task; one that ends the worker
//! has it started again.

mod instance;
pub mod wanted;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use broker_config::{InstanceId, Manifest, PluginId, Prefix};
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};
use worker_sdk::{Plugin, Worker, WorkerError, WorkerOptions};

use self::instance::{Board, Instance};
pub use self::wanted::{Instances, Plan, Wanted, wanted};
use crate::nats_server::Access;
use crate::process::ProcessState;
use crate::process::restart::RestartPolicy;

/// Runs a worker until it is told to stop.
type Run = dyn Fn(WorkerOptions, CancellationToken) -> BoxFuture<'static, Result<(), WorkerError>>
    + Send
    + Sync;

/// A plugin that is part of this program.
#[derive(Clone)]
pub struct Builtin {
    manifest: Arc<dyn Fn() -> Manifest + Send + Sync>,
    run: Arc<Run>,
}

/// All plugins that are part of this program.
pub type Builtins = BTreeMap<PluginId, Builtin>;

impl fmt::Debug for Builtin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builtin").finish_non_exhaustive()
    }
}

impl Builtin {
    /// The plugin that `make` makes, once for each start of an instance.
    pub fn new<P: Plugin>(make: fn() -> P) -> Self {
        Self {
            manifest: Arc::new(move || make().manifest()),
            run: Arc::new(move |options, drain| Box::pin(Worker::new(make(), options).run(drain))),
        }
    }

    /// What it says about itself.
    #[must_use]
    pub fn manifest(&self) -> Manifest {
        (self.manifest)()
    }
}

/// How instances are run.
#[derive(Clone, Debug)]
pub struct InternalOptions {
    /// What there is to be run.
    pub builtins: Builtins,
    /// How they reach the broker.
    pub access: Access,
    /// The fleet's prefix.
    pub prefix: Prefix,
    /// How long one may take to stop.
    pub grace: Duration,
    /// How soon one that has ended is started again.
    pub restart: RestartPolicy,
}

/// What is known about one instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InternalInfo {
    /// `plugin-<id>-<n>`.
    pub name: InstanceId,
    /// The plugin it runs.
    pub plugin: PluginId,
    /// `internal`; it has no process of its own.
    pub runtime: &'static str,
    /// How it is.
    pub state: ProcessState,
    /// Times it was started again.
    pub restarts: u32,
    /// When it was started.
    pub started: Option<Timestamp>,
    /// When it will be started again.
    pub next_start: Option<Timestamp>,
    /// How it ended the last time.
    pub last_error: Option<String>,
}

/// Runs the instances; see [`InternalRuntime::run`].
#[derive(Debug)]
pub struct InternalRuntime {
    options: InternalOptions,
    wanted: watch::Receiver<Instances>,
    board: Board,
}

/// Says what is to run, and shows what runs.
#[derive(Clone, Debug)]
pub struct InternalHandle {
    wanted: watch::Sender<Instances>,
    board: watch::Receiver<BTreeMap<InstanceId, InternalInfo>>,
}

impl InternalHandle {
    /// Replaces what is to run.
    pub fn set_wanted(&self, instances: Instances) {
        self.wanted.send_replace(instances);
    }

    /// Everything that runs or is to be started again, in the order of names.
    #[must_use]
    pub fn list(&self) -> Vec<InternalInfo> {
        self.board.borrow().values().cloned().collect()
    }

    /// Follows the list.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<BTreeMap<InstanceId, InternalInfo>> {
        self.board.clone()
    }
}

/// An instance that is being run.
struct Running {
    wanted: Wanted,
    stop: CancellationToken,
}

impl InternalRuntime {
    /// A runtime that runs nothing yet.
    #[must_use]
    pub fn new(options: InternalOptions) -> (Self, InternalHandle) {
        let (sender, wanted) = watch::channel(Instances::new());
        let (board, receiver) = Board::new();
        let handle = InternalHandle { wanted: sender, board: receiver };
        (Self { options, wanted, board }, handle)
    }

    /// Runs what is wanted until `drain` is cancelled, then drains all and returns when they have
    /// ended.
    pub async fn run(mut self, drain: CancellationToken) {
        let mut tasks: JoinSet<()> = JoinSet::new();
        let mut names: HashMap<Id, InstanceId> = HashMap::new();
        let mut running: BTreeMap<InstanceId, Running> = BTreeMap::new();
        let (mut draining, mut deaf) = (false, false);
        loop {
            let wanted =
                if draining { Instances::new() } else { self.wanted.borrow_and_update().clone() };
            for name in to_stop(&wanted, &running) {
                if let Some(running) = running.get(&name) {
                    running.stop.cancel();
                }
            }
            for wanted in wanted.into_values() {
                let name = wanted.name.clone();
                let Some(builtin) = self.options.builtins.get(&wanted.plugin) else { continue };
                if running.contains_key(&name) {
                    continue;
                }
                let stop = CancellationToken::new();
                let instance = Instance {
                    wanted: wanted.clone(),
                    run: builtin.run.clone(),
                    options: self.options.clone(),
                    board: self.board.clone(),
                };
                names.insert(tasks.spawn(instance.run(stop.clone())).id(), name.clone());
                running.insert(name, Running { wanted, stop });
            }
            if draining && running.is_empty() {
                break;
            }
            tokio::select! {
                biased;
                () = drain.cancelled(), if !draining => draining = true,
                Some(ended) = tasks.join_next_with_id() => {
                    let id = match ended {
                        Ok((id, ())) => id,
                        Err(failed) => {
                            error!(error = %failed, "supervising a built-in plugin failed");
                            failed.id()
                        }
                    };
                    if let Some(name) = names.remove(&id) {
                        running.remove(&name);
                        self.board.remove(&name);
                    }
                }
                changed = self.wanted.changed(), if !draining && !deaf => deaf = changed.is_err(),
            }
        }
        info!("all built-in plugins have stopped");
    }
}

/// Those that run and are not wanted as they run; each is told once.
fn to_stop(wanted: &Instances, running: &BTreeMap<InstanceId, Running>) -> BTreeSet<InstanceId> {
    let differs = |(name, runs): &(&InstanceId, &Running)| {
        wanted.get(*name) != Some(&runs.wanted) && !runs.stop.is_cancelled()
    };
    running.iter().filter(differs).map(|(name, _)| name.clone()).collect()
}
