//! PURE: names of files in a package, which mean the same everywhere and nothing outside.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Bytes of a name; the archive has no room for more.
const MAX_BYTES: usize = 255;
/// Bytes of its last part.
const MAX_LAST: usize = 100;
/// Bytes of what is before the last parts that fit into [`MAX_LAST`].
const MAX_PREFIX: usize = 155;
/// Folders within folders.
const MAX_DEPTH: usize = 32;

/// The path of a file inside a package: relative, `/` between its parts, and no part that leads
/// elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EntryName(String);

/// A name breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name `{name}` {rule}")]
pub struct InvalidName {
    /// The name, escaped and shortened.
    pub name: String,
    /// Which one.
    pub rule: &'static str,
}

impl EntryName {
    /// The whole of it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its parts; there is at least one.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// The folders it lies in, outermost first.
    pub fn folders(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('/').filter_map(|(at, _)| self.0.get(..at))
    }

    /// How an archive holds it: the parts that do not fit into the name, and the name.
    #[must_use]
    pub fn split(&self) -> (&str, &str) {
        split(&self.0).unwrap_or(("", &self.0))
    }
}

/// Splits at a `/` so that both parts fit.
fn split(name: &str) -> Option<(&str, &str)> {
    if name.len() <= MAX_LAST {
        return Some(("", name));
    }
    let fits = |(prefix, last): &(&str, &str)| {
        prefix.len() <= MAX_PREFIX && (1..=MAX_LAST).contains(&last.len())
    };
    let cuts = name.match_indices('/').filter_map(|(at, _)| Some((name.get(..at)?, &name[at..])));
    cuts.filter_map(|(prefix, rest)| Some((prefix, rest.strip_prefix('/')?))).find(fits)
}

impl FromStr for EntryName {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let rule = if name.is_empty() {
            "is empty"
        } else if name.starts_with('/') {
            "is not relative"
        } else if name.len() > MAX_BYTES {
            "is longer than 255 bytes"
        } else if name.contains('\\') {
            "has a backslash in it"
        } else if name.chars().any(char::is_control) {
            "has a control character in it"
        } else if name.split('/').any(|part| part == "..") {
            "leads out of its folder"
        } else if name.split('/').any(|part| part.is_empty() || part == ".") {
            "has an empty part"
        } else if name.split('/').count() > MAX_DEPTH {
            "lies in more than 31 folders"
        } else if split(name).is_none() {
            "has a part that is longer than 100 bytes"
        } else {
            return Ok(Self(name.to_owned()));
        };
        let shown = name.chars().take(80).flat_map(char::escape_debug).collect();
        Err(InvalidName { name: shown, rule })
    }
}

impl TryFrom<String> for EntryName {
    type Error = InvalidName;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        name.parse()
    }
}

impl From<EntryName> for String {
    fn from(name: EntryName) -> Self {
        name.0
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names that can lie in one folder together, on any file system.
#[derive(Debug, Default)]
pub(super) struct Together {
    /// By the name as a file system that does not tell cases apart sees it: how it is written, and
    /// whether it is a file.
    seen: BTreeMap<String, (String, bool)>,
}

impl Together {
    /// Takes in a file and its folders.
    ///
    /// # Errors
    ///
    /// Why it cannot lie beside the others.
    pub(super) fn add(&mut self, name: &EntryName) -> Result<(), String> {
        for folder in name.folders() {
            self.put(folder, false)?;
        }
        self.put(name.as_str(), true)
    }

    fn put(&mut self, name: &str, is_file: bool) -> Result<(), String> {
        let folded = name.to_lowercase();
        let Some((before, was_file)) = self.seen.get(&folded) else {
            self.seen.insert(folded, (name.to_owned(), is_file));
            return Ok(());
        };
        match (before == name, *was_file, is_file) {
            (true, false, false) => Ok(()),
            (true, true, true) => Err(format!("`{name}` is there twice")),
            (true, _, _) => Err(format!("`{name}` is a file and a folder")),
            (false, _, _) => Err(format!("`{before}` and `{name}` differ in case only")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_something_inside_only() {
        let (part, long) = ("p".repeat(100), "f".repeat(154));
        let fits = format!("{long}/{part}");
        for (name, rule) in [
            ("a", None),
            ("a/b.c/d e", None),
            ("ä/…", None),
            (".hidden", None),
            ("..a/b..", None),
            (part.as_str(), None),
            (&fits, None),
            ("", Some("is empty")),
            ("/etc/passwd", Some("not relative")),
            ("..", Some("leads out")),
            ("../a", Some("leads out")),
            ("a/../../b", Some("leads out")),
            ("a//b", Some("empty part")),
            ("a/", Some("empty part")),
            ("./a", Some("empty part")),
            ("a/./b", Some("empty part")),
            ("a\\..\\b", Some("backslash")),
            ("a\0b", Some("control")),
            ("a\nb", Some("control")),
            ("a\u{85}b", Some("control")),
            (&format!("{part}x"), Some("longer than 100")),
            (&format!("a/{part}x"), Some("longer than 100")),
            (&format!("x{fits}"), Some("longer than 255")),
            (&"a/".repeat(32), Some("empty part")),
            (&(["a"; 33].join("/")), Some("more than 31 folders")),
        ] {
            let found = name.parse::<EntryName>();
            assert_eq!(found.is_ok(), rule.is_none(), "{name}: {found:?}");
            if let (Err(error), Some(rule)) = (found, rule) {
                assert!(error.to_string().contains(rule), "{error}");
                assert!(!error.to_string().contains(char::is_control), "{error:?}");
            }
        }
        let (prefix, last) = ("f".repeat(154), "p".repeat(100));
        assert_eq!(fits.parse::<EntryName>().unwrap().split(), (prefix.as_str(), last.as_str()));
        assert_eq!("a/b".parse::<EntryName>().unwrap().split(), ("", "a/b"));
    }

    #[test]
    fn names_that_some_file_system_takes_for_one_are_refused() {
        for (names, problem) in [
            (["a/b", "a/c"], None),
            (["a", "b"], None),
            (["a", "a"], Some("there twice")),
            (["a", "A"], Some("differ in case only")),
            (["a/x", "A/y"], Some("differ in case only")),
            (["Ä/x", "ä/y"], Some("differ in case only")),
            (["a", "a/b"], Some("a file and a folder")),
            (["a/b", "a"], Some("a file and a folder")),
        ] {
            let mut together = Together::default();
            let all = names.map(|name| together.add(&name.parse().unwrap()));
            let told = all.into_iter().find_map(Result::err);
            assert_eq!(told.is_none(), problem.is_none(), "{names:?}: {told:?}");
            assert!(problem.is_none_or(|text| told.unwrap_or_default().contains(text)));
        }
    }
}
