//! A command that runs in the background.

use std::ffi::OsStr;
use std::path::PathBuf;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::time::timeout;

use super::processes::{self, Process};
use super::{Home, Look};
use crate::{LIMIT, eventually};

/// A running `metafleet`; killed with all its children when dropped.
#[derive(Debug)]
pub struct Up {
    child: Child,
    log: PathBuf,
    out: PathBuf,
}

impl Up {
    /// Starts a command in the background.
    pub fn start<S: AsRef<OsStr>>(home: &Home, arguments: &[S]) -> anyhow::Result<Self> {
        let name = format!("background-{:08x}", fastrand::u32(..));
        let log = home.root().join(format!("{name}.err"));
        let out = home.root().join(format!("{name}.out"));
        let mut command = home.command(arguments)?;
        command.stdout(std::fs::File::create(&out)?).stderr(std::fs::File::create(&log)?);
        Ok(Self { child: command.spawn()?, log, out })
    }

    /// Runs a fleet in the background; returns when it leads and `plugins` of them are ready.
    pub async fn fleet(home: &Home, plugins: usize) -> anyhow::Result<(Self, Look)> {
        Self::fleet_with(home, plugins, &[]).await
    }

    /// As [`Up::fleet`] with more arguments.
    pub async fn fleet_with(
        home: &Home,
        plugins: usize,
        more: &[&str],
    ) -> anyhow::Result<(Self, Look)> {
        let mut up = Self::start(home, &[&["up"], more].concat())?;
        let look = up.ready(home, plugins).await?;
        Ok((up, look))
    }

    async fn ready(&mut self, home: &Home, plugins: usize) -> anyhow::Result<Look> {
        let look = eventually("a fleet to run", async || {
            anyhow::ensure!(self.child.try_wait()?.is_none(), "it has ended");
            Look::open(home).await
        });
        let look = look.await.with_context(|| self.said())?;
        look.ready(plugins).await.with_context(|| self.said())?;
        Ok(look)
    }

    /// All that it has said so far.
    #[must_use]
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// All that it has printed so far.
    #[must_use]
    pub fn printed(&self) -> String {
        std::fs::read_to_string(&self.out).unwrap_or_default()
    }

    /// Waits until it says something.
    pub async fn says(&self, text: &str) -> anyhow::Result<()> {
        let what = format!("`{text}`");
        let said = eventually(&what, async || Ok(self.said().contains(text).then_some(())));
        said.await.with_context(|| self.said())
    }

    /// Its process.
    pub fn pid(&self) -> anyhow::Result<u32> {
        self.child.id().context("it has ended")
    }

    /// Its children whose program is called so, or begins so where the kernel cuts the name.
    pub fn children(&self, name: &str) -> anyhow::Result<Vec<Process>> {
        Ok(processes::children(self.pid()?)?.into_iter().filter(|p| p.is(name)).collect())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = Pid::from_raw(self.pid()?.cast_signed()).context("a process")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Waits for its end; returns its exit code, `None` after a signal.
    pub async fn ended(&mut self) -> anyhow::Result<Option<i32>> {
        let ended = timeout(LIMIT, self.child.wait()).await;
        Ok(ended.with_context(|| format!("it goes on: {}", self.said()))??.code())
    }

    /// Asks it to stop and waits until it has done so in good order.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.signal(Signal::TERM)?;
        let code = self.ended().await?;
        anyhow::ensure!(code == Some(0), "ended with {code:?}: {}", self.said());
        Ok(())
    }
}
