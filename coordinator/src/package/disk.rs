//! The folder that plugins are installed in, changed so that whoever looks sees the old state or the
//! new one.
//!
//! All that is written lies in a folder of its own, whose name begins with a dot, until it is whole;
//! then one rename puts it in its place. No path is ever followed: each part of a name is opened in
//! the folder above it, and a link there is an error.

use std::collections::BTreeSet;
use std::fs::{DirEntry, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use broker_config::PluginId;
use rustix::fs::{
    AtFlags, Mode, OFlags, RenameFlags, fchmod, fsync, mkdirat, openat, renameat, renameat_with,
    unlinkat,
};
use rustix::io::Errno;
use semver::Version;
use tracing::warn;

use super::{EntryName, MANIFEST, PackageError};
use crate::config::private_file;

/// Written after each change; whoever follows the folder looks at it.
pub const CHANGED: &str = ".changed";
/// How the names of folders begin that are not whole, or not any more.
const TEMPORARY: &str = ".install-";
/// Held while something changes.
const LOCK: &str = ".lock";

/// The right to change a plugin folder; dropping it gives the right back.
#[derive(Debug)]
pub(super) struct PluginFolder {
    pub(super) path: PathBuf,
    fd: OwnedFd,
    _lock: File,
}

/// What is being written, and goes with this unless it is put in its place.
#[derive(Debug)]
pub(super) struct Temporary {
    path: PathBuf,
    name: String,
    /// The folder with the temporary name.
    outer: OwnedFd,
    /// The version's folder in it.
    inner: OwnedFd,
    version: String,
    folders: BTreeSet<String>,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // What stays is removed by the next who changes the folder.
        std::fs::remove_dir_all(&self.path).ok();
    }
}

fn folder(dir: impl AsFd, name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    Ok(openat(dir, name, flags, Mode::empty())?)
}

fn make_folder(dir: impl AsFd + Copy, name: &str) -> io::Result<OwnedFd> {
    let mode = Mode::from_raw_mode(0o755);
    mkdirat(dir, name, mode)?;
    let made = folder(dir, name)?;
    // Whatever the mask of this process says.
    fchmod(&made, mode)?;
    Ok(made)
}

/// Removes what nobody looks at any more; what cannot go now is tried again the next time.
fn clear(path: &Path) {
    if let Err(error) = std::fs::remove_dir_all(path) {
        warn!(path = %path.display(), %error, "a folder is left that cannot be removed");
    }
}

/// How the folder of a version is called.
fn folder_of(version: &Version) -> String {
    format!("v{version}")
}

