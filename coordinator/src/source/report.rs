//! What a scan tells: its progress while it runs, its report at the end, and why it could not go on.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use super::index::PortError;

/// A report lists this many problems; the rest are counted.
const MOST_PROBLEMS: usize = 1000;

/// Counts so far; all of them only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Folders read.
    pub dirs: u64,
    /// Files seen, whatever came of them.
    pub files: u64,
    /// Files that are as they were.
    pub unchanged: u64,
    /// Files under a path that was not known.
    pub new: u64,
    /// Files whose size, time or content is another.
    pub changed: u64,
    /// Files that were read and hashed.
    pub hashed_files: u64,
    /// Bytes that were read to hash them.
    pub hashed_bytes: u64,
    /// Files handed in, acknowledged.
    pub submitted: u64,
    /// What was left out, by reason.
    pub skipped: BTreeMap<&'static str, u64>,
    /// Files and folders that could not be read.
    pub unreadable: u64,
    /// Files that are gone.
    pub deleted: u64,
    /// Files that are gone while their content appeared under a new path.
    pub moved: u64,
    /// Files that were not there and wait for another scan to confirm it.
    pub missing: u64,
}

/// Why something was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SkipReason {
    /// A pattern of the options names it.
    Excluded,
    /// It is a root of its own in the same scan.
    OtherRoot,
    /// The options say not to follow links.
    Link,
    /// The link leads to nothing.
    DanglingLink,
    /// The link leads out of the root.
    LinkLeavesRoot,
    /// The link leads to a folder that it is in.
    LinkCycle,
    /// Behind too many links to folders.
    LinkDepth,
    /// A FIFO, a socket or a device.
    SpecialFile,
    /// It was listed and then gone; the next scan knows more.
    Vanished,
    /// It was written to whenever it was read; the next scan tries again.
    KeepsChanging,
    /// It cannot be read.
    Unreadable,
    /// The folder holds more possible sidecars than are kept in memory.
    TooManySidecars,
}

impl SkipReason {
    /// The reason as a word for counts and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Excluded => "excluded",
            Self::OtherRoot => "otherRoot",
            Self::Link => "link",
            Self::DanglingLink => "danglingLink",
            Self::LinkLeavesRoot => "linkLeavesRoot",
            Self::LinkCycle => "linkCycle",
            Self::LinkDepth => "linkDepth",
            Self::SpecialFile => "specialFile",
            Self::Vanished => "vanished",
            Self::KeepsChanging => "keepsChanging",
            Self::Unreadable => "unreadable",
            Self::TooManySidecars => "tooManySidecars",
        }
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Excluded => "excluded by a pattern",
            Self::OtherRoot => "is a root of its own",
            Self::Link => "is a link, and links are not followed",
            Self::DanglingLink => "is a link to nothing",
            Self::LinkLeavesRoot => "is a link out of the root",
            Self::LinkCycle => "is a link to a folder that it is in",
            Self::LinkDepth => "is behind too many links to folders",
            Self::SpecialFile => "is neither a file nor a folder",
            Self::Vanished => "was gone before it could be looked at",
            Self::KeepsChanging => "changes while it is read",
            Self::Unreadable => "cannot be read",
            Self::TooManySidecars => "holds too many possible sidecars to match them all",
        })
    }
}

impl Serialize for SkipReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One path that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Which.
    #[serde(serialize_with = "readable")]
    pub path: PathBuf,
    /// Why.
    pub reason: SkipReason,
    /// What the system said, if it said something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Problem {
    pub(crate) fn new(path: PathBuf, reason: SkipReason) -> Self {
        Self { path, reason, detail: None }
    }

    /// A failed system call on `path`.
    pub(crate) fn io(path: PathBuf, error: &io::Error) -> Self {
        let reason = if error.kind() == io::ErrorKind::NotFound {
            SkipReason::Vanished
        } else {
            SkipReason::Unreadable
        };
        Self { path, reason, detail: Some(error.to_string()) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path.display(), self.reason)?;
        self.detail.as_ref().map_or(Ok(()), |detail| write!(f, ": {detail}"))
    }
}

