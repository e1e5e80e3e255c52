//! PURE: what of a folder does not belong into a package.

use std::path::Path;

use super::{ENDING, LISTING, SIGNATURE};
use crate::source::glob::Glob;

/// The file with an author's own patterns, in the folder that is packed.
pub(super) const IGNORE_FILE: &str = ".metafleetignore";
/// What never belongs into one: histories, caches, what builds leave, packages, our own entries.
const ALWAYS: [&str; 8] = [
    ".git",
    "__pycache__",
    "*.pyc",
    ".DS_Store",
    "/node_modules/.cache",
    "**/node_modules/.cache",
    "/target",
    IGNORE_FILE,
];

/// Patterns of what is left out.
#[derive(Debug)]
pub(super) struct Ignored(Vec<Glob>);

impl Ignored {
    /// What is always left out, and what `text` says: a pattern a line; `#` begins a comment.
    ///
    /// # Errors
    ///
    /// The line that is no pattern.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let packages = format!("*.{ENDING}");
        let ours = [LISTING, SIGNATURE].map(|name| format!("/{name}"));
        let always = ALWAYS.into_iter().chain([packages.as_str()]);
        let mut globs: Vec<Glob> =
            always.chain(ours.iter().map(String::as_str)).map(Glob::new).collect();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line.starts_with('!') {
                return Err(format!("line {}: `!` is not understood here", at + 1));
            }
            globs.push(Glob::new(line));
        }
        Ok(Self(globs))
    }

    /// Whether a file or folder is left out, and with a folder all that is in it.
    pub(super) fn covers(&self, root: &Path, path: &Path) -> bool {
        self.0.iter().any(|glob| glob.matches(root, path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out() {
        let ignored = Ignored::new("# notes\n\nnotes/*.md\nsecret.txt\n/top\n").unwrap();
        for (path, expected) in [
            ("run.sh", false),
            (".git", true),
            ("lib/.git", true),
            ("lib/__pycache__", true),
            ("lib/a.pyc", true),
            ("a.mfp", true),
            ("node_modules/.cache", true),
            ("web/node_modules/.cache", true),
            ("node_modules/x", false),
            ("target", true),
            ("lib/target", false),
            ("metafleet-package.json", true),
            ("lib/metafleet-package.json", false),
            (".metafleetignore", true),
            ("notes/a.md", true),
            ("notes/deep/a.md", false),
            ("lib/secret.txt", true),
            ("top", true),
            ("lib/top", false),
        ] {
            let root = Path::new("/root");
            assert_eq!(ignored.covers(root, &root.join(path)), expected, "{path}");
        }
        assert!(Ignored::new("a\n!b\n").unwrap_err().contains("line 2"));
    }
}
