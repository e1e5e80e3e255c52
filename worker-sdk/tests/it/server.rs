//! A private nats-server.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, bail};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::harness::PATIENCE;

/// A private `nats-server` with JetStream on a free port; killed on drop.
pub(crate) struct Server {
    process: Child,
    home: TempDir,
    port: u16,
}

impl Server {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let home = TempDir::new()?;
        let mut process = launch(&home, -1)?;
        let file = home.path().join(format!("nats-server_{}.ports", process.id()));
        let begun = Instant::now();
        let port = loop {
            if let Ok(text) = std::fs::read_to_string(&file)
                && let Ok(ports) = serde_json::from_str::<serde_json::Value>(&text)
                && let Some(url) = ports["nats"][0].as_str()
            {
                break url.rsplit(':').next().context("port")?.parse()?;
            }
            if begun.elapsed() > PATIENCE {
                process.kill()?;
                bail!("nats-server did not start");
            }
            sleep(std::time::Duration::from_millis(5)).await;
        };
        Ok(Self { process, home, port })
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Kills the server as the system does when memory runs out.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Stops the server as the system does when it swaps: it answers nothing, and is not gone.
    pub(crate) fn hang(&self) -> anyhow::Result<()> {
        self.signal("STOP")
    }

    /// Lets it go on.
    pub(crate) fn go_on(&self) -> anyhow::Result<()> {
        self.signal("CONT")
    }

    fn signal(&self, name: &str) -> anyhow::Result<()> {
        let id = self.process.id().to_string();
        anyhow::ensure!(Command::new("kill").args(["-s", name, &id]).status()?.success(), "kill");
        Ok(())
    }

    /// Starts it again on the same port and store.
    pub(crate) fn restart(&mut self) -> anyhow::Result<()> {
        self.process = launch(&self.home, i32::from(self.port))?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.kill());
    }
}

fn launch(home: &TempDir, port: i32) -> anyhow::Result<Child> {
    let binary = std::env::var_os("NATS_SERVER_BIN").unwrap_or_else(|| "nats-server".into());
    Command::new(&binary)
        .args(["--jetstream", "--addr", "127.0.0.1", "--port", &port.to_string(), "--store_dir"])
        .arg(home.path())
        .arg("--ports_file_dir")
        .arg(home.path())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("start {}", PathBuf::from(binary).display()))
}
