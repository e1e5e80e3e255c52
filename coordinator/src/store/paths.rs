//! The bucket of known paths as the scanner's index.
//!
//! A key is `<folder>.<name>.<cid>`, so that a folder, a path or a content id can each be looked up
//! by a filter. A path has one entry: when its content id changes the scan writes the new key first
//! and deletes the old one then. A crash in between leaves both; a read answers with the newer one
//! and deletes the other.

use std::collections::HashMap;

use async_nats::HeaderMap;
use broker_config::Names;
use broker_config::read::{ReadError, Stored};
use bytes::Bytes;
use futures_util::future::{BoxFuture, try_join, try_join_all};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};

use super::cursor::{Cursor, Start};
use super::patience::Patience;
use super::plugins::deletion;
use super::{Store, StoreError};
use crate::source::index::{DirHash, EntryId, EntryKey, Listing, PathEntry, PathIndex, PortError};

/// What earlier scans know, on the broker.
#[derive(Clone, Debug)]
pub struct BrokerIndex {
    store: Store,
    stream: String,
    patience: Patience,
    /// Length of what all keys begin with.
    root: usize,
}

/// Length of a folder's or name's token.
const TOKEN: usize = 32;

impl BrokerIndex {
    /// The index of a fleet.
    #[must_use]
    pub fn new(store: Store, patience: Patience) -> Self {
        let bucket = store.names().paths_bucket();
        Self {
            root: Names::key_subject(&bucket, "").len(),
            stream: Names::bucket_stream(&bucket),
            store,
            patience,
        }
    }

    /// The folder and name of a key; `None` for a key of another kind.
    fn tokens<'a>(&self, subject: &'a str) -> Option<(&'a str, &'a str)> {
        let rest = subject.get(self.root..)?;
        let (dir, rest) = rest.split_at_checked(TOKEN)?;
        let (name, rest) = rest.strip_prefix('.')?.split_at_checked(TOKEN)?;
        rest.starts_with('.').then_some((dir, name))
    }

    /// The newest message of each path; what a crash left behind of older ones is deleted.
    async fn newest<'a>(&self, found: &'a [Stored]) -> Result<Vec<Newest<'a>>, PortError> {
        let mut all: Vec<Newest<'a>> = found
            .iter()
            .filter(|stored| !stored.is_deletion())
            .filter_map(|stored| Some((self.tokens(&stored.subject)?, stored)))
            .collect();
        all.sort_unstable_by_key(|(tokens, stored)| (*tokens, u64::MAX - stored.sequence));
        let mut stale = Vec::new();
        all.dedup_by(|(tokens, stored), (newer, _)| {
            let is_stale = tokens == newer;
            if is_stale {
                stale.push(stored.subject.clone());
            }
            is_stale
        });
        self.delete(stale).await?;
        Ok(all)
    }

    /// Asks for several folders in one request, and in smaller ones where the answer is too large.
    fn listings<'a>(
        &'a self,
        dirs: &'a [DirHash],
    ) -> BoxFuture<'a, Result<Vec<Listing>, PortError>> {
        Box::pin(async move {
            let tokens: Vec<String> = dirs.iter().map(DirHash::to_string).collect();
            let filters: Vec<String> =
                tokens.iter().map(|dir| self.store.names().paths_in(dir)).collect();
            match self.patience.read(&self.store, &self.stream, &filters).await {
                Ok(found) => self.sort_into(&tokens, &found).await,
                Err(ReadError::TooMany) if dirs.len() == 1 => Ok(vec![Listing::TooMany]),
                Err(ReadError::TooMany) => {
                    let (left, right) = dirs.split_at(dirs.len() / 2);
                    let (mut left, right) =
                        try_join(self.listings(left), self.listings(right)).await?;
                    left.extend(right);
                    Ok(left)
                }
                Err(error) => Err(error.into()),
            }
        })
    }

    async fn sort_into(
        &self,
        dirs: &[String],
        found: &[Stored],
    ) -> Result<Vec<Listing>, PortError> {
        let places: HashMap<&str, usize> =
            dirs.iter().enumerate().map(|(at, dir)| (dir.as_str(), at)).collect();
        let mut listings = vec![Vec::new(); dirs.len()];
        for ((dir, _), stored) in self.newest(found).await? {
            if let Some(listing) = places.get(dir).and_then(|at| listings.get_mut(*at)) {
                listing.push(entry(stored)?);
            }
        }
        Ok(listings.into_iter().map(Listing::Known).collect())
    }

    /// What is stored under each key, every content id of it, deletions left out.
    fn stored<'a>(&'a self, keys: &'a [EntryKey]) -> BoxFuture<'a, Result<Vec<Stored>, PortError>> {
        Box::pin(async move {
            let named = |key: &EntryKey| {
                self.store.names().path_named(&key.dir.to_string(), &key.name.to_string())
            };
            let filters: Vec<String> = keys.iter().map(named).collect();
            if filters.is_empty() {
                return Ok(Vec::new());
            }
            match self.patience.read(&self.store, &self.stream, &filters).await {
                Ok(found) => Ok(found.into_iter().filter(|stored| !stored.is_deletion()).collect()),
                Err(ReadError::TooMany) if keys.len() > 1 => {
                    let (left, right) = keys.split_at(keys.len() / 2);
                    let (mut left, right) = try_join(self.stored(left), self.stored(right)).await?;
                    left.extend(right);
                    Ok(left)
                }
                // One path that had over a thousand contents.
                Err(ReadError::TooMany) => {
                    let filter = filters.into_iter().next().unwrap_or_default();
                    Ok(self.patience.read_all(&self.store, &self.stream, &filter).await?)
                }
                Err(error) => Err(error.into()),
            }
        })
    }

    async fn write(
        &self,
        subject: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<(), PortError> {
        self.patience.publish(&self.store, subject, headers, &body).await?;
        Ok(())
    }
}

