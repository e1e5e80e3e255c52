//! PURE: what one attempt of an HTTP plugin writes about its file, before it is a record.
//!
//! The attempt reads its own writes at once; nobody else does until the callback says completed.
//! Then they become the plugin's record, which replaces what the plugin wrote about the file
//! before. What it deletes of other plugins is gone for the attempt only: no plugin takes away
//! what is another's.

use std::collections::{BTreeMap, BTreeSet};

use broker_config::manifest::{DataType, Manifest};
use broker_config::{MetaKey, MetaMap, MetaValue};

/// Most bytes of keys and values; a record must fit into one message of 1 MiB.
const MAX_BYTES: usize = 900 << 10;

/// The writes of one attempt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layer {
    written: MetaMap,
    hidden: BTreeSet<MetaKey>,
    /// Whether everything that others wrote is hidden.
    alone: bool,
    bytes: usize,
}

/// An attempt writes more than a record can hold.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a task may write {MAX_BYTES} bytes of metadata")]
pub struct TooMuch;

/// Changes by key; `None` removes.
pub type Changes = BTreeMap<MetaKey, Option<MetaValue>>;

impl Layer {
    /// Replaces everything.
    ///
    /// # Errors
    ///
    /// [`TooMuch`], and nothing is changed.
    pub fn replace(&mut self, all: MetaMap) -> Result<(), TooMuch> {
        let bytes = all.iter().map(|(key, value)| size(key, value)).sum();
        if bytes > MAX_BYTES {
            return Err(TooMuch);
        }
        *self = Self { written: all, hidden: BTreeSet::new(), alone: true, bytes };
        Ok(())
    }

    /// Writes and removes some keys, all or none of them.
    ///
    /// # Errors
    ///
    /// [`TooMuch`], and nothing is changed.
    pub fn change(&mut self, changes: Changes) -> Result<(), TooMuch> {
        let mut bytes = self.bytes;
        for (key, value) in &changes {
            bytes -= self.written.get(key).map_or(0, |old| size(key, old)).min(bytes);
            bytes += value.as_ref().map_or(0, |value| size(key, value));
        }
        if bytes > MAX_BYTES {
            return Err(TooMuch);
        }
        self.bytes = bytes;
        for (key, value) in changes {
            match value {
                Some(value) => {
                    self.hidden.remove(&key);
                    self.written.insert(key, value);
                }
                None => {
                    self.written.remove(&key);
                    self.hidden.insert(key);
                }
            }
        }
        Ok(())
    }

    /// Adds a value to a set; what was a text becomes one.
    ///
    /// # Errors
    ///
    /// [`TooMuch`], and nothing is changed.
    pub fn add(&mut self, key: MetaKey, value: String) -> Result<(), TooMuch> {
        let mut set = self.written.get(&key).map(members).unwrap_or_default();
        set.insert(value);
        let hidden = self.hidden.contains(&key);
        self.change(Changes::from([(key.clone(), Some(MetaValue::Set(set)))]))?;
        if hidden {
            self.hidden.insert(key);
        }
        Ok(())
    }

    /// What the attempt sees where others wrote `below`.
    #[must_use]
    pub fn over(&self, mut below: MetaMap) -> MetaMap {
        if self.alone {
            below.clear();
        }
        below.retain(|key, _| !self.hidden.contains(key));
        for (key, value) in &self.written {
            match (below.get_mut(key), value) {
                (Some(MetaValue::Set(all)), MetaValue::Set(values)) => {
                    all.extend(values.iter().cloned());
                }
                _ => {
                    below.insert(key.clone(), value.clone());
                }
            }
        }
        below
    }

    /// What was written, as the plugin's dataSchema declares it.
    #[must_use]
    pub fn finish(self, manifest: &Manifest) -> MetaMap {
        let shaped = |(key, value): (MetaKey, MetaValue)| {
            let declared = manifest.data_field(key.as_str()).map(|field| field.kind);
            let value = match declared {
                Some(kind) => shape(kind, value),
                None => value,
            };
            (key, value)
        };
        self.written.into_iter().map(shaped).collect()
    }
}

/// A value as `kind` wants it; plugins of this sort write texts whatever they mean.
#[must_use]
pub fn shape(kind: DataType, value: MetaValue) -> MetaValue {
    match kind {
        DataType::String => MetaValue::Text(value.to_flat()),
        DataType::Set => MetaValue::Set(members(&value)),
        DataType::Json => match value {
            MetaValue::Text(text) => match serde_json::from_str(&text) {
                Ok(serde_json::Value::String(_)) | Err(_) => MetaValue::Text(text),
                // As JSON an array of texts would be a set.
                Ok(json) => serde_json::from_value(json).unwrap_or(MetaValue::Text(text)),
            },
            other @ (MetaValue::Set(_) | MetaValue::Json(_)) => other,
        },
    }
}

/// The values of a set, which is written with `|` between them.
#[must_use]
pub fn members(value: &MetaValue) -> BTreeSet<String> {
    match value {
        MetaValue::Set(values) => values.clone(),
        MetaValue::Text(_) | MetaValue::Json(_) => {
            let text = value.to_flat();
            text.split('|').map(str::trim).filter(|v| !v.is_empty()).map(str::to_owned).collect()
        }
    }
}

