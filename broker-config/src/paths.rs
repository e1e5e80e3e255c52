//! PURE. Where a library lies on a machine that has it elsewhere than the coordinator says.
//!
//! Paths are bytes and are compared by whole segments; nothing is looked up.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Pairs of folders: what tasks say, and what that is here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathMap(Vec<Pair>);

/// Neither folder ends with a `/`; the root is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pair {
    from: Vec<u8>,
    to: Vec<u8>,
}

/// The text is not what [`PathMap::parse`] reads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{pair}` {problem}")]
pub struct InvalidPathMap {
    /// The pair that is wrong, readable.
    pub pair: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl PathMap {
    /// Reads `FROM=TO` pairs, separated by `:`; a path may hold neither sign, but TO may hold `=`.
    ///
    /// # Errors
    ///
    /// [`InvalidPathMap`] for the first pair that is none, names no absolute folders, or says again
    /// where a folder is.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidPathMap> {
        let mut pairs: Vec<Pair> = Vec::new();
        if text.is_empty() {
            return Ok(Self(pairs));
        }
        for given in text.split(|byte| *byte == b':') {
            let wrong = |problem| InvalidPathMap {
                pair: String::from_utf8_lossy(given).into_owned(),
                problem,
            };
            let middle = given.iter().position(|byte| *byte == b'=');
            let Some((from, to)) = middle.and_then(|at| given.split_at_checked(at)) else {
                return Err(wrong("must be FROM=TO, e.g. /library/films=/mnt/films"));
            };
            let to = to.strip_prefix(b"=").unwrap_or(to);
            if !is_plain(from) || !is_plain(to) {
                return Err(wrong("must name two absolute folders, without `.` and `..`"));
            }
            let pair = Pair { from: trimmed(from), to: trimmed(to) };
            if pairs.iter().any(|other| other.from == pair.from) {
                return Err(wrong("says a second time where a folder is"));
            }
            pairs.push(pair);
        }
        Ok(Self(pairs))
    }

    /// Where the file of a task is here; the pair with the longest FROM counts.
    #[must_use]
    pub fn here(&self, path: &Path) -> PathBuf {
        self.map(path, |pair| (&pair.from, &pair.to))
    }

    /// What tasks call a file that is here; the pair with the longest TO counts, the first of equals.
    #[must_use]
    pub fn there(&self, path: &Path) -> PathBuf {
        self.map(path, |pair| (&pair.to, &pair.from))
    }

    fn map(&self, path: &Path, sides: impl Fn(&Pair) -> (&Vec<u8>, &Vec<u8>)) -> PathBuf {
        let bytes = path.as_os_str().as_bytes();
        let fits = self.0.iter().filter_map(|pair| {
            let (from, to) = sides(pair);
            let rest = bytes.strip_prefix(from.as_slice())?;
            (rest.is_empty() || rest.starts_with(b"/")).then_some((from.len(), to, rest))
        });
        // The last of equals counts for `max_by_key`; the first is to.
        let Some((_, to, rest)) = fits.rev().max_by_key(|(length, ..)| *length) else {
            return path.to_owned();
        };
        let mapped = [to.as_slice(), rest].concat();
        PathBuf::from(OsStr::from_bytes(if mapped.is_empty() { b"/" } else { &mapped }))
    }
}

fn is_plain(path: &[u8]) -> bool {
    let mut segments = path.split(|byte| *byte == b'/');
    path.starts_with(b"/") && segments.all(|segment| segment != b"." && segment != b"..")
}

/// Without a `/` at the end, and without two in a row.
fn trimmed(path: &[u8]) -> Vec<u8> {
    let segments = path.split(|byte| *byte == b'/').filter(|segment| !segment.is_empty());
    segments.flat_map(|segment| [b"/".as_slice(), segment].concat()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(bytes: &[u8]) -> PathBuf {
        PathBuf::from(OsStr::from_bytes(bytes))
    }

    #[test]
    fn paths_are_mapped_by_whole_segments_and_the_longest_counts() {
        let map = b"/library=/mnt/all/:/library/films=/mnt/films:/raw\xff=/r:/x//y/=/=z";
        let map = PathMap::parse(map).unwrap();
        for (there, here) in [
            (b"/library".as_slice(), b"/mnt/all".as_slice()),
            (b"/library/a/b.mkv", b"/mnt/all/a/b.mkv"),
            (b"/library/films/b\xfe.mkv", b"/mnt/films/b\xfe.mkv"),
            (b"/library/filmsx/b", b"/mnt/all/filmsx/b"),
            (b"/raw\xff/1", b"/r/1"),
            (b"/x/y/1", b"/=z/1"),
            (b"/libraryx/b", b"/libraryx/b"),
            (b"/", b"/"),
        ] {
            assert_eq!(map.here(&path(there)), path(here), "{there:?}");
            assert_eq!(map.there(&path(here)), path(there), "{here:?}");
        }
    }

    #[test]
    fn the_root_may_be_on_either_side() {
        let map = PathMap::parse(b"/=/host").unwrap();
        assert_eq!(map.here(&path(b"/a/b")), path(b"/host/a/b"));
        assert_eq!(map.here(&path(b"/")), path(b"/host"));
        assert_eq!(map.there(&path(b"/host")), path(b"/"));
        let map = PathMap::parse(b"/library=/").unwrap();
        assert_eq!(map.here(&path(b"/library/a")), path(b"/a"));
        assert_eq!(map.there(&path(b"/a")), path(b"/library/a"));
    }

    #[test]
    fn of_two_names_for_one_folder_the_first_counts_on_the_way_back() {
        let map = PathMap::parse(b"/a=/mnt:/b=/mnt").unwrap();
        assert_eq!(map.there(&path(b"/mnt/x")), path(b"/a/x"));
        assert_eq!(PathMap::parse(b""), Ok(PathMap::default()));
        assert_eq!(PathMap::default().here(&path(b"/mnt/x")), path(b"/mnt/x"));
    }

    #[test]
    fn what_is_no_pair_is_an_error() {
        for text in ["/a", "=", "/a=", "=/b", "a=/b", "/a=b", "/a=/b:", ":/a=/b", "/a=/b::/c=/d"] {
            assert!(PathMap::parse(text.as_bytes()).is_err(), "{text}");
        }
        for text in ["/a=/b/..", "/./a=/b", "/a=/b:/a/=/c"] {
            assert!(PathMap::parse(text.as_bytes()).is_err(), "{text}");
        }
        let error = PathMap::parse(b"/a=/b:films").unwrap_err().to_string();
        assert!(error.contains("`films` must be FROM=TO"), "{error}");
    }
}
