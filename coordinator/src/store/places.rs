//! Where the paths of a content are, for a scan that asks often.
//!
//! The broker finds the paths of one content by looking at every key of the bucket: a tenth of a
//! second where 200,000 are known. That is fine for a few files, and not for a folder of thousands
//! that was deleted or renamed. So after a few questions the bucket is read once, and only where
//! each entry lies is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicUsize, Ordering};

use broker_config::read::{ReadError, Stored};
use broker_config::{Cid, Names};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::sync::OnceCell;

use super::Store;
use super::cursor::Start;
use super::files::files_of;
use super::patience::Patience;
use crate::source::PortError;
use crate::source::index::PathEntry;

/// Contents asked for one by one before the bucket is read.
const FEW: usize = 16;
/// Entries that are kept, 16 bytes each; where more are known each content is asked for.
const MOST: usize = 4_000_000;
/// Entries of one content that are read one by one.
const MOST_OF_ONE: usize = 64;
/// Contents asked for at the same time.
const TOGETHER: usize = 16;

/// Finds the paths of contents for one scan.
#[derive(Debug, Default)]
pub(super) struct Places {
    asked: AtomicUsize,
    /// Hash of the content id and sequence of the entry, sorted; `None` = there are too many.
    read: OnceCell<Option<Vec<(u64, u64)>>>,
}

impl Places {
    /// The known paths of each content.
    ///
    /// # Errors
    ///
    /// When the broker cannot be read.
    pub(super) async fn of(
        &self,
        store: &Store,
        patience: &Patience,
        cids: BTreeSet<Cid>,
    ) -> Result<BTreeMap<Cid, Vec<PathEntry>>, PortError> {
        let asked = self.asked.fetch_add(cids.len(), Ordering::Relaxed) + cids.len();
        let places = if asked > FEW {
            self.read.get_or_try_init(|| read(store, patience)).await?.as_deref()
        } else {
            None
        };
        let each = cids.into_iter().map(|cid| of_one(store, patience, places, cid));
        stream::iter(each).buffer_unordered(TOGETHER).try_collect().await
    }
}

async fn of_one(
    store: &Store,
    patience: &Patience,
    places: Option<&[(u64, u64)]>,
    cid: Cid,
) -> Result<(Cid, Vec<PathEntry>), PortError> {
    let found = match places.map(|places| places_of(places, hash_of(&store.names().paths_of(&cid))))
    {
        Some([]) => return Ok((cid, Vec::new())),
        Some(places) if places.len() <= MOST_OF_ONE => at(store, patience, &cid, places).await?,
        Some(_) | None => None,
    };
    let found = match found {
        Some(found) => found,
        None => by_filter(store, patience, &cid).await?,
    };
    Ok((cid, files_of(&found)))
}

/// The entries at these places; `None` where one has been written anew since the bucket was read.
async fn at(
    store: &Store,
    patience: &Patience,
    cid: &Cid,
    places: &[(u64, u64)],
) -> Result<Option<Vec<Stored>>, ReadError> {
    let stream = stream_of(store);
    let wanted = store.names().paths_of(cid);
    let mut found = Vec::with_capacity(places.len());
    for (_, sequence) in places {
        match patience.message(store, &stream, *sequence).await? {
            Some(stored) if token(&stored.subject) == token(&wanted) => found.push(stored),
            // Another content with the same hash.
            Some(_) => {}
            None => return Ok(None),
        }
    }
    Ok(Some(found))
}

async fn by_filter(
    store: &Store,
    patience: &Patience,
    cid: &Cid,
) -> Result<Vec<Stored>, PortError> {
    let stream = stream_of(store);
    let filters = [store.names().paths_of(cid)];
    match patience.read(store, &stream, &filters).await {
        Ok(found) => Ok(found),
        // All empty files are one content: there may be thousands of them.
        Err(ReadError::TooMany) => {
            let [filter] = filters;
            Ok(patience.read_all(store, &stream, &filter).await?)
        }
        Err(error) => Err(error.into()),
    }
}

/// Reads where all entries are.
async fn read(store: &Store, patience: &Patience) -> Result<Option<Vec<(u64, u64)>>, PortError> {
    let all = Names::key_subject(&store.names().paths_bucket(), "*.*.*");
    let mut cursor = store.cursor(stream_of(store), all, Start::Sequence(1));
    let mut places = Vec::new();
    loop {
        let page = patience.page(&mut cursor).await?;
        if page.is_empty() {
            places.sort_unstable();
            return Ok(Some(places));
        }
        let live = page.iter().filter(|stored| !stored.is_deletion());
        places.extend(live.map(|stored| (hash_of(&stored.subject), stored.sequence)));
        if places.len() > MOST {
            return Ok(None);
        }
    }
}

fn stream_of(store: &Store) -> String {
    Names::bucket_stream(&store.names().paths_bucket())
}

/// The part of a subject or filter that stands for the content.
fn token(subject: &str) -> &str {
    subject.rsplit('.').next().unwrap_or_default()
}

fn hash_of(subject: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    token(subject).hash(&mut hasher);
    hasher.finish()
}

fn places_of(places: &[(u64, u64)], hash: u64) -> &[(u64, u64)] {
    let from = places.partition_point(|(other, _)| *other < hash);
    let to = places.partition_point(|(other, _)| *other <= hash);
    places.get(from..to).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_by_hash() {
        let places = [(1, 5), (3, 2), (3, 9), (u64::MAX, 4)];
        for (hash, expected) in
            [(0, &places[..0]), (1, &places[..1]), (3, &places[1..3]), (u64::MAX, &places[3..])]
        {
            assert_eq!(places_of(&places, hash), expected, "{hash}");
        }
    }
}
