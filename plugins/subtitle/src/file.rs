//! Reads one subtitle file, no more of it than is needed and never too much.

use std::io;

use tokio::io::AsyncReadExt as _;
use worker_sdk::{FileReader, OpenError};

use crate::content::{self, Content, Format};

/// Text files larger than this are not read, in bytes; whole series fit into it.
pub const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Enough to know a file of pictures by.
const HEAD: u64 = 64;

/// What a subtitle file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Text, with its cues.
    Text(Content),
    /// Pictures; their times would need the whole of a large file.
    Pictures(Format),
}

/// There is nothing to say about a file that should be a subtitle.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("could not read the file")]
    Read(#[source] io::Error),
    /// It is elsewhere, and does not come; nothing is said of the file by that.
    #[error("could not get the file")]
    Fetch(#[source] io::Error),
    /// A folder, a pipe, a device.
    #[error("not a regular file")]
    NotAFile,
    /// No subtitle is that large.
    #[error("larger than {MAX_BYTES} bytes, not read")]
    TooLarge,
    /// The content is of no format that is known here.
    #[error("no subtitle format that is known")]
    Unknown,
}

/// Looks into a file, wherever it is.
///
/// # Errors
///
/// [`FileError`] when it cannot be read or is no subtitle.
pub async fn look(opened: Result<FileReader, OpenError>) -> Result<Found, FileError> {
    let mut file = match opened {
        Ok(file) => file,
        Err(OpenError::NotAFile(_)) => return Err(FileError::NotAFile),
        // What a later attempt may well read.
        Err(error @ (OpenError::Elsewhere { .. } | OpenError::Changed { .. }))
            if !error.is_absent() =>
        {
            return Err(FileError::Fetch(error.into_io()));
        }
        Err(error) => return Err(FileError::Read(error.into_io())),
    };
    let is_here = file.is_here();
    let failed = |error| if is_here { FileError::Read(error) } else { FileError::Fetch(error) };
    let mut bytes = Vec::new();
    (&mut file).take(HEAD).read_to_end(&mut bytes).await.map_err(failed)?;
    if let Some(format) = content::pictures(&bytes) {
        return Ok(Found::Pictures(format));
    }
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).await.map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(FileError::TooLarge);
    }
    // A large text takes its time.
    let read = tokio::task::spawn_blocking(move || content::read(&bytes)).await;
    let read = read.map_err(|error| FileError::Read(io::Error::other(error)))?;
    read.map(Found::Text).ok_or(FileError::Unknown)
}
