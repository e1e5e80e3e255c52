//! What a scan hands on: files, and changes of what was known.

use std::ffi::OsStr;
use std::future::Future;
use std::path::PathBuf;

use broker_config::wire::file::FilePath;
use broker_config::{Cid, FileFacts, Sidecar, Submission};
use jiff::Timestamp;

use super::diff::Stat;
use super::index::{EntryFacts, FileEntry, PathEntry, PortError};
use super::sidecar::{SidecarFile, SidecarHash};

/// A file to hand in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFile {
    /// Absolute.
    pub path: PathBuf,
    /// What it holds.
    pub cid: Cid,
    /// Its status when it was hashed.
    pub stat: Stat,
    /// Media type.
    pub mime: String,
    /// What belongs to it, sorted by name.
    pub sidecars: Vec<SidecarFile>,
    /// Why it is handed in.
    pub why: Why,
}

/// Why a file is handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its path was not known.
    New,
    /// Its size or time is another; `from` is what it held before and may be the same, because
    /// the content id does not see every byte.
    Changed { from: Cid },
    /// Only its sidecars are others.
    Sidecars,
    /// The options say so.
    Forced,
    /// It is as it was; the path that counted for its content does so no longer.
    TakesOver,
}

impl FoundFile {
    /// What filters decide on and plugins are told.
    #[must_use]
    pub fn facts(&self) -> FileFacts {
        let name = self.path.file_name().unwrap_or_default();
        let extension = self.path.extension().unwrap_or_default();
        FileFacts {
            size: self.stat.size,
            mime: self.mime.clone(),
            name: readable(name),
            extension: readable(extension).to_lowercase(),
            modified: time(self.stat.mtime_ns),
            sidecars: self.sidecars.iter().map(sidecar).collect(),
        }
    }

    /// The message that hands it in for all plugins.
    #[must_use]
    pub fn submission(&self) -> Submission {
        Submission::new(self.cid.clone(), FilePath::new(&self.path), self.facts())
    }

    /// What the index keeps of it.
    #[must_use]
    pub fn entry(&self) -> PathEntry {
        let facts = EntryFacts::File(FileEntry {
            cid: self.cid.clone(),
            size: self.stat.size,
            mtime_ns: self.stat.mtime_ns,
            inode: Some(self.stat.inode),
            mime: self.mime.clone(),
            sidecars: SidecarHash::of(&self.sidecars),
        });
        PathEntry { path: self.path.clone(), facts, missed: 0 }
    }
}

/// What is not as it was known, for subscribers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing is at `path` any more; `cid` may have other paths.
    Deleted { path: PathBuf, cid: Cid },
    /// What was at `from` is now at `to`, which was handed in as well.
    Moved { from: PathBuf, to: PathBuf, cid: Cid },
    /// `path` holds `to` and was handed in with it; `from` may have other paths.
    Replaced { path: PathBuf, from: Cid, to: Cid },
}

impl Change {
    /// Where it happened; of a move where it came from.
    #[must_use]
    pub fn path(&self) -> &PathBuf {
        match self {
            Self::Deleted { path, .. } | Self::Replaced { path, .. } => path,
            Self::Moved { from, .. } => from,
        }
    }
}

/// Takes what a scan finds; each call is durable when its future is done.
///
/// A scan writes to its index only after the sink took what the entries stand for, so after a
/// crash a file or a change can come again, and none is lost.
pub trait Sink: Send + Sync {
    /// Takes files to be processed, at most 256.
    fn submit(&self, files: Vec<FoundFile>) -> impl Future<Output = Result<(), PortError>> + Send;

    /// Takes changes to be told, at most 256.
    fn changes(&self, changes: Vec<Change>) -> impl Future<Output = Result<(), PortError>> + Send;
}

fn sidecar(file: &SidecarFile) -> Sidecar {
    Sidecar { name: readable(&file.name), size: file.size, modified: time(file.mtime_ns) }
}

fn readable(text: &OsStr) -> String {
    text.to_string_lossy().into_owned()
}

/// RFC 3339; empty for times that no calendar reaches.
fn time(ns: i64) -> String {
    Timestamp::from_nanosecond(i128::from(ns)).map(|time| time.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_submission_describes_the_file_and_its_sidecars() {
        let cid = Cid::try_from("bafy".to_owned()).unwrap();
        let file = FoundFile {
            path: "/films/Ä film.MKV".into(),
            cid,
            stat: Stat { size: 7, mtime_ns: 1_500_000_000, inode: 1 },
            mime: "video/x-matroska".into(),
            sidecars: vec![SidecarFile { name: "Ä film.srt".into(), size: 3, mtime_ns: -1 }],
            why: Why::New,
        };

        let submission = file.submission();

        assert_eq!(submission.path.file_path, "/films/Ä film.MKV");
        assert_eq!(submission.file.name, "Ä film.MKV");
        assert_eq!(submission.file.extension, "mkv");
        assert_eq!(submission.file.modified, "1970-01-01T00:00:01.5Z");
        assert_eq!(submission.file.sidecars[0].name, "Ä film.srt");
        assert_eq!(submission.file.sidecars[0].modified, "1969-12-31T23:59:59.999999999Z");
    }
}
