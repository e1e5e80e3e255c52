//! PURE  simple patterns for names.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A pattern of `*` (anything but `/`), `**` (anything) and `?` (one character).
///
/// Without a `/` it is compared with the name alone, else with the path below the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    pattern: Vec<u8>,
    whole_path: bool,
}

impl Glob {
    /// Keeps a pattern; a leading or trailing `/` is ignored, the path is always below the root.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        let trimmed = pattern.trim_end_matches('/');
        let whole_path = trimmed.contains('/');
        Self { pattern: trimmed.trim_start_matches('/').as_bytes().to_vec(), whole_path }
    }

    /// Whether `path`, which is below `root`, is meant.
    #[must_use]
    pub fn matches(&self, root: &Path, path: &Path) -> bool {
        let text = if self.whole_path {
            path.strip_prefix(root).unwrap_or(path).as_os_str().as_bytes()
        } else {
            path.file_name().unwrap_or_default().as_bytes()
        };
        matches(&self.pattern, text)
    }
}

/// Whether the pattern stands for all of the text.
///
/// Goes back to the last star only, so its time is bounded by pattern × text.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on when the present attempt fails: after the star, one more byte swallowed.
    let mut single: Option<(usize, usize)> = None;
    let mut double: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(p), text.get(t)) {
            (Some(b'*'), _) if pattern.get(p + 1) == Some(&b'*') => {
                p += 2;
                double = Some((p, t));
                single = None;
                continue;
            }
            (Some(b'*'), _) => {
                p += 1;
                single = Some((p, t));
                continue;
            }
            (Some(b'?'), Some(byte)) if *byte != b'/' => {
                p += 1;
                t += 1;
                continue;
            }
            (Some(wanted), Some(byte)) if wanted == byte => {
                p += 1;
                t += 1;
                continue;
            }
            (None, None) => return true,
            (Some(_) | None, _) => {}
        }
        if let Some((after, at)) = single
            && text.get(at).is_some_and(|byte| *byte != b'/')
        {
            single = Some((after, at + 1));
            (p, t) = (after, at + 1);
        } else if let Some((after, at)) = double
            && at < text.len()
        {
            double = Some((after, at + 1));
            single = None;
            (p, t) = (after, at + 1);
        } else {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_table() {
        let table = [
            ("*.tmp", "a/b/x.tmp", true),
            ("*.tmp", "a/b/x.tmpl", false),
            (".DS_Store", "a/.DS_Store", true),
            ("?.txt", "a/b.txt", true),
            ("?.txt", "a/bb.txt", false),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abdde", false),
            ("extras/*", "extras/x.mkv", true),
            ("extras/*", "extras/deep/x.mkv", false),
            ("extras/**", "extras/deep/x.mkv", true),
            ("**/sample.*", "a/b/sample.mkv", true),
            ("**/*.part", "a/b/c.part", true),
            ("/extras/", "extras", true),
            ("/extras/", "a/extras", false),
            ("extras/", "a/extras", true),
            ("*", "anything", true),
            ("a**", "b", false),
        ];
        for (pattern, path, expected) in table {
            let path = Path::new("/root").join(path);
            let found = Glob::new(pattern).matches(Path::new("/root"), &path);
            assert_eq!(found, expected, "{pattern} on {}", path.display());
        }
    }

    #[test]
    fn many_stars_end_in_time() {
        let pattern = "*a".repeat(40);
        let path = format!("/root/{}", "a".repeat(4000) + "b");

        assert!(!Glob::new(&pattern).matches(Path::new("/root"), Path::new(&path)));
    }
}
