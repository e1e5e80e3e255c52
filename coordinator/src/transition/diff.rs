//! PURE: what the new version of a plugin says otherwise than the old one.

use std::collections::BTreeMap;

use broker_config::{MetaMap, Record, RecordStatus};
use serde::Serialize;

/// How what one file says differs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileDiff {
    /// How the task of the old version ended, where the new one ended otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<(RecordStatus, RecordStatus)>,
    /// The error of the new version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Keys that only the new version writes, with their values.
    pub added: BTreeMap<String, String>,
    /// Keys that only the old version writes.
    pub removed: BTreeMap<String, String>,
    /// Keys that both write: the old value and the new one.
    pub changed: BTreeMap<String, (String, String)>,
}

impl FileDiff {
    /// Whether both say the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How many files differ, and in which keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Files of which both versions have said something.
    pub compared: usize,
    /// Those of which both say the same.
    pub same: usize,
    /// Those of which they do not.
    pub different: usize,
    /// Files on which the new version has failed and the old one has not.
    pub newly_failed: usize,
    /// By key: in how many files it was added, removed, changed.
    pub keys: BTreeMap<String, (usize, usize, usize)>,
}

/// Compares what two versions say of one file.
#[must_use]
pub fn compare(old: &Record, new: &Record) -> FileDiff {
    let mut diff = FileDiff::default();
    if old.status != new.status {
        diff.status = Some((old.status, new.status));
        diff.error.clone_from(&new.error);
    }
    let only = |these: &MetaMap, those: &MetaMap| -> BTreeMap<String, String> {
        let only = these.iter().filter(|(key, _)| !those.contains_key(*key));
        only.map(|(key, value)| (key.to_string(), value.to_flat())).collect()
    };
    diff.removed = only(&old.meta, &new.meta);
    diff.added = only(&new.meta, &old.meta);
    for (key, before) in &old.meta {
        if let Some(after) = new.meta.get(key).filter(|after| *after != before) {
            diff.changed.insert(key.to_string(), (before.to_flat(), after.to_flat()));
        }
    }
    diff
}

/// Adds up the differences of many files.
#[must_use]
pub fn summary<'a>(diffs: impl IntoIterator<Item = &'a FileDiff>) -> Summary {
    let mut summary = Summary::default();
    for diff in diffs {
        summary.compared += 1;
        summary.same += usize::from(diff.is_empty());
        summary.different += usize::from(!diff.is_empty());
        let newly_failed = matches!(diff.status, Some((_, RecordStatus::Failed)));
        summary.newly_failed += usize::from(newly_failed);
        for key in diff.added.keys() {
            summary.keys.entry(key.clone()).or_default().0 += 1;
        }
        for key in diff.removed.keys() {
            summary.keys.entry(key.clone()).or_default().1 += 1;
        }
        for key in diff.changed.keys() {
            summary.keys.entry(key.clone()).or_default().2 += 1;
        }
    }
    summary
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::records::blank;

    fn record(status: RecordStatus, meta: &[(&str, &str)]) -> Record {
        let meta = meta.iter().map(|(k, v)| (k.parse().unwrap(), (*v).into())).collect();
        Record { status, meta, ..blank(&"film".parse().unwrap(), &"p".parse().unwrap()) }
    }

    #[test]
    fn exactly_what_differs_is_shown() {
        use RecordStatus::{Completed, Failed};
        let old = record(Completed, &[("a", "1"), ("b", "2"), ("c", "3")]);
        for (case, new, expected) in [
            ("the same", old.clone(), ["", "", ""]),
            (
                "added",
                record(Completed, &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]),
                ["d", "", ""],
            ),
            ("removed", record(Completed, &[("a", "1")]), ["", "b c", ""]),
            ("changed", record(Completed, &[("a", "1"), ("b", "9"), ("c", "3")]), ["", "", "b"]),
            ("failed", record(Failed, &[]), ["", "a b c", ""]),
        ] {
            let diff = compare(&old, &new);
            let keys =
                |keys: Vec<&String>| keys.iter().map(|k| k.as_str()).collect::<Vec<_>>().join(" ");
            let found = [
                keys(diff.added.keys().collect()),
                keys(diff.removed.keys().collect()),
                keys(diff.changed.keys().collect()),
            ];
            assert_eq!(found, expected, "{case}");
            assert_eq!(diff.is_empty(), case == "the same", "{case}");
            assert_eq!(diff.status.is_some(), case == "failed", "{case}");
        }
    }

    #[test]
    fn differences_add_up() {
        use RecordStatus::{Completed, Failed};
        let old = record(Completed, &[("a", "1"), ("b", "2")]);
        let diffs = [
            compare(&old, &old),
            compare(&old, &record(Completed, &[("a", "1"), ("b", "3")])),
            compare(&old, &record(Failed, &[])),
        ];

        let summary = summary(&diffs);

        assert_eq!((summary.compared, summary.same, summary.different), (3, 1, 2));
        assert_eq!(summary.newly_failed, 1);
        assert_eq!(summary.keys["a"], (0, 1, 0));
        assert_eq!(summary.keys["b"], (0, 1, 1));
    }
}
