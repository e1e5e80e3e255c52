//! A worker as a process of this machine.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::process::{ExitStatus, Stdio};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::Child;

use super::Start;
use crate::exec::{Guard, Limits};

/// Variables that mean something to a worker; those of whoever runs the kit mean others.
const FAMILIES: [&str; 2] = ["NATS_", "METAFLEET_"];

/// A process and its process group, which ends with this value.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    group: Option<Pid>,
}

impl Process {
    pub(super) fn start(command: &[OsString], start: &Start) -> anyhow::Result<Self> {
        let (program, arguments) = command.split_first().context("a command")?;
        let log = &start.log;
        let output = File::create(log).with_context(|| format!("write {}", log.display()))?;
        let mut command = Guard::this_program().command(program, Limits::default());
        command.args(arguments).stdin(Stdio::null());
        command.stdout(output.try_clone().context("write the log")?).stderr(output);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if FAMILIES.iter().any(|family| name.starts_with(family)) {
                command.env_remove(name);
            }
        }
        command.envs(&start.variables);
        let child = command.spawn().with_context(|| format!("start {}", program.display()))?;
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        Ok(Self { child, group })
    }

    pub(super) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let pid = pid.context("the worker has ended already")?;
        kill_process(pid, signal).context("send it a signal")
    }

    pub(super) async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        Ok(self.child.wait().await?)
    }

    pub(super) fn has_ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }
}

impl Drop for Process {
    /// Ends the process and all that it started.
    fn drop(&mut self) {
        if let Some(group) = self.group
            && let Err(error) = kill_process_group(group, Signal::KILL)
        {
            tracing::debug!(%error, ?group, "nothing is left of the group");
        }
    }
}
