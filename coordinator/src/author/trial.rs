//! A fleet for one plugin, in a folder that goes with it: a real broker and a real coordinator.
//!
//! What the plugin depends on is known to the coordinator and wants no file, which counts as
//! satisfied; what it would have said is written as the person's own metadata.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use broker_config::apply::{apply, check_server};
use broker_config::topology::Topology;
use broker_config::{ApplyError, Filter, Manifest, Names, PluginId};
use serde_json::{Map, Value};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::connection::ConnectError;
use crate::config::{Connection, DataDir, Env, Vars as _, private_file};
use crate::fleet::embedded::{EmbeddedBroker, EmbeddedError};
use crate::nats_server::Tenants;
use crate::registry::{PluginPolicy, Word};
use crate::service::{Coordinator, CoordinatorError, CoordinatorHandle, CoordinatorOptions, Phase};
use crate::store::{Store, StoreError};
use crate::transition::plan::{How, Plan};

/// How long the coordinator may take to begin.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it may take to stop; it has nothing to finish.
const STOP: Duration = Duration::from_secs(10);

/// The fleet; stop it, or its folder stays.
#[derive(Debug)]
pub struct Trial {
    /// Its state.
    pub store: Store,
    /// How the plugin reaches its broker.
    pub plugin: Connection,
    home: PathBuf,
    broker: EmbeddedBroker,
    coordinator: CoordinatorHandle,
    coordinating: JoinSet<Result<(), CoordinatorError>>,
    drain: CancellationToken,
}

/// The fleet does not start.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// Its folder.
    #[error("could not make {path}")]
    Folder {
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Its broker.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// The connection to it.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Its streams.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The state in it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its coordinator.
    #[error("the coordinator does not begin to lead")]
    Coordinator,
}

impl Trial {
    /// Starts it; returns when the plugin can announce itself.
    ///
    /// `bin` is where the data folder keeps programs, and perhaps the broker's. Call it on a thread that
    /// lives as long as the process; see [`crate::exec`].
    ///
    /// # Errors
    ///
    /// [`TrialError`] says which part does not start; the others have been stopped.
    pub async fn start(
        manifest: &Manifest,
        settings: Map<String, Value>,
        bin: &Path,
    ) -> Result<Self, TrialError> {
        let home = make_home(bin)?;
        let started = Self::start_in(home.clone(), manifest, settings).await;
        if started.is_err() {
            remove(home).await;
        }
        started
    }

    async fn start_in(
        home: PathBuf,
        manifest: &Manifest,
        settings: Map<String, Value>,
    ) -> Result<Self, TrialError> {
        let names = Names::default();
        let plugins = BTreeMap::from([(manifest.id.clone(), BTreeSet::new())]);
        let tenants = Tenants::Each { plugins, forgets_others: true };
        let data_dir = DataDir::new(home.join("data"));
        let broker = EmbeddedBroker::start(data_dir, names.clone(), tenants).await?;
        let connected = async {
            let client = broker.handle.coordinator.connect("metafleet-test").await?;
            let js = async_nats::jetstream::new(client.clone());
            check_server(&js, &client.server_info().version).await?;
            apply(&js, &Topology::of(&names, 1)).await?;
            Ok::<_, TrialError>(Store::open(client, names.clone()).await?)
        };
        let store = match connected.await {
            Ok(store) => store,
            Err(error) => {
                broker.stop().await;
                return Err(error);
            }
        };
        let options = CoordinatorOptions {
            names,
            word: word(manifest, settings),
            ..CoordinatorOptions::default()
        };
        let (service, coordinator) = Coordinator::new(store.client().clone(), options);
        let drain = CancellationToken::new();
        let mut coordinating = JoinSet::new();
        coordinating.spawn(service.run(drain.clone()));
        let plugin = broker.handle.logins.of(&manifest.id);
        let trial = Self { store, plugin, home, broker, coordinator, coordinating, drain };
        let mut phase = trial.coordinator.phase();
        let leads = phase.wait_for(|phase| *phase == Phase::Leading);
        if matches!(timeout(PATIENCE, leads).await, Ok(Ok(_))) {
            Ok(trial)
        } else {
            trial.stop().await;
            Err(TrialError::Coordinator)
        }
    }

    /// Takes another manifest or other settings into account.
    pub fn say(&self, manifest: &Manifest, settings: Map<String, Value>) {
        self.coordinator.say(word(manifest, settings));
    }

    /// Where what the plugin prints may be kept.
    #[must_use]
    pub fn log_dir(&self) -> PathBuf {
        self.home.join("data").join("log")
    }

    /// Stops everything and removes the folder.
    pub async fn stop(mut self) {
        self.drain.cancel();
        let ended = async { while self.coordinating.join_next().await.is_some() {} };
        if timeout(STOP, ended).await.is_err() {
            self.coordinating.abort_all();
        }
        self.store.close().await;
        self.broker.stop().await;
        remove(self.home).await;
    }
}

/// What the coordinator is told of the plugin and of those it depends on.
fn word(manifest: &Manifest, settings: Map<String, Value>) -> Word {
    let policy = PluginPolicy {
        config: settings,
        // The version before is gone when the next one comes.
        transition: Some(Plan { how: How::Immediate, ..Plan::default() }),
        ..PluginPolicy::default()
    };
    let declared = manifest.dependencies.iter().filter(|id| **id != manifest.id);
    Word {
        policies: BTreeMap::from([(manifest.id.clone(), policy)]),
        declared: declared.map(|id| (id.clone(), stand_in(id, manifest))).collect(),
        ..Word::default()
    }
}

/// A plugin that wants no file.
fn stand_in(id: &PluginId, like: &Manifest) -> Manifest {
    Manifest {
        id: id.clone(),
        name: id.to_string(),
        dependencies: std::collections::BTreeSet::new(),
        filter: Filter { min_size: Some(u64::MAX), max_size: Some(0), ..Filter::default() },
        data_schema: BTreeMap::new(),
        config_schema: BTreeMap::new(),
        reads: None,
        ..like.clone()
    }
}

fn make_home(bin: &Path) -> Result<PathBuf, TrialError> {
    let temporary = Env.non_empty("TMPDIR").unwrap_or_else(|| "/tmp".to_owned());
    let name = format!("metafleet-test-{}-{:08x}", std::process::id(), fastrand::u32(..));
    let path = PathBuf::from(temporary).join(name);
    let data = DataDir::new(path.join("data"));
    let made = private_file::make_dir(&data.log()).and_then(|()| {
        if bin.is_dir() { std::os::unix::fs::symlink(bin, data.bin()) } else { Ok(()) }
    });
    match made {
        Ok(()) => Ok(path),
        Err(source) => Err(TrialError::Folder { path, source }),
    }
}

async fn remove(home: PathBuf) {
    if let Err(error) = tokio::fs::remove_dir_all(&home).await {
        tracing::warn!(path = %home.display(), %error, "a folder is left");
    }
}
