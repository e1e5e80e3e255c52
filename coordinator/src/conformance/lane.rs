//! A broker that cases have for themselves, one after the other.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use async_nats::jetstream;
use broker_config::apply::apply;
use broker_config::topology::Topology;
use broker_config::{Chain, Names, Prefix};
use rustix::process::{Pid, Signal, kill_process};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::config::DataDir;
use crate::exec::Guard;
use crate::nats_server::{
    Binary, NatsServer, NatsServerHandle, NatsServerOptions, ServerState, Sync, Tenants,
};

/// Another prefix than the one that is meant when nobody says any, so that it is seen whether a
/// worker obeys it.
const PREFIX: &str = "try-it";
/// How long the broker may take to stop, and to come back.
const GRACE: Duration = Duration::from_secs(5);
const BACK: Duration = Duration::from_secs(30);
/// How long making streams may take: a busy server may still be removing the files of a stream that it
/// has said to be deleted, and refuses to make one of that name until then (error 10049).
const MADE: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(100);

/// A broker and its names.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) names: Names,
    pub(super) handle: NatsServerHandle,
    /// What the broker itself writes.
    pub(super) log: PathBuf,
    stop: CancellationToken,
    running: JoinSet<()>,
}

impl Lane {
    /// Starts a broker over a folder of its own.
    pub(super) async fn start(folder: PathBuf, binary: Binary) -> anyhow::Result<Self> {
        let names = Names::new(PREFIX.parse::<Prefix>()?);
        let data_dir = DataDir::new(folder);
        let log = data_dir.log().join("nats-server.log");
        let options = NatsServerOptions {
            data_dir,
            names: names.clone(),
            // A plugin is alone there, and who it is becomes known only when it is met.
            tenants: Tenants::Together,
            binary,
            guard: Guard::this_program(),
            sync: Sync::default(),
            grace: GRACE,
        };
        let (server, handle) =
            Box::pin(NatsServer::start(options)).await.context("start a broker")?;
        let (stop, mut running) = (CancellationToken::new(), JoinSet::new());
        running.spawn(server.run(stop.clone()));
        Ok(Self { names, handle, log, stop, running })
    }

    /// Makes the streams that workers use anew and empty.
    pub(super) async fn reset(&self, js: &jetstream::Context) -> anyhow::Result<()> {
        let mut topology = Topology::of(&self.names, 1);
        let buckets = [self.names.records_bucket(), self.names.instances_bucket()];
        let buckets = buckets.map(|bucket| Names::bucket_stream(&bucket));
        let [submit, tasks, signals] =
            [self.names.submit_stream(), self.names.task_stream(), self.names.signal_stream()];
        topology.streams.retain(|stream| {
            [&submit, &tasks, &signals].contains(&&stream.name) || buckets.contains(&stream.name)
        });
        for stream in &topology.streams {
            // At first there is none.
            if let Err(error) = js.delete_stream(&stream.name).await {
                tracing::debug!(stream = stream.name, %error, "not deleted");
            }
        }
        let give_up = Instant::now() + MADE;
        loop {
            match apply(js, &topology).await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > give_up => {
                    return Err(error).context("make the streams");
                }
                Err(error) => tracing::debug!(error = %Chain(&error), "the streams are not made"),
            }
            sleep(AGAIN).await;
        }
    }

    /// Kills the broker and waits until it is there again.
    pub(super) async fn kill_broker(&self) -> anyhow::Result<()> {
        let ServerState::Ready { pid: killed, .. } = self.handle.state() else {
            anyhow::bail!("the broker of the kit is not there: {:?}", self.handle.state())
        };
        let pid = Pid::from_raw(i32::try_from(killed)?).context("a process id")?;
        kill_process(pid, Signal::KILL).context("kill the broker")?;
        let mut state = self.handle.watch();
        let back = state
            .wait_for(|state| matches!(state, ServerState::Ready { pid, .. } if *pid != killed));
        let back = timeout(BACK, back).await;
        ensure!(back.is_ok_and(|it| it.is_ok()), "the broker of the kit does not come back");
        Ok(())
    }

    /// Stops the broker.
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        while self.running.join_next().await.is_some() {}
    }
}