impl PluginFolder {
    /// Makes the folder if need be, takes the right to change it, and removes what others have left.
    ///
    /// # Errors
    ///
    /// [`PackageError::Busy`] while somebody else has that right.
    pub(super) fn open(path: &Path) -> Result<Self, PackageError> {
        let io = || PackageError::io(path);
        private_file::make_dir(path).map_err(io())?;
        let fd: OwnedFd = File::open(path).map_err(io())?.into();
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let lock = openat(&fd, LOCK, flags, Mode::from_raw_mode(0o600));
        let lock = File::from(lock.map_err(|error| io()(error.into()))?);
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(PackageError::Busy { path: path.to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(io()(source)),
        }
        let folder = Self { path: path.to_owned(), fd, _lock: lock };
        folder.clean().map_err(io())?;
        Ok(folder)
    }

    /// Whoever left these does not hold the lock, and so is gone.
    fn clean(&self) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            let is_left = entry.file_name().to_string_lossy().starts_with(TEMPORARY);
            if is_left && entry.file_type()?.is_dir() {
                clear(&entry.path());
            }
        }
        Ok(())
    }

    /// Whether a version of a plugin is here; its folder may lie there for other reasons.
    pub(super) fn has(&self, id: &PluginId) -> bool {
        let inside = std::fs::read_dir(self.path.join(id.as_str()));
        let is_version = |entry: io::Result<DirEntry>| {
            entry.is_ok_and(|entry| entry.path().join(MANIFEST).exists())
        };
        inside.is_ok_and(|mut all| all.any(is_version))
    }

    /// Where a version of a plugin lies or would lie.
    pub(super) fn place(&self, id: &PluginId, version: &Version) -> PathBuf {
        self.path.join(id.as_str()).join(folder_of(version))
    }

    /// A folder that nobody sees, for a version of a plugin.
    pub(super) fn temporary(&self, version: &Version) -> io::Result<Temporary> {
        let name = format!("{TEMPORARY}{}", private_file::random_hex(8)?);
        let path = self.path.join(&name);
        let version = folder_of(version);
        mkdirat(&self.fd, name.as_str(), Mode::from_raw_mode(0o700))?;
        let inside = || {
            let outer = folder(&self.fd, &name)?;
            let inner = make_folder(&outer, &version)?;
            Ok((outer, inner))
        };
        match inside() {
            Ok((outer, inner)) => {
                Ok(Temporary { path, name, outer, inner, version, folders: BTreeSet::new() })
            }
            Err(error) => {
                std::fs::remove_dir_all(&path).ok();
                Err(error)
            }
        }
    }

    /// Puts what was written in its place; what was there before is gone then.
    pub(super) fn put(&self, id: &PluginId, temporary: &Temporary) -> io::Result<()> {
        temporary.sync()?;
        let version = temporary.version.as_str();
        let owner = match folder(&self.fd, id.as_str()) {
            Ok(owner) => owner,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // With its folder, so that there is never an empty one.
                fchmod(&temporary.outer, Mode::from_raw_mode(0o755))?;
                renameat(&self.fd, temporary.name.as_str(), &self.fd, id.as_str())?;
                return self.changed();
            }
            Err(error) => return Err(error),
        };
        let exchange = RenameFlags::EXCHANGE;
        match renameat_with(&temporary.outer, version, &owner, version, exchange) {
            Ok(()) => {}
            Err(Errno::NOENT) => renameat(&temporary.outer, version, &owner, version)?,
            // A file system that cannot: for a moment neither is there.
            Err(Errno::INVAL | Errno::NOSYS) => {
                match renameat(&owner, version, &temporary.outer, "old") {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(error) => return Err(error.into()),
                }
                if let Err(error) = renameat(&temporary.outer, version, &owner, version) {
                    renameat(&temporary.outer, "old", &owner, version).ok();
                    return Err(error.into());
                }
            }
            Err(error) => return Err(error.into()),
        }
        fsync(&owner)?;
        self.changed()
    }

    /// Takes a version of a plugin, or all of it, out of the folder.
    pub(super) fn take(&self, id: &PluginId, version: Option<&Version>) -> io::Result<()> {
        let owner = folder(&self.fd, id.as_str())?;
        let name = format!("{TEMPORARY}{}", private_file::random_hex(8)?);
        match version {
            None => renameat(&self.fd, id.as_str(), &self.fd, name.as_str())?,
            Some(version) => renameat(&owner, folder_of(version), &self.fd, name.as_str())?,
        }
        if version.is_some() {
            fsync(&owner)?;
            match unlinkat(&self.fd, id.as_str(), AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOTEMPTY | Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.changed()?;
        clear(&self.path.join(name));
        Ok(())
    }

    /// Tells whoever follows the folder.
    fn changed(&self) -> io::Result<()> {
        fsync(&self.fd)?;
        private_file::write(&self.path.join(CHANGED), private_file::random_hex(8)?.as_bytes())
    }
}

impl Temporary {
    /// Makes a file that was not there; folders come with it.
    pub(super) fn create(&mut self, name: &EntryName, executable: bool) -> io::Result<File> {
        let mut dir = self.inner.try_clone()?;
        let mut last = name.as_str();
        let mut parts = name.parts().peekable();
        let mut folders = name.folders();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                last = part;
                break;
            }
            let is_new = folders.next().is_some_and(|path| self.folders.insert(path.to_owned()));
            dir = if is_new { make_folder(&dir, part)? } else { folder(&dir, part)? };
        }
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(if executable { 0o755 } else { 0o644 });
        let fd = openat(&dir, last, flags, mode)?;
        // Whatever the mask of this process says.
        fchmod(&fd, mode)?;
        Ok(fd.into())
    }

    /// Has all folders on disk; files are, once they are written.
    fn sync(&self) -> io::Result<()> {
        for path in self.folders.iter().rev() {
            let mut dir = self.inner.try_clone()?;
            for part in path.split('/') {
                dir = folder(&dir, part)?;
            }
            fsync(&dir)?;
        }
        fsync(&self.inner)?;
        Ok(fsync(&self.outer)?)
    }
}
