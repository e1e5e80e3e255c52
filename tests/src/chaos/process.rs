//! Coordinator and workers as processes that die with us.

use std::fs::File;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use anyhow::Context as _;
use coordinator::exec::{Guard, Limits};
use tokio::process::Child;

use super::Sabotage;

/// Starts processes of one experiment.
#[derive(Debug)]
pub struct Starter {
    /// Where the broker is.
    pub url: String,
    /// Where the ledgers go; logs go beside them.
    pub folder: PathBuf,
    /// Tasks at once per worker.
    pub concurrency: usize,
    /// Handed on to the workers.
    pub sabotage: Option<Sabotage>,
    /// How many were started.
    pub started: usize,
}

/// A running process.
#[derive(Debug)]
pub struct Process {
    /// What it is: a plugin's id, or `coordinator`.
    pub role: String,
    /// Its process id.
    pub pid: u32,
    child: Child,
}

impl Starter {
    /// Starts the coordinator.
    pub fn coordinator(&mut self) -> anyhow::Result<Process> {
        self.start("coordinator", &["coordinator"])
    }

    /// Starts a worker of a plugin.
    pub fn worker(&mut self, plugin: &str) -> anyhow::Result<Process> {
        let folder = self.folder.to_string_lossy().into_owned();
        let mut arguments = vec!["worker", plugin, "--ledgers", &folder];
        let sabotage = self.sabotage.map(|kind| {
            use clap::ValueEnum as _;
            kind.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
        });
        if let Some(kind) = &sabotage {
            arguments.extend(["--sabotage", kind]);
        }
        self.start(plugin, &arguments)
    }

    fn start(&mut self, role: &str, arguments: &[&str]) -> anyhow::Result<Process> {
        self.started += 1;
        let log = self.folder.join(format!("{:03}-{role}.log", self.started));
        let log = File::create(&log).with_context(|| log.display().to_string())?;
        // The program itself, whatever has become of its file meanwhile.
        let mut command = Guard::this_program().command("/proc/self/exe", Limits::default());
        command
            .args(arguments)
            .env("NATS_URL", &self.url)
            .env("METAFLEET_CONCURRENCY", self.concurrency.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = command.spawn().with_context(|| format!("start {role}"))?;
        let pid = child.id().context("it has just been started")?;
        Ok(Process { role: role.to_owned(), pid, child })
    }
}

impl Process {
    /// How it ended, if it has ended by itself.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Kills it with SIGKILL and waits until it is gone.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }
}
