//! What a handler calls: opens the file of its task, or one beside it, wherever that is.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::fs;

use super::client::FetchError;
use super::copy::{CopyError, LocalFile, copy};
use super::door::Door;
use super::place::{Choice, Seen, choose, sidecar};
use super::reader::FileReader;
use super::remote::Remote;
use super::{Files, Source};
use crate::context::Context;
use crate::outcome::Failure;

/// A file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file that is here.
    #[error("could not read {}", path.display())]
    Here {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A folder, a pipe, a device.
    #[error("{} is not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// It is not here, and its bytes do not come.
    #[error("{} is not on this machine, and could not be got", path.display())]
    Elsewhere {
        /// What the task calls it.
        path: PathBuf,
        /// Why.
        #[source]
        source: FetchError,
    },
    /// It is not here, and there is no room for a copy.
    #[error("could not write a copy of {}", path.display())]
    Copy {
        /// What the task calls it.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It has other bytes than the file that was found, and nobody offers that one.
    #[error(
        "{} has {found} bytes, but had {known} when it was found; a scan hands it in anew",
        path.display()
    )]
    Changed {
        /// Where it is here.
        path: PathBuf,
        /// Its bytes.
        found: u64,
        /// Those of the file of the task.
        known: u64,
    },
    /// Such a name leads elsewhere than to a file beside the task's.
    #[error("`{0}` is not the name of a file beside this one")]
    Name(String),
}

impl OpenError {
    /// Whether the same call can succeed later: a mount may come back, permission does not come by
    /// waiting.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Here { source, .. } => source.kind() != io::ErrorKind::PermissionDenied,
            Self::Elsewhere { .. } | Self::Copy { .. } | Self::Changed { .. } => true,
            Self::NotAFile(_) | Self::Name(_) => false,
        }
    }

    /// Whether there is no such file.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        match self {
            Self::Here { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::NotADirectory
                    | io::ErrorKind::InvalidFilename
            ),
            Self::Elsewhere { source, .. } => matches!(source, FetchError::Absent(_)),
            Self::NotAFile(_) | Self::Copy { .. } | Self::Changed { .. } | Self::Name(_) => false,
        }
    }

    /// As an error of reading.
    #[must_use]
    pub fn into_io(self) -> io::Error {
        match self {
            Self::Here { source, .. } | Self::Copy { source, .. } => source,
            Self::Elsewhere { source, .. } => source.into_io(),
            Self::NotAFile(_) | Self::Name(_) => io::Error::new(io::ErrorKind::InvalidInput, self),
            Self::Changed { .. } => io::Error::other(self),
        }
    }

    /// As a failure of the attempt, retryable or not.
    #[must_use]
    pub fn failure(self) -> Failure {
        if self.is_retryable() { Failure::retryable(self) } else { Failure::permanent(self) }
    }
}

/// One file: where it is here, what its task calls it, and its size where that is known.
struct Meant {
    here: PathBuf,
    there: PathBuf,
    size: u64,
}

enum Place {
    Here(PathBuf, u64),
    Elsewhere(Arc<Source>),
}

