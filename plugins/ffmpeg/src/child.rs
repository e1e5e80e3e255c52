//! Runs a program under a time limit and takes a bounded amount of what it says.
//!
//! The program has a process group of its own. Whatever way the run ends, dropped in the middle
//! included, nothing of the group is left: a wrapper script and what it started die as well. When
//! this process is killed, the kernel kills the program ([`Guard`]); what a wrapper script started
//! then ends by itself, after its processor time at the latest.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Child;
use tokio::time::timeout;
use worker_sdk::Guard;

use crate::ffprobe;

/// More output than this is not read; a film with a hundred chapters needs 100 KiB.
pub const MAX_OUTPUT: usize = 4 * 1024 * 1024;

/// How much of the messages is kept; the rest is read and thrown away.
const MAX_MESSAGES: usize = 16 * 1024;

/// The program did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// There is no such program, or it may not be started.
    #[error("could not start {}: {reason}", program.display())]
    Start {
        /// As it was asked for.
        program: OsString,
        /// What the guard said, or a wrapper script that could not start it in its turn.
        reason: String,
    },
    /// The system starts no more processes.
    #[error("could not start a process")]
    Spawn(#[source] io::Error),
    /// What it says could not be read.
    #[error("could not read what ffprobe says")]
    Read(#[source] io::Error),
    /// It was killed when its time was over.
    #[error("ffprobe did not finish within {} ms and was killed", .0.as_millis())]
    TimedOut(Duration),
    /// It crashed, or somebody killed it.
    #[error("ffprobe was ended by signal {signal}{}", in_brackets(messages))]
    Signal {
        /// Its number.
        signal: i32,
        /// What it said before.
        messages: String,
    },
    /// It was killed because it wrote too much.
    #[error("ffprobe wrote more than {MAX_OUTPUT} bytes about this file")]
    TooMuch,
    /// It gave up.
    #[error("ffprobe: {messages}")]
    Refused {
        /// In its own words.
        messages: String,
    },
}

impl ChildError {
    /// Whether the same call can succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Start { .. }
            | Self::Spawn(_)
            | Self::Read(_)
            | Self::TimedOut(_)
            | Self::Signal { .. } => true,
            Self::TooMuch => false,
            Self::Refused { messages } => ffprobe::may_pass(messages),
        }
    }
}

fn in_brackets(messages: &str) -> String {
    if messages.is_empty() { String::new() } else { format!(" ({messages})") }
}

/// Runs `program` under `guard` and returns its standard output.
///
/// # Errors
///
/// [`ChildError`] when it cannot be started, fails, takes longer than `limit` or writes more than
/// [`MAX_OUTPUT`].
///
/// # Cancel safety
///
/// Dropping the future kills the program.
pub async fn run(
    guard: &Guard,
    program: &OsStr,
    arguments: &[OsString],
    limit: Duration,
) -> Result<Vec<u8>, ChildError> {
    let mut child = guard
        .command(program, limit)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(ChildError::Spawn)?;
    let _group = Group::of(&child);
    let (status, output, messages) =
        timeout(limit, finish(&mut child)).await.map_err(|_| ChildError::TimedOut(limit))??;
    let messages = ffprobe::words(&messages);
    match status.signal() {
        Some(signal) => Err(ChildError::Signal { signal, messages }),
        None if status.success() => Ok(output),
        None if status.code() == Some(Guard::NOT_STARTED) => {
            Err(ChildError::Start { program: program.to_owned(), reason: messages })
        }
        None if messages.is_empty() => {
            Err(ChildError::Refused { messages: format!("{status} without a word") })
        }
        None => Err(ChildError::Refused { messages }),
    }
}

async fn finish(child: &mut Child) -> Result<(ExitStatus, Vec<u8>, Vec<u8>), ChildError> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (output, messages) = tokio::try_join!(all(stdout), beginning(stderr))?;
    let status = child.wait().await.map_err(ChildError::Read)?;
    Ok((status, output, messages))
}

async fn all(pipe: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, ChildError> {
    let mut output = Vec::new();
    if let Some(pipe) = pipe {
        let most = MAX_OUTPUT as u64 + 1;
        pipe.take(most).read_to_end(&mut output).await.map_err(ChildError::Read)?;
    }
    if output.len() > MAX_OUTPUT { Err(ChildError::TooMuch) } else { Ok(output) }
}

async fn beginning(pipe: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, ChildError> {
    let mut kept = Vec::new();
    if let Some(mut pipe) = pipe {
        let mut first = (&mut pipe).take(MAX_MESSAGES as u64);
        first.read_to_end(&mut kept).await.map_err(ChildError::Read)?;
        // A full pipe would stop the program.
        tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await.map_err(ChildError::Read)?;
    }
    Ok(kept)
}

/// Kills what is left of a process group when it is dropped.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // An error says that nobody is left.
            kill_process_group(leader, Signal::KILL).unwrap_or_default();
        }
    }
}
