//! A plugin's settings: what it asks for, and the check of what the operator gave.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Manifest;

/// What stands in place of a secret wherever people or programs look.
pub const MASK: &str = "***";

/// One setting that a plugin asks for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ConfigField {
    /// The kind of value.
    #[serde(rename = "type")]
    pub kind: ConfigType,
    /// For people.
    pub label: String,
    /// More for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether the plugin cannot serve without it.
    pub required: bool,
    /// Whether the value is never shown.
    pub secret: bool,
    /// The value when none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// The choices of a `select`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<ConfigOption>,
}

/// The kind of a setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConfigType {
    /// Text.
    #[default]
    String,
    /// One of `options`.
    Select,
    /// Yes or no.
    Boolean,
    /// A number.
    Number,
}

/// One choice of a `select`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigOption {
    /// What the plugin gets.
    pub value: String,
    /// For people.
    #[serde(default)]
    pub label: String,
}

/// A setting that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {rule}")]
pub struct SettingProblem {
    /// Which.
    pub key: String,
    /// The rule; it never holds the value.
    pub rule: String,
}

impl Manifest {
    /// Checks the operator's values and fills in the defaults.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, by key. No text holds a value, because it may be a secret.
    pub fn settings(&self, given: &Map<String, Value>) -> Result<Map<String, Value>, Vec<String>> {
        self.checked_settings(given)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    /// As [`Manifest::settings`], with the key of each problem for itself.
    ///
    /// # Errors
    ///
    /// Everything that is wrong.
    pub fn checked_settings(
        &self,
        given: &Map<String, Value>,
    ) -> Result<Map<String, Value>, Vec<SettingProblem>> {
        let problem = |key: &str, rule: String| SettingProblem { key: key.to_owned(), rule };
        let mut problems: Vec<SettingProblem> = given
            .keys()
            .filter(|key| !self.config_schema.contains_key(*key))
            .map(|key| problem(key, format!("{} has no such setting", self.id)))
            .collect();
        let mut settings = Map::new();
        for (key, field) in &self.config_schema {
            let value = given.get(key).or(field.default.as_ref());
            match value {
                Some(value) if field.required && value.as_str() == Some("") => {
                    problems.push(problem(key, "is required".to_owned()));
                }
                Some(value) => match field.convert(value) {
                    Some(value) => {
                        settings.insert(key.clone(), value);
                    }
                    None => problems.push(problem(key, format!("must be {}", field.wanted()))),
                },
                None if field.required => problems.push(problem(key, "is required".to_owned())),
                None => {}
            }
        }
        if problems.is_empty() { Ok(settings) } else { Err(problems) }
    }

    /// The same settings with every secret masked, for people, logs and buckets.
    #[must_use]
    pub fn masked(&self, settings: &Map<String, Value>) -> Map<String, Value> {
        settings
            .iter()
            .map(|(key, value)| {
                // A value nobody declared may be anything, so it is not shown either.
                let shown = self.config_schema.get(key).is_some_and(|field| !field.secret);
                (key.clone(), if shown { value.clone() } else { Value::from(MASK) })
            })
            .collect()
    }
}

impl ConfigField {
    /// The value in the declared kind; text is read as a number or boolean where one is wanted,
    /// because substituted variables are text.
    fn convert(&self, value: &Value) -> Option<Value> {
        match self.kind {
            ConfigType::String => match value {
                Value::String(_) => Some(value.clone()),
                Value::Number(number) => Some(Value::from(number.to_string())),
                Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
            },
            ConfigType::Select => {
                let text = value.as_str()?;
                self.options.iter().any(|option| option.value == text).then(|| value.clone())
            }
            ConfigType::Boolean => match value.as_str() {
                Some(text) => text.parse().ok().map(Value::Bool),
                None => value.as_bool().map(Value::Bool),
            },
            ConfigType::Number => match value.as_str() {
                Some(text) => {
                    serde_json::from_str::<serde_json::Number>(text).ok().map(Value::from)
                }
                None => value.is_number().then(|| value.clone()),
            },
        }
    }

    fn wanted(&self) -> String {
        match self.kind {
            ConfigType::String => "text".to_owned(),
            ConfigType::Boolean => "true or false".to_owned(),
            ConfigType::Number => "a number".to_owned(),
            ConfigType::Select => {
                let choices: Vec<&str> = self.options.iter().map(|o| o.value.as_str()).collect();
                format!("one of {}", choices.join(", "))
            }
        }
    }
}

/// Says which settings contradict themselves.
pub(super) fn schema_problems(schema: &BTreeMap<String, ConfigField>) -> Vec<String> {
    let mut problems = Vec::new();
    for (key, field) in schema {
        if field.kind == ConfigType::Select && field.options.is_empty() {
            problems.push(format!("configSchema: {key}: a select needs options"));
        }
        let empty = |value: &Value| value.as_str() == Some("");
        if let Some(default) = &field.default
            && !empty(default)
            && field.convert(default).is_none()
        {
            problems.push(format!("configSchema: {key}: the default must be {}", field.wanted()));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifest() -> Manifest {
        Manifest::from_json(
            r#"{"id":"x","name":"X","version":"1.0.0","priority":15,"queue":"fast","dataSchema":{},"configSchema":{
            "apiKey":{"type":"string","required":true,"secret":true,"default":""},
            "lang":{"type":"select","default":"en","options":[{"value":"en","label":"E"},{"value":"ja","label":"J"}]},
            "adult":{"type":"boolean","default":false},"limit":{"type":"number"}}}"#,
        )
        .unwrap()
    }

    #[test]
    fn defaults_are_filled_in_and_text_is_converted() {
        let given = json!({"apiKey": "k", "adult": "true", "limit": "5"});
        let settings = manifest().settings(given.as_object().unwrap()).unwrap();
        assert_eq!(
            Value::from(settings),
            json!({"apiKey": "k", "lang": "en", "adult": true, "limit": 5})
        );
    }

    #[test]
    fn problems_name_the_key_and_never_the_value() {
        for (given, problem) in [
            (json!({}), "apiKey: is required"),
            (json!({"apiKey": "hush", "lang": "hush"}), "lang: must be one of en, ja"),
            (json!({"apiKey": "hush", "adult": "hush"}), "adult: must be true or false"),
            (json!({"apiKey": "hush", "limit": "hush"}), "limit: must be a number"),
            (json!({"apiKey": "hush", "more": "hush"}), "more: x has no such setting"),
        ] {
            let problems = manifest().settings(given.as_object().unwrap()).unwrap_err().join(";");
            assert!(problems.contains(problem), "{given}: {problems}");
            assert!(!problems.contains("hush"), "{problems}");
        }
    }

    #[test]
    fn secrets_and_undeclared_values_are_masked() {
        let settings = json!({"apiKey": "hush", "lang": "en", "more": "hush"});
        let masked = manifest().masked(settings.as_object().unwrap());
        assert_eq!(Value::from(masked), json!({"apiKey": "***", "lang": "en", "more": "***"}));
    }
}
