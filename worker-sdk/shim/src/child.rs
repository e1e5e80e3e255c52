//! A command under its keeper, and what it says.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader,
};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::time::timeout;

use crate::answer::Report;
use crate::keeper;
use crate::limits::Limits;

/// How commands are started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program that keeps commands: this one.
    pub keeper: PathBuf,
    /// The command and its arguments; never empty.
    pub command: Vec<OsString>,
    /// What it may use.
    pub limits: Limits,
    /// How long it may take to end after SIGTERM.
    pub grace: Duration,
    /// What it inherits.
    pub environment: Vec<(OsString, OsString)>,
}

/// A command that runs.
///
/// When this is dropped before its end, everything of it is killed at once.
#[derive(Debug)]
pub(crate) struct Kept {
    child: Child,
    keeper: Option<Pid>,
}

/// The pipes of a command.
#[derive(Debug)]
pub(crate) struct Pipes {
    pub(crate) stdin: ChildStdin,
    pub(crate) stdout: BufReader<ChildStdout>,
    pub(crate) stderr: ChildStderr,
}

impl Launch {
    /// Starts the command with these variables beside those that it inherits.
    ///
    /// # Errors
    ///
    /// When the system starts no process. A command that is not there is told by its exit code.
    pub(crate) fn start(&self, variables: &[(String, OsString)]) -> io::Result<(Kept, Pipes)> {
        let mut command = keeper::command(&self.keeper, self.limits, self.grace, &self.command);
        command
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let keeper = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let kept = Kept { child, keeper };
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(io::Error::other("a process without pipes"));
        };
        Ok((kept, Pipes { stdin, stdout: BufReader::new(stdout), stderr }))
    }
}

impl Kept {
    /// Waits for its end.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        self.keeper = None;
        Ok(status)
    }

    /// Whether it runs.
    pub(crate) fn is_running(&mut self) -> bool {
        match self.child.try_wait() {
            Ok(None) => true,
            Ok(Some(_)) => {
                self.keeper = None;
                false
            }
            Err(_) => false,
        }
    }

    /// Tells the command to end; when the grace period is over it is killed.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Tells the command to end, and waits for that; what is left then is killed.
    pub(crate) async fn end(&mut self, patience: Duration) {
        self.terminate();
        if timeout(patience, self.wait()).await.is_err() {
            self.kill(patience).await;
        }
    }

    /// Kills everything at once, and waits until that is done.
    pub(crate) async fn kill(&mut self, patience: Duration) {
        self.signal(Signal::HUP);
        // It is dead sooner or later.
        drop(timeout(patience, self.wait()).await);
    }

    fn signal(&self, signal: Signal) {
        if let Some(keeper) = self.keeper {
            // An error says that it has gone.
            kill_process(keeper, signal).unwrap_or_default();
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.signal(Signal::HUP);
    }
}

/// A command's output could not be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    #[error("the command wrote too much")]
    TooMuch,
    #[error("the command closed its output without an answer")]
    Closed,
    #[error("could not read what the command writes")]
    Read(#[source] io::Error),
}

/// A line, or a report of progress.
pub(crate) enum Line {
    Said(Vec<u8>),
    Report(Report),
}

/// A report of progress may be so long, in bytes, however little else may still be said.
const REPORT: usize = 8 * 1024;

/// The next line with its end, of `most` bytes at most unless it is a report; `None` at the end of the
/// output.
pub(crate) async fn line(
    stdout: &mut BufReader<ChildStdout>,
    most: usize,
) -> Result<Option<Line>, ListenError> {
    let mut line = Vec::new();
    let mut bounded = stdout.take((most.max(REPORT) as u64).saturating_add(1));
    bounded.read_until(b'\n', &mut line).await.map_err(ListenError::Read)?;
    if line.is_empty() {
        Ok(None)
    } else if let Some(report) = Report::of(&line) {
        Ok(Some(Line::Report(report)))
    } else if line.len() > most {
        Err(ListenError::TooMuch)
    } else {
        Ok(Some(Line::Said(line)))
    }
}

/// Gives a command its request. One that does not read it, or has ended, is nothing special.
pub(crate) async fn feed(stdin: &mut ChildStdin, line: &[u8]) {
    stdin.write_all(line).await.unwrap_or_default();
    stdin.flush().await.unwrap_or_default();
}

/// Takes all that is said until the end, so that nobody is stopped by a full pipe.
pub(crate) async fn drain(mut stderr: impl AsyncRead + Unpin, mut keep: impl FnMut(&[u8])) {
    let mut part = vec![0; 8 * 1024];
    while let Ok(n @ 1..) = stderr.read(&mut part).await {
        keep(part.get(..n).unwrap_or_default());
    }
}
