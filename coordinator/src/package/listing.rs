//! PURE: the list of what is in a package.

use std::collections::BTreeMap;

use broker_config::manifest::{LastEngine, engine};
use broker_config::{Manifest, PluginId};
use data_encoding::HEXLOWER;
use semver::Version;
use serde::{Deserialize, Serialize};

use super::name::Together;
use super::{EntryName, LISTING, Limits, MANIFEST, SIGNATURE};

/// What is wrong is told so many times at most.
const MAX_REASONS: usize = 8;
/// Letters of a version; a folder is called by it.
const MAX_VERSION: usize = 100;

/// Says what the list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PackageType {
    /// `metafleet.package.v1`
    #[serde(rename = "metafleet.package.v1")]
    V1,
}

/// The first entry of a package.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listing {
    /// `metafleet.package.v1`
    #[serde(rename = "type")]
    pub kind: PackageType,
    /// The plugin.
    pub id: PluginId,
    /// Its version.
    pub version: Version,
    /// The first version of MetaFleet that it works with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_engine_version: Option<Version>,
    /// The last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_engine_version: Option<LastEngine>,
    /// All files.
    pub files: Vec<ListedFile>,
}

/// One file of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedFile {
    /// Where it lies.
    pub path: EntryName,
    /// Its bytes.
    pub size: u64,
    /// Their SHA-256, in lower-case hex.
    pub sha256: String,
    /// Whether it is a program.
    pub executable: bool,
}

impl Listing {
    /// The list of a plugin with these files.
    #[must_use]
    pub fn of(manifest: &Manifest, files: Vec<ListedFile>) -> Self {
        Self {
            kind: PackageType::V1,
            id: manifest.id.clone(),
            version: manifest.version.clone(),
            min_engine_version: manifest.min_engine_version.clone(),
            max_engine_version: manifest.max_engine_version.clone(),
            files,
        }
    }

    /// Why the plugin does not work with this version of MetaFleet.
    #[must_use]
    pub fn engine_problem(&self, ours: &Version) -> Option<String> {
        engine::problem(self.min_engine_version.as_ref(), self.max_engine_version.as_ref(), ours)
    }

    /// Bytes of all files.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| file.size.saturating_add(sum))
    }

    /// The files by name.
    #[must_use]
    pub fn by_name(&self) -> BTreeMap<&str, &ListedFile> {
        self.files.iter().map(|file| (file.path.as_str(), file)).collect()
    }

    /// Which rules it breaks; empty = none.
    #[must_use]
    pub fn problems(&self, limits: &Limits) -> Vec<String> {
        let mut problems = Vec::new();
        if self.files.len() > limits.files {
            problems.push(format!("{} files are more than {}", self.files.len(), limits.files));
            return problems;
        }
        let total = self.total();
        if total > limits.total {
            problems.push(format!("{total} bytes in all are more than {}", limits.total));
        }
        if self.version.to_string().len() > MAX_VERSION {
            problems.push(format!("its version is longer than {MAX_VERSION} letters"));
        }
        let mut together = Together::default();
        for file in &self.files {
            problems.extend(file.problem(limits));
            problems.extend(together.add(&file.path).err());
            if problems.len() >= MAX_REASONS {
                problems.truncate(MAX_REASONS);
                return problems;
            }
        }
        if !self.files.iter().any(|file| file.path.as_str() == MANIFEST) {
            problems.push(format!("`{MANIFEST}` is not in it"));
        }
        problems
    }

    /// What it says otherwise than the manifest.
    #[must_use]
    pub fn contradictions(&self, manifest: &Manifest) -> Vec<String> {
        let range = |first: Option<&Version>, last: Option<&LastEngine>| {
            let text = |version: Option<String>| version.unwrap_or_else(|| "any".to_owned());
            let (first, last) = (first.map(ToString::to_string), last.map(ToString::to_string));
            format!("{} to {}", text(first), text(last))
        };
        let said = [
            ("id", self.id.to_string(), manifest.id.to_string()),
            ("version", self.version.to_string(), manifest.version.to_string()),
            (
                "engine range",
                range(self.min_engine_version.as_ref(), self.max_engine_version.as_ref()),
                range(manifest.min_engine_version.as_ref(), manifest.max_engine_version.as_ref()),
            ),
        ];
        let differs = said.iter().filter(|(_, listed, manifest)| listed != manifest);
        differs
            .map(|(what, listed, manifest)| {
                format!("{LISTING} says {what} `{listed}`, {MANIFEST} says `{manifest}`")
            })
            .collect()
    }
}

