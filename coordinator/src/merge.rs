//! The one view of a file's metadata over the records of all plugins; pure.
//!
//! Plugins merge in the order of their priority (later wins, ties by id), sets unite, and the
//! person's layer lies on top: what it sets replaces, what it hides is gone, what it adds to a set
//! joins the plugins' values. Nothing a plugin writes can change the person's record.

use std::collections::BTreeMap;

use broker_config::{MetaKey, MetaMap, MetaValue, PluginId, Record};

/// One record that takes part.
#[derive(Clone, Debug)]
pub struct Source {
    /// Who wrote it.
    pub plugin: PluginId,
    /// The plugin's priority; of no account for the person's layer.
    pub priority: u8,
    /// Stream sequence of the record.
    pub revision: u64,
    /// The record.
    pub record: Record,
}

/// Who a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    /// The author.
    pub plugin: PluginId,
    /// The author's version; empty for a person.
    pub version: String,
    /// Revision of the record.
    pub revision: u64,
    /// When the record was written, RFC 3339.
    pub at: String,
}

/// A value with all who had a part in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// The value.
    pub value: MetaValue,
    /// Its authors: one, or several for a set.
    pub from: Vec<Provenance>,
}

/// Merges the records of one file.
#[must_use]
pub fn view(sources: &[Source]) -> BTreeMap<MetaKey, Merged> {
    let mut ordered: Vec<&Source> = sources.iter().collect();
    ordered.sort_by_key(|s| (s.plugin.is_user(), s.priority, s.plugin.clone()));
    let mut merged: BTreeMap<MetaKey, Merged> = BTreeMap::new();
    for source in ordered {
        for key in &source.record.hidden {
            merged.remove(key);
        }
        for (key, value) in &source.record.meta {
            let from = Provenance {
                plugin: source.plugin.clone(),
                version: source.record.plugin_version.clone(),
                revision: source.revision,
                at: source.record.finished_at.clone(),
            };
            lay_over(&mut merged, key, value, from);
        }
    }
    merged
}

fn lay_over(
    merged: &mut BTreeMap<MetaKey, Merged>,
    key: &MetaKey,
    value: &MetaValue,
    from: Provenance,
) {
    if let (Some(below), MetaValue::Set(values)) = (merged.get_mut(key), value)
        && let MetaValue::Set(all) = &mut below.value
    {
        all.extend(values.iter().cloned());
        below.from.push(from);
        return;
    }
    merged.insert(key.clone(), Merged { value: value.clone(), from: vec![from] });
}

