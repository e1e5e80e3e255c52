//! PURE  what a scan concludes from what is known of a path and what was found there.

use super::index::{EntryFacts, PathEntry};
use super::sidecar::SidecarHash;

/// What makes a file "the same as last time" without reading it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SameBy {
    /// Size and modification time. The default, because network and union file systems give
    /// their files new inode numbers whenever they are mounted.
    #[default]
    SizeAndTime,
    /// The inode number too: also notices a file that was replaced under its old time stamp.
    SizeTimeAndInode,
}

/// The part of a file's status that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// In bytes.
    pub size: u64,
    /// Modification time, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Of the file system.
    pub inode: u64,
}

/// What to do about a file that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// Nothing is known of it: hash it and hand it in.
    New,
    /// What is known is about a folder, which is therefore gone: hash the file and hand it in.
    WasDir,
    /// It may hold something else: hash it and hand it in.
    Changed,
    /// Its sidecars are others or were edited: hand it in without hashing it.
    Sidecars,
    /// As it was, but the last scan missed it: only note that it is back.
    Back,
    /// As it was.
    Unchanged,
}

/// Compares a file with what is known of its path.
#[must_use]
pub fn conclude(
    known: Option<&PathEntry>,
    found: &Stat,
    sidecars: Option<&SidecarHash>,
    same_by: SameBy,
) -> Conclusion {
    let Some(entry) = known else { return Conclusion::New };
    let file = match &entry.facts {
        EntryFacts::Dir => return Conclusion::WasDir,
        EntryFacts::File(file) => file,
    };
    let same_inode = match same_by {
        SameBy::SizeAndTime => true,
        SameBy::SizeTimeAndInode => file.inode.is_none_or(|inode| inode == found.inode),
    };
    if file.size != found.size || file.mtime_ns != found.mtime_ns || !same_inode {
        Conclusion::Changed
    } else if file.sidecars.as_ref() != sidecars {
        Conclusion::Sidecars
    } else if entry.missed > 0 {
        Conclusion::Back
    } else {
        Conclusion::Unchanged
    }
}

/// How many of a root's files may be gone at once before that is taken for a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingLimit {
    /// Up to this share of the known files, in percent.
    pub percent: u8,
    /// Up to this number whatever the share, so that a small folder can be emptied by hand.
    pub files: u64,
}

impl Default for MissingLimit {
    fn default() -> Self {
        Self { percent: 50, files: 10 }
    }
}

impl MissingLimit {
    /// Whether `missing` of `known` files look like a lost disk and not like deletions.
    #[must_use]
    pub fn is_exceeded(self, missing: u64, known: u64) -> bool {
        missing > self.files
            && u128::from(missing) * 100 > u128::from(known) * u128::from(self.percent)
    }
}

#[cfg(test)]
mod tests {
    use broker_config::Cid;

    use super::*;
    use crate::source::index::FileEntry;
    use crate::source::sidecar::SidecarFile;

    const STAT: Stat = Stat { size: 7, mtime_ns: 5, inode: 3 };

    fn entry(missed: u32, inode: Option<u64>, sidecars: Option<SidecarHash>) -> PathEntry {
        let cid = Cid::try_from("bafy".to_owned()).unwrap();
        let file =
            FileEntry { cid, size: 7, mtime_ns: 5, inode, mime: "text/plain".into(), sidecars };
        PathEntry { path: "/a".into(), facts: EntryFacts::File(file), missed }
    }

    #[test]
    fn conclusion_table() {
        use Conclusion::{Back, Changed, New, Sidecars, Unchanged, WasDir};
        let nfo = SidecarFile { name: "a.nfo".into(), size: 1, mtime_ns: 1 };
        let hash = SidecarHash::of(&[nfo]);
        let plain = Some(entry(0, Some(3), None));
        let by_inode = SameBy::SizeTimeAndInode;
        let table = [
            (None, STAT, None, SameBy::default(), New),
            (Some(PathEntry::dir("/a".into())), STAT, None, SameBy::default(), WasDir),
            (plain.clone(), STAT, None, SameBy::default(), Unchanged),
            (plain.clone(), Stat { size: 8, ..STAT }, None, SameBy::default(), Changed),
            (plain.clone(), Stat { mtime_ns: 4, ..STAT }, None, SameBy::default(), Changed),
            (plain.clone(), Stat { inode: 4, ..STAT }, None, SameBy::default(), Unchanged),
            (plain.clone(), Stat { inode: 4, ..STAT }, None, by_inode, Changed),
            (Some(entry(0, None, None)), STAT, None, by_inode, Unchanged),
            (plain, STAT, hash.clone(), SameBy::default(), Sidecars),
            (Some(entry(0, None, hash.clone())), STAT, None, SameBy::default(), Sidecars),
            (Some(entry(0, None, hash.clone())), STAT, hash, SameBy::default(), Unchanged),
            (Some(entry(1, None, None)), STAT, None, SameBy::default(), Back),
        ];
        for (number, (known, found, sidecars, same_by, expected)) in table.iter().enumerate() {
            let conclusion = conclude(known.as_ref(), found, sidecars.as_ref(), *same_by);
            assert_eq!(conclusion, *expected, "row {number}");
        }
    }

    #[test]
    fn missing_limit_table() {
        let table = [
            (0, 0, false),
            (10, 10, false),
            (11, 11, true),
            (11, 22, false),
            (12, 22, true),
            (500, 1000, false),
            (501, 1000, true),
            (u64::MAX, u64::MAX, true),
        ];
        for (missing, known, expected) in table {
            let exceeded = MissingLimit::default().is_exceeded(missing, known);
            assert_eq!(exceeded, expected, "{missing} of {known}");
        }
    }
}
