//! One machine's fleet: the broker of the data folder or one that exists, a coordinator, plugins
//! as processes and containers; and the scans that hand files to it.
//!
//! Start: broker → streams → coordinator → plugins → `fleet.json`. Stop: coordinator, so that
//! nothing new is published → the bridge, which finishes what HTTP plugins hold → plugins, which finish
//! what they hold → broker. Whatever dies in between, all state is in the broker's streams, and the next start goes on from there.

mod api;
mod base;
mod confines;
pub mod containers;
pub mod embedded;
mod failing;
pub mod follow;
mod http;
pub mod library;
mod mark;
pub mod plugins;
mod reload;
pub mod scaling;
pub mod steer;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use broker_config::ApplyError;
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::error;
use worker_sdk::WorkerOptions;

use self::base::{Base, prepare};
use self::embedded::{EmbeddedBroker, EmbeddedError};
use self::plugins::{PluginPlan, PluginSources};
use self::reload::Reload;
use self::scaling::selection::Selection;
use self::scaling::{ScaleHandle, Scaling};
use self::steer::Steering;
use crate::bridge::{Addresses, Bridge, BridgeOptions, Troubles, worker_options};
use crate::config::connection::{ConnectError, Origin};
use crate::config::data_dir::DataDirError;
use crate::config::plugins::{Isolation, ReadPluginsError};
use crate::config::{Connection, DataDir, Env, FleetFile};
use crate::docker::{self, DockerHandle, DockerRuntime};
use crate::exec::Guard;
use crate::http::BindError;
use crate::http::api::{self as status, ApiOptions};
use crate::internal::{Builtins, InternalHandle, InternalOptions, InternalRuntime};
use crate::process::restart::RestartPolicy;
use crate::process::{Confines, ProcessHandle, ProcessOptions, ProcessRuntime, Surroundings};
use crate::scale::Pace;
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
    /// Where the API listens and HTTP plugins reach the fleet.
    pub http: Addresses,
    /// Folders and files that plugins read: containers see nothing else of this machine, and
    /// processes nothing else of people's files unless there is none.
    pub roots: Vec<PathBuf>,
    /// Whether processes are kept apart, where `plugins.yml` does not say.
    pub isolation: Isolation,
    /// Plugins that this program carries.
    pub builtins: Builtins,
    /// How long plugins may take to stop.
    pub grace: Duration,
    /// How soon the number of instances follows the work.
    pub pace: Pace,
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
    /// What the built-in plugins are doing.
    pub internal: InternalHandle,
    /// What the plugin containers are doing.
    pub containers: DockerHandle,
    /// How many instances there are of plugins.
    pub scaling: ScaleHandle,
    /// What is wrong with plugins or `plugins.yml`; each was passed over.
    pub problems: Vec<String>,
    /// Whether any plugin is started here.
    pub has_plugins: bool,
    /// Told when `plugins.yml` and the plugin folders are to be read again at once.
    pub reload: Arc<Notify>,
    /// Serves HTTP plugins, if there are any.
    pub bridge: Option<Bridge>,
    /// Where its API is; one that runs for one command only has none.
    pub api: Option<String>,
    coordinating: JoinSet<Result<(), CoordinatorError>>,
    coordinator_drain: CancellationToken,
    processing: JoinSet<()>,
    process_drain: CancellationToken,
    confines: Confines,
    base: Base,
}

