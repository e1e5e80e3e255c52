//! Scans of real trees with an index and a sink in memory, both of which can be told to fail.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::Stream;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::source::found::{Change, FoundFile, Why};
use crate::source::index::memory::MemoryIndex;
use crate::source::index::{DirHash, EntryId, EntryKey, Listing, PathEntry, PortError};
use crate::source::report::{RootError, SkipReason};

mod faults;
mod gone;
mod model;
mod tree;

/// A tree, what is known of it, and what was handed in.
struct Fixture {
    dir: TempDir,
    index: FaultyIndex,
    sink: Recorder,
    options: ScanOptions,
}

impl Fixture {
    fn new() -> Self {
        Self::with_index(MemoryIndex::default())
    }

    fn with_index(index: MemoryIndex) -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            index: FaultyIndex {
                index,
                puts_fail: AtomicBool::new(false),
                removed: Mutex::default(),
            },
            sink: Recorder::default(),
            options: ScanOptions::default(),
        }
    }

    fn root(&self) -> PathBuf {
        self.path("root")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file below the root, and the folders it is in.
    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    async fn scan(&self) -> ScanReport {
        self.try_scan(&[self.root()]).await.unwrap()
    }

    async fn try_scan(&self, roots: &[PathBuf]) -> Result<ScanReport, ScanError> {
        let scanner = Scanner {
            index: &self.index,
            sink: &self.sink,
            options: &self.options,
            progress: &watch::Sender::new(Progress::default()),
            cancel: &CancellationToken::new(),
        };
        scanner.run(roots).await
    }

    /// What was handed in since the last call, by path below the root.
    fn files(&self) -> Vec<(String, Why)> {
        let files = std::mem::take(&mut *self.sink.files.lock().unwrap());
        let mut files: Vec<_> = files.into_iter().map(|f| (self.name(&f.path), f.why)).collect();
        files.sort_by(|a, b| a.0.cmp(&b.0));
        files
    }

    fn names(&self) -> Vec<String> {
        self.files().into_iter().map(|(name, _)| name).collect()
    }

    fn changes(&self) -> Vec<String> {
        let changes = std::mem::take(&mut *self.sink.changes.lock().unwrap());
        let text = |change: &Change| match change {
            Change::Deleted { path, .. } => format!("deleted {}", self.name(path)),
            Change::Moved { from, to, .. } => {
                format!("moved {} to {}", self.name(from), self.name(to))
            }
            Change::Replaced { path, .. } => format!("replaced {}", self.name(path)),
        };
        let mut changes: Vec<_> = changes.iter().map(text).collect();
        changes.sort();
        changes
    }

    /// The paths in the index.
    fn known(&self) -> Vec<String> {
        let mut known: Vec<_> = self.index.index.all().iter().map(|e| self.name(&e.path)).collect();
        known.sort();
        known
    }

    fn name(&self, path: &Path) -> String {
        path.strip_prefix(self.root()).unwrap_or(path).to_string_lossy().into_owned()
    }
}

fn skipped(report: &ScanReport) -> Vec<(String, SkipReason)> {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut skipped: Vec<_> =
        report.problems.iter().map(|problem| (name(&problem.path), problem.reason)).collect();
    skipped.sort();
    skipped
}

#[derive(Default)]
struct Recorder {
    files: Mutex<Vec<FoundFile>>,
    changes: Mutex<Vec<Change>>,
    refuse: AtomicBool,
}

impl Sink for Recorder {
    async fn submit(&self, files: Vec<FoundFile>) -> Result<(), PortError> {
        if self.refuse.load(Ordering::Relaxed) {
            return Err("refused".into());
        }
        self.files.lock().unwrap().extend(files);
        Ok(())
    }

    async fn changes(&self, changes: Vec<Change>) -> Result<(), PortError> {
        self.changes.lock().unwrap().extend(changes);
        Ok(())
    }
}

/// Fails when it is told to, and remembers what it was told to forget.
struct FaultyIndex {
    removed: Mutex<Vec<EntryId>>,
    index: MemoryIndex,
    puts_fail: AtomicBool,
}

impl PathIndex for FaultyIndex {
    async fn entries_of(&self, dirs: &[DirHash]) -> Result<Vec<Listing>, PortError> {
        self.index.entries_of(dirs).await
    }

    async fn lookup(&self, keys: &[EntryKey]) -> Result<Vec<Option<PathEntry>>, PortError> {
        assert!(keys.len() <= crate::source::index::BATCH);
        self.index.lookup(keys).await
    }

    fn list_large(&self, dir: DirHash) -> impl Stream<Item = Result<PathEntry, PortError>> + Send {
        self.index.list_large(dir)
    }

    async fn put(&self, entries: Vec<PathEntry>) -> Result<(), PortError> {
        assert!(entries.len() <= crate::source::index::BATCH);
        if self.puts_fail.load(Ordering::Relaxed) {
            return Err("no space left".into());
        }
        self.index.put(entries).await
    }

    async fn remove(&self, ids: Vec<EntryId>) -> Result<(), PortError> {
        assert!(ids.len() <= crate::source::index::BATCH);
        self.removed.lock().unwrap().extend(ids.iter().cloned());
        self.index.remove(ids).await
    }
}
