//! The files of a plugin's folder, looked at again and again for changes.
//!
//! Not the kernel's notifications: those do not come from network disks and out of containers, and
//! there is a limit to how many a user may have. A folder of sources is looked through in a
//! millisecond or two, ten times a second.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// Looks without a change after which an editor or a compiler counts as done; about as many more
/// at most, for folders that never rest.
const CALM_LOOKS: u32 = 2;
const MOST_LOOKS: u32 = 30;
/// More files than that are not sources; those over it are not watched.
const MOST_FILES: usize = 20_000;
/// What builds and tools make, and dependencies.
const MADE: [&str; 8] =
    ["target", "dist", "build-out", "node_modules", "__pycache__", "venv", "vendor", "coverage"];

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    size: u64,
    modified: (i64, i64),
    inode: u64,
}

/// All files at one moment.
type Snapshot = BTreeMap<PathBuf, Mark>;

/// Watches folders and single files.
#[derive(Debug)]
pub struct Watcher {
    paths: Vec<PathBuf>,
    seen: Snapshot,
}

impl Watcher {
    /// Begins with what there is now.
    pub async fn new(paths: Vec<PathBuf>) -> Self {
        let seen = look(paths.clone()).await;
        Self { paths, seen }
    }

    /// Waits until files have changed and then rested for a moment; says which.
    ///
    /// # Cancel safety
    ///
    /// A change that was not returned is found again, but it takes some looks in a row: keep the future.
    pub async fn changed(&mut self) -> Vec<PathBuf> {
        loop {
            sleep(LOOK).await;
            let mut now = look(self.paths.clone()).await;
            if now == self.seen {
                continue;
            }
            let (mut calm, mut looks) = (0, 0);
            while calm < CALM_LOOKS && looks < MOST_LOOKS {
                sleep(LOOK).await;
                let next = look(self.paths.clone()).await;
                calm = if next == now { calm + 1 } else { 0 };
                looks += 1;
                now = next;
            }
            let changed = differs(&self.seen, &now);
            self.seen = now;
            // Written and put back as it was is no change.
            if !changed.is_empty() {
                return changed;
            }
        }
    }
}

/// What is new, gone or another.
fn differs(before: &Snapshot, now: &Snapshot) -> Vec<PathBuf> {
    let gone = before.keys().filter(|path| !now.contains_key(*path));
    let other = now.iter().filter(|(path, mark)| before.get(*path) != Some(mark));
    gone.chain(other.map(|(path, _)| path)).cloned().collect()
}

/// Whether nobody writes it by hand.
fn is_made(name: &str) -> bool {
    // Hidden ones are of tools, and editors keep copies.
    name.starts_with('.') || name.ends_with('~') || name.ends_with(".swp") || MADE.contains(&name)
}

async fn look(paths: Vec<PathBuf>) -> Snapshot {
    // Whoever is looked for while the runtime ends is not there.
    spawn_blocking(move || snapshot(&paths)).await.unwrap_or_default()
}

/// Blocking. What cannot be read is as if it were not there.
fn snapshot(paths: &[PathBuf]) -> Snapshot {
    let mut found = Snapshot::new();
    let mut folders = Vec::new();
    for path in paths {
        if path.is_dir() {
            folders.push(path.clone());
        } else {
            note(&mut found, path, fs::metadata(path).ok());
        }
    }
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            if entry.file_name().to_str().is_some_and(is_made) {
                continue;
            }
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(path),
                // Also what a link leads to; folders behind links are not walked.
                Ok(_) => note(&mut found, &path, fs::metadata(&path).ok()),
                Err(_) => {}
            }
            if found.len() >= MOST_FILES {
                return found;
            }
        }
    }
    found
}

fn note(found: &mut Snapshot, path: &Path, status: Option<fs::Metadata>) {
    if let Some(status) = status.filter(fs::Metadata::is_file) {
        let modified = (status.mtime(), status.mtime_nsec());
        let mark = Mark { size: status.len(), modified, inode: status.ino() };
        found.insert(path.to_owned(), mark);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn what_tools_make_is_not_watched() {
        for (name, made) in [
            ("main.py", false),
            ("build", false),
            ("src", false),
            (".git", true),
            (".main.py.swp", true),
            ("main.py~", true),
            ("target", true),
            ("dist", true),
            ("node_modules", true),
            ("__pycache__", true),
        ] {
            assert_eq!(is_made(name), made, "{name}");
        }
    }

    #[tokio::test]
    async fn new_changed_and_removed_files_are_told_once() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let (folder, single) = (home.path().join("p"), home.path().join("sample.txt"));
        fs::create_dir_all(folder.join("src"))?;
        fs::create_dir_all(folder.join("target"))?;
        let paths = [folder.join("src/a"), folder.join("gone"), single.clone()];
        for path in &paths {
            fs::write(path, "before")?;
        }
        let mut watcher = Watcher::new(vec![folder.clone(), single.clone()]).await;

        fs::write(folder.join("src/a"), "after it")?;
        fs::remove_file(folder.join("gone"))?;
        fs::write(folder.join("new"), "")?;
        fs::write(&single, "another")?;
        fs::write(folder.join("target/out"), "made")?;

        let mut changed = timeout(PATIENCE, watcher.changed()).await?;
        changed.sort();
        let mut expected = [&paths[..], &[folder.join("new")]].concat();
        expected.sort();
        assert_eq!(changed, expected);
        let again = timeout(LOOK * 8, watcher.changed()).await;
        assert!(again.is_err(), "{again:?}");
        Ok(())
    }
}
