//! A real broker for tests.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use broker_config::topology::Topology;
use broker_config::{Names, Prefix};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::Store;

/// A private `nats-server` with JetStream on a free port; killed on drop.
#[derive(Debug)]
pub(crate) struct TestBroker {
    process: Child,
    home: TempDir,
    port: u16,
}

impl TestBroker {
    /// Starts a server and applies the topology.
    pub(crate) async fn start() -> anyhow::Result<(Self, Store)> {
        let home = TempDir::new()?;
        // Held until just before the server takes it.
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let process = spawn(&home, port)?;
        let broker = Self { process, home, port };
        let names = Names::new(Prefix::default());
        let client = broker.client().await?;
        let js = async_nats::jetstream::new(client.clone());
        broker_config::apply(&js, &Topology::of(&names, 1)).await?;
        Ok((broker, Store::open(client, names).await?))
    }

    /// A connection of its own.
    pub(crate) async fn client(&self) -> anyhow::Result<async_nats::Client> {
        let url = format!("nats://127.0.0.1:{}", self.port);
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            match async_nats::connect(&url).await {
                Ok(client) => return Ok(client),
                Err(error) if Instant::now() > until => return Err(error.into()),
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Stops the server with SIGSTOP, or lets it go on.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) -> anyhow::Result<()> {
        let pid = rustix::process::Pid::from_child(&self.process);
        Ok(rustix::process::kill_process(pid, signal)?)
    }

    /// Kills the server and starts it again on its data.
    pub(crate) fn restart(&mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        self.process = spawn(&self.home, self.port)?;
        Ok(())
    }
}

impl Drop for TestBroker {
    fn drop(&mut self) {
        // It may be gone already; then there is nothing to do.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn spawn(home: &TempDir, port: u16) -> anyhow::Result<Child> {
    use crate::config::Vars as _;
    let program = crate::config::Env
        .non_empty("NATS_SERVER_BIN")
        .map_or_else(|| PathBuf::from("nats-server"), PathBuf::from);
    Command::new(&program)
        .args(["--jetstream", "--addr", "127.0.0.1", "--port", &port.to_string(), "--store_dir"])
        .arg(home.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("start {}", program.display()))
}
