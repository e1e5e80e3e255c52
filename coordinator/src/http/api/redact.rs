//! PURE: secret settings in what a plugin prints.

use broker_config::Manifest;
use broker_config::manifest::settings::MASK;
use serde_json::{Map, Value};

/// A shorter text is part of too many words to be looked for.
const SHORTEST: usize = 4;

/// The texts that must not be shown; the longest first, so that none is left of one that holds
/// another.
#[derive(Clone, Default)]
pub struct Redact(Vec<String>);

impl std::fmt::Debug for Redact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Redact").field(&self.0.len()).finish()
    }
}

impl Redact {
    /// The secrets among the settings of a plugin; without its manifest every one may be.
    #[must_use]
    pub fn of(manifest: Option<&Manifest>, settings: &Map<String, Value>) -> Self {
        let field = |key: &String| manifest.and_then(|manifest| manifest.config_schema.get(key));
        let secret = |key: &String| field(key).is_none_or(|field| field.secret);
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        let secrets = settings.iter().filter(|(key, _)| secret(key));
        let mut texts: Vec<String> = secrets
            .filter_map(|(_, value)| text(value))
            .filter(|text| text.len() >= SHORTEST)
            .collect();
        texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
        Self(texts)
    }

    /// The line without them.
    #[must_use]
    pub fn line(&self, line: &[u8]) -> String {
        let mut line = String::from_utf8_lossy(line).into_owned();
        for secret in &self.0 {
            if line.contains(secret.as_str()) {
                line = line.replace(secret.as_str(), MASK);
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_masked_and_the_rest_is_not() {
        let manifest = json!({
            "id": "p", "name": "P", "version": "1.0.0", "priority": 20, "queue": "fast",
            "dataSchema": {}, "configSchema": {
                "key": {"secret": true}, "longer": {"secret": true}, "pin": {"type": "number", "secret": true},
                "short": {"secret": true}, "site": {},
            },
        });
        let manifest = Manifest::from_json(&manifest.to_string()).unwrap();
        let settings = json!({
            "key": "hush", "longer": "hush-more", "pin": 123_456, "short": "x", "site": "example",
            "unknown": "who?",
        });
        let settings = settings.as_object().unwrap();
        let redact = Redact::of(Some(&manifest), settings);
        let shown = redact.line(b"GET example?k=hush&l=hush-more&pin=123456 x who? \xff");
        assert_eq!(shown, "GET example?k=***&l=***&pin=*** x *** \u{fffd}");
        assert_eq!(Redact::of(None, settings).line(b"example"), "***");
        assert!(!format!("{redact:?}").contains("hush"));
    }
}
