//! Coordinator and workers as processes that die with us.

use std::fs::File;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use anyhow::Context as _;
use coordinator::exec::{Guard, Limits};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

use super::Sabotage;
use super::clock::Clock;

/// Starts processes of one experiment.
#[derive(Debug)]
pub struct Starter {
    /// Where the ledgers go; logs go beside them.
    pub folder: PathBuf,
    /// Tasks at once per worker.
    pub concurrency: usize,
    /// Handed on to the workers.
    pub sabotage: Option<Sabotage>,
    /// Copies of every message that the coordinators ask the broker for.
    pub replicas: usize,
    /// What turns the clocks of the workers, if they are to be turned.
    pub faketime: Option<PathBuf>,
    /// How many were started.
    pub started: usize,
}

/// A running process.
#[derive(Debug)]
pub struct Process {
    /// What it is: a plugin's id, or the name of a coordinator's node.
    pub role: String,
    /// Where it was told that the broker is.
    pub url: String,
    /// Its process id.
    pub pid: u32,
    /// Its clock, if that can be turned.
    clock: Option<Clock>,
    child: Child,
}

impl Starter {
    /// Starts the coordinator called `node`, with its broker at `url`.
    pub fn coordinator(&mut self, node: &str, url: &str) -> anyhow::Result<Process> {
        let replicas = self.replicas.to_string();
        self.start(node, url, None, &["coordinator", "--node", node, "--replicas", &replicas])
    }

    /// Starts a worker of a plugin, with its broker at `url`.
    pub fn worker(&mut self, plugin: &str, url: &str) -> anyhow::Result<Process> {
        let folder = self.folder.to_string_lossy().into_owned();
        let mut arguments = vec!["worker", plugin, "--ledgers", &folder];
        let sabotage = self.sabotage.map(|kind| {
            use clap::ValueEnum as _;
            kind.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
        });
        if let Some(kind) = &sabotage {
            arguments.extend(["--sabotage", kind]);
        }
        let clock = self.folder.join(format!("{:03}-{plugin}.clock", self.started + 1));
        let clock = self.faketime.is_some().then(|| Clock::right(clock)).transpose()?;
        self.start(plugin, url, clock, &arguments)
    }

    fn start(
        &mut self,
        role: &str,
        url: &str,
        mut clock: Option<Clock>,
        arguments: &[&str],
    ) -> anyhow::Result<Process> {
        self.started += 1;
        let log = self.folder.join(format!("{:03}-{role}.log", self.started));
        let log = File::create(&log).with_context(|| log.display().to_string())?;
        // The program itself, whatever has become of its file meanwhile.
        let mut command = Guard::this_program().command("/proc/self/exe", Limits::default());
        command
            .args(arguments)
            .env("NATS_URL", url)
            .env("METAFLEET_CONCURRENCY", self.concurrency.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        if let (Some(clock), Some(library)) = (&clock, &self.faketime) {
            command.envs(clock.environment(library));
        }
        let child = command.spawn().with_context(|| format!("start {role}"))?;
        let pid = child.id().context("it has just been started")?;
        if let Some(clock) = &mut clock {
            clock.belongs_to(pid);
        }
        Ok(Process { role: role.to_owned(), url: url.to_owned(), pid, clock, child })
    }
}

impl Process {
    /// How it ended, if it has ended by itself.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Stops it with SIGSTOP: it does nothing and knows of nothing, until it goes on.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    pub fn go_on(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).context("a process id")?;
        kill_process(pid, signal).with_context(|| format!("{signal:?} for {}", self.role))
    }

    /// Has its clock show so many seconds more than the right time.
    pub fn turn_clock(&self, seconds: i64) -> anyhow::Result<()> {
        self.clock.as_ref().context("a clock of its own")?.turn(seconds)
    }

    /// Kills it with SIGKILL and waits until it is gone.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }
}
