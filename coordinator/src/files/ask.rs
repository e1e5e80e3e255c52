//! PURE. What a request for bytes asks for, and which of them it gets.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use axum::http::{HeaderMap, HeaderName, header};
use broker_config::wire::files::decode_path;

/// What tells one content of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Bytes.
    pub size: u64,
    /// Last change, in seconds since 1970 and nanoseconds.
    pub modified: (i64, i64),
    /// The file itself, on its file system.
    pub inode: u64,
}

/// Which bytes are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// All of them.
    Whole,
    /// From the first to the last of these, both included.
    Part(u64, u64),
    /// It is not the version that was asked for.
    Changed,
    /// The range begins behind the end.
    Outside,
}

impl Version {
    /// The strong validator.
    #[must_use]
    pub fn etag(&self) -> String {
        let Self { size, modified: (seconds, nanos), inode } = self;
        format!("\"{size:x}-{seconds:x}.{nanos:x}-{inode:x}\"")
    }
}

/// The path in a query; `None` where there is none, there are two, or it cannot be one.
#[must_use]
pub fn path(query: Option<&str>) -> Option<PathBuf> {
    let mut paths = query?.split('&').filter_map(|part| part.strip_prefix("path="));
    let (Some(text), None) = (paths.next(), paths.next()) else { return None };
    let path = decode_path(text).filter(|path| !path.contains(&0))?;
    Some(PathBuf::from(OsStr::from_bytes(&path)))
}

/// What a path is called below a root; `None` where it is not below it, whatever its links say.
#[must_use]
pub fn below<'a>(root: &Path, path: &'a Path) -> Option<&'a Path> {
    let below = path.strip_prefix(root).ok()?;
    let mut parts = below.components();
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    (!below.as_os_str().is_empty() && parts.all(plain)).then_some(below)
}

/// Which bytes of a version the headers ask for.
#[must_use]
pub fn answer(headers: &HeaderMap, version: &Version) -> Answer {
    let etag = version.etag();
    let wanted = text(headers, &header::IF_MATCH);
    if wanted.is_some_and(|wanted| !names(&wanted, &etag)) {
        return Answer::Changed;
    }
    let same = text(headers, &header::IF_RANGE).is_none_or(|wanted| wanted.trim() == etag);
    let range = text(headers, &header::RANGE).filter(|_| same);
    range.and_then(|range| part(&range, version.size)).unwrap_or(Answer::Whole)
}

/// All values of a header as one list; what is no text matches nothing.
fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let values: Vec<&str> =
        headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default()).collect();
    (!values.is_empty()).then(|| values.join(","))
}

/// Whether a list of validators, or `*`, is about this one; a weak one never is.
fn names(list: &str, etag: &str) -> bool {
    list.trim() == "*" || list.split(',').any(|one| one.trim() == etag)
}