impl ListedFile {
    fn problem(&self, limits: &Limits) -> Option<String> {
        let Self { path, size, .. } = self;
        if matches!(path.as_str(), LISTING | SIGNATURE) {
            return Some(format!("`{path}` cannot be a file of the plugin"));
        }
        let most = if path.as_str() == MANIFEST { limits.manifest } else { limits.file };
        if *size > most {
            return Some(format!("`{path}`: {size} bytes are more than {most}"));
        }
        let sum = self.sha256.as_bytes();
        let is_sum = sum.len() == 64 && HEXLOWER.decode(sum).is_ok();
        (!is_sum).then(|| format!("`{path}`: sha256 must be 64 lower-case hexadecimal digits"))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn manifest(range: &str) -> Manifest {
        let text = format!(
            r#"{{"id":"p","name":"P","version":"1.0.0","priority":15,"queue":"fast","dataSchema":{{}}{range}}}"#
        );
        Manifest::from_json(&text).unwrap()
    }

    fn file(path: &str, size: u64) -> ListedFile {
        let sha256 = "0".repeat(64);
        ListedFile { path: path.parse().unwrap(), size, sha256, executable: false }
    }

    #[test]
    fn what_a_list_may_say() {
        let limits = Limits { total: 100, file: 50, files: 3, manifest: 20, ..Limits::default() };
        let odd = |sha256: &str| ListedFile { sha256: sha256.to_owned(), ..file("a", 1) };
        for (files, problem) in [
            (vec![file("a", 50)], None),
            (vec![file("a", 51)], Some("`a`: 51 bytes are more than 50")),
            (vec![file("a", 50), file("b", 50)], Some("101 bytes in all are more than 100")),
            (vec![file("a", u64::MAX), file("b", u64::MAX)], Some("bytes in all are more")),
            (vec![file("a", 1), file("b", 1), file("c", 1)], Some("4 files are more than 3")),
            (vec![file("a", 1), file("A", 1)], Some("differ in case only")),
            (vec![file("metafleet-package.json", 1)], Some("cannot be a file of the plugin")),
            (vec![odd("")], Some("sha256 must be")),
            (vec![odd(&"A".repeat(64))], Some("sha256 must be")),
        ] {
            let files = files.into_iter().chain([file(MANIFEST, 1)]).collect();
            let listing = Listing::of(&manifest(""), files);
            let problems = listing.problems(&limits).join("; ");
            assert_eq!(problems.is_empty(), problem.is_none(), "{problems}");
            assert!(problem.is_none_or(|text| problems.contains(text)), "{problems}");
        }
        let of = |files| Listing::of(&manifest(""), files).problems(&limits).join("; ");
        assert_eq!(of(vec![]), "`manifest.json` is not in it");
        assert!(of(vec![file(MANIFEST, 21)]).contains("more than 20"));
    }

    #[test]
    fn the_list_and_the_manifest_say_the_same() {
        let listing = Listing::of(&manifest(r#","maxEngineVersion":"1.4""#), vec![]);
        assert_eq!(
            listing.contradictions(&manifest("")),
            [
                "metafleet-package.json says engine range `any to 1.4`, manifest.json says `any to any`"
            ]
        );
        let json = serde_json::to_string(&listing).unwrap();
        assert_eq!(serde_json::from_str::<Listing>(&json).unwrap(), listing);
    }
}
