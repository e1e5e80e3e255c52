//! Which path of a content counts when there are several.
//!
//! Records belong to the content, so what is read from names and sidecars can come from one path
//! only. It is the same one whatever the order in which copies are found: a path with sidecars
//! before one without, then the smaller path. The other paths are known and listed, but not
//! handed in. A path that is gone from the disk does not count, so a renamed file is handed in; and
//! when the path that counted is deleted, changed or loses its sidecars, the one that counts from
//! then on is handed in by itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use broker_config::Cid;
use broker_config::read::ReadError;

use super::Store;
use super::patience::Patience;
use super::places::Places;
use crate::source::index::PathEntry;
use crate::source::{FoundFile, PortError, Why, look_again};

/// Contents of one scan that are remembered; of more, only copies known before are recognised.
const MOST: usize = 200_000;
/// Contents whose records are looked for in one request.
const BATCH: usize = 64;

/// Smaller counts.
type Rank = (bool, PathBuf);

fn rank(has_sidecars: bool, path: PathBuf) -> Rank {
    (!has_sidecars, path)
}

fn rank_of(entry: &PathEntry) -> Rank {
    let has_sidecars = entry.file().is_some_and(|file| file.sidecars.is_some());
    rank(has_sidecars, entry.path.clone())
}

/// Paths that do not count for a content any more, as far as they did.
pub(super) type Retired = BTreeMap<Cid, BTreeSet<PathBuf>>;

/// The files of one hand-in, sorted.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    /// Those to hand in.
    pub(super) files: Vec<FoundFile>,
    /// How many are left alone, because another path of the same content counts.
    pub(super) left_alone: usize,
    /// Of these, the paths that may have counted until now.
    pub(super) retired: Retired,
}

/// The best path of each content handed in by one scan.
#[derive(Debug, Default)]
pub(super) struct Copies {
    seen: Mutex<HashMap<Cid, Rank>>,
    places: Places,
}

impl Copies {
    /// Sorts out the files that another path of the same content counts for.
    ///
    /// # Errors
    ///
    /// When the broker cannot be read.
    pub(super) async fn choose(
        &self,
        store: &Store,
        patience: &Patience,
        files: Vec<FoundFile>,
    ) -> Result<Chosen, PortError> {
        let known =
            self.known_paths(store, patience, described(store, patience, &files).await?).await?;
        let mut chosen = Chosen::default();
        for file in files {
            let ours = rank(!file.sidecars.is_empty(), file.path.clone());
            let entries = known.get(&file.cid).map(Vec::as_slice).unwrap_or_default();
            if !better_is_there(entries, &ours).await && self.is_best(&file.cid, ours) {
                chosen.files.push(file);
                continue;
            }
            chosen.left_alone += 1;
            let may_have_counted = match &file.why {
                Why::Sidecars => true,
                Why::Changed { from } => *from == file.cid,
                Why::New | Why::Forced | Why::TakesOver => false,
            };
            if may_have_counted {
                chosen.retired.entry(file.cid).or_default().insert(file.path);
            }
        }
        Ok(chosen)
    }

    /// The files that count now in place of retired paths and have not been handed in by this scan.
    ///
    /// Call it while the entries of these paths are still as they were when they counted.
    ///
    /// # Errors
    ///
    /// When the broker cannot be read.
    pub(super) async fn successors(
        &self,
        store: &Store,
        patience: &Patience,
        retired: Retired,
    ) -> Result<Vec<FoundFile>, PortError> {
        let known = self.known_paths(store, patience, retired.keys().cloned().collect()).await?;
        let mut successors = Vec::new();
        for (cid, entries) in known {
            let Some(retired) = retired.get(&cid) else { continue };
            let (before, after): (Vec<_>, Vec<_>) =
                entries.into_iter().partition(|entry| retired.contains(&entry.path));
            let counted = before.first().map(rank_of);
            for entry in after {
                let ours = rank_of(&entry);
                // What counted before all of these counts still.
                if counted.as_ref().is_some_and(|counted| ours < *counted) {
                    if tokio::fs::symlink_metadata(&entry.path).await.is_ok() {
                        break;
                    }
                    continue;
                }
                if let Some(file) = look_again(entry, Why::TakesOver).await {
                    if self.takes_over(&cid, ours, retired) {
                        successors.push(file);
                    }
                    break;
                }
            }
        }
        Ok(successors)
    }

    /// The known paths of each content, those that count first.
    async fn known_paths(
        &self,
        store: &Store,
        patience: &Patience,
        cids: BTreeSet<Cid>,
    ) -> Result<BTreeMap<Cid, Vec<PathEntry>>, PortError> {
        let mut known = self.places.of(store, patience, cids).await?;
        known.values_mut().for_each(|entries| entries.sort_by_cached_key(rank_of));
        Ok(known)
    }

    fn is_best(&self, cid: &Cid, ours: Rank) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
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

    /// Whether this scan has handed in neither this path nor a better one that still counts.
    fn takes_over(&self, cid: &Cid, ours: Rank, retired: &BTreeSet<PathBuf>) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.get_mut(cid) {
            Some(best) if *best <= ours && !retired.contains(&best.1) => false,
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

/// The contents among files that have records already: renamed files, and copies.
///
/// Not of forced ones: all their paths come by, and the best of them is handed in last.
async fn described(
    store: &Store,
    patience: &Patience,
    files: &[FoundFile],
) -> Result<BTreeSet<Cid>, PortError> {
    let names = store.names();
    let looked_for: BTreeSet<&Cid> =
        files.iter().filter(|file| file.why != Why::Forced).map(|file| &file.cid).collect();
    let mut batches: Vec<Vec<String>> = looked_for
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

/// Whether a path that counts before ours is still on the disk; `entries` are sorted.
async fn better_is_there(entries: &[PathEntry], ours: &Rank) -> bool {
    for entry in entries.iter().take_while(|entry| rank_of(entry) < *ours) {
        if entry.path != ours.1 && tokio::fs::symlink_metadata(&entry.path).await.is_ok() {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests;
