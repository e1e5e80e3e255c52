//! Plugins as child processes: as many as wanted, started again when they die.
//!
//! ```text
//! plugins.yml ─┐
//!              ├─► wanted ─► reconcile ─► one task per instance: start ─► run ─► ended
//! plugin dirs ─┘                                   ▲                             │
//!                                                  └──── pause, longer each time ┘
//! ```
//!
//! What is wanted can change at any time. An instance whose description changes is stopped and
//! then started anew; the others are not touched. Nothing here talks to the broker.

pub mod confine;
pub mod discover;
pub mod info;
pub(crate) mod log;
pub mod masks;
mod naming;
pub mod reconcile;
pub mod restart;
mod supervise;
#[cfg(test)]
mod tests;
pub mod wanted;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use broker_config::InstanceId;
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

pub use self::confine::Confines;
pub use self::discover::{Discovered, discover};
pub use self::info::{LastExit, ProcessInfo, ProcessState};
pub use self::masks::Masks;
pub use self::naming::instance_name;
use self::reconcile::{Action, Running, reconcile};
use self::restart::RestartPolicy;
use self::supervise::{Board, Instance};
pub use self::wanted::{Surroundings, Wanted, wanted};
use crate::exec::Guard;

/// Instances by name.
pub type Instances = BTreeMap<InstanceId, Wanted>;

/// How processes are run.
#[derive(Clone, Debug)]
pub struct ProcessOptions {
    /// What starts the programs.
    pub guard: Guard,
    /// Where what they print is kept.
    pub log_dir: PathBuf,
    /// How long a process may take to stop before it is killed with all it has started.
    pub grace: Duration,
    /// How soon one that has died is started again.
    pub restart: RestartPolicy,
    /// What of their output is not to be seen.
    pub masks: Masks,
}

/// Instances that may wait to be started anew; whoever finds no place asks again later.
const RESTARTS: usize = 64;
/// How long a process may take to stop, unless told otherwise.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// Runs the processes; see [`ProcessRuntime::run`].
#[derive(Debug)]
pub struct ProcessRuntime {
    options: ProcessOptions,
    wanted: watch::Receiver<Instances>,
    restarts: mpsc::Receiver<InstanceId>,
    hurried: watch::Receiver<BTreeSet<InstanceId>>,
    board: Board,
}

/// Says what is to run, and shows what runs.
#[derive(Clone, Debug)]
pub struct ProcessHandle {
    wanted: watch::Sender<Instances>,
    restarts: mpsc::Sender<InstanceId>,
    hurried: watch::Sender<BTreeSet<InstanceId>>,
    board: watch::Receiver<BTreeMap<InstanceId, ProcessInfo>>,
}

impl ProcessHandle {
    /// Replaces what is to run.
    pub fn set_wanted(&self, instances: Instances) {
        self.wanted.send_replace(instances);
    }

    /// Names the instances that are killed when they are told to stop, instead of being asked, until
    /// other ones are named.
    pub fn hurry(&self, names: BTreeSet<InstanceId>) {
        self.hurried.send_if_modified(|hurried| {
            let is_new = *hurried != names;
            *hurried = names;
            is_new
        });
    }

    /// Takes the names of instances that are to be stopped and started anew, e.g. because they do
    /// not answer any more.
    #[must_use]
    pub fn restarts(&self) -> mpsc::Sender<InstanceId> {
        self.restarts.clone()
    }

    /// Everything that runs or is to be started again, in the order of names.
    #[must_use]
    pub fn list(&self) -> Vec<ProcessInfo> {
        self.board.borrow().values().cloned().collect()
    }

    /// Follows the list.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<BTreeMap<InstanceId, ProcessInfo>> {
        self.board.clone()
    }
}

impl ProcessRuntime {
    /// A runtime that runs nothing yet.
    #[must_use]
    pub fn new(options: ProcessOptions) -> (Self, ProcessHandle) {
        let (sender, wanted) = watch::channel(Instances::new());
        let (restarts, to_restart) = mpsc::channel(RESTARTS);
        let (hurry, hurried) = watch::channel(BTreeSet::new());
        let (board, receiver) = Board::new();
        let handle = ProcessHandle { wanted: sender, restarts, hurried: hurry, board: receiver };
        (Self { options, wanted, restarts: to_restart, hurried, board }, handle)
    }

    /// Runs what is wanted until `drain` is cancelled, then stops all and returns when every
    /// process is gone.
    ///
    /// Run it on threads that live as long as the process; see [`crate::exec`].
    pub async fn run(mut self, drain: CancellationToken) {
        let mut tasks: JoinSet<()> = JoinSet::new();
        let mut names: HashMap<Id, InstanceId> = HashMap::new();
        let mut running: BTreeMap<InstanceId, Running> = BTreeMap::new();
        let (mut draining, mut deaf) = (false, false);
        loop {
            let wanted =
                if draining { Instances::new() } else { self.wanted.borrow_and_update().clone() };
            for action in reconcile(&wanted, &running) {
                match action {
                    Action::Start(wanted) => {
                        let stop = CancellationToken::new();
                        let wanted = *wanted;
                        let instance = self.instance(wanted.clone());
                        let id = tasks.spawn(instance.run(stop.clone())).id();
                        names.insert(id, wanted.name.clone());
                        running.insert(wanted.name.clone(), Running { wanted, stop });
                    }
                    Action::Stop(name) => {
                        if let Some(running) = running.get(&name) {
                            running.stop.cancel();
                        }
                    }
                }
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
                            error!(error = %failed, "supervising an instance failed");
                            failed.id()
                        }
                    };
                    if let Some(name) = names.remove(&id) {
                        running.remove(&name);
                        if !draining {
                            self.board.remove(&name);
                        }
                    }
                }
                // Started again by the next round, because it is still wanted.
                Some(name) = self.restarts.recv(), if !draining => {
                    if let Some(running) = running.get(&name) {
                        running.stop.cancel();
                    }
                }
                changed = self.wanted.changed(), if !draining && !deaf => deaf = changed.is_err(),
            }
        }
        info!("all plugin processes have stopped");
    }

    fn instance(&self, wanted: Wanted) -> Instance {
        let (options, hurried) = (self.options.clone(), self.hurried.clone());
        Instance { wanted, options, hurried, board: self.board.clone() }
    }
}
