//! Which path of a content counts when there are several.
//!
//! Records belong to the content, so what is read from names and sidecars can come from one path
//! only. It is the same one whatever the order in which copies are found: a path with sidecars
//! before one without, then the smaller path. The other paths are known and listed, but not
//! handed in. A path that is gone from the disk does not count, so a renamed file is handed in.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use broker_config::Cid;
use broker_config::read::ReadError;

use super::Store;
use super::patience::Patience;
use crate::source::index::EntryFacts;
use crate::source::{FoundFile, PortError, Why};

/// Contents of one scan that are remembered; of more, only copies known before are recognised.
const MOST: usize = 200_000;
/// Contents whose records are looked for in one request.
const BATCH: usize = 64;

/// Smaller counts.
type Rank = (bool, PathBuf);

fn rank(has_sidecars: bool, path: PathBuf) -> Rank {
    (!has_sidecars, path)
}

/// The best path of each content seen in one scan.
#[derive(Debug, Default)]
pub(super) struct Copies(Mutex<HashMap<Cid, Rank>>);

impl Copies {
    /// Splits off the files that another path of the same content counts for.
    ///
    /// # Errors
    ///
    /// When the broker cannot be read.
    pub(super) async fn choose(
        &self,
        store: &Store,
        patience: &Patience,
        files: Vec<FoundFile>,
    ) -> Result<(Vec<FoundFile>, usize), PortError> {
        let found = files.len();
        let known = described(store, patience, &files).await?;
        let mut chosen = Vec::with_capacity(found);
        for file in files {
            let ours = rank(!file.sidecars.is_empty(), file.path.clone());
            let better = known.contains(&file.cid) && elsewhere(store, &file, &ours).await?;
            if !better && self.is_best(&file.cid, ours) {
                chosen.push(file);
            }
        }
        let left = found - chosen.len();
        Ok((chosen, left))
    }

    fn is_best(&self, cid: &Cid, ours: Rank) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.get_mut(cid) {
            Some(best) if *best < ours => false,
            Some(best) => {
                *best = ours;
                true
            }
            None => {
                if seen.len() < MOST {
                    seen.insert(cid.clone(), ours);
                }
                true
            }
        }
    }
}

/// The contents among new paths that have records already: renamed files, and copies.
async fn described(
    store: &Store,
    patience: &Patience,
    files: &[FoundFile],
) -> Result<BTreeSet<Cid>, PortError> {
    let names = store.names();
    let new: BTreeSet<&Cid> =
        files.iter().filter(|file| file.why == Why::New).map(|file| &file.cid).collect();
    let mut batches: Vec<Vec<String>> = new
        .into_iter()
        .collect::<Vec<_>>()
        .chunks(BATCH)
        .map(|chunk| chunk.iter().map(|cid| names.records_of(cid)).collect())
        .collect();
    let mut described = BTreeSet::new();
    while let Some(mut filters) = batches.pop() {
        match patience.read(store, &names.record_stream(), &filters).await {
            Ok(found) => described.extend(
                found.iter().filter_map(|stored| Some(names.parse_record(&stored.subject)?.cid)),
            ),
            Err(ReadError::TooMany) if filters.len() > 1 => {
                let half = filters.split_off(filters.len() / 2);
                batches.extend([filters, half]);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(described)
}

/// Whether a known path of the same content, still on the disk, counts before ours.
async fn elsewhere(store: &Store, file: &FoundFile, ours: &Rank) -> Result<bool, PortError> {
    for entry in store.paths_of(&file.cid).await? {
        let EntryFacts::File(known) = &entry.facts else { continue };
        let better = rank(known.sidecars.is_some(), entry.path.clone()) < *ours;
        if better
            && entry.path != file.path
            && tokio::fs::symlink_metadata(&entry.path).await.is_ok()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_path_counts_whatever_the_order() {
        let cid: Cid = "c".parse().unwrap();
        let plain = || rank(false, "/a/copy.mkv".into());
        let film = || rank(true, "/z/film.mkv".into());
        let other = || rank(true, "/z/other.mkv".into());
        let chosen = |order: &[Rank]| {
            let copies = Copies::default();
            order.iter().filter(|rank| copies.is_best(&cid, (*rank).clone())).last().cloned()
        };
        for order in
            [[plain(), film(), other()], [other(), film(), plain()], [film(), plain(), other()]]
        {
            assert_eq!(chosen(&order), Some(film()), "{order:?}");
        }
        let copies = Copies::default();
        assert!(copies.is_best(&cid, film()));
        assert!(!copies.is_best(&cid, plain()), "it is left alone when the better one came first");
        assert!(copies.is_best(&cid, film()), "the same path again");
    }
}
