//! PURE: a manifest against its schema and the rules, with everything that is wrong at once.

use broker_config::{InvalidManifest, Manifest};
use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use serde_json::{Map, Value};

use super::{Finding, Subject, push};

/// What the manifests' schema knows.
#[derive(Debug)]
pub struct Rules {
    validator: Validator,
    fields: Vec<String>,
}

impl Rules {
    /// The rules of this version; `None` only if its own schema were none.
    #[must_use]
    pub fn new() -> Option<Self> {
        let (_, schema) =
            broker_config::schema::all().into_iter().find(|(name, _)| *name == "manifest")?;
        let fields = schema.get("properties")?.as_object()?.keys().cloned().collect();
        Some(Self { validator: jsonschema::validator_for(&schema).ok()?, fields })
    }

    /// Looks over the text of a manifest; the manifest itself comes only when it holds.
    #[must_use]
    pub fn judge(&self, text: &str) -> (Option<Subject>, Vec<Finding>) {
        let raw: Value = match serde_json::from_str(text) {
            Ok(raw) => raw,
            Err(error) => {
                let finding = Finding::error("", format!("it is no JSON: {error}"));
                return (None, vec![finding.advise("look at that line and column")]);
            }
        };
        let Some(object) = raw.as_object() else {
            let finding = Finding::error("", "it must be a JSON object");
            return (None, vec![finding.advise("begin with { and a field `id`")]);
        };
        let mut findings: Vec<Finding> =
            self.validator.iter_errors(&raw).map(|error| deepest(&error)).collect();
        // The rules are looked at also where the shape of a field is wrong: without that field.
        let wrong: Vec<String> =
            findings.iter().filter_map(|finding| first(&finding.pointer)).collect();
        let mut sound = object.clone();
        sound.retain(|field, _| !wrong.contains(field));
        let judged = Manifest::from_json(&Value::Object(sound).to_string());
        if let Err(InvalidManifest { reasons }) = &judged {
            let found = reasons.iter().map(|reason| finding(reason, object));
            findings.extend(found.filter(|finding| {
                first(&finding.pointer).is_none_or(|field| !wrong.contains(&field))
            }));
        }
        findings.extend(self.unknown(object));
        match judged {
            Ok(manifest) if wrong.is_empty() => (Some(Subject { raw, manifest }), findings),
            Ok(_) | Err(_) => (None, findings),
        }
    }

    /// Fields that nobody reads, which are mistakes more often than not.
    fn unknown(&self, object: &Map<String, Value>) -> Vec<Finding> {
        let is_unknown = |field: &&String| *field != "$schema" && !self.fields.contains(field);
        object
            .keys()
            .filter(is_unknown)
            .map(|field| {
                let meant = self.fields.iter().find(|known| distance(known, field) <= 2);
                let advice = match meant {
                    Some(known) => format!("is `{known}` meant?"),
                    None => "take it out; nobody reads it".to_owned(),
                };
                Finding::warning(push("", field), format!("there is no field `{field}`"))
                    .advise(advice)
            })
            .collect()
    }
}

/// A mistake of shape. Where something else would have been allowed, too (mostly nothing at all), it is the
/// mistake that lies deepest.
fn deepest(error: &ValidationError<'_>) -> Finding {
    let own = || Finding::error(error.instance_path().to_string(), error.to_string());
    if let ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } =
        error.kind()
    {
        let depth = |finding: &Finding| finding.pointer.matches('/').count();
        let inner = context.iter().flatten().map(deepest).max_by_key(depth);
        return inner.filter(|inner| depth(inner) > depth(&own())).unwrap_or_else(own);
    }
    own()
}

/// The field that a pointer leads to or into.
fn first(pointer: &str) -> Option<String> {
    pointer.split('/').nth(1).map(|field| field.replace("~1", "/").replace("~0", "~"))
}

/// A broken rule, with the place of what it names.
fn finding(reason: &str, object: &Map<String, Value>) -> Finding {
    let Some((field, rest)) = reason.split_once(": ") else { return Finding::error("", reason) };
    if field.contains(' ') {
        return Finding::error("", reason);
    }
    let pointer = push("", field);
    let quoted = rest.split('`').nth(1).unwrap_or_default();
    match object.get(field) {
        Some(Value::Object(members)) => {
            if let Some((key, rule)) = rest.split_once(": ")
                && members.contains_key(key)
            {
                return Finding::error(push(&pointer, key), rule);
            }
            let is_named = |(key, member): &(&String, &Value)| {
                let pattern = member.get("pattern").and_then(Value::as_str);
                key.as_str() == quoted || pattern == Some(quoted)
            };
            match members.iter().find(is_named) {
                Some((key, _)) => Finding::error(push(&pointer, key), rest),
                None => Finding::error(pointer, rest),
            }
        }
        Some(Value::Array(items)) => {
            match items.iter().position(|item| item.as_str() == Some(quoted)) {
                Some(at) => Finding::error(format!("{pointer}/{at}"), rest),
                None => Finding::error(pointer, rest),
            }
        }
        _ => Finding::error(pointer, rest),
    }
}

