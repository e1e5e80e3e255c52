//! Reads what identifies a file: its sample and its head. Blocking; runs on a thread of its own.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use broker_config::Cid;
use broker_config::midhash::{SAMPLE_BYTES, cid_of, read_sample, sample_of};
use broker_config::mime::{mime_of, read_head};
use rustix::fs::{Mode, OFlags};
use tokio_util::sync::CancellationToken;

use super::diff::Stat;
use super::found::{FoundFile, Why};
use super::report::{Problem, SkipReason};
use super::sidecar::SidecarFile;

/// A file that changes under each of so many readings is left to the next scan.
const MOST_READINGS: u32 = 3;

/// A file to read.
#[derive(Debug)]
pub(crate) struct ToHash {
    pub(crate) path: PathBuf,
    /// Whether the walk found a link there, and therefore opening may follow it.
    pub(crate) linked: bool,
    /// When it was listed; decides only how much is done in one go.
    pub(crate) size: u64,
    pub(crate) sidecars: Vec<SidecarFile>,
    pub(crate) why: Why,
}

impl ToHash {
    /// How much of it will be read.
    pub(crate) fn cost(&self) -> u64 {
        self.size.min(SAMPLE_BYTES)
    }
}

/// What became of a number of files.
#[derive(Debug, Default)]
pub(crate) struct Hashed {
    pub(crate) files: Vec<FoundFile>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) bytes: u64,
}

/// Reads the files one after the other, until `cancel`.
pub(crate) fn hash_all(tasks: Vec<ToHash>, cancel: &CancellationToken) -> Hashed {
    let mut hashed = Hashed::default();
    let mut buffer = Vec::new();
    for task in tasks {
        if cancel.is_cancelled() {
            break;
        }
        match identify(&task.path, task.linked, &mut buffer) {
            Ok(identity) => {
                hashed.bytes += identity.bytes;
                hashed.files.push(FoundFile {
                    path: task.path,
                    cid: identity.cid,
                    stat: identity.stat,
                    mime: identity.mime.to_owned(),
                    sidecars: task.sidecars,
                    why: task.why,
                });
            }
            Err(Trouble::Changes) => {
                hashed.problems.push(Problem::new(task.path, SkipReason::KeepsChanging));
            }
            Err(Trouble::NotAFile) => {
                hashed.problems.push(Problem::new(task.path, SkipReason::SpecialFile));
            }
            Err(Trouble::Io(error)) => hashed.problems.push(Problem::io(task.path, &error)),
        }
    }
    hashed
}

/// What a file is, and its status while it was that.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) cid: Cid,
    pub(crate) mime: &'static str,
    pub(crate) stat: Stat,
    /// How much was read.
    pub(crate) bytes: u64,
}

#[derive(Debug)]
pub(crate) enum Trouble {
    Changes,
    NotAFile,
    Io(io::Error),
}

/// Reads a file until it is the same before and after, a bounded number of times.
pub(crate) fn identify(
    path: &Path,
    linked: bool,
    buffer: &mut Vec<u8>,
) -> Result<Identity, Trouble> {
    // A FIFO that took the file's place must not block, a link that did must not be followed.
    let mut flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    if !linked {
        flags |= OFlags::NOFOLLOW;
    }
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(descriptor) => File::from(descriptor),
        Err(rustix::io::Errno::LOOP) if !linked => return Err(Trouble::NotAFile),
        Err(error) => return Err(Trouble::Io(error.into())),
    };
    read_until_stable(&file, path, buffer, |_| {})
}

/// `between` is told of each reading, before the file is looked at again.
fn read_until_stable(
    file: &File,
    path: &Path,
    buffer: &mut Vec<u8>,
    mut between: impl FnMut(u32),
) -> Result<Identity, Trouble> {
    for reading in 1..=MOST_READINGS {
        let before = file.metadata().map_err(Trouble::Io)?;
        if !before.is_file() {
            return Err(Trouble::NotAFile);
        }
        let before = stat_of(&before);
        let read = read(file, path, before, buffer);
        between(reading);
        let after = stat_of(&file.metadata().map_err(Trouble::Io)?);
        match read {
            Ok(identity) if before == after => return Ok(identity),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(Trouble::Io(error)),
        }
    }
    Err(Trouble::Changes)
}

fn read(file: &File, path: &Path, stat: Stat, buffer: &mut Vec<u8>) -> io::Result<Identity> {
    read_sample(file, stat.size, buffer)?;
    // The sample of a small file is the file.
    let head = if stat.size <= SAMPLE_BYTES { None } else { Some(read_head(file)?) };
    let bytes = sample_of(stat.size).1 + head.as_ref().map_or(0, Vec::len);
    Ok(Identity {
        cid: cid_of(stat.size, buffer),
        mime: mime_of(path, head.as_ref().unwrap_or(buffer)),
        stat,
        bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
    })
}

/// The compared part of a file's status.
pub(crate) fn stat_of(metadata: &Metadata) -> Stat {
    let mtime_ns =
        metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec());
    Stat { size: metadata.size(), mtime_ns, inode: metadata.ino() }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::FileExt;

    use super::*;

    fn read_changing(change: impl Fn(&mut File, u32)) -> Result<Identity, Trouble> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        fs::write(&path, "first").unwrap();
        let mut writer = File::options().append(true).open(&path).unwrap();
        let file = File::open(&path).unwrap();
        read_until_stable(&file, &path, &mut Vec::new(), |n| change(&mut writer, n))
    }

    #[test]
    fn a_file_that_changed_while_it_was_read_is_read_again() {
        let identity = read_changing(|file, reading| {
            if reading == 1 {
                file.write_all(b" second").unwrap();
            }
        });

        let identity = identity.unwrap();
        assert_eq!(identity.cid, cid_of(12, b"first second"));
        assert_eq!(identity.stat.size, 12);
    }

    #[test]
    fn a_file_that_always_changes_is_given_up() {
        let identity = read_changing(|file, _| file.write_all(b"more").unwrap());

        assert!(matches!(identity, Err(Trouble::Changes)), "{identity:?}");
    }

    #[test]
    fn what_cannot_be_read_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("target");
        fs::write(&target, "x").unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let gone = dir.path().join("gone");
        let buffer = &mut Vec::new();

        assert!(identify(&link, true, buffer).is_ok());
        assert!(matches!(identify(&link, false, buffer), Err(Trouble::NotAFile)));
        assert!(matches!(identify(dir.path(), false, buffer), Err(Trouble::NotAFile)));
        let error = identify(&gone, false, buffer).unwrap_err();
        let Trouble::Io(error) = error else { panic!("{error:?}") };
        assert_eq!(Problem::io(gone, &error).reason, SkipReason::Vanished);
    }

    #[test]
    fn a_large_file_costs_its_head_and_its_sample() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("large.mkv");
        let file = File::create(&path).unwrap();
        file.write_at(b"\x1a\x45\xdf\xa3\x00", 0).unwrap();
        file.set_len(5 * SAMPLE_BYTES).unwrap();

        let identity = identify(&path, false, &mut Vec::new()).unwrap();

        assert_eq!(identity.mime, "video/x-matroska");
        assert_eq!(identity.bytes, SAMPLE_BYTES + 8192);
        let zeros = vec![0; 1_048_576];
        assert_eq!(identity.cid, cid_of(5 * SAMPLE_BYTES, &zeros));
    }
}
