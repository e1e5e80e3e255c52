//! The folder of an operator, as `nsc` lays it out: `stores` has tokens, `keys` has secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;

use crate::config::private_file;

/// Folders within folders that are looked at.
const DEEPEST: usize = 6;
/// Bytes of a file that is looked at.
const LARGEST: u64 = 4 << 20;

/// Texts by their path in the folder; what is changed is written by [`Files::store`].
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Files {
    texts: BTreeMap<String, String>,
    changed: BTreeSet<String>,
}

// Half of them are secrets.
impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").field("paths", &self.texts.keys()).finish_non_exhaustive()
    }
}

impl Files {
    /// What is in a folder; one that does not exist is empty.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn load(dir: &Path) -> io::Result<Self> {
        let mut files = Self::default();
        for top in ["stores", "keys", "jwt"] {
            files.walk(dir, top, DEEPEST)?;
        }
        Ok(files)
    }

    fn walk(&mut self, dir: &Path, within: &str, depth: usize) -> io::Result<()> {
        let entries = match std::fs::read_dir(dir.join(within)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = format!("{within}/{name}");
            let about = entry.metadata()?;
            if about.is_dir() && depth > 0 {
                self.walk(dir, &path, depth - 1)?;
            }
            let is_ours = [".jwt", ".nk", ".creds"].iter().any(|end| name.ends_with(end));
            if about.is_file() && is_ours && about.len() <= LARGEST {
                let text = std::fs::read_to_string(entry.path())
                    .map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))?;
                self.texts.insert(path, text);
            }
        }
        Ok(())
    }

    /// What was changed, in the order in which it is written: keys before what is signed with them,
    /// accounts, which revoke, before new logins, and an operator when all that is made with it is
    /// there. Broken off anywhere, what is there is completed by issuing again.
    pub(super) fn steps(&self) -> Vec<&str> {
        let rank = |path: &str| match path {
            path if path.ends_with(".nk") => 0,
            path if path.contains("/users/") => 2,
            path if path.ends_with(".creds") => 3,
            path if path.starts_with("stores/") && path.split('/').count() == 3 => 4,
            _ => 1,
        };
        let mut changed: Vec<&str> = self.changed.iter().map(String::as_str).collect();
        // What goes, goes last.
        changed.sort_by_key(|path| (!self.texts.contains_key(*path), rank(path)));
        changed
    }

    /// Writes what was changed, for its owner alone.
    ///
    /// # Errors
    ///
    /// What the operating system says; running it again mends what is half done.
    pub fn store(&self, dir: &Path) -> io::Result<()> {
        for path in self.steps() {
            let file = dir.join(path);
            match self.texts.get(path) {
                Some(text) => {
                    if let Some(parent) = file.parent() {
                        private_file::make_dir(parent)?;
                    }
                    private_file::write(&file, text.as_bytes())?;
                }
                None => match std::fs::remove_file(&file) {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                    Ok(()) | Err(_) => {}
                },
            }
        }
        Ok(())
    }

    /// Takes what was changed as written.
    #[cfg(test)]
    pub(super) fn settle(&mut self) -> Vec<String> {
        std::mem::take(&mut self.changed).into_iter().collect()
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// One of them.
    pub(super) fn get(&self, path: &str) -> Option<&str> {
        self.texts.get(path).map(String::as_str)
    }

    /// Changes one, unless it says that already.
    pub(super) fn put(&mut self, path: String, text: String) {
        if self.texts.get(&path) != Some(&text) {
            self.changed.insert(path.clone());
            self.texts.insert(path, text);
        }
    }

    /// Takes one away.
    pub(super) fn remove(&mut self, path: &str) {
        if self.texts.remove(path).is_some() {
            self.changed.insert(path.to_owned());
        }
    }

    /// Names of folders in a folder that hold a token of that name.
    pub(super) fn named(&self, folder: &str) -> Vec<String> {
        let name = |path: &str| {
            let (name, file) = path.strip_prefix(folder)?.strip_prefix('/')?.split_once('/')?;
            (file.strip_suffix(".jwt")? == name).then(|| name.to_owned())
        };
        self.texts.keys().filter_map(|path| name(path)).collect()
    }
}

/// The token of an operator.
pub(super) fn operator(name: &str) -> String {
    format!("stores/{name}/{name}.jwt")
}

/// What `nsc` wants to know of an operator.
pub(super) fn about(name: &str) -> (String, String) {
    let text = serde_json::json!({
        "managed": false, "name": name, "kind": "operator", "version": "1",
    });
    (format!("stores/{name}/.nsc"), text.to_string())
}

/// The accounts of an operator.
pub(super) fn accounts(operator: &str) -> String {
    format!("stores/{operator}/accounts")
}

/// The token of an account.
pub(super) fn account(operator: &str, name: &str) -> String {
    format!("{}/{name}/{name}.jwt", accounts(operator))
}

/// The token of a user.
pub(super) fn user(operator: &str, account: &str, name: &str) -> String {
    format!("{}/{account}/users/{name}.jwt", accounts(operator))
}

/// The login file of a user.
pub(super) fn creds(operator: &str, account: &str, name: &str) -> String {
    format!("keys/creds/{operator}/{account}/{name}.creds")
}

/// The token of an account, by the name that a server gives it.
pub(super) fn pushed(key: &str) -> String {
    format!("jwt/{key}.jwt")
}

/// A secret key.
pub(super) fn key(public: &str) -> String {
    let (kind, shard) = (public.get(..1).unwrap_or_default(), public.get(1..3).unwrap_or_default());
    format!("keys/keys/{kind}/{shard}/{public}.nk")
}
