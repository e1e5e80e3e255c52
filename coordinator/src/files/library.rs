//! Opens a file of a library and nothing else of the machine. Blocking.
//!
//! The kernel keeps to the library: `openat2` with `RESOLVE_BENEATH` on a descriptor of its folder
//! refuses whatever leads out, also when somebody changes links meanwhile. Links that stay inside
//! are followed, as a scan follows them. A library's folder is opened anew each time, because
//! something may have been mounted there.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};
use rustix::io::Errno;

use super::ask::{Version, below};

/// How often a name is tried while others move folders about.
const TRIES: usize = 8;

/// The folders whose files are offered.
#[derive(Clone, Debug)]
pub struct Libraries(Vec<PathBuf>);

/// A file that is open for reading.
#[derive(Debug)]
pub struct Opened {
    /// The file.
    pub file: File,
    /// What it is now.
    pub version: Version,
}

/// Why a file is not offered.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It is in no library, or a link leads out of it.
    #[error("it is outside of the libraries")]
    Outside,
    /// There is no such file, or it is a folder, a pipe, a device.
    #[error("there is no such file")]
    Absent,
    /// It cannot be read now.
    #[error("it could not be read")]
    Unreadable(#[source] io::Error),
}

impl Libraries {
    /// Offers the files below these folders; the innermost folder counts.
    #[must_use]
    pub fn new(mut roots: Vec<PathBuf>) -> Self {
        roots.sort_by_key(|root| std::cmp::Reverse(root.components().count()));
        roots.dedup();
        Self(roots)
    }

    /// Opens the file at `path`.
    ///
    /// # Errors
    ///
    /// [`Refusal`].
    pub fn open(&self, path: &Path) -> Result<Opened, Refusal> {
        let inside = self.0.iter().find_map(|root| Some((root, below(root, path)?)));
        let (root, below) = inside.ok_or(Refusal::Outside)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = open(root, flags, Mode::empty()).map_err(refusal)?;
        match open_in(folder.as_fd(), below, ResolveFlags::empty()) {
            // An absolute link may still lead to a place inside.
            Err(Refusal::Outside) => {
                let (root, real) = (std::fs::canonicalize(root), std::fs::canonicalize(path));
                let (Ok(root), Ok(real)) = (root, real) else { return Err(Refusal::Outside) };
                let real = super::ask::below(&root, &real).ok_or(Refusal::Outside)?;
                open_in(folder.as_fd(), real, ResolveFlags::NO_SYMLINKS)
            }
            opened => opened,
        }
    }
}

fn open_in(folder: BorrowedFd<'_>, path: &Path, resolve: ResolveFlags) -> Result<Opened, Refusal> {
    // Opening a device can do something to it, so its kind is looked at first.
    let found = File::from(beneath(folder, path, OFlags::PATH, resolve)?);
    if !found.metadata().map_err(Refusal::Unreadable)?.is_file() {
        return Err(Refusal::Absent);
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(beneath(folder, path, flags, resolve)?);
    let version = version(&file).map_err(Refusal::Unreadable)?;
    version.map(|version| Opened { file, version }).ok_or(Refusal::Absent)
}

fn beneath(
    folder: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Refusal> {
    let resolve = resolve | ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let mut last = Errno::AGAIN;
    for _ in 0..TRIES {
        match openat2(folder, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Ok(opened) => return Ok(opened),
            Err(errno) => last = errno,
        }
        if last != Errno::AGAIN && last != Errno::INTR {
            break;
        }
    }
    Err(refusal(last))
}

fn refusal(errno: Errno) -> Refusal {
    match errno {
        Errno::XDEV => Refusal::Outside,
        Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::LOOP | Errno::NXIO => {
            Refusal::Absent
        }
        other => Refusal::Unreadable(other.into()),
    }
}

/// What an open file is now; `None` where it is no regular one.
///
/// # Errors
///
/// What the operating system says.
pub fn version(file: &File) -> io::Result<Option<Version>> {
    let metadata = file.metadata()?;
    let modified = (metadata.mtime(), metadata.mtime_nsec());
    let version = Version { size: metadata.len(), modified, inode: metadata.ino() };
    Ok(metadata.is_file().then_some(version))
}
