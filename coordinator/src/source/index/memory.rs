//! An index that lives as long as its process: for tests and measurements without a broker.

use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::{Stream, stream};

use super::{
    DirHash, EntryId, EntryKey, Listing, MOST_LISTED, NameHash, PathEntry, PathIndex, PortError,
};

/// Keeps the entries in a map.
#[derive(Debug)]
pub struct MemoryIndex {
    entries: Mutex<BTreeMap<EntryKey, PathEntry>>,
    most_listed: usize,
}

impl Default for MemoryIndex {
    fn default() -> Self {
        Self::with_limit(MOST_LISTED)
    }
}

impl MemoryIndex {
    /// Folders with more than `most_listed` entries answer [`Listing::TooMany`].
    #[must_use]
    pub fn with_limit(most_listed: usize) -> Self {
        Self { entries: Mutex::default(), most_listed }
    }

    /// Everything known, by key.
    #[must_use]
    pub fn all(&self) -> Vec<PathEntry> {
        self.entries().values().cloned().collect()
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<EntryKey, PathEntry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn of_dir(map: &BTreeMap<EntryKey, PathEntry>, dir: DirHash) -> Range<'_, EntryKey, PathEntry> {
    let first = EntryKey { dir, name: NameHash([0; 20]) };
    let last = EntryKey { dir, name: NameHash([0xff; 20]) };
    map.range(first..=last)
}

impl PathIndex for MemoryIndex {
    async fn entries_of(&self, dirs: &[DirHash]) -> Result<Vec<Listing>, PortError> {
        let entries = self.entries();
        let listing = |dir: &DirHash| {
            let known: Vec<_> =
                of_dir(&entries, *dir).take(self.most_listed + 1).map(|(_, e)| e.clone()).collect();
            if known.len() > self.most_listed { Listing::TooMany } else { Listing::Known(known) }
        };
        Ok(dirs.iter().map(listing).collect())
    }

    async fn lookup(&self, keys: &[EntryKey]) -> Result<Vec<Option<PathEntry>>, PortError> {
        let entries = self.entries();
        Ok(keys.iter().map(|key| entries.get(key).cloned()).collect())
    }

    fn list_large(&self, dir: DirHash) -> impl Stream<Item = Result<PathEntry, PortError>> + Send {
        let known: Vec<_> = of_dir(&self.entries(), dir).map(|(_, e)| Ok(e.clone())).collect();
        stream::iter(known)
    }

    async fn put(&self, entries: Vec<PathEntry>) -> Result<(), PortError> {
        self.entries().extend(entries.into_iter().map(|entry| (entry.key(), entry)));
        Ok(())
    }

    async fn remove(&self, ids: Vec<EntryId>) -> Result<(), PortError> {
        let mut entries = self.entries();
        for id in ids {
            if entries.get(&id.key).is_some_and(|entry| entry.id() == id) {
                entries.remove(&id.key);
            }
        }
        Ok(())
    }
}
