//! One machine's fleet: the broker of the data folder or one that exists, a coordinator, plugins
//! as processes and containers; and the scans that hand files to it.
//!
//! Start: broker → streams → coordinator → plugins → `fleet.json`. Stop: coordinator, so that
//! nothing new is published → the bridge, which finishes what HTTP plugins hold → plugins, which finish
//! what they hold → broker. Whatever dies in between, all state is in the broker's streams, and the next start goes on from there.

pub mod containers;
pub mod embedded;
mod failing;
pub mod follow;
mod http;
pub mod library;
mod mark;
pub mod plugins;
mod reload;
mod versions;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use broker_config::apply::{apply, check_server};
use broker_config::topology::Topology;
use broker_config::{ApplyError, Names};
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::error;

use self::embedded::{EmbeddedBroker, EmbeddedError};
use self::plugins::{PluginPlan, PluginSources};
use self::reload::Reload;
use crate::bridge::{Addresses, Bridge, BridgeOptions, Troubles};
use crate::config::connection::{ConnectError, Origin};
use crate::config::data_dir::{DataDirError, FleetLock};
use crate::config::plugins::ReadPluginsError;
use crate::config::{Connection, DataDir, Env, FleetFile};
use crate::docker::{DockerHandle, DockerRuntime};
use crate::exec::Guard;
use crate::http::BindError;
use crate::process::restart::RestartPolicy;
use crate::process::{ProcessHandle, ProcessOptions, ProcessRuntime, Surroundings};
use crate::service::{Coordinator, CoordinatorError, CoordinatorHandle, CoordinatorOptions};
use crate::store::{Store, StoreError};

/// How long plugins may take to finish what they hold.
pub const GRACE: Duration = Duration::from_secs(30);
/// How long the coordinator may take to stop; it has nothing to finish.
const COORDINATOR_GRACE: Duration = Duration::from_secs(10);

/// What a fleet is started with.
#[derive(Clone, Debug)]
pub struct FleetOptions {
    /// Where everything is kept.
    pub data_dir: DataDir,
    /// A broker that exists; `None` = one of our own.
    pub connection: Option<Connection>,
    /// Where plugins are found, and what a person says of them.
    pub plugins: PluginSources,
    /// Where HTTP plugins reach the fleet; nothing listens unless there is one.
    pub http: Addresses,
    /// Folders and files that plugins read: containers see nothing else of this machine.
    pub roots: Vec<PathBuf>,
    /// How long plugins may take to stop.
    pub grace: Duration,
    /// Whether it runs for one command only.
    pub temporary: bool,
    /// The coordinator's options; names, node and all about plugins are filled in.
    pub coordinator: CoordinatorOptions,
}

/// A running fleet.
#[derive(Debug)]
pub struct Fleet {
    /// Its state.
    pub store: Store,
    /// How to reach its broker.
    pub connection: Connection,
    /// What the coordinator is doing.
    pub coordinator: CoordinatorHandle,
    /// What the plugin processes are doing.
    pub processes: ProcessHandle,
    /// What the plugin containers are doing.
    pub containers: DockerHandle,
    /// What is wrong with plugins or `plugins.yml`; each was passed over.
    pub problems: Vec<String>,
    /// Whether any plugin is started here.
    pub has_plugins: bool,
    /// Told when `plugins.yml` and the plugin folders are to be read again at once.
    pub reload: Arc<Notify>,
    /// Serves HTTP plugins, if there are any.
    pub bridge: Option<Bridge>,
    coordinating: JoinSet<Result<(), CoordinatorError>>,
    coordinator_drain: CancellationToken,
    processing: JoinSet<()>,
    process_drain: CancellationToken,
    base: Base,
}

/// What the rest stands on; the lock goes last.
#[derive(Debug)]
enum Base {
    Own(Box<EmbeddedBroker>),
    Existing(FleetLock),
}

