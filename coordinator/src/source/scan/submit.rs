//! Hands files in: first the sink, then what they replace, and only then their entries.

use std::collections::BTreeSet;
use std::mem;
use std::path::PathBuf;

use broker_config::Cid;
use futures_util::future::BoxFuture;

use super::super::found::{Change, FoundFile, Sink, Why};
use super::super::index::{BATCH, EntryId, EntryKey, PathEntry, PathIndex};
use super::super::report::ScanError;
use super::Scanner;

/// What was acknowledged.
pub(super) struct Submitted {
    pub(super) files: u64,
    /// Content that is now under a path where it was not before.
    pub(super) appeared: Vec<(Cid, PathBuf)>,
    /// Entries that were not written.
    pub(super) held: Vec<PathEntry>,
}

/// Hands files in, tells what they replace, and only then writes their entries, but for those at
/// the paths in `hold`.
pub(super) async fn submit<I: PathIndex, S: Sink>(
    scanner: &Scanner<'_, I, S>,
    files: Vec<FoundFile>,
    hold: BTreeSet<PathBuf>,
) -> Result<Submitted, ScanError> {
    let path = files.first().map(|file| file.path.clone()).unwrap_or_default();
    let count = files.len() as u64;
    let mut submitted = Submitted { files: count, appeared: Vec::new(), held: Vec::new() };
    let (mut changes, mut stale) = (Vec::new(), Vec::new());
    for file in &files {
        match &file.why {
            Why::New => submitted.appeared.push((file.cid.clone(), file.path.clone())),
            Why::Changed { from } if *from != file.cid => {
                submitted.appeared.push((file.cid.clone(), file.path.clone()));
                let key = EntryKey::of(&file.path);
                stale.push(EntryId { key, cid: Some(from.clone()) });
                changes.push(Change::Replaced {
                    path: file.path.clone(),
                    from: from.clone(),
                    to: file.cid.clone(),
                });
            }
            Why::Changed { .. } | Why::Sidecars | Why::Forced | Why::TakesOver => {}
        }
    }
    let entries: Vec<_>;
    (submitted.held, entries) =
        files.iter().map(FoundFile::entry).partition(|entry| hold.contains(&entry.path));
    let refused = |cause| ScanError::Sink { path: path.clone(), cause };
    scanner.sink.submit(files).await.map_err(refused)?;
    if !changes.is_empty() {
        scanner.sink.changes(changes).await.map_err(refused)?;
    }
    let failed = |cause| ScanError::Index { path: path.clone(), cause };
    if !entries.is_empty() {
        scanner.index.put(entries).await.map_err(failed)?;
    }
    if !stale.is_empty() {
        scanner.index.remove(stale).await.map_err(failed)?;
    }
    Ok(submitted)
}

/// Writes entries that nothing has to be handed in for.
pub(super) fn write<'a, I: PathIndex, S: Sink>(
    scanner: &'a Scanner<'_, I, S>,
    entries: Vec<PathEntry>,
) -> BoxFuture<'a, Result<(), ScanError>> {
    Box::pin(async move {
        for entries in chunks(entries) {
            let path = entries.first().map(|entry| entry.path.clone()).unwrap_or_default();
            let put = scanner.index.put(entries).await;
            put.map_err(|cause| ScanError::Index { path, cause })?;
        }
        Ok(())
    })
}

/// Cuts into what one request may hold.
pub(super) fn chunks<T>(mut items: Vec<T>) -> impl Iterator<Item = Vec<T>> {
    std::iter::from_fn(move || {
        if items.is_empty() {
            return None;
        }
        let rest = items.split_off(items.len().min(BATCH));
        Some(mem::replace(&mut items, rest))
    })
}
