//! One pass over a file on a thread of its own.

use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use worker_sdk::BlockingReader;

use crate::digests::{Digester, Digests};

/// Bytes of one read; between two of them the pass can be cancelled.
const PIECE: usize = 1024 * 1024;

/// The checksums of the whole file could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// Nothing there that can be read.
    #[error("could not read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A folder, a pipe, a device.
    #[error("{} is not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// Somebody writes to the file, so no checksum stands for it.
    #[error("{} changed while it was read: it had {expected} bytes, then {found}", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// What the finder of the file or the beginning of the pass saw, in bytes.
        expected: u64,
        /// What was there later, in bytes.
        found: u64,
    },
    /// Nobody waits for the result any more.
    #[error("the pass was cancelled")]
    Cancelled,
}

impl PassError {
    /// Whether the same call can succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Read { source, .. } => source.kind() != io::ErrorKind::PermissionDenied,
            Self::Changed { .. } | Self::Cancelled => true,
            Self::NotAFile(_) => false,
        }
    }
}

/// Reads `path` once from beginning to end; it must have `expected` bytes.
///
/// Counts the bytes in `done` and asks `cancelled` after each piece. Blocks its thread.
///
/// # Errors
///
/// [`PassError`] when the file cannot be read, is changed meanwhile, or the pass is cancelled.
pub fn pass(
    path: &Path,
    expected: u64,
    done: &AtomicU64,
    cancelled: impl Fn() -> bool,
) -> Result<Digests, PassError> {
    let unreadable = |source| PassError::Read { path: path.to_owned(), source };
    // Asked before the file is opened: opening a pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(PassError::NotAFile(path.to_owned()));
    }
    let mut file = File::open(path).map_err(unreadable)?;
    let before = file.metadata().map_err(unreadable)?;
    let digests = digest(&mut file, before.len(), (path, expected), done, cancelled)?;
    let after = file.metadata().map_err(unreadable)?;
    if written_since(&before, &after) {
        let found = after.len().min(expected);
        return Err(PassError::Changed { path: path.to_owned(), expected, found });
    }
    Ok(digests)
}

/// The same for a file that is elsewhere: whoever sends it sees to it that it does not change.
///
/// # Errors
///
/// As [`pass`].
pub fn pass_from(
    mut reader: BlockingReader,
    (path, expected): (&Path, u64),
    done: &AtomicU64,
    cancelled: impl Fn() -> bool,
) -> Result<Digests, PassError> {
    let size = reader.size().map_err(|source| PassError::Read { path: path.to_owned(), source })?;
    digest(&mut reader, size, (path, expected), done, cancelled)
}

fn digest(
    file: &mut impl io::Read,
    size: u64,
    (path, expected): (&Path, u64),
    done: &AtomicU64,
    cancelled: impl Fn() -> bool,
) -> Result<Digests, PassError> {
    let unreadable = |source| PassError::Read { path: path.to_owned(), source };
    let changed = |found| PassError::Changed { path: path.to_owned(), expected, found };
    if size != expected {
        return Err(changed(size));
    }
    let mut piece = vec![0; PIECE];
    let mut digester = Digester::default();
    let mut total = 0;
    loop {
        if cancelled() {
            return Err(PassError::Cancelled);
        }
        let length = match file.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(error)),
        };
        digester.update(piece.get(..length).unwrap_or_default());
        total += length as u64;
        // A file that grows as fast as it is read would never end.
        if total > expected {
            return Err(changed(total));
        }
        done.store(total, Ordering::Relaxed);
    }
    if total == expected { Ok(digester.finish()) } else { Err(changed(total)) }
}

fn written_since(before: &Metadata, after: &Metadata) -> bool {
    before.len() != after.len() || before.modified().ok() != after.modified().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use super::*;

    type Change<'a> = &'a dyn Fn(&Path);

    #[test]
    fn a_file_that_changes_during_the_pass_has_no_checksum() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let original = vec![7; 3 * PIECE];
        let append = |path: &Path| {
            File::options().append(true).open(path).unwrap().write_all(b"more").unwrap();
        };
        let shorten = |path: &Path| {
            File::options().write(true).open(path).unwrap().set_len(PIECE as u64 + 1).unwrap();
        };
        let rewrite = |path: &Path| {
            let file = File::options().write(true).open(path).unwrap();
            (&file).write_all(b"other").unwrap();
            file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        };
        let changes: [(&str, Change<'_>); 3] =
            [("append", &append), ("shorten", &shorten), ("rewrite", &rewrite)];
        for (name, change) in changes {
            fs::write(&path, &original).unwrap();
            let done = AtomicU64::new(0);

            let found = pass(&path, original.len() as u64, &done, || {
                if done.load(Ordering::Relaxed) == PIECE as u64 {
                    change(&path);
                }
                false
            });

            assert!(matches!(found, Err(PassError::Changed { .. })), "{name}: {found:?}");
        }
    }

    #[test]
    fn a_cancelled_pass_stops_after_one_piece() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, vec![7; 3 * PIECE]).unwrap();
        let done = AtomicU64::new(0);

        let found = pass(&path, 3 * PIECE as u64, &done, || done.load(Ordering::Relaxed) > 0);

        assert!(matches!(found, Err(PassError::Cancelled)), "{found:?}");
        assert_eq!(done.load(Ordering::Relaxed), PIECE as u64);
    }
}
