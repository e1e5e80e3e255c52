//! PURE: which versions of MetaFleet a plugin works with.

use std::fmt;
use std::str::FromStr;

use semver::{Prerelease, Version};
use serde::{Deserialize, Serialize, Serializer};

use super::Manifest;

/// The last version of MetaFleet that a plugin works with: a whole version, or all versions that
/// begin with `MAJOR` or `MAJOR.MINOR`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum LastEngine {
    /// This version is the last one.
    Version(Version),
    /// The last one that begins so.
    Series {
        /// The first number.
        major: u64,
        /// The second one, if it is said.
        minor: Option<u64>,
    },
}

/// The text names no last version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a version; it must be like 1, 1.4 or 1.4.2")]
pub struct InvalidLastEngine {
    text: String,
}

impl LastEngine {
    /// Whether `engine` comes after it.
    fn is_before(&self, engine: &Version) -> bool {
        match self {
            Self::Version(last) => engine.cmp_precedence(last).is_gt(),
            Self::Series { major, minor: None } => engine.major > *major,
            Self::Series { major, minor: Some(minor) } => {
                (engine.major, engine.minor) > (*major, *minor)
            }
        }
    }
}

impl FromStr for LastEngine {
    type Err = InvalidLastEngine;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(version) = Version::parse(text) {
            return Ok(Self::Version(version));
        }
        let invalid = || InvalidLastEngine { text: text.chars().take(64).collect() };
        // As in a whole version: digits only, and no zero before others.
        let number = |part: &str| {
            let parsed = part.parse::<u64>().ok().filter(|number| number.to_string() == part);
            parsed.ok_or_else(invalid)
        };
        match text.split_once('.') {
            None => Ok(Self::Series { major: number(text)?, minor: None }),
            Some((major, minor)) => {
                Ok(Self::Series { major: number(major)?, minor: Some(number(minor)?) })
            }
        }
    }
}

impl TryFrom<String> for LastEngine {
    type Error = InvalidLastEngine;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for LastEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => version.fmt(f),
            Self::Series { major, minor: None } => write!(f, "{major}"),
            Self::Series { major, minor: Some(minor) } => write!(f, "{major}.{minor}"),
        }
    }
}

