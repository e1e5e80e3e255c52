//! Reads one subtitle file, no more of it than is needed and never too much.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

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

/// Looks into the file at `path`; blocks its thread.
///
/// # Errors
///
/// [`FileError`] when it cannot be read or is no subtitle.
pub fn look(path: &Path) -> Result<Found, FileError> {
    // Asked before the file is opened: opening a pipe would wait for its writer.
    if !fs::metadata(path).map_err(FileError::Read)?.is_file() {
        return Err(FileError::NotAFile);
    }
    let mut file = File::open(path).map_err(FileError::Read)?;
    let mut bytes = Vec::new();
    (&mut file).take(HEAD).read_to_end(&mut bytes).map_err(FileError::Read)?;
    if let Some(format) = content::pictures(&bytes) {
        return Ok(Found::Pictures(format));
    }
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(FileError::Read)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(FileError::TooLarge);
    }
    content::read(&bytes).map(Found::Text).ok_or(FileError::Unknown)
}

/// The file called `name` in `folder`.
///
/// A name that is not UTF-8 comes with replacement characters; the file is the first one in the
/// folder whose name reads the same.
#[must_use]
pub fn beside(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    if !name.contains(char::REPLACEMENT_CHARACTER) || path.exists() {
        return path;
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut same = entries.filter(|entry| entry.file_name().to_string_lossy() == name);
    same.next().map_or(path, |entry| entry.path())
}
