//! Walks a tree in bounded memory: depth first, a folder in pieces, only names are kept.
//!
//! For each level of depth at most one piece's folder names wait on the stack, whatever the tree's
//! size. Blocking; runs on a thread of its own and is held back by the channel it writes to.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirEntry, ReadDir};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::diff::Stat;
use super::glob::Glob;
use super::index::DirHash;
use super::report::{Problem, RootError, SkipReason};
use super::sidecar::{Candidates, SidecarFile, is_candidate};

/// Folders go out together up to so many names or folders: about what one index request answers.
const BATCH_NAMES: usize = 800;
const BATCH_FOLDERS: usize = 128;
/// Possible sidecars of one large folder that are remembered.
const MOST_CANDIDATES: usize = 50_000;
/// Links to folders on the way to a file; more multiply a tree without end.
const MOST_LINKS: u8 = 4;

/// What to do with symbolic links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Links {
    /// Those that stay below the root and lead to no folder they are in.
    #[default]
    FollowInside,
    /// None.
    Skip,
}

#[derive(Clone, Debug)]
pub(crate) struct WalkOptions {
    pub(crate) links: Links,
    pub(crate) exclude: Vec<Glob>,
    /// Roots of the same scan; they are left to their own walk.
    pub(crate) other_roots: Vec<PathBuf>,
    /// A folder with fewer names is read whole, a larger one in pieces of this many.
    pub(crate) piece: usize,
}

/// What a walk finds, in an order where a folder comes before what is in it.
#[derive(Debug)]
pub(crate) enum Step {
    Folders(Vec<Folder>),
    Problem(Problem),
    /// The walk ended at its root.
    Root(RootError),
}

/// A folder, or a piece of one.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    pub(crate) hash: DirHash,
    pub(crate) part: Part,
    pub(crate) found: Vec<Found>,
    pub(crate) candidates: Arc<Candidates>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All its names: what is known beside them is gone.
    Whole,
    /// Some of its names; `last` where all others came before and none was unreadable.
    Piece { first: bool, last: bool },
}

/// One name in a folder; `stat` and `sidecars` are filled in later.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) name: OsString,
    pub(crate) kind: Kind,
    pub(crate) stat: Option<Stat>,
    pub(crate) sidecars: Vec<SidecarFile>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    LinkedFile,
    Dir,
    /// There, but left out: neither handed in nor gone.
    Other,
}

/// Walks `root` until its end, `cancel`, or nobody listens any more.
pub(crate) fn walk(
    root: &Path,
    options: &WalkOptions,
    out: &mpsc::Sender<Step>,
    cancel: &CancellationToken,
) {
    let mut walk = Walk { root, options, out, batch: Vec::new(), names: 0, stack: Vec::new() };
    // Nobody is left to tell, so there is nothing to do about it.
    let _ended: Result<(), Gone> = walk.run(cancel);
}

/// Nobody listens any more.
#[derive(Debug)]
struct Gone;

struct Walk<'a> {
    root: &'a Path,
    options: &'a WalkOptions,
    out: &'a mpsc::Sender<Step>,
    batch: Vec<Folder>,
    names: usize,
    stack: Vec<Level>,
}

/// A folder on the way down.
struct Level {
    path: PathBuf,
    links: u8,
    /// Folders in it that were read and not yet walked, and whether they are links.
    pending: Vec<(OsString, bool)>,
    /// What is left of a folder that is read in pieces.
    rest: Option<(ReadDir, Arc<Candidates>)>,
}

enum End {
    More,
    Done,
    /// Reading failed; there may be names that were not seen.
    Broken,
}

