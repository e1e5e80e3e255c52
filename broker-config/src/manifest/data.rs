//! The keys a plugin writes, and the check of what it wrote.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Manifest;
use crate::meta::{MAX_JSON_DEPTH, MetaKey, MetaMap, MetaValue, matches_pattern};

/// One key, or one family of keys, that a plugin writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct DataField {
    /// For people.
    pub label: String,
    /// The kind of value.
    #[serde(rename = "type")]
    pub kind: DataType,
    /// Whether people should not edit it.
    pub readonly: bool,
    /// The keys, when it is a family: `{n}` is a number, `*` any segment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// More for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The kind of a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DataType {
    /// One text.
    #[default]
    String,
    /// Anything.
    Json,
    /// Texts without order.
    Set,
}

impl Manifest {
    /// The field of the dataSchema that allows `key`.
    #[must_use]
    pub fn data_field(&self, key: &str) -> Option<&DataField> {
        self.data_schema.get(key).or_else(|| {
            self.data_schema
                .iter()
                .find(|(name, field)| {
                    let family = field.pattern.as_deref();
                    matches_pattern(name, key)
                        || family.is_some_and(|pattern| matches_pattern(pattern, key))
                })
                .map(|(_, field)| field)
        })
    }

    /// Says what in `meta` the dataSchema does not allow; empty if all is well.
    #[must_use]
    pub fn data_problems(&self, meta: &MetaMap) -> Vec<String> {
        meta.iter().filter_map(|(key, value)| self.data_problem(key, value)).collect()
    }

    fn data_problem(&self, key: &MetaKey, value: &MetaValue) -> Option<String> {
        let Some(field) = self.data_field(key.as_str()) else {
            return Some(format!("key `{key}` is not in the dataSchema of {}", self.id));
        };
        if value.is_too_deep() {
            return Some(format!("key `{key}` nests deeper than {MAX_JSON_DEPTH}"));
        }
        let (fits, wanted) = match field.kind {
            DataType::Json => (true, "json"),
            DataType::String => (matches!(value, MetaValue::Text(_)), "a string"),
            DataType::Set => (matches!(value, MetaValue::Set(_)), "an array of strings"),
        };
        (!fits).then(|| format!("key `{key}` must be {wanted}"))
    }
}

/// Says which keys of a dataSchema no metadata key can match.
pub(super) fn schema_problems(schema: &BTreeMap<String, DataField>) -> Vec<String> {
    schema
        .iter()
        .flat_map(|(name, field)| [Some(name), field.pattern.as_ref()])
        .flatten()
        .filter_map(|key| key.parse::<MetaKey>().err())
        .map(|error| format!("dataSchema: {error}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_must_be_declared() {
        let manifest = Manifest::from_json(
            r#"{"id":"x","name":"X","version":"1.0.0","priority":15,"queue":"fast","dataSchema":{
                "a":{"type":"string"},"s":{"type":"set"},"j":{"type":"json"},"k/{n}/*":{},
                "f":{"type":"string","pattern":"f/{n}/x"}}}"#,
        )
        .unwrap();
        let text = || MetaValue::from("v");
        let set = || MetaValue::Set(["v".to_owned()].into());
        let deep = (0..65).fold(serde_json::json!(1), |inner, _| serde_json::json!([inner]));
        for (key, value, problem) in [
            ("a", text(), None),
            ("a", set(), Some("must be a string")),
            ("s", set(), None),
            ("s", text(), Some("must be an array")),
            ("j", MetaValue::Json(1.into()), None),
            ("j", text(), None),
            ("j", MetaValue::Json(deep), Some("nests deeper than 64")),
            ("k/0/codec", text(), None),
            ("k/x/codec", text(), Some("not in the dataSchema")),
            ("f/1/x", text(), None),
            ("other", text(), Some("not in the dataSchema of x")),
        ] {
            let meta = MetaMap::from([(key.parse().unwrap(), value)]);
            let found = manifest.data_problems(&meta);
            assert_eq!(found.is_empty(), problem.is_none(), "{key}: {found:?}");
            assert!(problem.is_none_or(|text| found[0].contains(text)), "{key}: {found:?}");
        }
    }
}
