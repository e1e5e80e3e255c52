//! The file of a task as an input of ffmpeg's programs, wherever it is.

use std::ffi::OsString;
use std::path::Path;

use worker_sdk::{Context, Door, Failure, LocalFile, OpenError};

/// The largest single piece of memory that a program may ask for, in bytes.
const MAX_ALLOCATION: &str = "536870912";

/// A file for ffmpeg's programs; it can be read while this lives.
#[derive(Debug)]
pub enum Input {
    /// On this machine.
    Here(LocalFile),
    /// Elsewhere. The programs read little of most files, and jump: they get what they read.
    Elsewhere(Door),
}

impl Input {
    /// The file of the task.
    ///
    /// # Errors
    ///
    /// When it cannot be read, retryable or not.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn of(ctx: &Context) -> Result<Self, Failure> {
        match ctx.door().await.map_err(OpenError::failure)? {
            Some(door) => Ok(Self::Elsewhere(door)),
            None => Ok(Self::Here(ctx.local_path().await.map_err(OpenError::failure)?)),
        }
    }

    /// The arguments that name it.
    #[must_use]
    pub fn arguments(&self) -> Vec<OsString> {
        match self {
            Self::Here(file) => arguments(file),
            Self::Elsewhere(door) => arguments_for("http,tcp", door.url().into()),
        }
    }

    /// What the environment of the program must say as `http_proxy`.
    #[must_use]
    pub fn proxy(&self) -> Option<&str> {
        match self {
            Self::Here(_) => None,
            Self::Elsewhere(door) => Some(door.proxy()),
        }
    }

    /// Says whether all bytes came that were asked for: what a program says of half a file is not to
    /// be believed.
    ///
    /// # Errors
    ///
    /// When some did not come.
    pub fn came_whole(&self) -> Result<(), Failure> {
        match self {
            Self::Here(_) => Ok(()),
            Self::Elsewhere(door) => {
                door.problem().map_or(Ok(()), |it| Err(Failure::retryable(it)))
            }
        }
    }
}

/// `file:` keeps a name that looks like an option or a URL a name; the list of protocols keeps a
/// playlist from leading to other machines. What it can still lead to are files: those who believe
/// what a program says of an input look for [`crate::ffprobe::UselessAnswer::List`] first.
fn arguments(path: &Path) -> Vec<OsString> {
    let mut input = OsString::from("file:");
    input.push(path);
    arguments_for("file", input)
}

fn arguments_for(protocols: &str, input: OsString) -> Vec<OsString> {
    let words = ["-max_alloc", MAX_ALLOCATION, "-protocol_whitelist", protocols, "-i"];
    words.map(OsString::from).into_iter().chain([input]).collect()
}