impl Walk<'_> {
    fn run(&mut self, cancel: &CancellationToken) -> Result<(), Gone> {
        let root = self.root.to_owned();
        let kind = match fs::metadata(&root) {
            Ok(metadata) => metadata.file_type(),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                return self.send(Step::Root(RootError::Missing { root }));
            }
            Err(cause) => return self.send(Step::Root(RootError::Unreadable { root, cause })),
        };
        if kind.is_file() {
            self.single(&root)?;
        } else if kind.is_dir() {
            match fs::read_dir(&root) {
                Ok(read) => self.enter(root, 0, read)?,
                Err(cause) => return self.send(Step::Root(RootError::Unreadable { root, cause })),
            }
        } else {
            return self.send(Step::Root(RootError::Special { root }));
        }
        self.descend(cancel)
    }

    fn descend(&mut self, cancel: &CancellationToken) -> Result<(), Gone> {
        while self.step()? {
            if cancel.is_cancelled() {
                return Ok(());
            }
        }
        self.flush()
    }

    /// Walks one more folder, or one more piece of one; `false` at the end.
    fn step(&mut self) -> Result<bool, Gone> {
        let Some(level) = self.stack.last_mut() else { return Ok(false) };
        if let Some((name, linked)) = level.pending.pop() {
            let path = level.path.join(name);
            let links = level.links + u8::from(linked);
            match fs::read_dir(&path) {
                Ok(read) => self.enter(path, links, read)?,
                Err(error) => self.problem(Problem::io(path, &error))?,
            }
        } else if let Some((read, candidates)) = level.rest.take() {
            self.next_piece(read, candidates)?;
        } else {
            self.stack.pop();
        }
        Ok(true)
    }

    /// Reads a folder: whole, or the first piece of it.
    fn enter(&mut self, path: PathBuf, links: u8, mut read: ReadDir) -> Result<(), Gone> {
        self.stack.push(Level { path: path.clone(), links, pending: Vec::new(), rest: None });
        let (found, end) = self.read_piece(&path, &mut read)?;
        let candidates = match end {
            End::More => self.candidates_of(&path)?,
            End::Done | End::Broken => {
                let mut candidates = Candidates::default();
                let files = found.iter().filter(|f| f.kind != Kind::Dir && f.kind != Kind::Other);
                files.for_each(|file| candidates.add(&file.name));
                Arc::new(candidates)
            }
        };
        let part = match end {
            End::Done => Part::Whole,
            End::More | End::Broken => Part::Piece { first: true, last: false },
        };
        if matches!(end, End::More)
            && let Some(level) = self.stack.last_mut()
        {
            level.rest = Some((read, Arc::clone(&candidates)));
        }
        self.folder(Folder { hash: DirHash::of(&path), path, part, found, candidates })
    }

    fn next_piece(&mut self, mut read: ReadDir, candidates: Arc<Candidates>) -> Result<(), Gone> {
        let Some(path) = self.stack.last().map(|level| level.path.clone()) else { return Ok(()) };
        let (found, end) = self.read_piece(&path, &mut read)?;
        let last = matches!(end, End::Done);
        if matches!(end, End::More)
            && let Some(level) = self.stack.last_mut()
        {
            level.rest = Some((read, Arc::clone(&candidates)));
        }
        let part = Part::Piece { first: false, last };
        self.folder(Folder { hash: DirHash::of(&path), path, part, found, candidates })
    }

    /// Reads up to a piece's names of the folder on top of the stack.
    fn read_piece(&mut self, dir: &Path, read: &mut ReadDir) -> Result<(Vec<Found>, End), Gone> {
        let mut found = Vec::new();
        while found.len() < self.options.piece {
            let entry = match read.next() {
                None => return Ok((found, End::Done)),
                Some(Ok(entry)) => entry,
                Some(Err(error)) => {
                    self.problem(Problem::io(dir.to_owned(), &error))?;
                    return Ok((found, End::Broken));
                }
            };
            let name = entry.file_name();
            let (kind, linked) = self.kind_of(dir, &name, &entry)?;
            if kind == Kind::Dir
                && let Some(level) = self.stack.last_mut()
            {
                level.pending.push((name.clone(), linked));
            }
            found.push(Found { name, kind, stat: None, sidecars: Vec::new() });
        }
        Ok((found, End::More))
    }

    /// What a name is, and whether it is a link.
    fn kind_of(&self, dir: &Path, name: &OsStr, entry: &DirEntry) -> Result<(Kind, bool), Gone> {
        let path = || dir.join(name);
        if !self.options.exclude.is_empty() {
            let path = path();
            if self.options.exclude.iter().any(|glob| glob.matches(self.root, &path)) {
                return self.left_out(Problem::new(path, SkipReason::Excluded));
            }
        }
        let kind = match entry.file_type() {
            Ok(kind) => kind,
            Err(error) => return self.left_out(Problem::io(path(), &error)),
        };
        if kind.is_file() {
            return Ok((Kind::File, false));
        }
        if !self.options.other_roots.is_empty() && self.options.other_roots.contains(&path()) {
            return self.left_out(Problem::new(path(), SkipReason::OtherRoot));
        }
        if kind.is_dir() {
            Ok((Kind::Dir, false))
        } else if kind.is_symlink() {
            match self.follow(&path()) {
                Ok(kind) => Ok((kind, true)),
                Err(problem) => self.left_out(problem),
            }
        } else {
            self.left_out(Problem::new(path(), SkipReason::SpecialFile))
        }
    }

    /// Decides about a link by where it really leads.
    fn follow(&self, link: &Path) -> Result<Kind, Problem> {
        let refused = |reason| Problem::new(link.to_owned(), reason);
        if self.options.links == Links::Skip {
            return Err(refused(SkipReason::Link));
        }
        let failed = |error: io::Error| {
            if error.kind() == io::ErrorKind::NotFound {
                refused(SkipReason::DanglingLink)
            } else if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
                refused(SkipReason::LinkCycle)
            } else {
                Problem::io(link.to_owned(), &error)
            }
        };
        let target = fs::canonicalize(link).map_err(failed)?;
        let root = fs::canonicalize(self.root).map_err(failed)?;
        if !target.starts_with(&root) {
            return Err(refused(SkipReason::LinkLeavesRoot));
        }
        let kind = fs::metadata(&target).map_err(failed)?.file_type();
        if kind.is_file() {
            return Ok(Kind::LinkedFile);
        }
        if !kind.is_dir() {
            return Err(refused(SkipReason::SpecialFile));
        }
        if self.stack.last().is_some_and(|level| level.links >= MOST_LINKS) {
            return Err(refused(SkipReason::LinkDepth));
        }
        let is_below = |level: &Level| {
            fs::canonicalize(&level.path).is_ok_and(|real| real.starts_with(&target))
        };
        if self.stack.iter().any(is_below) {
            return Err(refused(SkipReason::LinkCycle));
        }
        Ok(Kind::Dir)
    }

    /// A root that is a file: a piece of its folder with one name.
    fn single(&mut self, file: &Path) -> Result<(), Gone> {
        let dir = file.parent().unwrap_or(file).to_owned();
        let candidates = self.candidates_of(&dir)?;
        let name = file.file_name().unwrap_or_default().to_owned();
        let found = vec![Found { name, kind: Kind::LinkedFile, stat: None, sidecars: Vec::new() }];
        let part = Part::Piece { first: true, last: false };
        self.folder(Folder { hash: DirHash::of(&dir), path: dir, part, found, candidates })
    }

    fn candidates_of(&self, dir: &Path) -> Result<Arc<Candidates>, Gone> {
        let (candidates, whole) = candidates_in(dir);
        if !whole {
            self.problem(Problem::new(dir.to_owned(), SkipReason::TooManySidecars))?;
        }
        Ok(Arc::new(candidates))
    }

    fn left_out(&self, problem: Problem) -> Result<(Kind, bool), Gone> {
        self.problem(problem)?;
        Ok((Kind::Other, false))
    }

    fn folder(&mut self, folder: Folder) -> Result<(), Gone> {
        self.names += folder.found.len();
        self.batch.push(folder);
        if self.names >= BATCH_NAMES || self.batch.len() >= BATCH_FOLDERS {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Gone> {
        self.names = 0;
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() { Ok(()) } else { self.send(Step::Folders(batch)) }
    }

    fn problem(&self, problem: Problem) -> Result<(), Gone> {
        self.send(Step::Problem(problem))
    }

    fn send(&self, step: Step) -> Result<(), Gone> {
        self.out.blocking_send(step).map_err(|_| Gone)
    }
}

/// Reads a folder once more, for the possible sidecars only; whether these are all of them.
pub(crate) fn candidates_in(dir: &Path) -> (Candidates, bool) {
    let mut candidates = Candidates::default();
    let names = fs::read_dir(dir).into_iter().flatten().flatten();
    let names = names.map(|entry| entry.file_name()).filter(|name| is_candidate(name));
    for (count, name) in names.enumerate() {
        if count == MOST_CANDIDATES {
            return (candidates, false);
        }
        candidates.add(&name);
    }
    (candidates, true)
}

#[cfg(test)]
mod tests;
