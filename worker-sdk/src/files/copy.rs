//! A path on this machine for those who need one, e.g. another program.

use std::ffi::{OsStr, OsString};
use std::io;
use std::ops::Deref;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker_config::wire::files::encode_path;
use tokio::io::AsyncWriteExt as _;
use tracing::warn;

use super::client::{Client, FetchError, Wanted, next};
use super::{Files, Source};

/// The file of a task, or one beside it, on this machine; derefs to its path.
///
/// Where it is a copy of a file elsewhere, the copy goes when this is dropped.
#[derive(Debug)]
pub struct LocalFile {
    path: PathBuf,
    is_copy: bool,
}

impl LocalFile {
    pub(super) fn here(path: PathBuf) -> Self {
        Self { path, is_copy: false }
    }

    /// Whether it is a copy of a file elsewhere.
    #[must_use]
    pub fn is_copy(&self) -> bool {
        self.is_copy
    }
}

impl Deref for LocalFile {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

impl AsRef<Path> for LocalFile {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

impl Drop for LocalFile {
    fn drop(&mut self) {
        if self.is_copy
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            warn!(%error, "the copy of a file could not be removed");
        }
    }
}

/// Copies a file from elsewhere into the folder for temporary files.
pub(super) async fn copy(
    files: &Files,
    source: Arc<Source>,
    path: &Path,
) -> Result<LocalFile, CopyError> {
    let mut client = Client::new(source);
    let name = client.name();
    let spelled = encode_path(path.as_os_str().as_bytes());
    let mut answer = client.get(Wanted { path: &spelled, range: None, etag: None }).await?;
    let (local, file) = new_file(path.extension()).map_err(CopyError::Write)?;
    let mut file = tokio::fs::File::from_std(file);
    let mut copied = 0;
    while let Some(bytes) = next(&mut answer.response, &name).await? {
        files.count(bytes.len());
        copied += bytes.len() as u64;
        file.write_all(&bytes).await.map_err(CopyError::Write)?;
    }
    file.flush().await.map_err(CopyError::Write)?;
    if copied == answer.length {
        return Ok(local);
    }
    Err(CopyError::Fetch(FetchError::Broken(name, "it is shorter than it says".into())))
}

/// A copy could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("could not write a copy")]
    Write(#[source] io::Error),
}

/// What is longer is no extension that a program goes by, and might not fit into a name.
const MAX_EXTENSION: usize = 40;

/// A new file that its owner alone may read, with the extension that programs go by.
fn new_file(extension: Option<&OsStr>) -> io::Result<(LocalFile, std::fs::File)> {
    let name = format!("metafleet-{}-{:016x}", std::process::id(), fastrand::u64(..));
    let mut path = std::env::temp_dir().join(name).into_os_string();
    if let Some(extension) = extension.filter(|it| it.len() <= MAX_EXTENSION) {
        path.push(OsString::from("."));
        path.push(extension);
    }
    let path = PathBuf::from(path);
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(&path)?;
    Ok((LocalFile { path, is_copy: true }, file))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_copy_is_its_owners_and_goes_with_its_guard() {
        let (copy, file) = new_file(Some(OsStr::from_bytes(b"m\xffv"))).unwrap();
        let path = copy.to_path_buf();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(path.extension(), Some(OsStr::from_bytes(b"m\xffv")));
        assert!(copy.is_copy() && path.exists());

        drop(copy);

        assert!(!path.exists());
        let here = LocalFile::here("/etc/hostname".into());
        drop(here);
        assert!(Path::new("/etc/hostname").exists());
    }
}
