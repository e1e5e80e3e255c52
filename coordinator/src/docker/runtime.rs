//! The actor: looks, decides, acts, and does so again whenever something may have changed.

mod dry;
mod networks;
mod round;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use broker_config::{Chain, InstanceId, PluginId};
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

pub use self::dry::dry_run;
use self::networks::Networks;
use self::work::Done;
use super::broker::Broker;
use super::engine::{Engine, EngineError};
use super::firewall::Firewall;
use super::info::ContainerInfo;
use super::memory::{Memory, Moment};
use super::wanted::Instances;
use super::{DockerHandle, DockerOptions, Signs, secrets};

/// A full look at the latest after this long, whatever the engine tells.
const LOOK: Duration = Duration::from_secs(10);
/// Changes come in bursts: one look for all that comes in this time.
const GATHER: Duration = Duration::from_millis(100);
/// Pauses while the engine is away: the first and the longest.
const AWAY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// Instances that may wait to be started anew; whoever finds no place asks again later.
const RESTARTS: usize = 64;
/// How long stopping may take beyond what containers have.
const DRAIN_MARGIN: Duration = Duration::from_secs(50);

type Events = Pin<Box<dyn Stream<Item = ()> + Send>>;

/// Runs the containers; see [`DockerRuntime::run`].
#[derive(Debug)]
pub struct DockerRuntime {
    options: DockerOptions,
    wanted: watch::Receiver<Instances>,
    signs: watch::Receiver<Signs>,
    restarts: mpsc::Receiver<InstanceId>,
    board: watch::Sender<BTreeMap<InstanceId, ContainerInfo>>,
    there: watch::Sender<BTreeSet<InstanceId>>,
}

/// What lives as long as the actor.
struct Actor {
    begun: Instant,
    options: DockerOptions,
    board: watch::Sender<BTreeMap<InstanceId, ContainerInfo>>,
    /// Instances that have a container, or are about to.
    there: watch::Sender<BTreeSet<InstanceId>>,
    memory: BTreeMap<InstanceId, Memory>,
    /// Instances with a step under way.
    busy: BTreeSet<InstanceId>,
    /// Images that are being pulled, and when one that could not be may be tried again.
    pulling: BTreeSet<String>,
    pulls: BTreeMap<String, Memory>,
    tasks: JoinSet<Done>,
    networks: Networks,
    /// What was told last of each problem, so that it is told once.
    told: BTreeMap<String, String>,
    /// Whether there ever was a container of the fleet.
    has_seen: bool,
    /// What the last look found running and should give signs of life on the broker.
    running: BTreeSet<InstanceId>,
}

/// What a round has left to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Rest {
    /// Something of the fleet is still there.
    is_there: bool,
    /// When something becomes due.
    due: Option<Moment>,
}

impl DockerRuntime {
    /// A runtime that runs nothing yet.
    #[must_use]
    pub fn new(options: DockerOptions) -> (Self, DockerHandle) {
        let (wanted_sender, wanted) = watch::channel(Instances::new());
        let (signs_sender, signs) = watch::channel(Signs::default());
        let (board, receiver) = watch::channel(BTreeMap::new());
        let (restarts_sender, restarts) = mpsc::channel(RESTARTS);
        let (there, seen) = watch::channel(BTreeSet::new());
        let handle = DockerHandle {
            wanted: wanted_sender,
            board: receiver,
            signs: signs_sender,
            restarts: restarts_sender,
            there: seen,
        };
        (Self { options, wanted, signs, restarts, board, there }, handle)
    }

    /// Says where the bridge listens, for HTTP plugins: callbacks and metadata.
    pub const fn set_bridge(&mut self, bridge: (SocketAddr, SocketAddr)) {
        self.options.bridge = Some(bridge);
    }

