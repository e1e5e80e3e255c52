//! What a task's outcome depends on, in one hash; pure.
//!
//! A record with this fingerprint is up to date and the task need not run. It covers the plugin,
//! its version, its settings and the inputs it reads, in a canonical form: maps are ordered.

use broker_config::meta::matches_pattern;
use broker_config::{FileFacts, MetaKey, MetaMap, MetaValue};
use sha2::{Digest as _, Sha256};

use crate::graph::PluginSpec;

/// Facts about the file that a manifest can name in `reads`.
const FACTS: &str = "file/";

/// Selects what the plugin gets to see out of the merged metadata of its dependencies.
///
/// Facts about the file (its name, path, sidecars) take part only when `reads` names them: only
/// then does a rename or an edited sidecar run the plugin again.
#[must_use]
pub fn inputs(spec: &PluginSpec, merged: MetaMap, file: &FileFacts, path: &str) -> MetaMap {
    let Some(reads) = &spec.manifest.reads else { return merged };
    let wanted = |key: &str| reads.iter().any(|pattern| matches_pattern(pattern, key));
    let mut inputs: MetaMap = merged.into_iter().filter(|(key, _)| wanted(key.as_str())).collect();
    if reads.iter().any(|pattern| pattern.starts_with(FACTS)) {
        for (name, value) in facts(file, path) {
            if wanted(name)
                && let Ok(key) = name.parse::<MetaKey>()
            {
                // What a plugin found out stands over what the scanner guessed.
                inputs.entry(key).or_insert(value);
            }
        }
    }
    inputs
}

fn facts(file: &FileFacts, path: &str) -> Vec<(&'static str, MetaValue)> {
    vec![
        ("file/path", path.into()),
        ("file/name", file.name.as_str().into()),
        ("file/extension", file.extension.as_str().into()),
        ("file/size", file.size.to_string().into()),
        ("file/mime", file.mime.as_str().into()),
        ("file/modified", file.modified.as_str().into()),
        (
            "file/sidecars",
            MetaValue::Json(serde_json::to_value(&file.sidecars).unwrap_or_default()),
        ),
    ]
}

/// The keys of what the coordinator itself knows of a file.
pub(crate) fn fact_keys() -> impl Iterator<Item = &'static str> {
    facts(&FileFacts::default(), "").into_iter().map(|(key, _)| key)
}

/// Hashes what the outcome depends on; 32 hex characters.
#[must_use]
pub fn fingerprint(spec: &PluginSpec, inputs: &MetaMap) -> String {
    let mut hash = Sha256::new();
    let version = spec.manifest.version.to_string();
    for part in [spec.manifest.id.as_str(), &version, &spec.settings_hash] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    // Serialising a map of strings and JSON values into memory cannot fail.
    hash.update(serde_json::to_vec(inputs).unwrap_or_default());
    data_encoding::HEXLOWER.encode(&hash.finalize()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::tests::spec;

    fn reading(reads: Option<&[&str]>) -> PluginSpec {
        let mut spec = spec("x", 20, &[]);
        spec.manifest.reads = reads.map(|list| list.iter().map(|&s| s.to_owned()).collect());
        spec
    }

    #[test]
    fn a_plugin_sees_what_it_reads() {
        let file = FileFacts { name: "n.mkv".into(), ..FileFacts::default() };
        let merged = || -> MetaMap {
            [("a/b", "1"), ("c", "2")].map(|(k, v)| (k.parse().unwrap(), v.into())).into()
        };
        for (case, reads, keys) in [
            ("all by default", None, vec!["a/b", "c"]),
            ("nothing", Some(&[][..]), vec![]),
            ("a family", Some(&["a/*"]), vec!["a/b"]),
            ("a fact", Some(&["file/name"]), vec!["file/name"]),
            ("both", Some(&["c", "file/path"]), vec!["c", "file/path"]),
        ] {
            let found = inputs(&reading(reads), merged(), &file, "/n.mkv");
            let found: Vec<&str> = found.keys().map(MetaKey::as_str).collect();
            assert_eq!(found, keys, "{case}");
        }
    }

    #[test]
    fn the_fingerprint_changes_with_each_of_its_parts_and_nothing_else() {
        let inputs = |value: &str| MetaMap::from([("k".parse().unwrap(), value.into())]);
        let base = reading(None);
        let mut newer = base.clone();
        newer.manifest.version = "1.0.1".parse().unwrap();
        let mut set = base.clone();
        set.settings_hash = "s".into();
        let mut slower = base.clone();
        slower.timeout_ms += 1;
        let of = |spec: &PluginSpec, value: &str| fingerprint(spec, &inputs(value));
        assert_eq!(of(&base, "1"), of(&base, "1"));
        assert_eq!(of(&base, "1"), of(&slower, "1"), "a time limit changes no outcome");
        for (case, other) in
            [("version", of(&newer, "1")), ("settings", of(&set, "1")), ("input", of(&base, "2"))]
        {
            assert_ne!(of(&base, "1"), other, "{case}");
        }
    }
}
