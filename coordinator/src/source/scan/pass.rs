//! One walk over one root: compares, hashes what is not as it was, hands it in.
//!
//! Four things run at the same time, each bounded, and each waits for the next: the walk, the
//! examination of batches of folders (in their order), the hashing, the handing in.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsStr;
use std::mem;
use std::path::{Path, PathBuf};

use futures_util::future::{BoxFuture, OptionFuture};
use futures_util::stream::{FuturesOrdered, FuturesUnordered, StreamExt};
use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking};

use super::super::diff::{Conclusion, conclude};
use super::super::examine::{Examined, Known, examine};
use super::super::found::{FoundFile, Sink, Why};
use super::super::hash::{Hashed, ToHash, hash_all};
use super::super::index::{EntryFacts, PathEntry, PathIndex};
use super::super::report::{RootError, ScanError, ScanReport};
use super::super::sidecar::SidecarHash;
use super::super::walk::{Folder, Found, Kind, Part, Step, WalkOptions, walk};
use super::ledger::{Ledger, RootLedger};
use super::missing::forget_root;
use super::submit::{Submitted, submit, write};
use super::{ScanOptions, Scanner};

/// Batches of a walk that wait to be examined; each holds at most about 1,800 names.
const WALKED_AHEAD: usize = 4;
/// Index requests at the same time: hides their latency.
const EXAMINING: usize = 16;
/// Files known to need hashing; over it nothing more is examined.
const HASH_AHEAD: usize = 4096;
/// Files of one hashing job: enough that handing over the job costs nothing.
const JOB_FILES: usize = 32;
const JOB_BYTES: u64 = 16 << 20;
/// Files of one submission, and submissions at the same time.
const SUBMISSION: usize = 256;
const SUBMITTING: usize = 8;
/// Hashed files that wait; over it nothing more is hashed.
const READY_AHEAD: usize = 2048;

pub(super) struct Pass<'p, 's, I, S> {
    pub(super) scanner: &'p Scanner<'s, I, S>,
    pub(super) options: &'p ScanOptions,
    pub(super) root: &'p Path,
    pub(super) other_roots: Vec<PathBuf>,
    pub(super) report: &'p mut ScanReport,
    pub(super) ledger: &'p mut Ledger,
    pub(super) of_root: &'p mut RootLedger,
}

/// What waits between the stages.
#[derive(Default)]
struct Queues {
    examined: VecDeque<Examined>,
    /// Whether entries of folders are being written.
    writes: bool,
    to_hash: VecDeque<ToHash>,
    ready: Vec<FoundFile>,
}

impl<I: PathIndex, S: Sink> Pass<'_, '_, I, S> {
    /// Whether the root was walked to its end, so that it may be asked what is missing.
    pub(super) async fn run(mut self) -> Result<bool, ScanError> {
        let (sender, receiver) = mpsc::channel(WALKED_AHEAD);
        let options = WalkOptions {
            links: self.options.links,
            exclude: self.options.exclude.clone(),
            other_roots: mem::take(&mut self.other_roots),
            piece: self.options.folder_piece.clamp(1, super::MOST_LISTED),
        };
        let (root, cancel) = (self.root.to_owned(), self.scanner.cancel.clone());
        let walking = spawn_blocking(move || walk(&root, &options, &sender, &cancel));
        let mut hashing = JoinSet::new();
        let result = self.stages(receiver, &mut hashing).await;
        // The receiver is gone, so the walk ends too.
        while hashing.join_next().await.is_some() {}
        walking.await.map_err(|cause| self.thread(cause))?;
        result
    }

