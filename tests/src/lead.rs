//! A coordinator in this process that can vanish at any moment.

use std::time::Duration;

use anyhow::Context as _;
use coordinator::config::connection::{Connection, Origin, Tls};
use coordinator::dispatcher::Timing;
use coordinator::service::{
    Coordinator, CoordinatorError, CoordinatorHandle, CoordinatorOptions, Phase,
};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{LIMIT, Server};

/// Times that keep tests short: lost tasks are looked for every 200 ms once they are 1 s old.
#[must_use]
pub fn short() -> Timing {
    Timing {
        check_every: 200,
        check_after: 1_000,
        stall_after: 60_000,
        retry_publish: 100,
        retry_blocked: 50,
    }
}

/// A coordinator that runs, with a runtime and a connection of its own.
#[derive(Debug)]
pub struct Lead {
    /// What it counts and which phase it is in.
    pub handle: CoordinatorHandle,
    drain: CancellationToken,
    task: JoinHandle<Result<(), CoordinatorError>>,
    runtime: Option<Runtime>,
}

impl Lead {
    pub(crate) async fn start(
        server: &Server,
        options: CoordinatorOptions,
    ) -> anyhow::Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let drain = CancellationToken::new();
        let (sender, handle) = oneshot::channel();
        let (url, tls, login) = (server.url(), Tls::default(), server.login().clone());
        let connection = Connection { url, login, tls, origin: Origin::Flag };
        let connect = connection.connect_options(&options.node)?.retry_on_initial_connect();
        let stop = drain.clone();
        let task = runtime.spawn(async move {
            // Only a wrong address fails here, and then nobody gets a handle.
            let Ok(client) = connect.connect(connection.addresses().as_slice()).await else {
                return Ok(());
            };
            let (coordinator, handle) = Coordinator::new(client, options);
            drop(sender.send(handle));
            coordinator.run(stop).await
        });
        let handle = timeout(LIMIT, handle).await?.context("connect the coordinator")?;
        Ok(Self { handle, drain, task, runtime: Some(runtime) })
    }

    /// Waits until it leads and opens files.
    pub async fn leading(&self) -> anyhow::Result<()> {
        let mut phase = self.handle.phase();
        let leads = phase.wait_for(|phase| *phase == Phase::Leading);
        timeout(LIMIT, leads).await.context("the coordinator does not lead")??;
        Ok(())
    }

    /// Lets it vanish as `kill -9` does: nothing is said to the broker, nothing is finished.
    pub fn kill(mut self) {
        self.vanish();
    }

    /// Stops it in good order.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.drain.cancel();
        Ok(self.ended().await??)
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self) -> anyhow::Result<Result<(), CoordinatorError>> {
        Ok(timeout(LIMIT, &mut self.task).await.context("the coordinator goes on")??)
    }

    fn vanish(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.vanish();
    }
}

/// The lease of tasks in tests that do not speak of it.
pub const LEASE: Duration = Duration::from_secs(2);