/// A value as it stands in a JSON body; `None` for null, which removes.
#[must_use]
pub fn value_of(json: serde_json::Value) -> Option<MetaValue> {
    use serde_json::Value;
    match json {
        Value::Null => None,
        Value::String(text) => Some(MetaValue::Text(text)),
        Value::Bool(_) | Value::Number(_) => Some(MetaValue::Text(json.to_string())),
        Value::Array(ref items) if items.iter().all(Value::is_string) => {
            let texts = items.iter().filter_map(Value::as_str).map(str::to_owned);
            Some(MetaValue::Set(texts.collect()))
        }
        Value::Array(_) | Value::Object(_) => Some(MetaValue::Json(json)),
    }
}

fn size(key: &MetaKey, value: &MetaValue) -> usize {
    // Quotes, colon and comma.
    key.as_str().len() + value.to_flat().len() + 6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> MetaKey {
        text.parse().unwrap()
    }

    fn set(values: &[&str]) -> MetaValue {
        MetaValue::Set(values.iter().map(|&value| value.to_owned()).collect())
    }

    fn flat(meta: &MetaMap) -> String {
        let pairs = meta.iter().map(|(key, value)| format!("{key}={}", value.to_flat()));
        pairs.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn an_attempt_sees_its_own_writes_over_those_of_others() {
        let below = MetaMap::from([
            (key("a"), "1".into()),
            (key("b"), "2".into()),
            (key("s"), set(&["x"])),
        ]);
        let mut layer = Layer::default();
        let seen = |layer: &Layer| flat(&layer.over(below.clone()));
        assert_eq!(seen(&layer), "a=1 b=2 s=x");
        layer.change(Changes::from([(key("a"), Some("9".into())), (key("b"), None)])).unwrap();
        assert_eq!(seen(&layer), "a=9 s=x");
        layer.add(key("s"), "y".into()).unwrap();
        layer.add(key("s"), "y".into()).unwrap();
        assert_eq!(seen(&layer), "a=9 s=x|y");
        layer.change(Changes::from([(key("s"), None)])).unwrap();
        layer.add(key("s"), "z".into()).unwrap();
        assert_eq!(seen(&layer), "a=9 s=z");
        layer.replace(MetaMap::from([(key("only"), "this".into())])).unwrap();
        assert_eq!(seen(&layer), "only=this");
        layer.replace(MetaMap::new()).unwrap();
        assert_eq!(seen(&layer), "");
    }

    #[test]
    fn a_record_has_what_was_written_in_the_shape_that_was_declared() {
        let manifest = Manifest::from_json(
            r#"{"id":"x","name":"X","version":"1.0.0","priority":15,"queue":"fast","dataSchema":{
                "t":{},"s":{"type":"set"},"j":{"type":"json"}}}"#,
        )
        .unwrap();
        let mut layer = Layer::default();
        for (name, value) in [
            ("t", set(&["a", "b"])),
            ("s", "Action| Sci-Fi||Action".into()),
            ("j", r#"{"n":[1]}"#.into()),
            ("other", "as it is".into()),
        ] {
            layer.change(Changes::from([(key(name), Some(value))])).unwrap();
        }
        let record = serde_json::to_value(layer.finish(&manifest)).unwrap();
        let expected = serde_json::json!({
            "j": {"n": [1]}, "other": "as it is", "s": ["Action", "Sci-Fi"], "t": "a|b",
        });
        assert_eq!(record, expected);
    }

    #[test]
    fn too_much_is_refused_and_changes_nothing() {
        let mut layer = Layer::default();
        let big = || Some(MetaValue::Text("x".repeat(MAX_BYTES / 2 - 100)));
        layer.change(Changes::from([(key("a"), big())])).unwrap();
        layer.change(Changes::from([(key("a"), big())])).unwrap();
        layer.change(Changes::from([(key("b"), big())])).unwrap();
        let before = layer.clone();
        assert_eq!(layer.change(Changes::from([(key("c"), big())])), Err(TooMuch));
        assert_eq!(layer.add(key("d"), "x".repeat(1000)), Err(TooMuch));
        assert_eq!(layer, before);
        layer.change(Changes::from([(key("a"), None)])).unwrap();
        layer.change(Changes::from([(key("c"), big())])).unwrap();
    }

    #[test]
    fn values_of_json_bodies_are_texts_sets_or_json() {
        for (json, expected) in [
            ("null", None),
            ("\"7200\"", Some("7200".into())),
            ("7200", Some("7200".into())),
            ("true", Some("true".into())),
            (r#"["a","b"]"#, Some(set(&["a", "b"]))),
            ("[]", Some(set(&[]))),
            ("[1]", Some(MetaValue::Json(serde_json::json!([1])))),
        ] {
            assert_eq!(value_of(serde_json::from_str(json).unwrap()), expected, "{json}");
        }
    }
}