/// A fleet could not be started.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The data folder or its broker.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// The data folder.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The broker that exists.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Its streams.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The connection.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The list of plugins.
    #[error(transparent)]
    Plugins(#[from] ReadPluginsError),
    /// The addresses for HTTP plugins.
    #[error("HTTP plugins could not be served")]
    Http(#[from] BindError),
}

impl Fleet {
    /// Starts everything; returns when the streams are there and the plugins are being started.
    ///
    /// Call it on a thread that lives as long as the process; see [`crate::exec`].
    ///
    /// # Errors
    ///
    /// [`FleetError`] says which part does not start; the others have been stopped.
    pub async fn start(options: FleetOptions) -> Result<Self, FleetError> {
        let FleetOptions {
            data_dir,
            connection,
            plugins,
            http,
            roots,
            grace,
            temporary,
            coordinator,
        } = options;
        let names = coordinator.names.clone();
        let (base, connection, plugin_connection) = match connection {
            Some(connection) => {
                let lock = data_dir.lock().await?;
                (Base::Existing(lock), connection.clone(), connection)
            }
            None => {
                let broker = EmbeddedBroker::start(data_dir.clone(), names.clone()).await?;
                let (own, plugin) =
                    (broker.handle.coordinator.clone(), broker.handle.plugin.clone());
                (Base::Own(Box::new(broker)), own, plugin)
            }
        };
        let surroundings =
            Surroundings::new(plugin_connection.clone(), names.prefix().clone(), grace, &Env);
        let (runtime, processes) = ProcessRuntime::new(ProcessOptions {
            guard: Guard::this_program(),
            log_dir: data_dir.log(),
            grace,
            restart: RestartPolicy::default(),
        });
        let prepared = async {
            let boxed = containers::surroundings(&data_dir, names.prefix(), grace, &roots)?;
            let make = |decided: &_| PluginPlan::make(&plugins, &surroundings, &boxed, decided);
            // Before the broker is asked for anything: what a person has written wrong is told first.
            make(&BTreeMap::new())?;
            let client = connection.connect("metafleet-coordinator").await?;
            prepare(&client, &names, coordinator.replicas).await?;
            let store = Store::open(client, names.clone()).await?;
            let mut decided = versions::decided(&store).await?;
            let mut plan = make(&decided)?;
            if versions::begin_new(&store, &plan).await? {
                decided = versions::decided(&store).await?;
                plan = make(&decided)?;
            }
            let node = data_dir.node_id()?;
            let (bridge, followed) = if plan.http.is_empty() {
                (None, Vec::new())
            } else {
                let (plugins, followed) = plan.http.clone().split(&processes);
                let options = BridgeOptions {
                    plugins,
                    addresses: http,
                    connection: plugin_connection,
                    prefix: names.prefix().clone(),
                    grace,
                    store: store.clone(),
                };
                (Some(Bridge::start(options).await?), followed)
            };
            Ok((plan, decided, boxed, store, node, bridge, followed))
        };
        let (plan, decided, boxed, store, node, bridge, followed) = match prepared.await {
            Ok(prepared) => prepared,
            Err(error) => {
                base.stop().await;
                return Err(error);
            }
        };

        let options =
            CoordinatorOptions { node, word: plan.word(), drop_unexpected: true, ..coordinator };
        let (service, handle) = Coordinator::new(store.client().clone(), options);
        let coordinator_drain = CancellationToken::new();
        let mut coordinating = JoinSet::new();
        coordinating.spawn(service.run(coordinator_drain.clone()));

        let process_drain = CancellationToken::new();
        let mut processing = JoinSet::new();
        processing.spawn(runtime.run(process_drain.clone()));
        let troubles = bridge.as_ref().map(Bridge::watch_troubles).unwrap_or_default();
        let told = failing::tell(store.clone(), processes.watch(), troubles, process_drain.clone());
        processing.spawn(told);
        processing.spawn(http::follow(followed, processes.watch(), process_drain.clone()));
        let options = containers::options(&data_dir, &boxed, &surroundings.connection);
        let (runtime, containers) = DockerRuntime::new(options);
        let uses_containers = !plan.containers.is_empty();
        let runs_containers = uses_containers || containers::may_be_left(&data_dir);
        if runs_containers {
            processing.spawn(runtime.run(process_drain.clone()));
            let (stop, none) = (process_drain.clone(), Troubles::default());
            processing.spawn(failing::tell(store.clone(), containers.watch(), none, stop));
            let stop = process_drain.clone();
            processing.spawn(containers::tell_signs(store.clone(), containers.clone(), stop));
        }
        let has_plugins = uses_containers || !plan.instances.is_empty() || bridge.is_some();
        processes.set_wanted(plan.instances.clone());
        containers.set_wanted(plan.containers.clone());
        let reload = Arc::new(Notify::new());
        let following = Reload {
            sources: plugins,
            surroundings,
            boxed,
            processes: processes.clone(),
            containers: runs_containers.then(|| containers.clone()),
            coordinator: handle.clone(),
            store: store.clone(),
            asked: reload.clone(),
            decided,
        };
        let problems = plan.problems.clone();
        processing.spawn(following.run(plan, process_drain.clone()));

        let fleet = Self {
            connection,
            coordinator: handle,
            processes,
            containers,
            problems,
            reload,
            has_plugins,
            bridge,
            coordinating,
            coordinator_drain,
            processing,
            process_drain,
            base,
            store,
        };
        match fleet.publish(temporary) {
            Ok(()) => Ok(fleet),
            Err(error) => {
                fleet.stop().await;
                Err(error.into())
            }
        }
    }

    /// Tells other commands how to reach it.
    fn publish(&self, temporary: bool) -> Result<(), DataDirError> {
        self.base.lock().publish(&FleetFile {
            connection: Connection { origin: Origin::Fleet, ..self.connection.clone() },
            pid: std::process::id(),
            prefix: self.store.names().prefix().clone(),
            started: Timestamp::now(),
            temporary,
        })
    }

    /// Tells other commands no longer how to reach it, because it is about to stop.
    pub fn withdraw(&self) {
        self.base.lock().withdraw();
    }

    /// Waits until the coordinator has ended by itself, which it does only when it cannot go on.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn failed(&mut self) -> CoordinatorError {
        loop {
            match self.coordinating.join_next().await {
                Some(Ok(Err(error))) => return error,
                Some(Ok(Ok(()))) => {}
                Some(Err(error)) => error!(%error, "the coordinator failed"),
                // It has ended well, which only a drain makes it do.
                None => std::future::pending().await,
            }
        }
    }

    /// Stops everything in order; what is not finished goes on at the next start.
    pub async fn stop(mut self) {
        self.coordinator_drain.cancel();
        let ended = async { while self.coordinating.join_next().await.is_some() {} };
        if timeout(COORDINATOR_GRACE, ended).await.is_err() {
            error!("the coordinator does not stop, leaving it");
            self.coordinating.abort_all();
        }
        // HTTP plugins are still needed for what the bridge has in hand.
        if let Some(bridge) = self.bridge.take() {
            bridge.stop().await;
        }
        self.process_drain.cancel();
        while let Some(ended) = self.processing.join_next().await {
            if let Err(error) = ended {
                error!(%error, "the keeper of the plugins failed");
            }
        }
        self.store.close().await;
        self.base.stop().await;
    }
}

impl Base {
    const fn lock(&self) -> &FleetLock {
        match self {
            Self::Own(broker) => &broker.lock,
            Self::Existing(lock) => lock,
        }
    }

    async fn stop(self) {
        match self {
            Self::Own(broker) => broker.stop().await,
            Self::Existing(lock) => drop(lock),
        }
    }
}

async fn prepare(client: &Client, names: &Names, replicas: usize) -> Result<(), ApplyError> {
    let js = async_nats::jetstream::new(client.clone());
    check_server(&js, &client.server_info().version).await?;
    apply(&js, &Topology::of(names, replicas)).await.map(drop)
}

/// The file that says which plugins run, when the command line names none.
#[must_use]
pub fn default_plugins_file(data_dir: &DataDir) -> PathBuf {
    data_dir.root().join("plugins.yml")
}