    async fn stages(
        &mut self,
        receiver: mpsc::Receiver<Step>,
        hashing: &mut JoinSet<Hashed>,
    ) -> Result<bool, ScanError> {
        let scanner = self.scanner;
        let mut walking = Some(receiver);
        let mut examining: FuturesOrdered<BoxFuture<'_, Result<Examined, ScanError>>> =
            FuturesOrdered::new();
        let mut submitting: FuturesUnordered<BoxFuture<'_, Result<Submitted, ScanError>>> =
            FuturesUnordered::new();
        let mut writing: OptionFuture<BoxFuture<'_, Result<(), ScanError>>> = None.into();
        let mut queues = Queues::default();
        let mut intact = true;
        loop {
            let stopped = scanner.cancel.is_cancelled() || !intact;
            if stopped {
                walking = None;
                examining = FuturesOrdered::new();
                queues.examined.clear();
                queues.to_hash.clear();
            }
            while hashing.len() < self.options.hash_threads.max(1)
                && queues.ready.len() < READY_AHEAD
                && let Some(job) = next_job(&mut queues.to_hash)
            {
                let cancel = scanner.cancel.clone();
                hashing.spawn_blocking(move || hash_all(job, &cancel));
            }
            while submitting.len() < SUBMITTING
                && (queues.ready.len() >= SUBMISSION
                    || (submitting.is_empty() && !queues.ready.is_empty()))
            {
                let rest = queues.ready.split_off(queues.ready.len().min(SUBMISSION));
                let files = mem::replace(&mut queues.ready, rest);
                let hold = self.of_root.held_of(&files);
                submitting.push(Box::pin(submit(scanner, files, hold)));
            }
            let room = queues.to_hash.len() < HASH_AHEAD && queues.ready.len() < READY_AHEAD;
            if room
                && !queues.writes
                && let Some(examined) = queues.examined.pop_front()
            {
                let writes = self.compare(examined, &mut queues);
                intact = writes.is_some();
                queues.writes = true;
                writing = Some(write(scanner, writes.unwrap_or_default())).into();
                continue;
            }
            if walking.is_none()
                && examining.is_empty()
                && queues.examined.is_empty()
                && hashing.is_empty()
                && submitting.is_empty()
                && !queues.writes
            {
                return Ok(intact && !scanner.cancel.is_cancelled());
            }

            // Whatever was begun is polled here until it ends, whether its result can be used yet
            // or not: it may hold what something else in this list waits for.
            let may_walk = walking.is_some() && examining.len() + queues.examined.len() < EXAMINING;
            tokio::select! {
                biased;
                () = scanner.cancel.cancelled(), if !stopped => {}
                Some(submitted) = submitting.next(), if !submitting.is_empty() => {
                    self.note(submitted?);
                }
                Some(hashed) = hashing.join_next(), if !hashing.is_empty() => {
                    self.take(hashed.map_err(|cause| self.thread(cause))?, &mut queues);
                }
                Some(written) = &mut writing, if queues.writes => {
                    written?;
                    queues.writes = false;
                }
                Some(examined) = examining.next(), if !examining.is_empty() => {
                    queues.examined.push_back(examined?);
                }
                step = next_step(&mut walking), if may_walk => match step {
                    Some(Step::Folders(folders)) => {
                        let root = self.root.to_owned();
                        examining.push_back(Box::pin(examine(scanner.index, root, folders)));
                    }
                    Some(Step::Problem(problem)) => self.report.add_problem(problem),
                    Some(Step::Root(error)) => intact = self.does_without(error).await?,
                    None => walking = None,
                },
            }
            scanner.progress.send_modify(|progress| progress.clone_from(&self.report.counts));
        }
    }

    /// Whether the scan goes on although the root cannot be walked: it is gone, and a person says
    /// that it may be.
    async fn does_without(&mut self, error: RootError) -> Result<bool, ScanError> {
        let is_gone = matches!(error, RootError::Missing { .. });
        let forgets = is_gone
            && self.options.allow_mass_deletion
            && forget_root(self.scanner, self.of_root, self.ledger).await?;
        if !forgets {
            self.report.failed_roots.push(error);
        }
        Ok(forgets)
    }

    /// Sorts a batch of folders into what is as it was, what is to be done, and what is gone.
    ///
    /// Returns what is to be written before anything else is compared, so that no entry is ever
    /// without its folder's; `None` where the root is empty that was not before.
    fn compare(&mut self, examined: Examined, queues: &mut Queues) -> Option<Vec<PathEntry>> {
        for problem in examined.problems {
            self.report.add_problem(problem);
        }
        let mut writes = Vec::new();
        for (mut folder, known) in examined.folders {
            if !matches!(folder.part, Part::Piece { first: false, .. }) {
                self.report.counts.dirs += 1;
            }
            if folder.path == self.root && self.is_emptied(&folder, &known) {
                let root = self.root.to_owned();
                self.report.failed_roots.push(RootError::Emptied { root });
                return None;
            }
            let found = mem::take(&mut folder.found);
            let known = self.pair(&folder, &found, known);
            for (found, known) in found.into_iter().zip(known) {
                self.decide(&folder, found, known, (queues, &mut writes));
            }
        }
        Some(writes)
    }

    fn is_emptied(&self, folder: &Folder, known: &Known) -> bool {
        let was_not = match known {
            Known::All(entries) => !entries.is_empty(),
            // A whole folder is asked for by name only if too much is known in it.
            Known::ByName(_) => true,
        };
        let is_empty = folder.part == Part::Whole && folder.found.is_empty();
        is_empty && was_not && !self.options.allow_mass_deletion
    }

    /// Brings what is known into the order of what was found; the rest is gone.
    fn pair(&mut self, folder: &Folder, found: &[Found], known: Known) -> Vec<Option<PathEntry>> {
        let entries = match known {
            Known::ByName(entries) => {
                match folder.part {
                    Part::Whole | Part::Piece { last: true, .. } => {
                        self.of_root.large.push(folder.path.clone());
                    }
                    Part::Piece { last: false, .. } => {}
                }
                return entries;
            }
            Known::All(entries) => entries,
        };
        let positions: Vec<Option<usize>> = {
            let by_name: HashMap<&OsStr, usize> = entries
                .iter()
                .enumerate()
                .filter_map(|(at, entry)| Some((entry.path.file_name()?, at)))
                .collect();
            found.iter().map(|found| by_name.get(found.name.as_os_str()).copied()).collect()
        };
        let mut entries: Vec<_> = entries.into_iter().map(Some).collect();
        let mut take = |at: usize| entries.get_mut(at).and_then(Option::take);
        let paired = positions.into_iter().map(|at| take(at?)).collect();
        for gone in entries.into_iter().flatten() {
            self.of_root.add_gone(gone, self.ledger);
        }
        paired
    }