/// One range in bytes; `None` for what is not heeded.
fn part(range: &str, size: u64) -> Option<Answer> {
    let (unit, range) = range.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    let number = |text: &str| text.parse::<u64>().ok().filter(|_| !text.starts_with('+'));
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = match (first, last) {
        ("", suffix) => {
            let suffix = number(suffix)?;
            (size.saturating_sub(suffix), if suffix == 0 { 0 } else { u64::MAX })
        }
        (first, "") => (number(first)?, u64::MAX),
        (first, last) => (number(first)?, number(last)?),
    };
    if range.trim() == "-0" || first >= size {
        return Some(Answer::Outside);
    }
    (first <= last).then(|| Answer::Part(first, last.min(size - 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: Version = Version { size: 100, modified: (1_700_000_000, 5), inode: 77 };

    fn asked(pairs: &[(HeaderName, &str)], version: &Version) -> Answer {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value.replace("ETAG", &VERSION.etag()).parse().unwrap());
        }
        answer(&headers, version)
    }

    #[test]
    fn ranges_are_those_of_rfc_9110() {
        for (range, expected) in [
            ("bytes=0-9", Answer::Part(0, 9)),
            ("bytes=0-0", Answer::Part(0, 0)),
            ("Bytes= 5-", Answer::Part(5, 99)),
            ("bytes=99-", Answer::Part(99, 99)),
            ("bytes=90-1000", Answer::Part(90, 99)),
            ("bytes=-5", Answer::Part(95, 99)),
            ("bytes=-1000", Answer::Part(0, 99)),
            ("bytes=100-", Answer::Outside),
            ("bytes=100-5", Answer::Outside),
            ("bytes=-0", Answer::Outside),
            ("bytes=18446744073709551615-", Answer::Outside),
            ("bytes=9-5", Answer::Whole),
            ("bytes=18446744073709551616-", Answer::Whole),
            ("bytes=0-1,3-4", Answer::Whole),
            ("bytes=+1-2", Answer::Whole),
            ("bytes=-", Answer::Whole),
            ("bytes", Answer::Whole),
            ("lines=0-1", Answer::Whole),
            ("", Answer::Whole),
        ] {
            assert_eq!(asked(&[(header::RANGE, range)], &VERSION), expected, "{range}");
        }
        let two = [(header::RANGE, "bytes=0-1"), (header::RANGE, "bytes=3-4")];
        assert_eq!(asked(&two, &VERSION), Answer::Whole);
    }

    #[test]
    fn an_empty_file_has_no_part() {
        let empty = Version { size: 0, ..VERSION };
        assert_eq!(asked(&[], &empty), Answer::Whole);
        for range in ["bytes=0-", "bytes=0-0", "bytes=-5"] {
            assert_eq!(asked(&[(header::RANGE, range)], &empty), Answer::Outside, "{range}");
        }
    }

    #[test]
    fn only_the_version_that_was_meant_is_answered() {
        let range = (header::RANGE, "bytes=0-9");
        let (part, whole) = (Answer::Part(0, 9), Answer::Whole);
        for (conditions, expected) in [
            (vec![(header::IF_MATCH, "ETAG")], part),
            (vec![(header::IF_MATCH, "*")], part),
            (vec![(header::IF_MATCH, "\"x\", ETAG")], part),
            (vec![(header::IF_MATCH, "\"x\"")], Answer::Changed),
            (vec![(header::IF_MATCH, "W/ETAG")], Answer::Changed),
            (vec![(header::IF_MATCH, "")], Answer::Changed),
            (vec![(header::IF_RANGE, "ETAG")], part),
            (vec![(header::IF_RANGE, "\"x\"")], whole),
            (vec![(header::IF_RANGE, "Wed, 21 Oct 2015 07:28:00 GMT")], whole),
            (vec![(header::IF_MATCH, "ETAG"), (header::IF_RANGE, "\"x\"")], whole),
        ] {
            let all: Vec<_> = conditions.into_iter().chain([range.clone()]).collect();
            assert_eq!(asked(&all, &VERSION), expected, "{all:?}");
        }
        for other in [
            Version { size: 101, ..VERSION },
            Version { modified: (1_700_000_000, 6), ..VERSION },
            Version { inode: 78, ..VERSION },
        ] {
            assert_ne!(other.etag(), VERSION.etag());
        }
    }

    #[test]
    fn a_query_holds_one_path() {
        for (query, expected) in [
            (Some("path=/a%20b"), Some("/a b")),
            (Some("x=1&path=/a&y"), Some("/a")),
            (Some("path="), Some("")),
            (Some("path=/a&path=/b"), None),
            (Some("path=/a%00b"), None),
            (Some("path=/a%2"), None),
            (Some("Path=/a"), None),
            (Some(""), None),
            (None, None),
        ] {
            assert_eq!(path(query).as_deref(), expected.map(Path::new), "{query:?}");
        }
    }

    #[test]
    fn only_what_is_below_a_root_is_offered() {
        for (path, expected) in [
            ("/library/films/a.mkv", Some("films/a.mkv")),
            ("/library/./a.mkv", Some("a.mkv")),
            ("/library//a.mkv", Some("a.mkv")),
            ("/library", None),
            ("/library/", None),
            ("/library2/a.mkv", None),
            ("/library/../etc/passwd", None),
            ("/library/a/../../etc/passwd", None),
            ("/etc/passwd", None),
            ("library/a", None),
            ("", None),
        ] {
            let found = below(Path::new("/library"), Path::new(path));
            assert_eq!(found.is_some(), expected.is_some(), "{path}");
            if let (Some(found), Some(expected)) = (found, expected) {
                assert_eq!(found, Path::new(expected), "{path}");
            }
        }
    }
}