    /// Runs what is wanted until `drain` is cancelled, then stops and removes all and returns when
    /// every container of the fleet is gone.
    pub async fn run(mut self, drain: CancellationToken) {
        let firewall = match Firewall::open(self.options.fleet.clone()).await {
            Ok(firewall) => Some(firewall),
            Err(reason) => {
                warn!(reason, "containers can reach what listens on all addresses of this machine");
                None
            }
        };
        let mut actor = Actor {
            begun: Instant::now(),
            networks: Networks::new(self.options.fleet.clone(), firewall),
            options: self.options.clone(),
            board: self.board.clone(),
            there: self.there.clone(),
            memory: BTreeMap::new(),
            busy: BTreeSet::new(),
            pulling: BTreeSet::new(),
            pulls: BTreeMap::new(),
            tasks: JoinSet::new(),
            told: BTreeMap::new(),
            has_seen: false,
            running: BTreeSet::new(),
        };
        let mut engine: Option<(Engine, Events)> = None;
        let mut pause = AWAY.0;
        let mut until: Option<Instant> = None;
        let mut is_clean = false;
        loop {
            if drain.is_cancelled() && until.is_none() {
                until = Some(Instant::now() + self.options.grace + DRAIN_MARGIN);
            }
            let instances = match until {
                Some(_) => Instances::new(),
                None => self.wanted.borrow_and_update().clone(),
            };
            let rest = match actor.round(&mut engine, &instances, until.is_some()).await {
                Ok(rest) => {
                    pause = AWAY.0;
                    rest
                }
                Err(error) => {
                    engine = None;
                    actor.tell("engine", Some(Chain(&error).to_string()));
                    let due = Some(actor.now() + pause);
                    pause = (pause * 2).min(AWAY.1);
                    // Without an engine there never was a container to wait for.
                    Rest { is_there: actor.has_seen, due }
                }
            };
            if let Some(until) = until {
                // What is still being pulled nobody needs any more.
                if !rest.is_there && actor.busy.is_empty() {
                    is_clean = engine.is_some();
                    break;
                }
                if Instant::now() >= until {
                    error!("containers of this fleet are left; the next start goes on with them");
                    break;
                }
            }
            let wake = actor.begun + rest.due.unwrap_or(Moment::MAX).min(actor.now() + LOOK);
            tokio::select! {
                () = drain.cancelled(), if until.is_none() => {}
                Some(done) = actor.tasks.join_next() => actor.done(done),
                Ok(()) = self.wanted.changed(), if until.is_none() => {}
                Ok(()) = self.signs.changed() => {
                    let signs = self.signs.borrow_and_update().clone();
                    actor.sign(&signs);
                }
                Some(name) = self.restarts.recv() => actor.give_up(&name),
                () = next(&mut engine) => {}
                () = sleep_until(wake) => {}
            }
        }
        actor.tasks.shutdown().await;
        actor.networks.close().await;
        if is_clean {
            // While they are there, the next start looks for containers that were left.
            secrets::remove(&self.options.secrets);
            info!("all plugin containers have stopped");
        }
    }
}

/// Waits for an event of the engine, and for those that come with it; for ever when there are none
/// to come.
///
/// # Cancel safety
///
/// Cancel safe: whatever comes instead leads to a look, too.
async fn next(engine: &mut Option<(Engine, Events)>) {
    let Some((_, events)) = engine else { return std::future::pending().await };
    if events.next().await.is_some() {
        sleep(GATHER).await;
        while let Some(Some(())) = events.next().now_or_never() {}
    } else {
        // The engine has closed the stream; the next look finds out why.
        sleep(AWAY.0).await;
        *engine = None;
    }
}

impl Actor {
    fn now(&self) -> Moment {
        self.begun.elapsed()
    }

    /// The engine; connects when there is no connection.
    async fn engine(&self, engine: &mut Option<(Engine, Events)>) -> Result<Engine, EngineError> {
        if let Some((engine, _)) = engine {
            return Ok(engine.clone());
        }
        let made = Engine::connect(&self.options.address).await?;
        let events: Events = Box::pin(made.events(&self.options.fleet));
        *engine = Some((made.clone(), events));
        Ok(made)
    }

    /// Takes in that an instance does not serve.
    fn give_up(&mut self, name: &InstanceId) {
        if let Some(memory) = self.memory.get_mut(name) {
            memory.give_up();
        }
    }

    /// Takes in a look at the signs of life of what runs.
    fn sign(&mut self, signs: &Signs) {
        for name in &self.running {
            let is_alive = signs.0.contains(name);
            self.memory.entry(name.clone()).or_default().sign(is_alive);
        }
    }

    /// Tells a problem once, and its end.
    fn tell(&mut self, about: &str, problem: Option<String>) {
        let before = match &problem {
            Some(problem) => self.told.insert(about.to_owned(), problem.clone()),
            None => self.told.remove(about),
        };
        match problem {
            Some(problem) if before.as_ref() != Some(&problem) => warn!(about, "{problem}"),
            None if before.is_some() => info!(about, "the problem is gone"),
            Some(_) | None => {}
        }
    }

    fn secrets_of(&self, plugin: &PluginId, broker: &Broker) -> Result<PathBuf, String> {
        secrets::write(&self.options.secrets, plugin, broker)
            .map_err(|error| format!("could not write its secrets: {error}"))
    }
}
