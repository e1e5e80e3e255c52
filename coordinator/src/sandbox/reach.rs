//! PURE: folders with something kept in them → what of them may be opened.
//!
//! Landlock allows folders with all that is below, and takes nothing out again. So a folder in which
//! something is kept is opened entry by entry, as far down as that lies. What is made beside it later
//! is closed until the process is started again.

use std::path::{Path, PathBuf};

/// An entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub path: PathBuf,
    /// Links are not followed here: what they lead to is opened where it lies.
    pub is_link: bool,
}

/// What of `root` is to be opened so that nothing of `kept` is; `list` tells what is in a folder.
///
/// What is kept around `root` does not count: it was named on purpose.
#[must_use]
pub fn reach(root: &Path, kept: &[PathBuf], list: &dyn Fn(&Path) -> Vec<Entry>) -> Vec<PathBuf> {
    let inside: Vec<&PathBuf> =
        kept.iter().filter(|kept| kept.starts_with(root) && *kept != root).collect();
    if inside.is_empty() {
        return vec![root.to_owned()];
    }
    let mut open = Vec::new();
    for entry in list(root) {
        if entry.is_link || inside.contains(&&entry.path) {
            continue;
        }
        let below: Vec<PathBuf> = inside
            .iter()
            .filter(|kept| kept.starts_with(&entry.path))
            .map(|path| (*path).clone())
            .collect();
        // As deep as the longest of them at most, so this ends.
        open.extend(reach(&entry.path, &below, list));
    }
    open
}

/// Whether a folder holds something that is kept: then nobody meant all of it.
#[must_use]
pub fn is_too_wide(folder: &Path, kept: &[PathBuf]) -> bool {
    kept.iter().any(|kept| kept.starts_with(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(folder: &Path) -> Vec<Entry> {
        let names: &[&str] = match folder.to_str() {
            Some("/") => &["home", "media", "bin@"],
            Some("/home") => &["ann", "bob"],
            Some("/home/ann") => &["films", ".ssh", ".local", "keys@"],
            Some("/home/ann/.local") => &["fleet", "lib"],
            _ => &[],
        };
        let entry = |name: &&str| Entry {
            path: folder.join(name.trim_end_matches('@')),
            is_link: name.ends_with('@'),
        };
        names.iter().map(entry).collect()
    }

    #[test]
    fn a_folder_is_opened_but_for_what_is_kept_in_it() {
        let kept = ["/home/ann/.ssh", "/home/ann/.local/fleet", "/home/ann/none"];
        let kept: Vec<PathBuf> = kept.iter().map(PathBuf::from).collect();
        for (root, expected) in [
            ("/media", &["/media"] as &[&str]),
            ("/home/bob", &["/home/bob"]),
            ("/home/ann/films", &["/home/ann/films"]),
            ("/home/ann", &["/home/ann/films", "/home/ann/.local/lib"]),
            ("/", &["/home/ann/films", "/home/ann/.local/lib", "/home/bob", "/media"]),
            // Named on purpose.
            ("/home/ann/.ssh", &["/home/ann/.ssh"]),
            ("/home/ann/.local/fleet/x", &["/home/ann/.local/fleet/x"]),
        ] {
            let open = reach(Path::new(root), &kept, &list);
            assert_eq!(open, expected.iter().map(PathBuf::from).collect::<Vec<_>>(), "{root}");
        }
        assert!(is_too_wide(Path::new("/home"), &kept));
        assert!(is_too_wide(Path::new("/home/ann/.ssh"), &kept));
        assert!(!is_too_wide(Path::new("/home/ann/films"), &kept));
    }
}
