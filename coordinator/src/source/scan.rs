//! A scan: roots in, found files and changes out, the index brought up to date.
//!
//! Each root is walked and compared (`pass`); only when all roots are through is decided what is
//! gone (`missing`), because a file that vanished here may have appeared there, and because a
//! root that lost most of its files is a fault and not a deletion.

use std::io;
use std::path::{Component, Path, PathBuf};

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::ledger::{Ledger, RootLedger};
use super::diff::{MissingLimit, SameBy};
use super::found::Sink;
use super::glob::Glob;
use super::index::{MOST_LISTED, PathIndex};
use super::report::{Progress, ScanError, ScanReport};
use super::walk::Links;

mod ledger;
mod missing;
mod pass;
mod submit;

/// How a scan is to be done.
#[derive(Clone, Debug)]
pub struct ScanOptions {
    /// What to do with symbolic links.
    pub links: Links,
    /// What to leave out. What is known of it stays known.
    pub exclude: Vec<Glob>,
    /// Files hashed at the same time; 0 counts as 1.
    pub hash_threads: usize,
    /// Hand in unchanged files too; they are not hashed again.
    pub force: bool,
    /// What makes a file the same as last time.
    pub same_by: SameBy,
    /// In so many scans in a row a file must be missing to count as deleted; 0 counts as 1.
    pub delete_after: u32,
    /// More missing files than this are taken for a fault.
    pub missing_limit: MissingLimit,
    /// Take them for deletions all the same, also when a root is empty or gone.
    pub allow_mass_deletion: bool,
    /// So many missing and so many new files are kept in memory to recognise moves.
    pub move_candidates: usize,
    /// Folders with as many names are read in pieces of this many.
    pub folder_piece: usize,
}

impl Default for ScanOptions {
    fn default() -> Self {
        Self {
            links: Links::default(),
            exclude: Vec::new(),
            hash_threads: 2,
            force: false,
            same_by: SameBy::default(),
            delete_after: 1,
            missing_limit: MissingLimit::default(),
            allow_mass_deletion: false,
            move_candidates: 100_000,
            folder_piece: MOST_LISTED,
        }
    }
}

/// Everything a scan works with.
#[derive(Debug)]
pub struct Scanner<'a, I, S> {
    /// What earlier scans know.
    pub index: &'a I,
    /// Takes what is found.
    pub sink: &'a S,
    /// How.
    pub options: &'a ScanOptions,
    /// Is told the counts while they grow.
    pub progress: &'a watch::Sender<Progress>,
    /// Ends the scan early; what was begun is handed in.
    pub cancel: &'a CancellationToken,
}

impl<I: PathIndex, S: Sink> Scanner<'_, I, S> {
    /// Scans the roots, which are folders or single files.
    ///
    /// A root that cannot be scanned is in the report, and the others go on.
    ///
    /// # Errors
    ///
    /// [`ScanError`] where the index or the sink fails. What was acknowledged until then stays;
    /// the same scan again goes on from there.
    ///
    /// # Cancel safety
    ///
    /// May be dropped: what was acknowledged stays, threads end by themselves after the files they
    /// are reading.
    pub async fn run(&self, roots: &[PathBuf]) -> Result<ScanReport, ScanError> {
        let started = Instant::now();
        let mut report = ScanReport::default();
        let mut ledger = Ledger::new(self.options.move_candidates);
        let all = distinct(roots);
        self.round(&all, self.options, &all, (&mut report, &mut ledger)).await?;

        // Rounds for what was too much to remember: nothing is new in them, more is gone.
        let unforced = ScanOptions { force: false, ..self.options.clone() };
        while ledger.has_more() && self.options.delete_after <= 1 && !self.cancel.is_cancelled() {
            let again = ledger.next_round();
            let mut aside = ScanReport::default();
            self.round(&again, &unforced, &all, (&mut aside, &mut ledger)).await?;
            report.counts.deleted += aside.counts.deleted;
            report.counts.moved += aside.counts.moved;
            report.failed_roots.append(&mut aside.failed_roots);
            if aside.counts.deleted + aside.counts.moved == 0 {
                break;
            }
        }
        report.cancelled = self.cancel.is_cancelled();
        report.seconds = started.elapsed().as_secs_f64();
        self.progress.send_replace(report.counts.clone());
        Ok(report)
    }

    /// Walks `roots`, then settles what is missing under them.
    async fn round(
        &self,
        roots: &[PathBuf],
        options: &ScanOptions,
        all: &[PathBuf],
        (report, ledger): (&mut ScanReport, &mut Ledger),
    ) -> Result<(), ScanError> {
        let mut ledgers = Vec::new();
        for root in roots {
            if self.cancel.is_cancelled() {
                return Ok(());
            }
            let other_roots = all.iter().filter(|r| *r != root && r.starts_with(root)).cloned();
            let mut of_root = RootLedger::new(root.clone());
            let pass = pass::Pass {
                scanner: self,
                options,
                root,
                other_roots: other_roots.collect(),
                report,
                ledger,
                of_root: &mut of_root,
            };
            if pass.run().await? {
                ledgers.push(of_root);
            }
        }
        if self.cancel.is_cancelled() {
            return Ok(());
        }
        let mut kept = Vec::new();
        for mut of_root in ledgers {
            missing::complete(self, &mut of_root, ledger).await?;
            if self.cancel.is_cancelled() {
                return Ok(());
            }
            match of_root.fault(options, ledger) {
                Some(fault) => {
                    ledger.give_back(&of_root);
                    report.failed_roots.push(fault);
                }
                None => kept.push(of_root),
            }
        }
        missing::settle(self, kept, (report, ledger)).await
    }
}

/// Each root once, in their order.
fn distinct(roots: &[PathBuf]) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = Vec::new();
    for root in roots {
        if !all.contains(root) {
            all.push(root.clone());
        }
    }
    all
}

/// The path under which a root is known: absolute, without `.` and doubled or trailing slashes.
///
/// Links stay in it, so that a library keeps its paths when the link to its disk changes; only
/// with `..` in it the path is resolved.
///
/// # Errors
///
/// Any error of asking for the working directory or of resolving.
pub fn root_path(given: &Path) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(given)?;
    if absolute.components().any(|part| part == Component::ParentDir) {
        return std::fs::canonicalize(absolute);
    }
    Ok(absolute.components().collect())
}

#[cfg(test)]
mod tests;
