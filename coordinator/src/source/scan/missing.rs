//! What is known and was not found: gone, moved, or a fault.
//!
//! A vanished folder is followed through the index, a folder too large to be listed at once is
//! checked entry by entry. Memory: a bounded number of files; 40 bytes for each vanished folder, and
//! what a folder and a file that took each other's place need.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::pin::pin;

use broker_config::Cid;
use futures_util::StreamExt;
use tokio::task::spawn_blocking;

use super::super::found::{Change, FoundFile, Sink};
use super::super::index::{
    BATCH, DirHash, EntryFacts, EntryId, EntryKey, Listing, PathEntry, PathIndex, PortError,
};
use super::super::report::{RootError, ScanError, ScanReport};
use super::submit::{chunks, write};
use super::{ScanOptions, Scanner};

/// Folders whose entries are asked for in one request.
const LISTED_TOGETHER: usize = 64;
/// Changes told at once.
const TOLD_TOGETHER: usize = 256;

/// What is remembered across all roots of a scan.
#[derive(Debug)]
pub(super) struct Ledger {
    appeared: HashMap<Cid, Vec<PathBuf>>,
    /// How many more may appear, and how many more may be missing.
    room_appeared: usize,
    room_missing: usize,
    limit: usize,
    /// Roots where more is missing than was remembered.
    unfinished: Vec<PathBuf>,
}

impl Ledger {
    pub(super) fn new(limit: usize) -> Self {
        let limit = limit.max(1);
        Self {
            appeared: HashMap::new(),
            room_appeared: limit,
            room_missing: limit,
            limit,
            unfinished: Vec::new(),
        }
    }

    pub(super) fn add_appeared(&mut self, files: Vec<(Cid, PathBuf)>) {
        for (cid, path) in files {
            if self.room_appeared == 0 {
                return;
            }
            self.room_appeared -= 1;
            self.appeared.entry(cid).or_default().push(path);
        }
    }

    /// Where content appeared that is gone elsewhere; each appearance explains one move.
    fn take_appeared(&mut self, cid: &Cid) -> Option<PathBuf> {
        self.appeared.get_mut(cid)?.pop()
    }

    /// Whether another round would find more that is missing.
    pub(super) fn has_more(&self) -> bool {
        !self.unfinished.is_empty()
    }

    /// The roots of the next round; makes room for what is missing there.
    pub(super) fn next_round(&mut self) -> Vec<PathBuf> {
        self.room_missing = self.limit;
        std::mem::take(&mut self.unfinished)
    }

    /// Forgets what is missing under a root that has a fault.
    pub(super) fn give_back(&mut self, of_root: &RootLedger) {
        self.room_missing += of_root.gone.len();
    }
}

/// What is remembered of one root.
#[derive(Debug)]
pub(super) struct RootLedger {
    root: PathBuf,
    /// Known files that are there.
    pub(super) matched: u64,
    /// Known files that are not, remembered or not.
    missing: u64,
    gone: Vec<Gone>,
    /// Folders that were known and are not there: where their entry is, and those in them.
    vanished: Vec<(EntryKey, DirHash)>,
    /// Files that have taken the place of folders.
    displaced: BTreeSet<PathBuf>,
    /// Their entries. As long as the folder's own stands in their place, another scan finds what
    /// was in the folder.
    pub(super) held: Vec<PathEntry>,
    /// Folders with too many entries to compare them with what was found.
    pub(super) large: Vec<PathBuf>,
    trees: Vec<Tree>,
    overflow: bool,
}

/// A file that is gone.
#[derive(Debug)]
struct Gone {
    entry: PathEntry,
    /// A folder has taken its place, so it will not come back.
    replaced: bool,
    /// The vanished folder it was in.
    tree: Option<usize>,
}

/// A vanished folder: its entry and those of the folders in it, from above to below.
#[derive(Debug, Default)]
struct Tree {
    dirs: Vec<EntryKey>,
    /// Some file in it waits to be missing once more.
    waits: bool,
}

impl RootLedger {
    pub(super) fn new(root: PathBuf) -> Self {
        Self {
            root,
            matched: 0,
            missing: 0,
            gone: Vec::new(),
            vanished: Vec::new(),
            displaced: BTreeSet::new(),
            held: Vec::new(),
            large: Vec::new(),
            trees: Vec::new(),
            overflow: false,
        }
    }

    /// An entry that has nothing at its path any more.
    pub(super) fn add_gone(&mut self, entry: PathEntry, ledger: &mut Ledger) {
        match entry.facts {
            EntryFacts::Dir => {
                self.vanished.push((entry.key(), DirHash::of(&entry.path)));
            }
            EntryFacts::File(_) => self.add(Gone { entry, replaced: false, tree: None }, ledger),
        }
    }

    /// A file that a folder has taken the place of.
    pub(super) fn add_replaced(&mut self, entry: PathEntry, ledger: &mut Ledger) {
        self.matched = self.matched.saturating_sub(1);
        self.add(Gone { entry, replaced: true, tree: None }, ledger);
    }

    /// A folder that a file has taken the place of.
    pub(super) fn add_displaced(&mut self, path: PathBuf) {
        self.vanished.push((EntryKey::of(&path), DirHash::of(&path)));
        self.displaced.insert(path);
    }

    /// Which of the files have taken the place of folders.
    pub(super) fn held_of(&self, files: &[FoundFile]) -> BTreeSet<PathBuf> {
        if self.displaced.is_empty() {
            return BTreeSet::new();
        }
        let paths = files.iter().map(|file| &file.path);
        paths.filter(|path| self.displaced.contains(*path)).cloned().collect()
    }

    fn add(&mut self, gone: Gone, ledger: &mut Ledger) {
        self.missing += 1;
        // The entry of one that was replaced is written over: it is remembered now or never.
        if ledger.room_missing == 0 && !gone.replaced {
            self.overflow = true;
        } else {
            ledger.room_missing = ledger.room_missing.saturating_sub(1);
            self.gone.push(gone);
        }
    }

    /// Whether so much is missing that nothing is believed to be deleted.
    pub(super) fn fault(&self, options: &ScanOptions) -> Option<RootError> {
        let known = self.matched + self.missing;
        if options.allow_mass_deletion || !options.missing_limit.is_exceeded(self.missing, known) {
            return None;
        }
        Some(RootError::MostlyMissing { root: self.root.clone(), missing: self.missing, known })
    }
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
