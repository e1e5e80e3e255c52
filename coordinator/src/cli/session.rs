//! Reaching a fleet: the one that runs, or what the last one left.
//!
//! Where no fleet runs but its data is there, the broker of the data folder is started for as long
//! as the command takes, so that metadata can be read and written at any time.

mod find;

use async_nats::Client;
use broker_config::{ApplyError, Names};

pub(crate) use self::find::{Running, existing_broker, gone, has_gone, running, running_or};
use super::App;
use super::exit::{Exit, Failure};
use crate::config::connection::{ConnectError, ResolveError};
use crate::config::data_dir::DataDirError;
use crate::config::{Connection, DataDir};
use crate::fleet::embedded::{EmbeddedBroker, EmbeddedError};
use crate::nats_server::Tenants;
use crate::store::{Store, StoreError};

/// How our connections are called on the broker.
pub(crate) const CLIENT_NAME: &str = "metafleet";

/// A connection to a fleet's broker.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) store: Store,
    /// Whether it is the fleet of the data folder, or what that has left.
    pub(crate) is_of_data_dir: bool,
    private: Option<EmbeddedBroker>,
}

impl Session {
    /// Whether no fleet runs and only its broker was started, for this command.
    pub(crate) fn is_private(&self) -> bool {
        self.private.is_some()
    }
}

/// Runs a command that needs a fleet's state.
pub(crate) async fn with<F>(app: &App, command: F) -> Result<Exit, Failure>
where
    F: AsyncFnOnce(&Session) -> Result<Exit, Failure>,
{
    let (client, names, private, is_of_data_dir) = reach(app).await?;
    let store = match Store::open(client, names).await {
        Ok(store) => store,
        Err(error) => {
            stop(private).await;
            return Err(error.into());
        }
    };
    let session = Session { store, is_of_data_dir, private };
    let ended = command(&session).await;
    session.store.close().await;
    stop(session.private).await;
    ended
}

/// Runs a command that needs a broker, whatever is on it.
pub(crate) async fn with_broker<F>(app: &App, command: F) -> Result<Exit, Failure>
where
    F: AsyncFnOnce(Client, Names) -> Result<Exit, Failure>,
{
    let (client, names, private, _) = reach(app).await?;
    let ended = command(client.clone(), names).await;
    client.drain().await.ok();
    stop(private).await;
    ended
}

async fn stop(private: Option<EmbeddedBroker>) {
    if let Some(private) = private {
        private.stop().await;
    }
}

/// The last says whether it is that of the data folder.
async fn reach(app: &App) -> Result<(Client, Names, Option<EmbeddedBroker>, bool), Failure> {
    let data_dir = app.data_dir()?;
    let running = async |running: Running| {
        let client = connect(&running.connection).await?;
        let is_of_data_dir = running.is_of_data_dir();
        Ok((client, running.names, None, is_of_data_dir))
    };
    let otherwise = async || {
        if !data_dir.has_broker() {
            return Err(nothing(&data_dir));
        }
        let names = Names::new(app.globals.prefix.clone().unwrap_or_default());
        let broker = EmbeddedBroker::start(data_dir.clone(), names.clone(), Tenants::AsBefore);
        let broker = Box::pin(broker).await?;
        match connect(&broker.handle.coordinator).await {
            Ok(client) => Ok((client, names, Some(broker), true)),
            Err(failure) => {
                broker.stop().await;
                Err(failure)
            }
        }
    };
    running_or(app, &data_dir, running, otherwise).await
}

pub(crate) async fn connect(connection: &Connection) -> Result<Client, Failure> {
    connection.connect(CLIENT_NAME).await.map_err(Failure::from)
}

fn nothing(data_dir: &DataDir) -> Failure {
    let root = data_dir.root().display();
    Failure::new(Exit::Unreachable, format!("no fleet runs, and {root} holds no data of one"))
        .advise("`metafleet scan PATH` makes one for a folder, `metafleet up` runs one; --data-dir or --nats name another")
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let text = broker_config::Chain(&error).to_string();
        match error {
            StoreError::Away { .. } => Self::new(Exit::Unreachable, text)
                .advise("is the broker running? `metafleet broker check` says more"),
            StoreError::NotFound { .. } => Self::new(Exit::NotFound, text).advise(
                "no fleet with this --prefix has been on this broker; `metafleet broker apply` prepares one",
            ),
            StoreError::Conflict { .. } => Self::new(Exit::Conflict, text).advise("try again"),
            StoreError::Refused { .. } | StoreError::Unreadable { .. } => {
                Self::new(Exit::Failure, text)
            }
        }
    }
}

impl From<DataDirError> for Failure {
    fn from(error: DataDirError) -> Self {
        let text = broker_config::Chain(&error).to_string();
        match error {
            DataDirError::NoHome => Self::usage(text),
            DataDirError::InUse { .. } => Self::new(Exit::Conflict, text)
                .advise("use that fleet (without --nats), stop it, or name another --data-dir"),
            DataDirError::Io { .. } => Self::new(Exit::Failure, text),
        }
    }
}

impl From<ResolveError> for Failure {
    fn from(error: ResolveError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let text = broker_config::Chain(&error).to_string();
        match error {
            ConnectError::Unreadable { .. } => Self::usage(text),
            ConnectError::Broker { .. } => Self::new(Exit::Unreachable, text)
                .advise("check the address (--nats, NATS_URL, --context) and that it runs"),
        }
    }
}

impl From<ApplyError> for Failure {
    fn from(error: ApplyError) -> Self {
        let text = broker_config::Chain(&error).to_string();
        match error {
            ApplyError::NoJetStream(_) => Self::new(Exit::Unreachable, text),
            ApplyError::WouldLose { .. } => Self::new(Exit::Conflict, text)
                .advise("change that stream by hand, or use another --prefix"),
            ApplyError::TooOld { .. } | ApplyError::Refused { .. } => {
                Self::new(Exit::Failure, text)
            }
        }
    }
}

impl From<EmbeddedError> for Failure {
    fn from(error: EmbeddedError) -> Self {
        match error {
            EmbeddedError::DataDir(error) => error.into(),
            EmbeddedError::Binary(error) => Self::new(Exit::Failure, error.to_string()),
            EmbeddedError::Start(_) => {
                Self::new(Exit::Failure, broker_config::Chain(&error).to_string())
            }
        }
    }
}
