//! A started worker, whatever it was started from: all that cases know of it.

mod container;
mod process;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::container::Container;
use self::process::Process;
use super::image::Tried;

/// How much of its log is shown.
const LINES: usize = 15;
const LOG_BYTES: u64 = 64 * 1024;

/// What workers are started from.
#[derive(Clone, Debug)]
pub enum Subject {
    /// A command and its arguments.
    Command(Vec<OsString>),
    /// An image.
    Image(Arc<Tried>),
}

/// What a worker is started with.
#[derive(Clone, Debug)]
pub(super) struct Start {
    pub(super) instance: String,
    /// All that the kit says to it.
    pub(super) variables: BTreeMap<String, String>,
    /// The case's folder, which it sees under the same path.
    pub(super) folder: PathBuf,
    /// Where its output goes.
    pub(super) log: PathBuf,
}

/// A worker, which ends with this value.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) instance: String,
    started: Started,
}

#[derive(Debug)]
enum Started {
    Process(Process),
    Container(Container),
}

impl Worker {
    /// Starts one. What has to live longer than it goes to `keepers`; they end soon after it.
    pub(super) async fn start(
        subject: &Subject,
        start: Start,
        keepers: &mut JoinSet<()>,
    ) -> anyhow::Result<Self> {
        let instance = start.instance.clone();
        let started = match subject {
            Subject::Command(command) => Started::Process(Process::start(command, &start)?),
            Subject::Image(tried) => {
                Started::Container(Container::start(tried.clone(), start, keepers).await?)
            }
        };
        Ok(Self { instance, started })
    }

    /// Sends it a signal.
    pub(super) async fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        match &self.started {
            Started::Process(process) => process.signal(signal),
            Started::Container(container) => container.signal(signal).await,
        }
    }

    /// Waits until it has ended.
    pub(super) async fn ended(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let ended = async {
            match &mut self.started {
                Started::Process(process) => process.ended().await,
                Started::Container(container) => container.ended().await,
            }
        };
        match timeout(limit, ended).await {
            Ok(status) => status.context("wait for the worker"),
            Err(_) => bail!("the worker's process goes on after {} s", limit.as_secs()),
        }
    }

    /// Fails when it has ended.
    pub(super) fn lives(&mut self) -> anyhow::Result<()> {
        let ended = match &mut self.started {
            Started::Process(process) => process.has_ended().map_err(anyhow::Error::from),
            Started::Container(container) => container.has_ended().map_err(anyhow::Error::from),
        };
        match ended.context("look at the worker's process")? {
            Some(status) => bail!("the worker's process has ended with {status}"),
            None => Ok(()),
        }
    }
}

/// The status of whatever ended with this exit code.
fn status_of(code: i64) -> ExitStatus {
    // A wait status has the code in its second byte.
    ExitStatus::from_raw(i32::from(u8::try_from(code).unwrap_or(u8::MAX)) << 8)
}

/// The last lines of a file; nothing where it cannot be read.
pub(super) fn last_lines(path: &Path) -> String {
    let tail = tail(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&tail);
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default().join("\n")
}

/// The end of a file that may be of any size.
fn tail(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let from = file.metadata()?.len().saturating_sub(LOG_BYTES);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(LOG_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_is_told_as_that_of_a_process() {
        for (code, told) in
            [(0, "exit status: 0"), (130, "exit status: 130"), (300, "exit status: 255")]
        {
            assert_eq!(status_of(code).to_string(), told);
        }
        assert_eq!(status_of(130).code(), Some(130));
    }
}
