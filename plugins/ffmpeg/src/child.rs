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
use worker_sdk::{Failure, Guard, InvalidSettings};

use crate::ffprobe;

/// More output than this is not read; a film with a hundred chapters needs 100 KiB.
pub const MAX_OUTPUT: usize = 4 * 1024 * 1024;

/// How much of the messages is kept; the rest is read and thrown away.
const MAX_MESSAGES: usize = 16 * 1024;

/// Time for a program to say its version.
const VERSION_LIMIT: Duration = Duration::from_secs(10);

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
    #[error("could not read what the program says")]
    Read(#[source] io::Error),
    /// It was killed when its time was over.
    #[error("{name} did not finish within {} ms and was killed", limit.as_millis())]
    TimedOut {
        /// What people call it.
        name: &'static str,
        /// Its time.
        limit: Duration,
    },
    /// It crashed, or somebody killed it.
    #[error("{name} was ended by signal {signal}{}", in_brackets(messages))]
    Signal {
        /// What people call it.
        name: &'static str,
        /// The signal's number.
        signal: i32,
        /// What it said before.
        messages: String,
    },
    /// It was killed because it wrote too much.
    #[error("{name} wrote more than {most} bytes about this file")]
    TooMuch {
        /// What people call it.
        name: &'static str,
        /// What it may write, in bytes.
        most: usize,
    },
    /// It gave up.
    #[error("{name}: {messages}")]
    Refused {
        /// What people call it.
        name: &'static str,
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
            | Self::TimedOut { .. }
            | Self::Signal { .. } => true,
            Self::TooMuch { .. } => false,
            Self::Refused { messages, .. } => ffprobe::may_pass(messages),
        }
    }

    /// As a failure of the attempt, retryable or not.
    #[must_use]
    pub fn failure(self) -> Failure {
        if self.is_retryable() { Failure::retryable(self) } else { Failure::permanent(self) }
    }
}

fn in_brackets(messages: &str) -> String {
    if messages.is_empty() { String::new() } else { format!(" ({messages})") }
}

/// One call of a program.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// What people call the program, e.g. `ffprobe`.
    pub name: &'static str,
    /// A path, or a name that is looked for on `PATH`.
    pub program: &'a OsStr,
    /// Its arguments.
    pub arguments: &'a [OsString],
    /// Where the program reads by HTTP, if it does; only its environment names it.
    pub proxy: Option<&'a str>,
    /// How long it may take.
    pub limit: Duration,
    /// How much it may write to its standard output, in bytes.
    pub most: usize,
}

/// What a program said that did its work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Its standard output.
    pub output: Vec<u8>,
    /// The beginning of its messages.
    pub messages: Vec<u8>,
}

/// Runs ffprobe under `guard` and returns its standard output.
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
    let (name, proxy, most) = ("ffprobe", None, MAX_OUTPUT);
    let said = call(guard, &Call { name, program, arguments, proxy, limit, most }).await?;
    Ok(said.output)
}

/// Runs a program under `guard`.
///
/// # Errors
///
/// [`ChildError`] when it cannot be started, fails, takes too long or writes too much.
///
/// # Cancel safety
///
/// Dropping the future kills the program.
pub async fn call(guard: &Guard, call: &Call<'_>) -> Result<Said, ChildError> {
    let Call { name, program, limit, .. } = *call;
    let mut command = guard.command(program, limit);
    if let Some(proxy) = call.proxy {
        command.env("http_proxy", proxy).env_remove("no_proxy");
    }
    let mut child = command
        .args(call.arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(ChildError::Spawn)?;
    let _group = Group::of(&child);
    let (status, said) = timeout(limit, finish(&mut child, call))
        .await
        .map_err(|_| ChildError::TimedOut { name, limit })??;
    let messages = || ffprobe::words(&said.messages);
    match status.signal() {
        Some(signal) => Err(ChildError::Signal { name, signal, messages: messages() }),
        None if status.success() => Ok(said),
        None if status.code() == Some(Guard::NOT_STARTED) => {
            Err(ChildError::Start { program: program.to_owned(), reason: messages() })
        }
        None => {
            let words = Some(messages()).filter(|words| !words.is_empty());
            let messages = words.unwrap_or_else(|| format!("{status} without a word"));
            Err(ChildError::Refused { name, messages })
        }
    }
}

/// Asks a program for its version.
///
/// # Errors
///
/// [`InvalidSettings`] when it is not there or does not work; `setting` is where its path can be
/// said.
///
/// # Cancel safety
///
/// Dropping the future kills the program.
pub async fn is_there(
    guard: &Guard,
    program: &OsStr,
    setting: &'static str,
) -> Result<(), InvalidSettings> {
    match run(guard, program, &["-version".into()], VERSION_LIMIT).await {
        Ok(_) => Ok(()),
        Err(error @ ChildError::Start { .. }) => Err(InvalidSettings::new(format!(
            "{}; install ffmpeg or set `{setting}` to its path",
            Failure::permanent(error)
        ))),
        Err(error) => Err(InvalidSettings::new(format!(
            "{} does not work: {}",
            program.display(),
            Failure::permanent(error)
        ))),
    }
}

async fn finish(child: &mut Child, call: &Call<'_>) -> Result<(ExitStatus, Said), ChildError> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (output, messages) = tokio::try_join!(all(stdout, call), beginning(stderr))?;
    let status = child.wait().await.map_err(ChildError::Read)?;
    Ok((status, Said { output, messages }))
}

async fn all(pipe: Option<impl AsyncRead + Unpin>, call: &Call<'_>) -> Result<Vec<u8>, ChildError> {
    let mut output = Vec::new();
    if let Some(pipe) = pipe {
        let most = call.most as u64 + 1;
        pipe.take(most).read_to_end(&mut output).await.map_err(ChildError::Read)?;
    }
    let Call { name, most, .. } = *call;
    if output.len() > most { Err(ChildError::TooMuch { name, most }) } else { Ok(output) }
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