/// How many letters differ (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, a) in one.chars().enumerate() {
        let mut next = vec![at + 1];
        for ((b, above), corner) in other.iter().zip(row.iter().skip(1)).zip(&row) {
            let left = next.last().copied().unwrap_or_default();
            next.push((corner + usize::from(a != *b)).min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Severity;
    use super::*;

    fn judge(change: &Value) -> (Option<Subject>, Vec<Finding>) {
        let mut manifest = json!({
            "$schema": "https://example.org/manifest.schema.json",
            "id": "a", "name": "A", "version": "1.0.0", "priority": 50, "queue": "fast",
            "dataSchema": {"a/x": {}},
        });
        for (field, value) in change.as_object().unwrap() {
            manifest[field] = value.clone();
        }
        Rules::new().unwrap().judge(&manifest.to_string())
    }

    #[test]
    fn a_manifest_that_holds_has_nothing_to_mend() {
        let (subject, findings) = judge(&json!({}));
        assert_eq!(findings, []);
        assert_eq!(subject.unwrap().manifest.id.as_str(), "a");
    }

    #[test]
    fn everything_that_is_wrong_is_told_with_its_place_and_what_to_do() {
        for (change, pointer, what, advice) in [
            (json!({"id": "A b"}), "/id", "plugin id `A b`", "word-count"),
            (json!({"id": "user"}), "/id", "kept for the person", "word-count"),
            (json!({"version": "1"}), "/version", "", "1.0.0"),
            (json!({"version": 1}), "/version", "is not of type", "1.0.0"),
            (json!({"priority": 5}), "/priority", "5 must be", "10 to 100"),
            (json!({"queue": "slow"}), "/queue", "queue `slow`", "background"),
            (json!({"dataSchema": null}), "/dataSchema", "is required", "list each key"),
            (
                json!({"dataSchema": {"a/": {}}}),
                "/dataSchema/a~1",
                "metadata key `a/`",
                "list each",
            ),
            (
                json!({"dataSchema": {"a/x": {"type": "number"}}}),
                "/dataSchema/a~1x/type",
                "",
                "string, set or json",
            ),
            (json!({"dataSchema": {"f": {"pattern": "/f"}}}), "/dataSchema/f", "`/f`", "list each"),
            (json!({"dependencies": ["b", "B"]}), "/dependencies/1", "`B`", "ids of plugins"),
            (json!({"dependencies": "b"}), "/dependencies", "is not of type", "ids of plugins"),
            (
                json!({"configSchema": {"k": {"type": "select"}}}),
                "/configSchema/k",
                "a select needs options",
                "select with options",
            ),
            (json!({"filter": {"minSize": "1"}}), "/filter/minSize", "", "mimeTypes"),
            (json!({"concurrency": 0}), "/concurrency", "at least 1", "leave it out"),
            (json!({"protocol": 2}), "/protocol", "2 is not spoken", "leave it out"),
        ] {
            let (subject, findings) = judge(&change);
            assert!(subject.is_none(), "{change}");
            let [finding] = findings.as_slice() else { panic!("{change}: {findings:?}") };
            assert_eq!((finding.severity, finding.pointer.as_str()), (Severity::Error, pointer));
            assert!(finding.what.contains(what), "{change}: {}", finding.what);
            assert!(finding.advice.contains(advice), "{change}: {}", finding.advice);
        }
    }

    #[test]
    fn problems_of_shape_do_not_hide_broken_rules() {
        let (_, findings) = judge(&json!({"timeout": "x", "priority": 5, "queue": "slow"}));
        let pointers: Vec<&str> = findings.iter().map(|found| found.pointer.as_str()).collect();
        assert_eq!(pointers, ["/timeout", "/priority", "/queue"]);
    }

    #[test]
    fn a_field_that_nobody_reads_is_a_warning_with_what_may_be_meant() {
        let (subject, findings) = judge(&json!({"dependancies": ["b"], "frobnicate": 1}));
        assert!(subject.is_some());
        let told: Vec<_> = findings
            .iter()
            .map(|found| (found.severity, found.pointer.as_str(), found.advice.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                (Severity::Warning, "/dependancies", "is `dependencies` meant?"),
                (Severity::Warning, "/frobnicate", "take it out; nobody reads it"),
            ]
        );
    }

    #[test]
    fn what_is_no_json_says_where() {
        let rules = Rules::new().unwrap();
        for (text, what) in [("{\n  \"id\": }", "line 2"), ("[]", "must be a JSON object")] {
            let (subject, findings) = rules.judge(text);
            assert!(subject.is_none());
            assert!(findings[0].what.contains(what), "{findings:?}");
        }
    }
}
