//! What is known and was not found: gone, moved, or a fault.
//!
//! A vanished folder is followed through the index, a folder too large to be listed at once is
//! checked entry by entry.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::pin::pin;

use futures_util::StreamExt;
use tokio::task::spawn_blocking;

use super::super::found::{Change, Sink};
use super::super::index::{
    BATCH, DirHash, EntryFacts, EntryId, EntryKey, Listing, PathEntry, PathIndex, PortError,
};
use super::super::report::{ScanError, ScanReport};
use super::Scanner;
use super::ledger::{Gone, Ledger, RootLedger, Tree};
use super::submit::{chunks, write};

/// Folders whose entries are asked for in one request.
const LISTED_TOGETHER: usize = 64;
/// Changes told at once.
const TOLD_TOGETHER: usize = 256;

/// Takes a root that is not there for deleted, with all that is known of it; `false` where nothing
/// is.
pub(super) async fn forget_root<I: PathIndex, S: Sink>(
    scanner: &Scanner<'_, I, S>,
    of_root: &mut RootLedger,
    ledger: &mut Ledger,
) -> Result<bool, ScanError> {
    let root = of_root.root.clone();
    let failed = |cause| ScanError::Index { path: root.clone(), cause };
    let entry = scanner.index.lookup(&[EntryKey::of(&root)]).await.map_err(failed)?;
    if let Some(Some(file @ PathEntry { facts: EntryFacts::File(_), .. })) =
        entry.into_iter().next()
    {
        of_root.add_gone(file, ledger);
        return Ok(true);
    }
    let listings = scanner.index.entries_of(&[DirHash::of(&root)]).await.map_err(failed)?;
    let is_known = listings.iter().any(|listing| match listing {
        Listing::Known(entries) => !entries.is_empty(),
        Listing::TooMany => true,
    });
    if is_known {
        of_root.add_vanished(&root);
    }
    Ok(is_known)
}

/// Finds what is missing in large and in vanished folders.
pub(super) async fn complete<I: PathIndex, S: Sink>(
    scanner: &Scanner<'_, I, S>,
    of_root: &mut RootLedger,
    ledger: &mut Ledger,
) -> Result<(), ScanError> {
    for dir in std::mem::take(&mut of_root.large) {
        let failed = |cause| ScanError::Index { path: dir.clone(), cause };
        let mut entries = pin!(scanner.index.list_large(DirHash::of(&dir)).ready_chunks(BATCH));
        while let Some(entries) = entries.next().await {
            if scanner.cancel.is_cancelled() {
                return Ok(());
            }
            let entries = entries.into_iter().collect::<Result<Vec<_>, _>>().map_err(failed)?;
            let gone = spawn_blocking(move || not_there(entries)).await;
            let gone = gone.map_err(|cause| ScanError::Thread { path: dir.clone(), cause })?;
            gone.into_iter().for_each(|entry| of_root.add_gone(entry, ledger));
        }
    }
    for (key, dir) in std::mem::take(&mut of_root.vanished) {
        let tree = of_root.trees.len();
        of_root.trees.push(Tree { dirs: vec![key], waits: false });
        let mut below = vec![dir];
        while !below.is_empty() && !scanner.cancel.is_cancelled() {
            let dirs = below.split_off(below.len().saturating_sub(LISTED_TOGETHER));
            let failed = |cause| ScanError::Index { path: of_root.root.clone(), cause };
            let listings = scanner.index.entries_of(&dirs).await.map_err(failed)?;
            for (dir, listing) in dirs.into_iter().zip(listings) {
                let mut descend = Descend { dir, tree, below: &mut below };
                match listing {
                    Listing::Known(entries) => {
                        entries.into_iter().for_each(|e| descend.take(e, of_root, ledger));
                    }
                    Listing::TooMany => {
                        let mut entries = pin!(scanner.index.list_large(dir));
                        while let Some(entry) = entries.next().await {
                            let failed =
                                |cause| ScanError::Index { path: of_root.root.clone(), cause };
                            descend.take(entry.map_err(failed)?, of_root, ledger);
                        }
                    }
                }
            }
        }
    }
    Ok(())
}

/// On the way down a vanished folder.
struct Descend<'a> {
    dir: DirHash,
    tree: usize,
    below: &'a mut Vec<DirHash>,
}

impl Descend<'_> {
    fn take(&mut self, entry: PathEntry, of_root: &mut RootLedger, ledger: &mut Ledger) {
        // An entry that is not where it belongs could lead in a circle.
        if entry.path.parent().map(DirHash::of) != Some(self.dir) {
            return;
        }
        match entry.facts {
            EntryFacts::Dir => {
                if let Some(tree) = of_root.trees.get_mut(self.tree) {
                    tree.dirs.push(entry.key());
                }
                self.below.push(DirHash::of(&entry.path));
            }
            EntryFacts::File(_) => {
                let gone = Gone { entry, replaced: false, tree: Some(self.tree) };
                of_root.add(gone, ledger);
            }
        }
    }
}

