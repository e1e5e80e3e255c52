//! Metadata: a flat map from `/`-paths to text, sets of text or JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 512;

/// How many arrays and objects of a value may lie within each other.
///
/// Readers give up on what nests deeper than 128, and a value travels inside records, tasks and
/// signals: what is written must be readable wherever it comes to.
pub const MAX_JSON_DEPTH: usize = 64;

/// The path of one property, e.g. `fileinfo/streamdetails/video/0/codec`.
///
/// One or more segments joined by `/`; no segment is empty and none holds a control character.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct MetaKey(String);

/// The text is not a metadata key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("metadata key `{0}` must be `/`-separated segments, none empty, 512 bytes at most")]
pub struct InvalidMetaKey(pub String);

impl MetaKey {
    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for MetaKey {
    type Error = InvalidMetaKey;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let valid = text.len() <= MAX_KEY_BYTES
            && text.split('/').all(|segment| !segment.is_empty())
            && !text.chars().any(char::is_control);
        if valid { Ok(Self(text)) } else { Err(InvalidMetaKey(text.chars().take(80).collect())) }
    }
}

impl FromStr for MetaKey {
    type Err = InvalidMetaKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::try_from(text.to_owned())
    }
}

impl From<MetaKey> for String {
    fn from(key: MetaKey) -> Self {
        key.0
    }
}

impl fmt::Display for MetaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for MetaKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The value of one property.
///
/// On the wire: a string is text, an array of strings is a set, anything else is JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum MetaValue {
    /// One text; numbers and booleans are written as text too.
    Text(String),
    /// Several texts without order; united when several plugins write the key.
    Set(BTreeSet<String>),
    /// Structured data, for keys that the dataSchema declares as `json`.
    Json(serde_json::Value),
}

impl MetaValue {
    /// The text, when it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Set(_) | Self::Json(_) => None,
        }
    }

    /// Whether it nests deeper than [`MAX_JSON_DEPTH`], so that what holds it might not be read again.
    #[must_use]
    pub fn is_too_deep(&self) -> bool {
        matches!(self, Self::Json(value) if !fits(value, MAX_JSON_DEPTH))
    }

    /// The value as the flat text that seed-style consumers read: sets joined by `|`, JSON compact.
    #[must_use]
    pub fn to_flat(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Set(values) => values.iter().map(String::as_str).collect::<Vec<_>>().join("|"),
            Self::Json(value) => value.to_string(),
        }
    }
}

impl From<&str> for MetaValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for MetaValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// The metadata of one file as one author wrote it, or merged.
pub type MetaMap = BTreeMap<MetaKey, MetaValue>;

/// Whether a value nests no deeper than this.
fn fits(value: &serde_json::Value, depth: usize) -> bool {
    use serde_json::Value;
    let within = |inner: &Value| depth.checked_sub(1).is_some_and(|left| fits(inner, left));
    match value {
        Value::Array(items) => depth > 0 && items.iter().all(within),
        Value::Object(fields) => depth > 0 && fields.values().all(within),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

/// Whether `key` matches `pattern`: `*` and `{n}` stand for one segment (`{n}` for a number), and
/// a `*` at the end for one or more.
#[must_use]
pub fn matches_pattern(pattern: &str, key: &str) -> bool {
    let mut wanted = pattern.split('/').peekable();
    let mut found = key.split('/');
    while let Some(segment) = wanted.next() {
        let Some(have) = found.next() else { return false };
        let ok = match segment {
            "*" if wanted.peek().is_none() => return !have.is_empty(),
            "*" => true,
            "{n}" => !have.is_empty() && have.bytes().all(|b| b.is_ascii_digit()),
            literal => literal == have,
        };
        if !ok {
            return false;
        }
    }
    found.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_documented() {
        for (pattern, key, expected) in [
            ("genres", "genres", true),
            ("genres", "genres/0", false),
            ("a/{n}/b", "a/12/b", true),
            ("a/{n}/b", "a/x/b", false),
            ("a/{n}/*", "a/0/c/d", true),
            ("a/{n}/*", "a/0", false),
            ("a/*/c", "a/b/c", true),
            ("a/*/c", "a/b/d", false),
            ("*", "anything/at/all", true),
        ] {
            assert_eq!(matches_pattern(pattern, key), expected, "{pattern} {key}");
        }
    }

    #[test]
    fn values_keep_their_kind_on_the_wire() {
        for (json, expected) in [
            (r#""x""#, MetaValue::Text("x".into())),
            (r#"["a","b"]"#, MetaValue::Set(["a".to_owned(), "b".to_owned()].into())),
            (r#"{"a":1}"#, MetaValue::Json(serde_json::json!({"a": 1}))),
            (r#"[1]"#, MetaValue::Json(serde_json::json!([1]))),
        ] {
            let value: MetaValue = serde_json::from_str(json).unwrap();
            assert_eq!(value, expected, "{json}");
            assert_eq!(serde_json::to_string(&value).unwrap(), json);
        }
    }

    #[test]
    fn what_nests_too_deep_to_be_read_again_is_known() {
        for (depth, expected) in [
            (0, false),
            (1, false),
            (MAX_JSON_DEPTH, false),
            (MAX_JSON_DEPTH + 1, true),
            (999, true),
        ] {
            let nest = |inner, _| serde_json::Value::Array(vec![inner]);
            let value = MetaValue::Json((0..depth).fold(serde_json::json!(1), nest));
            assert_eq!(value.is_too_deep(), expected, "{depth}");
        }
        let object = (0..=MAX_JSON_DEPTH)
            .fold(serde_json::json!(1), |inner, _| serde_json::json!({ "a": inner }));
        assert!(MetaValue::Json(object).is_too_deep());
        assert!(!MetaValue::Text("[".repeat(100)).is_too_deep());
    }

    #[test]
    fn keys_have_no_empty_segments() {
        for (text, valid) in
            [("a", true), ("a/b", true), ("", false), ("/a", false), ("a/", false), ("a//b", false)]
        {
            assert_eq!(text.parse::<MetaKey>().is_ok(), valid, "{text}");
        }
    }
}