impl Serialize for LastEngine {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Manifest {
    /// Why the plugin does not work with `engine`; `None` if it says that it does.
    #[must_use]
    pub fn engine_problem(&self, engine: &Version) -> Option<String> {
        problem(self.min_engine_version.as_ref(), self.max_engine_version.as_ref(), engine)
    }
}

/// Why what works from `first` to `last` does not work with `engine`.
#[must_use]
pub fn problem(
    first: Option<&Version>,
    last: Option<&LastEngine>,
    engine: &Version,
) -> Option<String> {
    if let Some(first) = first
        && engine.cmp_precedence(first).is_lt()
    {
        return Some(format!(
            "minEngineVersion: it needs MetaFleet {first} or newer, and this is {engine}"
        ));
    }
    let last = last.filter(|last| last.is_before(engine))?;
    Some(format!("maxEngineVersion: it works up to MetaFleet {last}, and this is {engine}"))
}

/// Says whether a range has nothing in it.
pub(super) fn range_problem(first: Option<&Version>, last: Option<&LastEngine>) -> Option<String> {
    let (first, last) = (first?, last?);
    // A preview of the first version of a series belongs to the series.
    let whole = Version { pre: Prerelease::EMPTY, ..first.clone() };
    let lowest = if matches!(last, LastEngine::Version(_)) { first } else { &whole };
    last.is_before(lowest)
        .then(|| format!("maxEngineVersion: {last} is before minEngineVersion, {first}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(range: &str) -> Result<Manifest, crate::manifest::InvalidManifest> {
        Manifest::from_json(&format!(
            r#"{{"id":"x","name":"X","version":"1.0.0","priority":15,"queue":"fast","dataSchema":{{}}{range}}}"#
        ))
    }

    #[test]
    fn which_engines_a_plugin_works_with() {
        for (range, engine, problem) in [
            ("", "0.1.0", None),
            (r#","minEngineVersion":"1.2.0""#, "1.2.0", None),
            (r#","minEngineVersion":"1.2.0""#, "2.0.0", None),
            (r#","minEngineVersion":"1.2.0""#, "1.1.9", Some("needs MetaFleet 1.2.0 or newer")),
            (r#","minEngineVersion":"1.2.0""#, "1.2.0-rc.1", Some("and this is 1.2.0-rc.1")),
            (r#","minEngineVersion":"1.2.0-rc.1""#, "1.2.0-rc.2", None),
            (r#","maxEngineVersion":"1.4.2""#, "1.4.2", None),
            (r#","maxEngineVersion":"1.4.2""#, "1.4.2+build.7", None),
            (r#","maxEngineVersion":"1.4.2""#, "1.4.3", Some("works up to MetaFleet 1.4.2")),
            (r#","maxEngineVersion":"1.4.2-rc.1""#, "1.4.2", Some("up to MetaFleet 1.4.2-rc.1")),
            (r#","maxEngineVersion":"1.4""#, "1.4.99", None),
            (r#","maxEngineVersion":"1.4""#, "0.9.0", None),
            (r#","maxEngineVersion":"1.4""#, "1.5.0-rc.1", Some("up to MetaFleet 1.4,")),
            (r#","maxEngineVersion":"1""#, "1.99.0", None),
            (r#","maxEngineVersion":"1""#, "2.0.0", Some("maxEngineVersion: it works up to")),
            (r#","minEngineVersion":"1.0.0","maxEngineVersion":"1""#, "1.0.0", None),
            (r#","minEngineVersion":"1.4.0-rc.1","maxEngineVersion":"1.4""#, "1.4.0-rc.1", None),
        ] {
            let found = manifest(range).unwrap().engine_problem(&engine.parse().unwrap());
            assert_eq!(found.is_none(), problem.is_none(), "{range} {engine}: {found:?}");
            let told = found.unwrap_or_default();
            assert!(problem.is_none_or(|text| told.contains(text)), "{range} {engine}: {told}");
        }
    }

    #[test]
    fn what_is_no_range_is_told() {
        for (range, problem) in [
            (r#","minEngineVersion":"1.4""#, "minEngineVersion:"),
            (r#","minEngineVersion":"new""#, "minEngineVersion:"),
            (r#","maxEngineVersion":"""#, "maxEngineVersion: `` is not a version"),
            (r#","maxEngineVersion":"x""#, "maxEngineVersion: `x`"),
            (r#","maxEngineVersion":"01""#, "maxEngineVersion: `01`"),
            (r#","maxEngineVersion":"1.x""#, "maxEngineVersion: `1.x`"),
            (r#","maxEngineVersion":"+1""#, "maxEngineVersion: `+1`"),
            (r#","maxEngineVersion":"1.2.3.4""#, "maxEngineVersion: `1.2.3.4`"),
            (r#","minEngineVersion":"2.0.0","maxEngineVersion":"1""#, "1 is before"),
            (r#","minEngineVersion":"1.5.0","maxEngineVersion":"1.4""#, "1.4 is before"),
            (r#","minEngineVersion":"1.5.0","maxEngineVersion":"1.5.0-rc.1""#, "is before"),
        ] {
            let error = manifest(range).unwrap_err().to_string();
            assert!(error.contains(problem), "{range}: {error}");
        }
    }

    #[test]
    fn a_range_survives_the_wire() {
        for last in ["1", "1.4", "1.4.2", "1.4.2-rc.1"] {
            let range = format!(r#","minEngineVersion":"0.1.0","maxEngineVersion":"{last}""#);
            let manifest = manifest(&range).unwrap();
            let json = serde_json::to_value(&manifest).unwrap();
            assert_eq!(json["maxEngineVersion"], last);
            assert_eq!(Manifest::from_json(&json.to_string()).unwrap(), manifest);
        }
    }
}
