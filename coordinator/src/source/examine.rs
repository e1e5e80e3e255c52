//! Adds to the names of a walk what the file system and the index say of them, at the same time.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use futures_util::future::join;
use tokio::task::spawn_blocking;

use super::diff::Stat;
use super::hash::stat_of;
use super::index::{BATCH, EntryKey, Listing, NameHash, PathEntry, PathIndex};
use super::report::{Problem, ScanError};
use super::sidecar::{SHOW_ABOVE, SidecarFile, is_candidate, is_owner, is_video};
use super::walk::{Folder, Found, Kind, Part};

/// A batch of folders with all that is needed to decide.
#[derive(Debug)]
pub(crate) struct Examined {
    pub(crate) folders: Vec<(Folder, Known)>,
    pub(crate) problems: Vec<Problem>,
}

/// What the index knows of a folder.
#[derive(Debug)]
pub(crate) enum Known {
    /// Everything: what was not found is gone.
    All(Vec<PathEntry>),
    /// Of each found name, in their order.
    ByName(Vec<Option<PathEntry>>),
}

/// Asks for the status of every file and for the entries of every folder.
pub(crate) async fn examine<I: PathIndex>(
    index: &I,
    root: PathBuf,
    folders: Vec<Folder>,
) -> Result<Examined, ScanError> {
    let whole: Vec<_> =
        folders.iter().filter(|f| f.part == Part::Whole).map(|folder| folder.hash).collect();
    let first = folders.first().map(|folder| folder.path.clone()).unwrap_or_default();
    let failed = |cause| ScanError::Index { path: first.clone(), cause };

    let status = spawn_blocking(move || add_status(folders));
    let listings =
        async { if whole.is_empty() { Ok(Vec::new()) } else { index.entries_of(&whole).await } };
    let (status, listings) = join(status, listings).await;
    let (folders, problems) = status.map_err(|cause| ScanError::Thread { path: root, cause })?;
    let listings = listings.map_err(failed)?;
    if listings.len() != whole.len() {
        return Err(failed("the answer is not one listing per folder".into()));
    }

    let mut listings = listings.into_iter();
    let mut examined = Examined { folders: Vec::with_capacity(folders.len()), problems };
    for folder in folders {
        let listing = if folder.part == Part::Whole { listings.next() } else { None };
        let known = match listing {
            Some(Listing::Known(entries)) => Known::All(entries),
            Some(Listing::TooMany) | None => Known::ByName(
                by_name(index, &folder)
                    .await
                    .map_err(|cause| ScanError::Index { path: folder.path.clone(), cause })?,
            ),
        };
        examined.folders.push((folder, known));
    }
    Ok(examined)
}

async fn by_name<I: PathIndex>(
    index: &I,
    folder: &Folder,
) -> Result<Vec<Option<PathEntry>>, super::PortError> {
    let mut known = Vec::with_capacity(folder.found.len());
    for found in folder.found.chunks(BATCH) {
        let key = |f: &Found| EntryKey { dir: folder.hash, name: NameHash::of(&f.name) };
        let keys: Vec<_> = found.iter().map(key).collect();
        let entries = index.lookup(&keys).await?;
        if entries.len() != keys.len() {
            return Err("the answer is not one entry per key".into());
        }
        known.extend(entries);
    }
    Ok(known)
}

/// One status call per file. Blocking.
pub(crate) fn add_status(mut folders: Vec<Folder>) -> (Vec<Folder>, Vec<Problem>) {
    let mut problems = Vec::new();
    for folder in &mut folders {
        for found in &mut folder.found {
            let linked = match found.kind {
                Kind::File => false,
                Kind::LinkedFile => true,
                Kind::Dir | Kind::Other => continue,
            };
            let path = folder.path.join(&found.name);
            match status(&path, linked) {
                Ok(stat) => found.stat = Some(stat),
                Err(error) => problems.push(Problem::io(path, &error)),
            }
        }
        add_sidecars(folder);
    }
    (folders, problems)
}

fn status(path: &Path, linked: bool) -> io::Result<Stat> {
    let metadata = if linked { fs::metadata(path) } else { fs::symlink_metadata(path) }?;
    Ok(stat_of(&metadata))
}

fn add_sidecars(folder: &mut Folder) {
    let is_there = |found: &&Found| found.stat.is_some();
    let videos = folder.found.iter().filter(is_there).any(|found| is_video(&found.name));
    let show = if videos { show_above(&folder.path) } else { None };
    if folder.candidates.is_empty() && show.is_none() {
        return;
    }
    let candidates = folder.found.iter().filter(|f| is_candidate(&f.name));
    let seen: HashMap<&OsStr, Stat> =
        candidates.filter_map(|f| Some((f.name.as_os_str(), f.stat?))).collect();
    let describe = |name: OsString| {
        // In a folder that comes in pieces it may be in another piece.
        let stat = match seen.get(name.as_os_str()) {
            Some(stat) => *stat,
            None => status(&folder.path.join(&name), false).ok()?,
        };
        Some(SidecarFile { name, size: stat.size, mtime_ns: stat.mtime_ns })
    };
    let owned = |found: &Found| -> Vec<SidecarFile> {
        if !is_owner(&found.name) || found.stat.is_none() {
            return Vec::new();
        }
        let beside = folder.candidates.of(&found.name).into_iter().filter_map(describe);
        let mut all: Vec<_> =
            beside.chain(show.clone().filter(|_| is_video(&found.name))).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    };
    let all: Vec<_> = folder.found.iter().map(owned).collect();
    for (found, sidecars) in folder.found.iter_mut().zip(all) {
        found.sidecars = sidecars;
    }
}

/// The show that the folder may be a season of.
///
/// Asked for by its name, not taken from the walk, so that it is found above a root as well: a
/// scan of one season and one of the whole library must not disagree.
fn show_above(folder: &Path) -> Option<SidecarFile> {
    let name = OsStr::new(SHOW_ABOVE);
    let metadata = fs::metadata(folder.parent()?.join(Path::new(name).file_name()?)).ok()?;
    let stat = stat_of(&metadata);
    let file = SidecarFile { name: name.to_owned(), size: stat.size, mtime_ns: stat.mtime_ns };
    metadata.is_file().then_some(file)
}