/// What has been made before anything runs.
struct Started {
    node: String,
    plan: PluginPlan,
    boxed: docker::Surroundings,
    store: Store,
    service: Coordinator,
    handle: CoordinatorHandle,
    docker: DockerRuntime,
    containers: DockerHandle,
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
    /// The addresses of the API and for HTTP plugins.
    #[error("the API or HTTP plugins could not be served")]
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
        let data_dir = options.data_dir.clone();
        let names = options.coordinator.names.clone();
        let (base, connection, plugin_connection) = match options.connection.clone() {
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
        let confines = confines::of(&options, &plugin_connection);
        let FleetOptions {
            plugins,
            http,
            roots,
            grace,
            pace,
            temporary,
            coordinator,
            builtins,
            ..
        } = options;
        let prefix = names.prefix().clone();
        let mut surroundings =
            Surroundings::new(plugin_connection.clone(), prefix, grace, confines, &Env);
        let (runtime, processes) = ProcessRuntime::new(ProcessOptions {
            guard: Guard::this_program(),
            log_dir: data_dir.log(),
            grace,
            restart: RestartPolicy::default(),
        });
        let coordinator_drain = CancellationToken::new();
        let prepared = async {
            let boxed = containers::surroundings(&data_dir, names.prefix(), grace, &roots)?;
            let mut plan = PluginPlan::make(&plugins, &surroundings, &boxed, &builtins)?;
            confines::write_login(&data_dir, &surroundings.confines)?;
            confines::tell(&surroundings.confines, &plan.instances);
            let client = connection.connect("metafleet-coordinator").await?;
            prepare(&client, &names, coordinator.replicas).await?;
            let store = Store::open(client, names.clone()).await?;
            let node = data_dir.node_id()?;
            let coordinator = CoordinatorOptions {
                node: node.clone(),
                word: plan.word(),
                drop_unexpected: true,
                ..coordinator
            };
            let (service, handle) = Coordinator::new(store.client().clone(), coordinator);
            let docker = containers::options(&data_dir, &boxed, &surroundings.connection);
            let engine = docker.address.clone();
            let (mut docker, containers) = DockerRuntime::new(docker);
            let (steering, requests, shown) = Steering::new(plan.known.clone());
            let routes = if temporary {
                None
            } else {
                Some(status::routes(ApiOptions {
                    token: api::token(&data_dir)?,
                    salt: api::salt()?,
                    store: store.clone(),
                    coordinator: handle.clone(),
                    processes: processes.clone(),
                    containers: containers.clone(),
                    engine,
                    steering,
                    stop: coordinator_drain.clone(),
                }))
            };
            let mut http = http;
            if plan.http.any_in_containers() {
                http::know_containers(&mut http);
            }
            let (bridge, followed) = if plan.http.is_empty() {
                (None, Vec::new())
            } else {
                let (plugins, followed) = plan.http.clone().split(&processes, &containers);
                let options = BridgeOptions {
                    plugins,
                    addresses: http.clone(),
                    routes: routes.clone().unwrap_or_default(),
                    connection: plugin_connection,
                    prefix: names.prefix().clone(),
                    grace,
                    store: store.clone(),
                };
                let bridge = Bridge::start(options).await?;
                docker.set_bridge(bridge.listening);
                let confines = &mut surroundings.confines;
                confines::open_bridge(&bridge, confines, &mut plan.instances);
                (Some(bridge), followed)
            };
            let of_bridge = bridge.as_ref().map(|bridge| bridge.listening.0);
            let listening = api::listen(&http.api, of_bridge, routes).await?;
            let started = Started { node, plan, boxed, store, service, handle, docker, containers };
            Ok((started, bridge, followed, listening, requests, shown))
        };
        let (started, bridge, followed, listening, requests, shown) = match Box::pin(prepared).await
        {
            Ok(prepared) => prepared,
            Err(error) => {
                confines::remove_login(&surroundings.confines);
                base.stop().await;
                return Err(error);
            }
        };
        let Started { node, plan, boxed, store, service, handle, docker, containers } = started;
        let mut coordinating = JoinSet::new();
        coordinating.spawn(service.run(coordinator_drain.clone()));

        let process_drain = CancellationToken::new();
        let mut processing = JoinSet::new();
        processing.spawn(runtime.run(process_drain.clone()));
        let troubles = bridge.as_ref().map(Bridge::watch_troubles).unwrap_or_default();
        let told = failing::tell(store.clone(), processes.watch(), troubles, process_drain.clone());
        processing.spawn(told);
        let (watched, boxes) = (processes.watch(), containers.watch());
        processing.spawn(http::follow(followed, watched, boxes, process_drain.clone()));
        let (runtime, internal) = InternalRuntime::new(InternalOptions {
            builtins: builtins.clone(),
            worker: WorkerOptions {
                prefix: names.prefix().clone(),
                ..worker_options(&surroundings.connection)
            },
            grace,
            restart: RestartPolicy::default(),
        });
        processing.spawn(runtime.run(process_drain.clone()));
        let (stop, none) = (process_drain.clone(), Troubles::default());
        processing.spawn(failing::tell(store.clone(), internal.watch(), none, stop));
        let uses_containers = !plan.containers.is_empty();
        let runs_containers = uses_containers || containers::may_be_left(&data_dir);
        if runs_containers {
            processing.spawn(docker.run(process_drain.clone()));
            let (stop, none) = (process_drain.clone(), Troubles::default());
            processing.spawn(failing::tell(store.clone(), containers.watch(), none, stop));
            let stop = process_drain.clone();
            processing.spawn(containers::tell_signs(store.clone(), containers.clone(), stop));
        }
        let has_plugins = uses_containers
            || !plan.instances.is_empty()
            || !plan.internal.is_empty()
            || bridge.is_some();
        internal.set_wanted(plan.internal.clone());
        let confines = surroundings.confines.clone();
        let selection =
            Selection::new(processes.clone(), runs_containers.then(|| containers.clone()));
        selection.plan(plan.planned(), &BTreeSet::new());
        let scaling = Scaling {
            store: store.clone(),
            node,
            coordinator: handle.clone(),
            selection: selection.clone(),
            pace,
        };
        processing.spawn(scaling.run(process_drain.clone()));
        let scaling = ScaleHandle::new(selection.clone());
        let reload = Arc::new(Notify::new());
        let following = Reload {
            sources: plugins,
            surroundings,
            boxed,
            processes: processes.clone(),
            builtins,
            internal: internal.clone(),
            containers: runs_containers.then(|| containers.clone()),
            selection,
            coordinator: handle.clone(),
            store: store.clone(),
            asked: reload.clone(),
            requests,
            shown,
        };
        let mut problems = plan.problems.clone();
        problems.extend(listening.problem);
        if let Some(server) = listening.server {
            processing.spawn(server.run(process_drain.clone()));
        }
        processing.spawn(following.run(plan, process_drain.clone()));

        let fleet = Self {
            connection,
            coordinator: handle,
            processes,
            internal,
            containers,
            scaling,
            problems,
            reload,
            has_plugins,
            bridge,
            api: listening.url,
            coordinating,
            coordinator_drain,
            processing,
            process_drain,
            confines,
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
            api: self.api.clone(),
            roots: self.confines.roots(),
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
        confines::remove_login(&self.confines);
        self.store.close().await;
        self.base.stop().await;
    }
}

/// The file that says which plugins run, when the command line names none.
#[must_use]
pub fn default_plugins_file(data_dir: &DataDir) -> PathBuf {
    data_dir.root().join("plugins.yml")
}