/// Only what the system says is not there is gone. Blocking.
fn not_there(entries: Vec<PathEntry>) -> Vec<PathEntry> {
    let is_gone = |entry: &PathEntry| {
        fs::symlink_metadata(&entry.path)
            .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    };
    entries.into_iter().filter(is_gone).collect()
}

/// Tells what is gone and forgets it, files before the folders they were in.
pub(super) async fn settle<I: PathIndex, S: Sink>(
    scanner: &Scanner<'_, I, S>,
    roots: Vec<RootLedger>,
    (report, ledger): (&mut ScanReport, &mut Ledger),
) -> Result<(), ScanError> {
    for mut of_root in roots {
        let mut batch = Batch::default();
        for gone in std::mem::take(&mut of_root.gone) {
            if scanner.cancel.is_cancelled() {
                return Ok(());
            }
            let tree = gone.tree;
            let waits = batch.add(gone, scanner.options.delete_after, ledger);
            if waits && let Some(tree) = tree.and_then(|at| of_root.trees.get_mut(at)) {
                tree.waits = true;
            }
            if batch.is_full() {
                batch.write(scanner, report).await?;
            }
        }
        batch.write(scanner, report).await?;
        if of_root.overflow {
            ledger.unfinished.push(of_root.root);
            continue;
        }
        let (waiting, over): (Vec<_>, Vec<_>) =
            of_root.trees.into_iter().partition(|tree| tree.waits);
        for tree in over {
            let dirs = tree.dirs.into_iter().rev().map(|key| EntryId { key, cid: None });
            for dirs in chunks(dirs.collect()) {
                let removed = scanner.index.remove(dirs).await;
                let path = of_root.root.clone();
                removed.map_err(|cause| ScanError::Index { path, cause })?;
            }
        }
        let waiting: BTreeSet<_> = waiting.iter().filter_map(|tree| tree.dirs.first()).collect();
        of_root.held.retain(|entry| !waiting.contains(&entry.key()));
        write(scanner, of_root.held).await?;
    }
    Ok(())
}

/// Changes that are told together, and what is written once they were.
#[derive(Default)]
struct Batch {
    changes: Vec<Change>,
    remove: Vec<EntryId>,
    wait: Vec<PathEntry>,
}

impl Batch {
    /// Whether the file waits to be missing once more.
    fn add(&mut self, gone: Gone, delete_after: u32, ledger: &mut Ledger) -> bool {
        let Gone { entry, replaced, .. } = gone;
        let Some(cid) = entry.file().map(|file| file.cid.clone()) else { return false };
        let missed = entry.missed.saturating_add(1);
        if let Some(to) = ledger.take_appeared(&cid) {
            self.changes.push(Change::Moved { from: entry.path.clone(), to, cid });
        } else if replaced || missed >= delete_after {
            self.changes.push(Change::Deleted { path: entry.path.clone(), cid });
        } else {
            self.wait.push(PathEntry { missed, ..entry });
            return true;
        }
        self.remove.push(entry.id());
        false
    }

    fn is_full(&self) -> bool {
        self.changes.len() >= TOLD_TOGETHER || self.wait.len() >= BATCH
    }

    async fn write<I: PathIndex, S: Sink>(
        &mut self,
        scanner: &Scanner<'_, I, S>,
        report: &mut ScanReport,
    ) -> Result<(), ScanError> {
        let Self { changes, remove, wait } = std::mem::take(self);
        let first = changes.first().map(Change::path).or_else(|| wait.first().map(|e| &e.path));
        let Some(path) = first.cloned() else { return Ok(()) };
        let failed = |cause: PortError| ScanError::Index { path: path.clone(), cause };
        for change in &changes {
            match change {
                Change::Moved { .. } => report.counts.moved += 1,
                Change::Deleted { .. } => report.counts.deleted += 1,
                Change::Replaced { .. } => {}
            }
        }
        report.counts.missing += wait.len() as u64;
        if !changes.is_empty() {
            let told = scanner.sink.changes(changes).await;
            told.map_err(|cause| ScanError::Sink { path: path.clone(), cause })?;
        }
        if !remove.is_empty() {
            scanner.index.remove(remove).await.map_err(failed)?;
        }
        if !wait.is_empty() {
            scanner.index.put(wait).await.map_err(failed)?;
        }
        Ok(())
    }
}
