//! Finding files by path or content id.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use broker_config::read::{ReadError, last_messages};
use broker_config::{Cid, Names, midhash};
use tracing::warn;

use super::cursor::{Cursor, Start};
use super::paths::entry;
use super::{Store, StoreError};
use crate::source::index::{DirHash, EntryKey, PathEntry};
use crate::source::root_path;

impl Store {
    /// The content id that a person means by a path or by any spelling of the id itself; `None`
    /// when nothing is known under it.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when a bucket cannot be read.
    pub async fn find(&self, given: &OsStr) -> Result<Option<Cid>, StoreError> {
        for path in paths_meant(Path::new(given)) {
            let found = self.entry_at(&path).await?;
            if let Some(file) = found.as_ref().and_then(PathEntry::file) {
                return Ok(Some(file.cid.clone()));
            }
        }
        // A content id is ASCII in every spelling; paths need not be text at all.
        let parse = |text: &str| midhash::parse(text).ok().or_else(|| text.parse().ok());
        let Some(cid) = given.to_str().and_then(parse) else { return Ok(None) };
        let is_known =
            !self.paths_of(&cid).await?.is_empty() || !self.records(&cid).await?.is_empty();
        Ok(is_known.then_some(cid))
    }

    /// What is known of a path.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the bucket cannot be read.
    pub async fn entry_at(&self, path: &Path) -> Result<Option<PathEntry>, StoreError> {
        let key = EntryKey::of(path);
        let filter = self.names.path_named(&key.dir.to_string(), &key.name.to_string());
        Ok(self.path_entries(filter).await?.pop())
    }

    /// All paths at which a file is known.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the bucket cannot be read.
    pub async fn paths_of(&self, cid: &Cid) -> Result<Vec<PathEntry>, StoreError> {
        let mut found = self.path_entries(self.names.paths_of(cid)).await?;
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// Reads all known paths, or those in one folder, page by page with [`files_of`].
    #[must_use]
    pub fn path_cursor(&self, folder: Option<&Path>) -> Cursor {
        let bucket = self.names.paths_bucket();
        let filter = match folder {
            Some(folder) => self.names.paths_in(&DirHash::of(folder).to_string()),
            None => Names::key_subject(&bucket, "*.*.*"),
        };
        self.cursor(Names::bucket_stream(&bucket), filter, Start::Sequence(1))
    }

    /// Oldest first.
    async fn path_entries(&self, filter: String) -> Result<Vec<PathEntry>, StoreError> {
        let stream = Names::bucket_stream(&self.names.paths_bucket());
        let filters = [filter];
        let mut found = match last_messages(&self.client, &stream, &filters).await {
            Ok(found) => found,
            // All empty files are one content: there may be thousands of them.
            Err(ReadError::TooMany) => {
                let [filter] = filters;
                self.all(stream, filter).await?
            }
            Err(error) => return Err(StoreError::of_read("read known paths", error)),
        };
        found.sort_by_key(|stored| stored.sequence);
        Ok(files_of(&found))
    }
}

/// The entries in some messages; what cannot be read is left out and logged.
#[must_use]
pub fn files_of(found: &[broker_config::read::Stored]) -> Vec<PathEntry> {
    let live = found.iter().filter(|stored| !stored.is_deletion());
    live.filter_map(|stored| {
        entry(stored).inspect_err(|error| warn!(%error, "a path is left out")).ok()
    })
    .collect()
}

/// The absolute paths that one can mean: as it is, and with its links resolved.
fn paths_meant(given: &Path) -> Vec<PathBuf> {
    let mut meant: Vec<PathBuf> = root_path(given).ok().into_iter().collect();
    if let Ok(resolved) = std::fs::canonicalize(given)
        && !meant.contains(&resolved)
    {
        meant.push(resolved);
    }
    meant
}
