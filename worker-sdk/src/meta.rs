//! The metadata builder: what a handler fills in and what is checked when the task ends.

use std::collections::BTreeSet;

use broker_config::{Artifact, MetaKey, MetaMap, MetaValue};

/// The metadata of one file, as one plugin writes it.
///
/// Nothing here fails: a key that is not legal, or one that is used for a text and for a set, is
/// remembered and fails the task permanently with its name.
///
/// # Examples
///
/// ```
/// let mut meta = worker_sdk::Meta::new();
/// meta.text("image/width", 640).set("image/tags", ["sea", "sky"]).add("image/tags", "sun");
/// assert!(!meta.is_empty());
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Meta {
    values: MetaMap,
    mistake: Option<String>,
}

impl Meta {
    /// No metadata yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a text, replacing what the key held; an empty text is a value too.
    #[expect(clippy::needless_pass_by_value, reason = "`meta.text(key, 5)` reads better than `&5`")]
    pub fn text(&mut self, key: impl AsRef<str>, value: impl ToString) -> &mut Self {
        self.put(key.as_ref(), MetaValue::Text(value.to_string()))
    }

    /// Writes a text if there is one.
    pub fn text_opt(&mut self, key: impl AsRef<str>, value: Option<impl ToString>) -> &mut Self {
        match value {
            Some(value) => self.text(key, value),
            None => self,
        }
    }

    /// Writes a set, replacing what the key held; an empty set is not written.
    pub fn set<I, S>(&mut self, key: impl AsRef<str>, values: I) -> &mut Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        let values: BTreeSet<String> = values.into_iter().map(Into::into).collect();
        if values.is_empty() {
            return self;
        }
        self.put(key.as_ref(), MetaValue::Set(values))
    }

    /// Adds one value to a set.
    pub fn add(&mut self, key: impl AsRef<str>, value: impl Into<String>) -> &mut Self {
        let key = key.as_ref();
        match self.values.get_mut(key) {
            Some(MetaValue::Set(values)) => {
                values.insert(value.into());
                self
            }
            Some(MetaValue::Text(_) | MetaValue::Json(_)) => {
                self.note(format!("metadata key `{key}` holds a value, a set was added to"))
            }
            None => self.put(key, MetaValue::Set([value.into()].into())),
        }
    }

    /// Writes structured data, for keys that the dataSchema declares as `json`.
    pub fn json(&mut self, key: impl AsRef<str>, value: serde_json::Value) -> &mut Self {
        self.put(key.as_ref(), MetaValue::Json(value))
    }

    /// Refers to something that was kept with [`Context::put_artifact`](crate::Context::put_artifact), for
    /// keys that the dataSchema declares as `json`.
    pub fn artifact(&mut self, key: impl AsRef<str>, artifact: &Artifact) -> &mut Self {
        match serde_json::to_value(artifact) {
            Ok(value) => self.json(key, value),
            Err(error) => self.note(error.to_string()),
        }
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty() && self.mistake.is_none()
    }

    /// What was written.
    ///
    /// # Errors
    ///
    /// The first mistake that was made while writing, as text that names the key.
    pub(crate) fn finish(self) -> Result<MetaMap, String> {
        self.mistake.map_or(Ok(self.values), Err)
    }

    fn put(&mut self, key: &str, value: MetaValue) -> &mut Self {
        match key.parse::<MetaKey>() {
            Ok(key) => {
                self.values.insert(key, value);
                self
            }
            Err(error) => self.note(error.to_string()),
        }
    }

    fn note(&mut self, mistake: String) -> &mut Self {
        self.mistake.get_or_insert(mistake);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_text_wins_and_sets_grow() {
        let mut meta = Meta::new();
        meta.text("a", 1).text("a", "2").text_opt("b", None::<&str>).set("e", [""; 0]);
        meta.set("s", ["x"]).add("s", "y").add("t", "z").json("j", serde_json::json!([1]));

        let written = serde_json::to_value(meta.finish().unwrap()).unwrap();

        let expected = serde_json::json!({"a": "2", "j": [1], "s": ["x", "y"], "t": ["z"]});
        assert_eq!(written, expected);
    }

    #[test]
    fn the_first_mistake_is_kept_and_names_its_key() {
        for (mistake, named) in [
            ((|meta| meta.text("a//b", 1).text("/c", 2)) as fn(&mut Meta) -> &mut Meta, "a//b"),
            (|meta| meta.text("a", 1).add("a", "x"), "`a`"),
        ] {
            let mut meta = Meta::new();
            mistake(&mut meta);
            assert!(!meta.is_empty());
            let text = meta.finish().unwrap_err();
            assert!(text.contains(named), "{text}");
        }
    }
}
