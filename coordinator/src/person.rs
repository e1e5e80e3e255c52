//! What a person's edits do to the person's record; pure.

use broker_config::{MetaKey, MetaMap, MetaValue, Record};

use crate::merge::{Source, view};

/// One change of the person's layer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// The key has this value, whatever plugins say.
    Set(MetaKey, MetaValue),
    /// These values belong to the set.
    Add(MetaKey, Vec<String>),
    /// The person's value goes; where there is none, the plugins' is hidden.
    Unset(MetaKey),
    /// Nobody sees the key any more, whoever wrote it.
    Hide(MetaKey),
    /// The person has nothing to say about the key.
    Reset(MetaKey),
}

/// There is nothing under the key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the file has no `{0}`")]
pub(crate) struct NoSuchKey(pub(crate) MetaKey);

impl Change {
    /// Makes the change; `all` are the records of the file, the person's included.
    pub(crate) fn apply(&self, record: &mut Record, all: &[Source]) -> Result<(), NoSuchKey> {
        match self {
            Self::Set(key, value) => {
                // A set would be united with the plugins' unless theirs is hidden.
                let replaces = matches!(value, MetaValue::Set(_));
                record.hidden.retain(|hidden| hidden != key);
                if replaces {
                    record.hidden.push(key.clone());
                }
                record.meta.insert(key.clone(), value.clone());
            }
            Self::Add(key, values) => {
                let mut set = match record.meta.remove(key) {
                    Some(MetaValue::Set(set)) => set,
                    Some(other) => [other.to_flat()].into(),
                    None => std::collections::BTreeSet::new(),
                };
                set.extend(values.iter().cloned());
                record.meta.insert(key.clone(), MetaValue::Set(set));
            }
            Self::Unset(key) => {
                if record.meta.remove(key).is_some() {
                    record.hidden.retain(|hidden| hidden != key);
                } else if !record.hidden.contains(key) {
                    if !view(all).contains_key(key) {
                        return Err(NoSuchKey(key.clone()));
                    }
                    record.hidden.push(key.clone());
                }
            }
            Self::Hide(key) => {
                let others = all.iter().filter(|source| !source.plugin.is_user());
                let theirs = others.into_iter().any(|source| source.record.meta.contains_key(key));
                let mine = record.meta.remove(key).is_some();
                let hidden = record.hidden.contains(key);
                if !mine && (!theirs || hidden) {
                    return Err(NoSuchKey(key.clone()));
                }
                record.hidden.retain(|hidden| hidden != key);
                if theirs {
                    record.hidden.push(key.clone());
                }
            }
            Self::Reset(key) => {
                record.meta.remove(key);
                record.hidden.retain(|hidden| hidden != key);
            }
        }
        record.hidden.sort();
        Ok(())
    }
}

/// The changes after which the file has these values and no others; `all` as for
/// [`Change::apply`].
pub(crate) fn replacement(given: &MetaMap, all: &[Source]) -> Vec<Change> {
    let others = view(all).into_keys().filter(|key| !given.contains_key(key)).map(Change::Hide);
    let own = given.iter().map(|(key, value)| Change::Set(key.clone(), value.clone()));
    others.chain(own).collect()
}

#[cfg(test)]
mod tests {
    use broker_config::{Cid, PluginId};

    use super::*;
    use crate::store::records::blank;

    fn record(plugin: &str, meta: &[(&str, MetaValue)]) -> Record {
        let (cid, plugin): (Cid, PluginId) = ("c".parse().unwrap(), plugin.parse().unwrap());
        let meta = meta.iter().map(|(key, value)| (key.parse().unwrap(), value.clone()));
        Record { meta: meta.collect(), ..blank(&cid, &plugin) }
    }

    fn set(values: &[&str]) -> MetaValue {
        MetaValue::Set(values.iter().map(|&value| value.to_owned()).collect())
    }

    fn source(record: &Record) -> Source {
        Source {
            plugin: record.plugin_id.clone(),
            priority: 10,
            revision: 1,
            record: record.clone(),
        }
    }

    /// What is seen of `title` and `genres` after each of the changes, one after the other.
    fn after(changes: &[Change]) -> Vec<String> {
        let plugin = record("a", &[("title", "Theirs".into()), ("genres", set(&["X", "Y"]))]);
        let mut mine = record("user", &[]);
        let mut seen = Vec::new();
        for change in changes {
            let before = [source(&plugin), source(&mine)];
            change.apply(&mut mine, &before).unwrap();
            let merged = view(&[source(&plugin), source(&mine)]);
            let flat =
                merged.iter().map(|(key, merged)| format!("{key}={}", merged.value.to_flat()));
            seen.push(flat.collect::<Vec<_>>().join(" "));
        }
        seen
    }

    #[test]
    fn changes_follow_the_table() {
        let key = |text: &str| text.parse::<MetaKey>().unwrap();
        let (title, genres) = (key("title"), key("genres"));
        let seen = after(&[
            Change::Set(title.clone(), "Mine".into()),
            Change::Unset(title.clone()),
            Change::Unset(title.clone()),
            Change::Unset(title.clone()),
            Change::Reset(title),
            Change::Add(genres.clone(), vec!["Z".into()]),
            Change::Set(genres.clone(), set(&["M"])),
            Change::Add(genres.clone(), vec!["N".into()]),
            Change::Unset(genres.clone()),
            Change::Set(genres.clone(), "text".into()),
            Change::Add(genres.clone(), vec!["T".into()]),
            Change::Hide(genres.clone()),
            Change::Add(genres, vec!["A".into()]),
        ]);
        assert_eq!(
            seen,
            [
                "genres=X|Y title=Mine",
                "genres=X|Y title=Theirs",
                "genres=X|Y",
                "genres=X|Y",
                "genres=X|Y title=Theirs",
                "genres=X|Y|Z title=Theirs",
                "genres=M title=Theirs",
                "genres=M|N title=Theirs",
                "genres=X|Y title=Theirs",
                "genres=text title=Theirs",
                "genres=T|X|Y|text title=Theirs",
                "title=Theirs",
                "genres=A title=Theirs",
            ]
        );
    }

    #[test]
    fn what_is_not_there_cannot_be_hidden() {
        let mut mine = record("user", &[]);
        let key: MetaKey = "none".parse().unwrap();
        let done = Change::Unset(key.clone()).apply(&mut mine, &[]);
        assert_eq!(done, Err(NoSuchKey(key.clone())));
        assert_eq!(Change::Hide(key.clone()).apply(&mut mine, &[]), Err(NoSuchKey(key)));
    }

    #[test]
    fn a_replacement_leaves_what_is_given_and_nothing_else() {
        let plugin = record("a", &[("title", "Theirs".into()), ("genres", set(&["X"]))]);
        let mut mine = record("user", &[("note", "old".into())]);
        for (given, expected) in
            [(vec![("genres", set(&["M"])), ("year", "1".into())], "genres=M year=1"), (vec![], "")]
        {
            let given = given.into_iter().map(|(k, v)| (k.parse().unwrap(), v)).collect();
            let all = [source(&plugin), source(&mine)];
            for change in replacement(&given, &all) {
                change.apply(&mut mine, &all).unwrap();
            }
            let merged = view(&[source(&plugin), source(&mine)]);
            let seen =
                merged.iter().map(|(key, merged)| format!("{key}={}", merged.value.to_flat()));
            assert_eq!(seen.collect::<Vec<_>>().join(" "), expected);
        }
    }
}