impl PathIndex for BrokerIndex {
    async fn entries_of(&self, dirs: &[DirHash]) -> Result<Vec<Listing>, PortError> {
        if dirs.is_empty() {
            return Ok(Vec::new());
        }
        self.listings(dirs).await
    }

    async fn lookup(&self, keys: &[EntryKey]) -> Result<Vec<Option<PathEntry>>, PortError> {
        let found = self.stored(keys).await?;
        let known: HashMap<_, _> = self.newest(&found).await?.into_iter().collect();
        keys.iter()
            .map(|key| {
                let (dir, name) = (key.dir.to_string(), key.name.to_string());
                known.get(&(dir.as_str(), name.as_str())).map(|stored| entry(stored)).transpose()
            })
            .collect()
    }

    fn list_large(&self, dir: DirHash) -> impl Stream<Item = Result<PathEntry, PortError>> + Send {
        let filter = self.store.names().paths_in(&dir.to_string());
        let cursor = self.store.cursor(self.stream.clone(), filter, Start::Sequence(1));
        let pages = stream::try_unfold(cursor, |cursor| next_page(&self.patience, cursor));
        pages.map_ok(stream::iter).try_flatten().filter_map(|stored| async move {
            match stored {
                Ok(stored) if stored.is_deletion() => None,
                Ok(stored) => Some(entry(&stored)),
                Err(error) => Some(Err(error)),
            }
        })
    }

    async fn put(&self, entries: Vec<PathEntry>) -> Result<(), PortError> {
        let headers = HeaderMap::new();
        let puts = entries.iter().map(|entry| async {
            let body = Bytes::from(serde_json::to_vec(entry)?);
            self.write(&self.subject(&entry.id()), &headers, body).await
        });
        try_join_all(puts).await?;
        Ok(())
    }

    async fn remove(&self, entries: Vec<EntryId>) -> Result<(), PortError> {
        self.delete(entries.iter().map(|id| self.subject(id)).collect()).await
    }
}

impl BrokerIndex {
    fn subject(&self, id: &EntryId) -> String {
        let (dir, name) = (id.key.dir.to_string(), id.key.name.to_string());
        self.store.names().path(&dir, &name, id.cid.as_ref())
    }

    async fn delete(&self, subjects: Vec<String>) -> Result<(), PortError> {
        let headers = deletion();
        try_join_all(subjects.iter().map(|s| self.write(s, &headers, Bytes::new()))).await?;
        Ok(())
    }
}

/// Folder and name of a key, and the newest message under them.
type Newest<'a> = ((&'a str, &'a str), &'a Stored);

/// A page as a stream of its own, so that pages can be joined.
type Page = Vec<Result<Stored, PortError>>;

async fn next_page(
    patience: &Patience,
    mut cursor: Cursor,
) -> Result<Option<(Page, Cursor)>, PortError> {
    let page = patience.page(&mut cursor).await?;
    let page: Page = page.into_iter().map(Ok).collect();
    Ok((!page.is_empty()).then_some((page, cursor)))
}

pub(crate) fn entry(stored: &Stored) -> Result<PathEntry, PortError> {
    serde_json::from_slice(&stored.payload).map_err(|cause| {
        StoreError::Unreadable { what: format!("the path entry {}", stored.subject), cause }.into()
    })
}

#[cfg(test)]
mod tests;