fn readable<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

/// Why a root was not scanned, or why nothing under it was taken for deleted.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// There is nothing at its path.
    #[error("root {} is missing: nothing under it counts as deleted", root.display())]
    Missing { root: PathBuf },
    /// It is neither a folder nor a regular file.
    #[error("root {} is neither a folder nor a file", root.display())]
    Special { root: PathBuf },
    /// It cannot be read.
    #[error("root {} cannot be read", root.display())]
    Unreadable {
        root: PathBuf,
        #[source]
        cause: io::Error,
    },
    /// It is empty, but entries are known: an unmounted share looks like that.
    #[error(
        "root {} is empty where files are known (not mounted?): nothing counts as deleted",
        root.display()
    )]
    Emptied { root: PathBuf },
    /// Too many of its files are gone at once. What is there was scanned.
    #[error(
        "{missing} of the {known} known files of root {} are missing: nothing counts as deleted",
        root.display()
    )]
    MostlyMissing { root: PathBuf, missing: u64, known: u64 },
}

/// Why a scan ended early; what was acknowledged until then stays, the same scan resumes.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The index did not answer or did not accept.
    #[error("path index failed at {}", path.display())]
    Index {
        path: PathBuf,
        #[source]
        cause: PortError,
    },
    /// The sink did not accept.
    #[error("files could not be handed in, the first of them {}", path.display())]
    Sink {
        path: PathBuf,
        #[source]
        cause: PortError,
    },
    /// A thread of the scan panicked.
    #[error("a thread of the scan of {} ended by itself", path.display())]
    Thread {
        path: PathBuf,
        #[source]
        cause: tokio::task::JoinError,
    },
}

/// What a scan did.
#[derive(Debug, Default)]
pub struct ScanReport {
    /// The final counts.
    pub counts: Progress,
    /// Roots that were not scanned or where nothing was taken for deleted.
    pub failed_roots: Vec<RootError>,
    /// What was left out, the first 1,000; exclusions are only counted.
    pub problems: Vec<Problem>,
    /// Whether it was told to stop before its end.
    pub cancelled: bool,
    /// How long it took.
    pub seconds: f64,
}

impl ScanReport {
    /// Whether every root was scanned to its end.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failed_roots.is_empty() && !self.cancelled
    }

    /// How many paths were left out for a reason that a person should know; more than are listed.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        let expected = [SkipReason::Excluded, SkipReason::OtherRoot].map(SkipReason::as_str);
        let counts = self.counts.skipped.iter();
        counts.filter(|(reason, _)| !expected.contains(reason)).map(|(_, count)| count).sum()
    }

    pub(crate) fn add_problem(&mut self, problem: Problem) {
        *self.counts.skipped.entry(problem.reason.as_str()).or_default() += 1;
        match problem.reason {
            SkipReason::Excluded | SkipReason::OtherRoot => return,
            SkipReason::Unreadable => self.counts.unreadable += 1,
            SkipReason::Link
            | SkipReason::DanglingLink
            | SkipReason::LinkLeavesRoot
            | SkipReason::LinkCycle
            | SkipReason::LinkDepth
            | SkipReason::SpecialFile
            | SkipReason::Vanished
            | SkipReason::KeepsChanging
            | SkipReason::TooManySidecars => {}
        }
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push(problem);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_a_person_should_know_of_is_counted_though_not_all_is_listed() {
        let mut report = ScanReport::default();
        for n in 0..MOST_PROBLEMS + 5 {
            report.add_problem(Problem::new(format!("/{n}").into(), SkipReason::SpecialFile));
        }
        report.add_problem(Problem::new("/x".into(), SkipReason::Excluded));

        assert_eq!(report.problems.len(), MOST_PROBLEMS);
        assert_eq!(report.left_out(), MOST_PROBLEMS as u64 + 5);
    }
}
