//! Which files of a folder go into a package.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::super::ignore::{IGNORE_FILE, Ignored};
use super::super::{EntryName, Limits, PackageError};

/// What is wrong is told so many times at most.
const MAX_REASONS: usize = 8;

/// Where the bytes of a file are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    /// The file itself, also where a link leads to it.
    pub(super) path: PathBuf,
    /// Whether somebody may run it.
    pub(super) executable: bool,
}

/// Lists the files, by name.
///
/// # Errors
///
/// [`PackageError::Refused`] with what cannot be in a package: links that lead out or to folders,
/// sockets and the like, names that break a rule.
pub(super) fn collect(
    dir: &Path,
    limits: &Limits,
) -> Result<BTreeMap<EntryName, Source>, PackageError> {
    let root = dir.canonicalize().map_err(PackageError::io(dir))?;
    if !root.is_dir() {
        return Err(PackageError::refused(dir, "is not a folder"));
    }
    let patterns = match std::fs::read_to_string(root.join(IGNORE_FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(source) => return Err(PackageError::Io { path: root.join(IGNORE_FILE), source }),
    };
    let ignored = Ignored::new(&patterns)
        .map_err(|reason| PackageError::refused(&root.join(IGNORE_FILE), reason))?;
    let mut walk = Walk { root, ignored, files: BTreeMap::new(), reasons: Vec::new(), limits };
    // Folders that wait; an explicit list, so that deep ones cost no stack.
    let mut folders = vec![walk.root.clone()];
    while let Some(folder) = folders.pop() {
        walk.folder(&folder, &mut folders)?;
        if walk.reasons.len() >= MAX_REASONS || walk.files.len() > limits.files {
            break;
        }
    }
    walk.finish(dir)
}

struct Walk<'a> {
    root: PathBuf,
    ignored: Ignored,
    files: BTreeMap<EntryName, Source>,
    reasons: Vec<String>,
    limits: &'a Limits,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &Path, more: &mut Vec<PathBuf>) -> Result<(), PackageError> {
        for entry in std::fs::read_dir(folder).map_err(PackageError::io(folder))? {
            let path = entry.map_err(PackageError::io(folder))?.path();
            if self.ignored.covers(&self.root, &path) {
                continue;
            }
            let metadata = std::fs::symlink_metadata(&path).map_err(PackageError::io(&path))?;
            if metadata.is_dir() {
                more.push(path);
            } else if metadata.is_symlink() {
                self.link(&path);
            } else {
                self.file(&path, path.clone(), &metadata);
            }
        }
        Ok(())
    }

    /// A link to a file of the folder stands for a copy of it.
    fn link(&mut self, path: &Path) {
        let Ok(target) = path.canonicalize() else {
            return self.refuse(path, "is a link that leads nowhere");
        };
        if !target.starts_with(&self.root) {
            return self.refuse(path, "is a link that leaves the folder");
        }
        match std::fs::metadata(&target) {
            Ok(metadata) if metadata.is_dir() => {
                self.refuse(path, "is a link to a folder; put the folder there, or leave it out");
            }
            Ok(metadata) => self.file(path, target, &metadata),
            Err(error) => self.refuse(path, &error.to_string()),
        }
    }

    fn file(&mut self, path: &Path, source: PathBuf, metadata: &Metadata) {
        if !metadata.is_file() {
            return self.refuse(path, "is a socket, a pipe or a device");
        }
        let executable = metadata.permissions().mode() & 0o111 != 0;
        let inside = path.strip_prefix(&self.root).unwrap_or(path);
        let Some(name) = inside.to_str() else {
            return self.refuse(path, "has a name that is not UTF-8");
        };
        match name.parse::<EntryName>() {
            Ok(name) => drop(self.files.insert(name, Source { path: source, executable })),
            Err(error) => self.reasons.push(error.to_string()),
        }
    }

    fn refuse(&mut self, path: &Path, what: &str) {
        let inside = path.strip_prefix(&self.root).unwrap_or(path);
        self.reasons.push(format!("`{}` {what}", inside.display()));
    }

    fn finish(mut self, dir: &Path) -> Result<BTreeMap<EntryName, Source>, PackageError> {
        if self.files.len() > self.limits.files {
            self.reasons.push(format!("there are more than {} files in it", self.limits.files));
        }
        if self.reasons.is_empty() {
            return Ok(self.files);
        }
        self.reasons.sort();
        Err(PackageError::Refused { path: dir.to_owned(), reasons: self.reasons })
    }
}
