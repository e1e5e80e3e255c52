//! What earlier scans know of every path, behind a trait: the coordinator keeps it in `mf-paths`.
//!
//! An entry's key is the hash of its folder and the hash of its name, so that one request reads
//! the entries of many folders and no path is too long for a key. Folders are entries too: a
//! vanished one is found through its parent, and its files through it.

use std::ffi::OsStr;
use std::fmt;
use std::future::Future;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use broker_config::Cid;
use broker_config::wire::file::FilePath;
use data_encoding::BASE32HEX_NOPAD;
use futures_util::Stream;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::sidecar::SidecarHash;

pub mod memory;

/// A folder with more entries answers [`Listing::TooMany`].
pub const MOST_LISTED: usize = 1000;
/// The most keys in one [`PathIndex::lookup`], [`PathIndex::put`] or [`PathIndex::remove`].
pub const BATCH: usize = 512;

/// Why an index or a sink could not do what it was asked; a scan ends with it.
///
/// Implementations try again by themselves what may pass.
pub type PortError = Box<dyn std::error::Error + Send + Sync>;

macro_rules! hash_key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 20]);

        impl $name {
            fn of_bytes(bytes: &[u8]) -> Self {
                let digest: [u8; 32] = Sha256::digest(bytes).into();
                let mut hash = [0; 20];
                hash.copy_from_slice(&digest[..20]);
                Self(hash)
            }
        }

        /// 32 characters of base32hex in lower case: a token of a key.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&BASE32HEX_NOPAD.encode(&self.0).to_ascii_lowercase())
            }
        }
    };
}

hash_key!(
    /// Stands for the absolute path of a folder.
    DirHash
);
hash_key!(
    /// Stands for a name in a folder.
    NameHash
);

impl DirHash {
    /// The first 20 bytes of SHA-256 over the path's bytes.
    #[must_use]
    pub fn of(dir: &Path) -> Self {
        Self::of_bytes(dir.as_os_str().as_bytes())
    }
}

impl NameHash {
    /// The first 20 bytes of SHA-256 over the name's bytes.
    #[must_use]
    pub fn of(name: &OsStr) -> Self {
        Self::of_bytes(name.as_bytes())
    }
}

/// Where an entry is kept; `<dir>.<name>` as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryKey {
    /// The folder.
    pub dir: DirHash,
    /// The name in it.
    pub name: NameHash,
}

impl EntryKey {
    /// The key of an absolute path; the file system's root has the empty name.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        let dir = DirHash::of(path.parent().unwrap_or(path));
        Self { dir, name: NameHash::of(path.file_name().unwrap_or_default()) }
    }
}

impl fmt::Display for EntryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.dir, self.name)
    }
}

/// Names one entry exactly: where it is kept and what it says is there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// Where it is kept.
    pub key: EntryKey,
    /// The file's content id; `None` for a folder.
    pub cid: Option<Cid>,
}

/// What is kept of one path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "wire::PathEntry", into = "wire::PathEntry")]
pub struct PathEntry {
    /// Absolute.
    pub path: PathBuf,
    /// Folder or file.
    pub facts: EntryFacts,
    /// In how many scans in a row it was not there; 0 while it is.
    pub missed: u32,
}

/// The part of an entry that only one kind has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryFacts {
    /// A folder; its entries are under the hash of its path.
    Dir,
    /// A regular file, or a link to one below the same root.
    File(FileEntry),
}

/// What a scan compares, and what it would otherwise have to read the file for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// What the file held when it was last hashed.
    pub cid: Cid,
    /// In bytes.
    pub size: u64,
    /// Modification time, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Of the file system; not stable on all of them.
    pub inode: Option<u64>,
    /// Media type.
    pub mime: String,
    /// Stands for the sidecars; `None` where there are none.
    pub sidecars: Option<SidecarHash>,
}

impl PathEntry {
    /// A folder.
    #[must_use]
    pub fn dir(path: PathBuf) -> Self {
        Self { path, facts: EntryFacts::Dir, missed: 0 }
    }

    /// Where it is kept.
    #[must_use]
    pub fn key(&self) -> EntryKey {
        EntryKey::of(&self.path)
    }

    /// Its exact name.
    #[must_use]
    pub fn id(&self) -> EntryId {
        EntryId { key: self.key(), cid: self.file().map(|file| file.cid.clone()) }
    }

    /// What is known of it as a file; `None` for a folder.
    #[must_use]
    pub fn file(&self) -> Option<&FileEntry> {
        match &self.facts {
            EntryFacts::File(file) => Some(file),
            EntryFacts::Dir => None,
        }
    }
}