/// Merges layers given from the lowest to the highest, without provenance.
#[must_use]
pub fn layered<'a>(layers: impl IntoIterator<Item = (&'a MetaMap, &'a [MetaKey])>) -> MetaMap {
    let mut merged = MetaMap::new();
    for (meta, hidden) in layers {
        for key in hidden {
            merged.remove(key);
        }
        for (key, value) in meta {
            match (merged.get_mut(key), value) {
                (Some(MetaValue::Set(all)), MetaValue::Set(values)) => {
                    all.extend(values.iter().cloned());
                }
                _ => {
                    merged.insert(key.clone(), value.clone());
                }
            }
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use broker_config::wire::record::RecordType;
    use broker_config::{RecordStatus, TaskId};
    use proptest::prelude::*;

    use super::*;

    fn source(plugin: &str, priority: u8, meta: &[(&str, MetaValue)], hidden: &[&str]) -> Source {
        let plugin: PluginId = plugin.parse().unwrap();
        let cid = "c".parse().unwrap();
        Source {
            priority,
            revision: u64::from(priority),
            record: Record {
                kind: RecordType::V1,
                task_id: TaskId::derive(&cid, &plugin, "", 0),
                plugin_id: plugin.clone(),
                cid,
                status: RecordStatus::Completed,
                duration_ms: 0,
                attempt: 1,
                plugin_version: "1.0.0".into(),
                fingerprint: String::new(),
                finished_at: String::new(),
                instance: None,
                error: None,
                reason: None,
                meta: meta.iter().map(|(k, v)| (k.parse().unwrap(), v.clone())).collect(),
                hidden: hidden.iter().map(|k| k.parse().unwrap()).collect(),
            },
            plugin,
        }
    }

    fn set(values: &[&str]) -> MetaValue {
        MetaValue::Set(values.iter().map(|&v| v.to_owned()).collect())
    }

    #[test]
    fn later_priorities_win_sets_unite_and_the_person_is_on_top() {
        let sources = [
            source("user", 10, &[("title", "Mine".into()), ("genres", set(&["My"]))], &["plot"]),
            source(
                "b",
                30,
                &[("title", "B".into()), ("year", "2".into()), ("plot", "p".into())],
                &[],
            ),
            source(
                "a",
                20,
                &[("title", "A".into()), ("year", "1".into()), ("genres", set(&["X"]))],
                &[],
            ),
            source("c", 30, &[("genres", set(&["Y"])), ("year", "3".into())], &[]),
        ];

        let merged = view(&sources);

        let flat: Vec<_> =
            merged.iter().map(|(k, m)| format!("{k}={}", m.value.to_flat())).collect();
        assert_eq!(flat, ["genres=My|X|Y", "title=Mine", "year=3"]);
        let authors: Vec<_> = merged["genres"].from.iter().map(|f| f.plugin.to_string()).collect();
        assert_eq!(authors, ["a", "c", "user"]);
        assert_eq!(merged["year"].from[0].plugin.to_string(), "c");
    }

    #[test]
    fn a_value_the_person_hides_and_sets_again_is_the_persons() {
        let sources = [
            source("a", 20, &[("genres", set(&["X"]))], &[]),
            source("user", 10, &[("genres", set(&["My"]))], &["genres"]),
        ];
        assert_eq!(view(&sources)["genres"].value, set(&["My"]));
    }

    fn value() -> impl Strategy<Value = MetaValue> {
        prop_oneof![
            "[xy]".prop_map(|text| text.as_str().into()),
            prop::collection::btree_set("[xyz]", 0..3).prop_map(MetaValue::Set),
        ]
    }

    fn layer() -> impl Strategy<Value = (Vec<(String, MetaValue)>, Vec<String>)> {
        let meta = prop::collection::vec(("[abc]", value()), 0..4);
        (meta, prop::collection::vec("[abc]", 0..2))
    }

    fn of(
        plugin: &str,
        priority: u8,
        (meta, hidden): &(Vec<(String, MetaValue)>, Vec<String>),
    ) -> Source {
        let meta: Vec<_> = meta.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
        let hidden: Vec<_> = hidden.iter().map(String::as_str).collect();
        source(plugin, priority, &meta, &hidden)
    }

    proptest! {
        /// In whatever order records are read, people see the same, and the person's word stands.
        #[test]
        fn the_order_of_reading_says_nothing_and_the_person_has_the_last_word(
            layers in prop::collection::vec((10_u8..14, layer()), 0..5), person in layer(), seed: u64,
        ) {
            let mut sources: Vec<Source> = layers
                .iter()
                .zip(["p", "q", "r", "s", "t"])
                .map(|((priority, layer), plugin)| of(plugin, *priority, &(layer.0.clone(), Vec::new())))
                .collect();
            sources.push(of("user", 100, &person));
            let shown = view(&sources);

            fastrand::Rng::with_seed(seed).shuffle(&mut sources);
            prop_assert_eq!(&view(&sources), &shown);

            let user = sources.iter().find(|source| source.plugin.is_user()).unwrap();
            for (key, value) in &user.record.meta {
                match (value, &shown[key].value) {
                    (MetaValue::Set(own), MetaValue::Set(all)) => prop_assert!(all.is_superset(own)),
                    (own, seen) => prop_assert_eq!(own, seen),
                }
            }
            for key in user.record.hidden.iter().filter(|key| !user.record.meta.contains_key(*key)) {
                prop_assert!(!shown.contains_key(key), "{} is hidden", key);
            }
            for (key, merged) in &shown {
                prop_assert!(!merged.from.is_empty());
                for from in &merged.from {
                    let author = sources.iter().find(|source| source.plugin == from.plugin);
                    prop_assert!(author.is_some_and(|author| author.record.meta.contains_key(key)));
                }
            }
        }

        /// What a task is given and what a person is shown follow the same rule.
        #[test]
        fn with_and_without_provenance_the_values_are_the_same(layers in prop::collection::vec(
            (prop::collection::vec(("[abc]", value()), 0..4), prop::collection::vec("[abc]", 0..2)),
            0..5,
        )) {
            let sources: Vec<Source> = (10..)
                .zip(&layers)
                .map(|(priority, (meta, hidden))| {
                    let meta: Vec<_> = meta.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
                    let hidden: Vec<_> = hidden.iter().map(String::as_str).collect();
                    source("p", priority, &meta, &hidden)
                })
                .collect();

            let flat = layered(sources.iter().map(|s| (&s.record.meta, s.record.hidden.as_slice())));

            let shown: MetaMap = view(&sources).into_iter().map(|(k, m)| (k, m.value)).collect();
            prop_assert_eq!(flat, shown);
        }
    }
}
