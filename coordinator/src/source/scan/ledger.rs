//! What a scan remembers of files and folders that are known and were not found, until all roots
//! are through.
//!
//! Memory: a bounded number of files; 40 bytes for each vanished folder, and what a folder and a
//! file that took each other's place need.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use broker_config::Cid;

use super::super::found::FoundFile;
use super::super::index::{DirHash, EntryFacts, EntryKey, PathEntry};
use super::super::report::RootError;
use super::ScanOptions;

/// What is remembered across all roots of a scan.
#[derive(Debug)]
pub(super) struct Ledger {
    appeared: HashMap<Cid, Vec<PathBuf>>,
    /// How many more may appear, and how many more may be missing.
    room_appeared: usize,
    room_missing: usize,
    limit: usize,
    /// Roots where more is missing than was remembered.
    pub(super) unfinished: Vec<PathBuf>,
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
    pub(super) fn take_appeared(&mut self, cid: &Cid) -> Option<PathBuf> {
        self.appeared.get_mut(cid)?.pop()
    }

    /// How many of these files have only moved: their content appeared elsewhere.
    fn moved(&self, gone: &[Gone]) -> u64 {
        let mut left: HashMap<&Cid, usize> = HashMap::new();
        let mut moved = 0;
        for file in gone.iter().filter_map(|gone| gone.entry.file()) {
            let Some(paths) = self.appeared.get(&file.cid) else { continue };
            let left = left.entry(&file.cid).or_insert(paths.len());
            if *left > 0 {
                *left -= 1;
                moved += 1;
            }
        }
        moved
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
    pub(super) root: PathBuf,
    /// Known files that are there.
    pub(super) matched: u64,
    /// Known files that are not, remembered or not.
    missing: u64,
    pub(super) gone: Vec<Gone>,
    /// Folders that were known and are not there: where their entry is, and those in them.
    pub(super) vanished: Vec<(EntryKey, DirHash)>,
    /// Files that have taken the place of folders.
    displaced: BTreeSet<PathBuf>,
    /// Their entries. As long as the folder's own stands in their place, another scan finds what
    /// was in the folder.
    pub(super) held: Vec<PathEntry>,
    /// Folders with too many entries to compare them with what was found.
    pub(super) large: Vec<PathBuf>,
    pub(super) trees: Vec<Tree>,
    /// More is missing than was remembered.
    pub(super) overflow: bool,
}

/// A file that is gone.
#[derive(Debug)]
pub(super) struct Gone {
    pub(super) entry: PathEntry,
    /// A folder has taken its place, so it will not come back.
    pub(super) replaced: bool,
    /// The vanished folder it was in.
    pub(super) tree: Option<usize>,
}

/// A vanished folder: its entry and those of the folders in it, from above to below.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) dirs: Vec<EntryKey>,
    /// Some file in it waits to be missing once more.
    pub(super) waits: bool,
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
            EntryFacts::Dir => self.add_vanished(&entry.path),
            EntryFacts::File(_) => self.add(Gone { entry, replaced: false, tree: None }, ledger),
        }
    }

    /// A file that a folder has taken the place of.
    pub(super) fn add_replaced(&mut self, entry: PathEntry, ledger: &mut Ledger) {
        self.matched = self.matched.saturating_sub(1);
        self.add(Gone { entry, replaced: true, tree: None }, ledger);
    }

    /// A folder that is known and not there.
    pub(super) fn add_vanished(&mut self, path: &Path) {
        self.vanished.push((EntryKey::of(path), DirHash::of(path)));
    }

    /// A folder that a file has taken the place of.
    pub(super) fn add_displaced(&mut self, path: PathBuf) {
        self.add_vanished(&path);
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

    pub(super) fn add(&mut self, gone: Gone, ledger: &mut Ledger) {
        self.missing += 1;
        // The entry of one that was replaced is written over: it is remembered now or never.
        if ledger.room_missing == 0 && !gone.replaced {
            self.overflow = true;
        } else {
            ledger.room_missing = ledger.room_missing.saturating_sub(1);
            self.gone.push(gone);
        }
    }

    /// Whether so much is missing that nothing is believed to be deleted; what has only moved is not
    /// missing.
    pub(super) fn fault(&self, options: &ScanOptions, ledger: &Ledger) -> Option<RootError> {
        let known = self.matched + self.missing;
        let missing = self.missing.saturating_sub(ledger.moved(&self.gone));
        if options.allow_mass_deletion || !options.missing_limit.is_exceeded(missing, known) {
            return None;
        }
        Some(RootError::MostlyMissing { root: self.root.clone(), missing, known })
    }
}
