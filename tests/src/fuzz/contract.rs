//! The contract: manifests, messages, and names on the wire.

use std::fmt::Debug;

use broker_config::retry::{FailureKind, Verdict};
use broker_config::wire::event::Event;
use broker_config::wire::files::{decode_path, encode_path};
use broker_config::wire::instance::Instance;
use broker_config::wire::plugin::PluginEntry;
use broker_config::{
    Announce, AnnounceReply, Control, DeadLetter, Manifest, MetaValue, Names, PluginId, Record,
    Signal, Submission, Task, codec,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Reasons that a refused manifest tells at most, and characters of one of them.
const MOST_REASONS: usize = 25;
const MOST_CHARACTERS: usize = 401;

/// `manifest.json`, as anybody may have written it.
pub fn manifest(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let manifest = match Manifest::from_json(text) {
        Ok(manifest) => manifest,
        Err(error) => {
            assert!((1..=MOST_REASONS).contains(&error.reasons.len()), "{error}");
            let longest = error.reasons.iter().map(|reason| reason.chars().count()).max();
            assert!(longest <= Some(MOST_CHARACTERS), "{error}");
            return;
        }
    };
    assert_eq!(manifest.id.kept_for(), None, "a plugin has an id of somebody else");
    assert!(!manifest.deadline().is_zero());
    let policy = manifest.retry_policy();
    let last = policy.verdict(FailureKind::Retryable, policy.max_attempts);
    assert_eq!(last, Verdict::GiveUp, "attempts have no end");
    assert!(!policy.delay(policy.max_attempts).is_zero(), "it comes back at once");
    comes_back(data, &manifest);
    // What the operator gives: nothing, and what nobody has declared.
    for given in [Map::new(), Map::from_iter([("canary".to_owned(), Value::from("hush-4711"))])] {
        match manifest.settings(&given) {
            Ok(settings) => {
                let all = settings.keys().all(|key| manifest.config_schema.contains_key(key));
                assert!(all, "a setting that nobody has declared");
            }
            Err(problems) => {
                assert!(!problems.iter().any(|problem| problem.contains("hush-4711")));
            }
        }
        let shown = Value::Object(manifest.masked(&given)).to_string();
        assert!(!shown.contains("hush-4711") || manifest.config_schema.contains_key("canary"));
    }
}

/// A message on the wire or a value in a bucket, of any kind.
pub fn message(data: &[u8]) {
    read::<Task>(data);
    read::<Submission>(data);
    read::<Announce>(data);
    read::<AnnounceReply>(data);
    read::<Control>(data);
    read::<Instance>(data);
    read::<DeadLetter>(data);
    read::<Event>(data);
    read::<PluginEntry>(data);
    read::<Signal>(data);
    if let Some(record) = read::<Record>(data) {
        let plain = |value: &MetaValue| value.as_text().is_none_or(|text| value.to_flat() == text);
        assert!(record.meta.values().all(plain));
    }
}

/// Reads a message; what can be read can be written, and then means the same.
fn read<T: DeserializeOwned + Serialize + PartialEq + Debug>(data: &[u8]) -> Option<T> {
    let message: T = serde_json::from_slice(data).ok()?;
    comes_back(data, &message);
    Some(message)
}

fn comes_back<T: DeserializeOwned + Serialize + PartialEq + Debug>(data: &[u8], message: &T) {
    let written = serde_json::to_string(message);
    assert!(written.is_ok(), "it can be read and not be written: {message:?}");
    let written = written.unwrap_or_default();
    let again = serde_json::from_str::<T>(&written);
    assert!(again.is_ok(), "it can be written and not be read: {again:?} of {written}");
    // Reading a fraction may round it, and once more the second time.
    if !serde_json::from_slice(data).is_ok_and(|value| has_fraction(&value)) {
        assert_eq!(again.ok().as_ref(), Some(message), "{written}");
    }
}

fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(has_fraction),
        Value::Object(fields) => fields.values().any(has_fraction),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

/// Tokens, subjects, keys and consumers: one spelling for each thing, one thing for each spelling.
pub fn names(data: &[u8]) {
    bytes_come_back(data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(bytes) = codec::decode(text) {
        assert_eq!(codec::encode(&bytes), text, "two spellings of one key");
    }
    let names = Names::default();
    let is = |spelled: String| assert_eq!(spelled, text, "two spellings of one subject");
    if let Some(task) = names.parse_task(text) {
        is(names.task_in(task.lane, task.queue, &task.plugin, &task.cid));
    }
    if let Some((plugin, lane, cid)) = names.parse_later(text) {
        is(names.later_in(lane, &plugin, &cid));
    }
    if let Some(record) = names.parse_record(text) {
        is(names.record(&record.cid, &record.plugin));
        assert_eq!(names.parse_trial(text), None, "a record that is a trial");
    }
    if let Some(trial) = names.parse_trial(text) {
        is(names.trial(&trial.cid, &trial.plugin));
    }
    if let Some((plugin, kind)) = names.parse_signal(text) {
        is(names.signal(&plugin, kind));
    }
    if let Some(queue) = names.parse_submit(text) {
        is(names.submit(queue));
    }
    if let Some((plugin, lane, queue)) = Names::parse_consumer(text) {
        is(Names::consumer_in(lane, &plugin, queue));
    }
    if let Some(plugin) = names.parse_versions(text) {
        is(Names::key_subject(&names.plugins_bucket(), &Names::versions_key(&plugin)));
    }
    if let Ok(plugin) = text.parse::<PluginId>() {
        is(plugin.to_string());
        assert!(!text.contains(['.', '*', '>', '_', ' ', '/']), "{text}");
    }
}

fn bytes_come_back(data: &[u8]) {
    let token = codec::encode(data);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=".contains(&byte);
    assert!(!token.is_empty() && token.bytes().all(is_plain), "{token}");
    assert_eq!(codec::decode(&token).ok().as_deref(), Some(data));
    let path = encode_path(data);
    assert_eq!(decode_path(&path).as_deref(), Some(data), "{path}");
    let (one, other) = data.split_at(data.len() / 2);
    assert_eq!(one == other, codec::encode(one) == codec::encode(other), "two things, one key");
}