    fn decide(
        &mut self,
        folder: &Folder,
        found: Found,
        known: Option<PathEntry>,
        (queues, writes): (&mut Queues, &mut Vec<PathEntry>),
    ) {
        if known.as_ref().is_some_and(|entry| entry.file().is_some()) {
            self.of_root.matched += 1;
        }
        match found.kind {
            Kind::Other => {}
            Kind::Dir => match known {
                Some(PathEntry { facts: EntryFacts::Dir, .. }) => {}
                Some(file @ PathEntry { facts: EntryFacts::File(_), .. }) => {
                    writes.push(PathEntry::dir(file.path.clone()));
                    self.of_root.add_replaced(file, self.ledger);
                }
                None => writes.push(PathEntry::dir(folder.path.join(&found.name))),
            },
            Kind::File | Kind::LinkedFile => {
                self.decide_file(folder, found, known, (queues, writes));
            }
        }
    }

    fn decide_file(
        &mut self,
        folder: &Folder,
        found: Found,
        known: Option<PathEntry>,
        (queues, writes): (&mut Queues, &mut Vec<PathEntry>),
    ) {
        let counts = &mut self.report.counts;
        counts.files += 1;
        let Some(stat) = found.stat else { return };
        let hash = SidecarHash::of(&found.sidecars);
        let conclusion = conclude(known.as_ref(), &stat, hash.as_ref(), self.options.same_by);
        let path = || folder.path.join(&found.name);
        let to_hash = |path, why, sidecars| ToHash {
            path,
            linked: found.kind == Kind::LinkedFile,
            size: stat.size,
            sidecars,
            why,
        };
        let why = match (conclusion, known) {
            (Conclusion::New, _) | (_, None) => {
                counts.new += 1;
                return queues.to_hash.push_back(to_hash(path(), Why::New, found.sidecars));
            }
            (Conclusion::WasDir, Some(_)) => {
                counts.new += 1;
                self.of_root.add_displaced(path());
                return queues.to_hash.push_back(to_hash(path(), Why::New, found.sidecars));
            }
            (Conclusion::Changed, Some(PathEntry { path, facts, .. })) => {
                counts.changed += 1;
                let why = match facts {
                    EntryFacts::File(file) => Why::Changed { from: file.cid },
                    EntryFacts::Dir => Why::New,
                };
                return queues.to_hash.push_back(to_hash(path, why, found.sidecars));
            }
            (Conclusion::Sidecars, Some(entry)) => {
                counts.changed += 1;
                (Why::Sidecars, entry)
            }
            (Conclusion::Back, Some(entry)) => {
                counts.unchanged += 1;
                writes.push(PathEntry { missed: 0, ..entry.clone() });
                if !self.options.force {
                    return;
                }
                (Why::Forced, entry)
            }
            (Conclusion::Unchanged, Some(entry)) => {
                counts.unchanged += 1;
                if !self.options.force {
                    return;
                }
                (Why::Forced, entry)
            }
        };
        if let (why, PathEntry { path, facts: EntryFacts::File(file), .. }) = why {
            let (cid, mime, sidecars) = (file.cid, file.mime, found.sidecars);
            queues.ready.push(FoundFile { path, cid, stat, mime, sidecars, why });
        }
    }

    fn take(&mut self, hashed: Hashed, queues: &mut Queues) {
        self.report.counts.hashed_files += hashed.files.len() as u64;
        self.report.counts.hashed_bytes += hashed.bytes;
        for problem in hashed.problems {
            self.report.add_problem(problem);
        }
        queues.ready.extend(hashed.files);
    }

    fn note(&mut self, submitted: Submitted) {
        self.report.counts.submitted += submitted.files;
        self.ledger.add_appeared(submitted.appeared);
        self.of_root.held.extend(submitted.held);
    }

    fn thread(&self, cause: tokio::task::JoinError) -> ScanError {
        ScanError::Thread { path: self.root.to_owned(), cause }
    }
}

async fn next_step(walking: &mut Option<mpsc::Receiver<Step>>) -> Option<Step> {
    match walking {
        Some(receiver) => receiver.recv().await,
        None => None,
    }
}

/// Takes files off the queue up to what one job should read.
fn next_job(queue: &mut VecDeque<ToHash>) -> Option<Vec<ToHash>> {
    let mut job = Vec::new();
    let mut bytes = 0;
    while job.len() < JOB_FILES
        && bytes < JOB_BYTES
        && let Some(file) = queue.pop_front()
    {
        bytes += file.cost();
        job.push(file);
    }
    if job.is_empty() { None } else { Some(job) }
}
