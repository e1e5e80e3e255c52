//! The broker of a data folder, with the right to run it.

use std::time::Duration;

use broker_config::Names;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::data_dir::{DataDirError, FleetLock};
use crate::config::{DataDir, Env};
use crate::exec::Guard;
use crate::nats_server::{
    Binary, BinaryError, NatsServer, NatsServerHandle, NatsServerOptions, StartError, Sync, Tenants,
};

/// How long the broker may take to stop.
const GRACE: Duration = Duration::from_secs(10);

/// A broker that runs as our child until it is stopped.
#[derive(Debug)]
pub struct EmbeddedBroker {
    /// How to reach it.
    pub handle: NatsServerHandle,
    /// Nobody else may run a fleet over the data folder.
    pub lock: FleetLock,
    stop: CancellationToken,
    running: JoinSet<()>,
}

/// The broker of the data folder cannot run.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// The folder cannot be used, or another fleet has it.
    #[error("could not use the data folder")]
    DataDir(#[from] DataDirError),
    /// There is no server program.
    #[error("could not run a broker")]
    Binary(#[from] BinaryError),
    /// The server does not start.
    #[error("the broker does not start")]
    Start(#[from] StartError),
}

impl EmbeddedBroker {
    /// Takes the data folder and starts its broker, on which these plugins may log in; returns when
    /// it answers.
    ///
    /// # Errors
    ///
    /// [`EmbeddedError`]; [`DataDirError::InUse`] while another process has the folder.
    pub async fn start(
        data_dir: DataDir,
        names: Names,
        tenants: Tenants,
    ) -> Result<Self, EmbeddedError> {
        let lock = data_dir.lock().await?;
        let binary = Binary::find(&Env, &data_dir).await?;
        let options = NatsServerOptions {
            data_dir,
            names,
            tenants,
            binary,
            guard: Guard::this_program(),
            sync: Sync::default(),
            grace: GRACE,
        };
        let (server, handle) = NatsServer::start(options).await?;
        let stop = CancellationToken::new();
        let mut running = JoinSet::new();
        running.spawn(server.run(stop.clone()));
        Ok(Self { handle, lock, stop, running })
    }

    /// Stops the broker and gives the data folder back.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.running.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "the broker's keeper failed");
            }
        }
    }
}
