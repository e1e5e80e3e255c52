//! One machine's fleet: the broker of the data folder or one that exists, a coordinator, plugins
//! as processes and containers; and the scans that hand files to it.
//!
//! Start: broker → streams → coordinator → plugins → `fleet.json`. Stop: coordinator, so that
//! nothing new is published → the bridge, which finishes what HTTP plugins hold → plugins, which finish
//! what they hold → broker. Whatever dies in between, all state is in the broker's streams, and the next start goes on from there.

mod admission;
mod api;
mod base;
pub(crate) mod confines;
pub mod containers;
pub mod embedded;
pub(crate) mod failing;
pub mod follow;
mod http;
pub mod library;
mod mark;
pub mod plugins;
mod recycle;
mod reload;
mod renew;
pub mod scaling;
mod start;
pub mod steer;
mod versions;

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

pub use self::admission::AdmissionError;
use self::base::Base;
use self::embedded::EmbeddedError;
use self::plugins::PluginSources;
use self::scaling::ScaleHandle;
use crate::bridge::{Addresses, Bridge};
use crate::config::connection::{ConnectError, Origin};
use crate::config::data_dir::DataDirError;
use crate::config::plugins::{Isolation, ReadPluginsError};
use crate::config::{Connection, DataDir, FleetFile};
use crate::docker::DockerHandle;
use crate::files::{FilesError, FilesOptions};
use crate::http::BindError;
use crate::internal::{Builtins, InternalHandle};
use crate::process::{Confines, ProcessHandle};
use crate::scale::Pace;
use crate::service::{CoordinatorError, CoordinatorHandle, CoordinatorOptions};
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
    /// Where bytes are offered to workers that do not see the libraries, if anywhere.
    pub files: Option<FilesOptions>,
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
    /// Where workers get files that they do not see, if anywhere.
    pub files: Option<String>,
    coordinating: JoinSet<Result<(), CoordinatorError>>,
    coordinator_drain: CancellationToken,
    processing: JoinSet<()>,
    process_drain: CancellationToken,
    confines: Confines,
    base: Base,
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
    /// The logins of plugins.
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    /// The files of the libraries.
    #[error("files could not be offered")]
    Files(#[from] FilesError),
}

impl Fleet {
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