/// What the index answers about one folder.
#[derive(Clone, Debug)]
pub enum Listing {
    /// Everything known in it.
    Known(Vec<PathEntry>),
    /// More than [`MOST_LISTED`], or more than one answer holds: ask name by name.
    TooMany,
}

/// Keeps one [`PathEntry`] per key; every write is durable when its future is done.
///
/// An index may keep entries under their whole [`EntryId`]. Then the scan's order, first put the
/// new entry and then remove the old one, shows two under one key after a crash: the newest is
/// the one to answer with, the others are to be forgotten.
pub trait PathIndex: Send + Sync {
    /// What is known in each of the folders, in their order.
    fn entries_of(
        &self,
        dirs: &[DirHash],
    ) -> impl Future<Output = Result<Vec<Listing>, PortError>> + Send;

    /// What is known of each key, in their order; at most [`BATCH`] keys.
    fn lookup(
        &self,
        keys: &[EntryKey],
    ) -> impl Future<Output = Result<Vec<Option<PathEntry>>, PortError>> + Send;

    /// Everything known in a folder that answered [`Listing::TooMany`], in any order.
    ///
    /// Entries written meanwhile may come or not.
    fn list_large(&self, dir: DirHash) -> impl Stream<Item = Result<PathEntry, PortError>> + Send;

    /// Writes at most [`BATCH`] entries, each under its own key.
    fn put(&self, entries: Vec<PathEntry>) -> impl Future<Output = Result<(), PortError>> + Send;

    /// Forgets exactly these entries, at most [`BATCH`]: what else is under their keys stays.
    fn remove(&self, entries: Vec<EntryId>) -> impl Future<Output = Result<(), PortError>> + Send;
}

/// The entry as JSON: `metafleet.path.v1`.
mod wire {
    use super::*;

    #[derive(Clone, Copy, Serialize, Deserialize)]
    pub(super) enum Type {
        #[serde(rename = "metafleet.path.v1")]
        V1,
    }

    #[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    pub(super) enum Kind {
        File,
        Dir,
    }

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct PathEntry {
        r#type: Type,
        kind: Kind,
        path: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path_bytes: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cid: Option<Cid>,
        #[serde(default)]
        size: u64,
        #[serde(default)]
        mtime_ns: i64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        inode: Option<u64>,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        mime: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sidecars: Option<SidecarHash>,
        #[serde(default, skip_serializing_if = "is_zero")]
        missed: u32,
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_zero(value: &u32) -> bool {
        *value == 0
    }

    /// A file is known by its content id.
    #[derive(Debug, thiserror::Error)]
    #[error("the entry of file `{0}` has no cid")]
    pub(super) struct NoCid(String);

    impl TryFrom<PathEntry> for super::PathEntry {
        type Error = NoCid;

        fn try_from(wire: PathEntry) -> Result<Self, Self::Error> {
            let path = match wire.path_bytes {
                None => PathBuf::from(wire.path),
                bytes => FilePath { file_path: wire.path, file_path_bytes: bytes }.to_path(),
            };
            let facts = match (wire.kind, wire.cid) {
                (Kind::File, Some(cid)) => EntryFacts::File(FileEntry {
                    cid,
                    size: wire.size,
                    mtime_ns: wire.mtime_ns,
                    inode: wire.inode,
                    mime: wire.mime,
                    sidecars: wire.sidecars,
                }),
                (Kind::File, None) => return Err(NoCid(path.display().to_string())),
                (Kind::Dir, _) => EntryFacts::Dir,
            };
            Ok(Self { path, facts, missed: wire.missed })
        }
    }

    impl From<super::PathEntry> for PathEntry {
        fn from(entry: super::PathEntry) -> Self {
            let FilePath { file_path, file_path_bytes } = FilePath::new(&entry.path);
            let base = Self {
                r#type: Type::V1,
                kind: Kind::Dir,
                path: file_path,
                path_bytes: file_path_bytes,
                cid: None,
                size: 0,
                mtime_ns: 0,
                inode: None,
                mime: String::new(),
                sidecars: None,
                missed: entry.missed,
            };
            match entry.facts {
                EntryFacts::Dir => base,
                EntryFacts::File(file) => Self {
                    kind: Kind::File,
                    cid: Some(file.cid),
                    size: file.size,
                    mtime_ns: file.mtime_ns,
                    inode: file.inode,
                    mime: file.mime,
                    sidecars: file.sidecars,
                    ..base
                },
            }
        }
    }
}

#[cfg(test)]
mod tests;
