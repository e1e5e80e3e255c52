//! PURE. Metadata as a command writes it, made what the dataSchema says.

use std::collections::BTreeMap;

use broker_config::Manifest;
use broker_config::manifest::DataType;
use serde_json::Value;
use worker_sdk::Meta;

use super::{Object, Unreadable};

/// Metadata of a JSON object. Numbers and truth values become text unless the key is for JSON; `null`
/// is left out; a list of texts is a set.
pub(super) fn of_object(object: Object, manifest: &Manifest) -> Meta {
    let mut meta = Meta::new();
    for (key, value) in object {
        let json = kind(manifest, &key) == Some(DataType::Json);
        match value {
            Value::Null => {}
            Value::String(text) => drop(meta.text(key, text)),
            Value::Number(number) if !json => drop(meta.text(key, number)),
            Value::Bool(truth) if !json => drop(meta.text(key, truth)),
            Value::Array(values) => match texts(&values) {
                Some(texts) => drop(meta.set(key, texts)),
                None => drop(meta.json(key, Value::Array(values))),
            },
            Value::Number(_) | Value::Bool(_) | Value::Object(_) => drop(meta.json(key, value)),
        }
    }
    meta
}

fn texts(values: &[Value]) -> Option<Vec<&str>> {
    values.iter().map(Value::as_str).collect()
}

/// Metadata of `key=value` lines. A key that comes more than once, or that the dataSchema calls a set, is
/// a set; the value of one that is for JSON is read as JSON where it can be.
pub(super) fn of_lines(text: &str, manifest: &Manifest) -> Result<Meta, Unreadable> {
    let mut values: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (n, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let (key, value) = line.split_once('=').ok_or(Unreadable::Line(n + 1))?;
        values.entry(key.trim()).or_default().push(value);
    }
    let mut meta = Meta::new();
    for (key, values) in values {
        match (values.as_slice(), kind(manifest, key)) {
            ([value], Some(DataType::Json)) => match serde_json::from_str(value) {
                Ok(Value::String(_)) | Err(_) => drop(meta.text(key, value)),
                Ok(json) => drop(meta.json(key, json)),
            },
            ([value], Some(DataType::String) | None) => drop(meta.text(key, value)),
            (values, _) => drop(meta.set(key, values.iter().copied())),
        }
    }
    Ok(meta)
}

fn kind(manifest: &Manifest, key: &str) -> Option<DataType> {
    manifest.data_field(key).map(|field| field.kind)
}
