//! Looks at single files outside of a walk: known ones once more, and others.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::examine::add_status;
use super::found::{FoundFile, Why};
use super::hash::{Trouble, identify};
use super::index::{DirHash, PathEntry};
use super::scan::root_path;
use super::walk::{Folder, Found, Kind, Part, candidates_in};

/// The file as it is handed in, with the sidecars it has now and without reading it.
///
/// `None` for a folder, and where the file is not there or not as it is known: then it may hold
/// something else, and the next scan of its root says what.
pub async fn look_again(entry: PathEntry, why: Why) -> Option<FoundFile> {
    spawn_blocking(move || look(&entry, why)).await.ok().flatten()
}

/// A file that nothing is known of, read and described as a scan would.
///
/// # Errors
///
/// What the operating system says; also where it is no file, or changes all the time.
pub async fn look_at(path: &Path) -> io::Result<FoundFile> {
    let path = root_path(path)?;
    let looked = spawn_blocking(move || {
        let identity = identify(&path, true, &mut Vec::new()).map_err(|trouble| match trouble {
            Trouble::Io(error) => error,
            Trouble::NotAFile => io::Error::other("it is no file"),
            Trouble::Changes => io::Error::other("it changes all the time"),
        })?;
        let found = FoundFile {
            path,
            cid: identity.cid,
            stat: identity.stat,
            mime: identity.mime.to_owned(),
            sidecars: Vec::new(),
            why: Why::Forced,
        };
        // Once more, for its sidecars.
        look(&found.entry(), Why::Forced).ok_or_else(|| io::Error::other("it has just changed"))
    });
    looked.await.map_err(io::Error::other)?
}

/// Blocking.
fn look(entry: &PathEntry, why: Why) -> Option<FoundFile> {
    let known = entry.file()?;
    let (dir, name) = (entry.path.parent()?, entry.path.file_name()?);
    let (candidates, _) = candidates_in(dir);
    // As a root that is a file is looked at: it may be a link.
    let found =
        Found { name: name.to_owned(), kind: Kind::LinkedFile, stat: None, sidecars: Vec::new() };
    let folder = Folder {
        hash: DirHash::of(dir),
        path: dir.to_owned(),
        part: Part::Piece { first: true, last: false },
        found: vec![found],
        candidates: Arc::new(candidates),
    };
    let (mut folders, _) = add_status(vec![folder]);
    let found = folders.pop()?.found.pop()?;
    let stat = found.stat?;
    if stat.size != known.size || stat.mtime_ns != known.mtime_ns {
        return None;
    }
    Some(FoundFile {
        path: entry.path.clone(),
        cid: known.cid.clone(),
        stat,
        mime: known.mime.clone(),
        sidecars: found.sidecars,
        why,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::hash::identify;
    use super::super::sidecar::SidecarFile;
    use super::*;

    #[tokio::test]
    async fn a_file_is_seen_with_its_sidecars_of_now_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("film.mkv");
        fs::write(&path, "film").unwrap();
        let identity = identify(&path, false, &mut Vec::new()).unwrap();
        let file = FoundFile {
            path: path.clone(),
            cid: identity.cid,
            stat: identity.stat,
            mime: identity.mime.to_owned(),
            sidecars: Vec::new(),
            why: Why::New,
        };
        fs::write(dir.path().join("film.en.srt"), "1").unwrap();
        fs::write(dir.path().join("other.srt"), "1").unwrap();

        let seen = look_again(file.entry(), Why::TakesOver).await.unwrap();
        fs::write(&path, "another film").unwrap();
        let changed = look_again(file.entry(), Why::TakesOver).await;
        fs::remove_file(&path).unwrap();
        let gone = look_again(file.entry(), Why::TakesOver).await;

        let names: Vec<_> = seen.sidecars.iter().map(|SidecarFile { name, .. }| name).collect();
        assert_eq!(names, ["film.en.srt"]);
        assert_eq!(
            seen,
            FoundFile { sidecars: seen.sidecars.clone(), why: Why::TakesOver, ..file }
        );
        assert_eq!((changed, gone), (None, None));
    }
}