impl Context {
    /// Opens the file of the task, on this machine or by HTTP.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn open(&self) -> Result<FileReader, OpenError> {
        self.open_meant(self.itself()).await
    }

    /// Opens one of the files beside it, by its name in [`FileFacts::sidecars`](crate::FileFacts).
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn open_sidecar(&self, name: &str) -> Result<FileReader, OpenError> {
        self.open_meant(self.beside(name).await?).await
    }

    /// A path of the file on this machine: of itself, or of a copy that goes with the answer.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    ///
    /// # Cancel safety
    ///
    /// When dropped, an unfinished copy is removed.
    pub async fn local_path(&self) -> Result<LocalFile, OpenError> {
        self.local_meant(self.itself()).await
    }

    /// The same for one of the files beside it.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    ///
    /// # Cancel safety
    ///
    /// When dropped, an unfinished copy is removed.
    pub async fn local_sidecar(&self, name: &str) -> Result<LocalFile, OpenError> {
        self.local_meant(self.beside(name).await?).await
    }

    /// The file for a program that reads by HTTP and jumps, where it is elsewhere: less crosses the
    /// network than with a copy. `None` where the file is on this machine.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn door(&self) -> Result<Option<Door>, OpenError> {
        let meant = self.itself();
        let Place::Elsewhere(source) = find(&self.files, &meant).await? else { return Ok(None) };
        let path = meant.there;
        let (files, cancelled) = (self.files.clone(), self.cancelled.clone());
        match Remote::open(files.clone(), source.clone(), &path, cancelled).await {
            Ok((remote, _)) => match Door::open(files, source, &path, &remote).await {
                Ok(door) => Ok(Some(door)),
                Err(source) => Err(OpenError::Copy { path, source }),
            },
            Err(source) => Err(OpenError::Elsewhere { path, source }),
        }
    }

    fn itself(&self) -> Meant {
        let size = self.task.file.size;
        Meant { here: self.path.clone(), there: self.task.path.to_path(), size }
    }

    async fn beside(&self, name: &str) -> Result<Meant, OpenError> {
        let known = self.task.file.sidecars.iter().find(|sidecar| sidecar.name == name);
        let unfit = || OpenError::Name(name.to_owned());
        let here = sidecar(&self.path, name).ok_or_else(unfit)?;
        let there = sidecar(&self.task.path.to_path(), name).ok_or_else(unfit)?;
        let size = known.map_or(0, |sidecar| sidecar.size);
        Ok(Meant { here: as_read(here, name).await, there, size })
    }

    async fn open_meant(&self, meant: Meant) -> Result<FileReader, OpenError> {
        match find(&self.files, &meant).await? {
            Place::Here(path, size) => match fs::File::open(&path).await {
                Ok(file) => Ok(FileReader::here(file, size)),
                Err(source) => Err(OpenError::Here { path, source }),
            },
            Place::Elsewhere(source) => {
                let (files, cancelled) = (self.files.clone(), self.cancelled.clone());
                let opened = Remote::open(files, source, &meant.there, cancelled).await;
                let (remote, beginning) =
                    opened.map_err(|source| OpenError::Elsewhere { path: meant.there, source })?;
                Ok(FileReader::elsewhere(remote, beginning))
            }
        }
    }

    async fn local_meant(&self, meant: Meant) -> Result<LocalFile, OpenError> {
        let source = match find(&self.files, &meant).await? {
            Place::Here(path, _) => return Ok(LocalFile::here(path)),
            Place::Elsewhere(source) => source,
        };
        copy(&self.files, source, &meant.there).await.map_err(|error| {
            let path = meant.there.clone();
            match error {
                CopyError::Fetch(source) => OpenError::Elsewhere { path, source },
                CopyError::Write(source) => OpenError::Copy { path, source },
            }
        })
    }
}

/// Looks whether the file is here, before it is opened: opening a pipe would wait for its writer.
async fn find(files: &Files, meant: &Meant) -> Result<Place, OpenError> {
    let looked = fs::metadata(&meant.here).await;
    let seen = match &looked {
        Ok(metadata) if metadata.is_file() => Seen::File(metadata.len()),
        Ok(_) => Seen::Other,
        Err(_) => Seen::Nothing,
    };
    let source = files.source();
    match (choose(seen, meant.size, source.is_some()), source, looked) {
        (Choice::Elsewhere, Some(source), _) => Ok(Place::Elsewhere(source)),
        (Choice::Changed(found), ..) => {
            Err(OpenError::Changed { path: meant.here.clone(), found, known: meant.size })
        }
        (_, _, Ok(metadata)) if metadata.is_file() => {
            Ok(Place::Here(meant.here.clone(), metadata.len()))
        }
        (_, _, Ok(_)) => Err(OpenError::NotAFile(meant.here.clone())),
        (_, _, Err(source)) => Err(OpenError::Here { path: meant.here.clone(), source }),
    }
}

/// The path itself, unless its name is not UTF-8: such a name comes with replacement characters, and
/// the file is the first one in the folder whose name reads the same.
async fn as_read(path: PathBuf, name: &str) -> PathBuf {
    if !name.contains(char::REPLACEMENT_CHARACTER) || fs::try_exists(&path).await.unwrap_or(false) {
        return path;
    }
    same_name(&path).await.unwrap_or(path)
}

async fn same_name(path: &Path) -> Option<PathBuf> {
    let (folder, name) = (path.parent()?, path.file_name()?.to_str()?);
    let mut entries = fs::read_dir(folder).await.ok()?;
    while let Ok(Some(entry)) = entries.next_entry().await {
        if entry.file_name().to_string_lossy() == name {
            return Some(entry.path());
        }
    }
    None
}
