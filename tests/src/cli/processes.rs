//! Looking at processes of this machine.

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};

use crate::eventually;

/// A process by what the kernel says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it was started: a number that is used again names another process.
    started: u64,
    /// Its program, cut to 15 characters.
    name: String,
}

impl Process {
    /// Whether its program is called so.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name == name.chars().take(15).collect::<String>()
    }

    /// Kills it with SIGKILL.
    pub fn kill(&self) -> anyhow::Result<()> {
        let pid = Pid::from_raw(self.pid.cast_signed()).context("a process")?;
        Ok(kill_process(pid, Signal::KILL)?)
    }

    /// Whether it is still there.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        look(self.pid).is_some_and(|(process, ..)| process.started == self.started)
    }

    /// Waits until it is gone.
    pub async fn gone(&self) -> anyhow::Result<()> {
        let what = format!("{self:?} to be gone");
        eventually(&what, async || Ok((!self.is_alive()).then_some(()))).await
    }
}

/// All processes that `parent` has started and that live.
pub fn children(parent: u32) -> anyhow::Result<Vec<Process>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let pid = entry?.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some((process, of)) = pid.and_then(look)
            && of == parent
        {
            found.push(process);
        }
    }
    Ok(found)
}

/// A living process and its parent.
fn look(pid: u32) -> Option<(Process, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets and may hold any character, brackets too.
    let (before, after) = stat.rsplit_once(')')?;
    let name = before.split_once('(')?.1.to_owned();
    let fields: Vec<&str> = after.split_whitespace().collect();
    let (state, parent, started) = (fields.first()?, fields.get(1)?, fields.get(19)?);
    let process = Process { pid, started: started.parse().ok()?, name };
    (*state != "Z").then_some((process, parent.parse().ok()?))
}
