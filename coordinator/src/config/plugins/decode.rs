//! PURE: one entry of `plugins.yml`, field by field.
//!
//! Each broken rule is found, not the first only. Rules say what must be there and never what is.

mod amounts;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Component, PathBuf};

use broker_config::retry::RetryOptions;
use semver::Version;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

pub(super) use self::amounts::fleet;
use self::amounts::{RESOURCE_FIELDS, recycle, scale, set_resource, time_limit};
use super::super::base_url::BaseUrl;
use super::super::substitute::{asks, substitute};
use super::super::vars::Vars;
use super::super::yaml::{Field, Node, Value};
use super::{Images, Isolation, Mount, PluginConfig, PluginEntry, Runtime};
use crate::scale::MAX_INSTANCES;

mod routes;
mod transition;

pub(super) use self::routes::MOST as MOST_ROUTES;

/// Seven days, as in manifests.
pub(super) const MAX_TIMEOUT_MS: u64 = 7 * 24 * 3600 * 1000;

const FIELDS: &str = "enabled, runtime, type, protocol, url, urls, command, dir, instances, scale, \
                      concurrency, maxInFlight, queue, timeout, progressTimeout, retry, onDependencyFailure, recycle, resources, image, \
                      config, permissions, mounts, labels, isolation, transition, routes";
const RETRY_FIELDS: &str = "maxAttempts, backoff, initialDelay, maxDelay, delaysMs";

/// A broken rule.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) line: u64,
    pub(super) rule: String,
}

type Findings = Vec<Finding>;

/// Reads the fields under the id of a plugin, which stands on `line`.
pub(super) fn entry(
    line: u64,
    mut node: Node,
    vars: &dyn Vars,
) -> Result<PluginEntry, Vec<Finding>> {
    let mut found = Findings::new();
    fill_in(&mut node, vars, &mut found);
    let mut entry = PluginEntry::default();
    match &node.value {
        // `ffmpeg:` alone: everything as by default.
        Value::Null => {}
        Value::Map(fields) => {
            for field in fields {
                let result = set(&mut entry, field, &mut found);
                note(&mut found, field, result);
            }
        }
        Value::Bool(_) | Value::Number(_) | Value::Text { .. } | Value::List(_) => {
            let rule = format!("must be a map of fields ({FIELDS})");
            found.push(Finding { line, rule });
        }
    }
    super::whole::whole(&mut entry, &node, &mut found);
    if found.is_empty() { Ok(entry) } else { Err(found) }
}

/// Replaces the variables in all texts below `node`.
fn fill_in(node: &mut Node, vars: &dyn Vars, found: &mut Findings) {
    match &mut node.value {
        Value::Text { text, plain } if asks(text) => match substitute(text, vars) {
            Ok(filled) if *plain => node.value = infer(filled),
            Ok(filled) => *text = filled,
            Err(error) => found.push(Finding { line: node.line, rule: error.to_string() }),
        },
        Value::List(items) => {
            for item in items {
                fill_in(item, vars, found);
            }
        }
        Value::Map(fields) => {
            for field in fields {
                fill_in(&mut field.node, vars, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text { .. } => {}
    }
}

/// What an unquoted text means once its variables are filled in: `${N:-2}` is a number.
fn infer(text: String) -> Value {
    match text.as_str() {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => match serde_json::from_str(&text) {
            Ok(number) => Value::Number(number),
            Err(_) => Value::Text { text, plain: true },
        },
    }
}

/// `Err` is what must hold for the field.
type Set = Result<(), String>;

fn note(found: &mut Findings, field: &Field, result: Set) {
    if let Err(rule) = result {
        found.push(Finding { line: field.line, rule });
    }
}

/// `MetaMesh`'s word for what starts a plugin.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Type {
    Container,
    Internal,
}

const fn of_type(word: Type) -> Runtime {
    match word {
        Type::Container => Runtime::Docker,
        Type::Internal => Runtime::Internal,
    }
}

fn set(entry: &mut PluginEntry, field: &Field, found: &mut Findings) -> Set {
    let value = &field.node;
    match field.key.as_str() {
        "enabled" => read(field, "true or false").map(|value| entry.enabled = value),
        "runtime" => {
            read(field, "process, remote, docker or internal").map(|value| entry.runtime = value)
        }
        // As in MetaMesh, where there was nothing else to choose.
        "type" => read(field, "container or internal").map(|value| entry.runtime = of_type(value)),
        "protocol" => read(field, "nats or http").map(|value| entry.protocol = value),
        "url" => address(&value.to_json()).map(|url| entry.urls = vec![url]),
        "urls" => {
            let all: Vec<Json> = read(field, "a list of addresses")?;
            entry.urls = all.iter().map(address).collect::<Result<_, _>>()?;
            Ok(())
        }
        "command" => {
            let expected = "a list of texts: the program and its arguments";
            let command: Vec<String> = read(field, expected)?;
            if command.first().is_none_or(String::is_empty) {
                return Err(rule(field, expected));
            }
            entry.command = Some(command);
            Ok(())
        }
        "dir" => read(field, "the path of a folder").map(|value| entry.dir = Some(value)),
        "instances" => {
            let expected = format!("a whole number from 1 to {MAX_INSTANCES}");
            let count: NonZeroU32 = read(field, &expected)?;
            if count.get() > MAX_INSTANCES {
                return Err(rule(field, &expected));
            }
            entry.instances = count;
            Ok(())
        }
        "scale" => scale(field, found).map(|bounds| entry.scale = Some(bounds)),
        "concurrency" => count(field).map(|value| entry.concurrency = Some(value)),
        "maxInFlight" => count(field).map(|value| entry.max_in_flight = Some(value)),
        "queue" => read(field, "fast or background").map(|value| entry.queue = Some(value)),
        "timeout" => time_limit(field).map(|limit| entry.timeout = Some(limit)),
        "progressTimeout" => time_limit(field).map(|limit| entry.progress_timeout = Some(limit)),
        "retry" => {
            let mut retry = RetryOptions::default();
            each(field, RETRY_FIELDS, found, |part| set_retry(&mut retry, part))?;
            entry.retry = Some(retry);
            Ok(())
        }
        "onDependencyFailure" => {
            read(field, "run or skip").map(|value| entry.on_dependency_failure = Some(value))
        }
        "recycle" => recycle(field, found).map(|after| entry.recycle = after),
        "resources" => {
            each(field, RESOURCE_FIELDS, found, |part| set_resource(&mut entry.resources, part))
        }
        "image" => images(field).map(|value| entry.image = Some(value)),
        "config" => {
            let expected = "a map of settings";
            if !matches!(value.value, Value::Null) {
                entry.config = PluginConfig(read(field, expected)?);
            }
            Ok(())
        }
        "isolation" => {
            // Older YAML takes the words for true and false.
            entry.isolation = Some(match &value.value {
                Value::Bool(true) => Isolation::On,
                Value::Bool(false) => Isolation::Off,
                Value::Null
                | Value::Number(_)
                | Value::Text { .. }
                | Value::List(_)
                | Value::Map(_) => read(field, "on or off")?,
            });
            Ok(())
        }
        "permissions" => read(field, "a list of texts").map(|value| entry.permissions = value),
        "mounts" => {
            let expected = "a list of texts like `/data:/data` or `/data:/data:rw`";
            let texts: Vec<String> = read(field, expected)?;
            let mounts: Option<Vec<Mount>> = texts.iter().map(|text| mount(text)).collect();
            entry.mounts = mounts.ok_or_else(|| rule(field, expected))?;
            Ok(())
        }
        "labels" => {
            let expected = "a map of texts, none of them with a name that begins with `metafleet.`";
            let labels: BTreeMap<String, String> = read(field, expected)?;
            if labels.keys().any(|name| name.is_empty() || name.starts_with("metafleet.")) {
                return Err(rule(field, expected));
            }
            entry.labels = labels;
            Ok(())
        }
        "transition" => {
            transition::transition(field, found).map(|plan| entry.transition = Some(plan))
        }
        "routes" => routes::routes(field, found).map(|routes| entry.routes = routes),
        _ => Err(unknown(field, FIELDS)),
    }
}

/// Reads one address; the rule it breaks never holds the text.
fn address(value: &Json) -> Result<BaseUrl, String> {
    let text = value.as_str().unwrap_or_default();
    text.parse().map_err(|error| format!("an address {error}"))
}

/// Compose's short form: `source:target`, with `:ro` or `:rw` behind it.
fn mount(text: &str) -> Option<Mount> {
    let mut parts = text.split(':');
    let (source, target, mode) = (parts.next()?, parts.next()?, parts.next());
    let writable = match mode {
        None | Some("ro") => false,
        Some("rw") => true,
        Some(_) => return None,
    };
    let plain = |part: &Component<'_>| matches!(part, Component::Normal(_) | Component::RootDir);
    let target = PathBuf::from(target);
    let is_inside = target.is_absolute() && target.parent().is_some();
    if parts.next().is_some()
        || source.is_empty()
        || !is_inside
        || !target.components().all(|part| plain(&part))
    {
        return None;
    }
    Some(Mount { source: PathBuf::from(source), target, writable })
}

fn set_retry(retry: &mut RetryOptions, field: &Field) -> Set {
    match field.key.as_str() {
        "maxAttempts" => count(field).map(|value| retry.max_attempts = value),
        "backoff" => read(field, "exponential or fixed").map(|value| retry.backoff = value),
        "initialDelay" => read(field, "milliseconds").map(|value| retry.initial_delay = value),
        "maxDelay" => read(field, "milliseconds").map(|value| retry.max_delay = value),
        "delaysMs" => {
            read(field, "a list of milliseconds").map(|value| retry.delays_ms = Some(value))
        }
        _ => Err(unknown(field, RETRY_FIELDS)),
    }
}

fn each(
    field: &Field,
    names: &str,
    found: &mut Findings,
    mut set: impl FnMut(&Field) -> Set,
) -> Set {
    match &field.node.value {
        Value::Map(parts) => {
            for part in parts {
                let result = set(part).map_err(|rule| format!("`{}`: {rule}", field.key));
                note(found, part, result);
            }
            Ok(())
        }
        Value::Null => Ok(()),
        Value::Bool(_) | Value::Number(_) | Value::Text { .. } | Value::List(_) => {
            Err(rule(field, &format!("a map of fields ({names})")))
        }
    }
}

/// The name of one image, or one for each version.
fn images(field: &Field) -> Result<Images, String> {
    let expected = "the name of an image, or a map of versions with an image each";
    if !matches!(field.node.value, Value::Map(_)) {
        return read(field, expected).map(Images::One);
    }
    let images: BTreeMap<String, String> = read(field, expected)?;
    let parsed = images.into_iter().map(|(version, image)| Some((version.parse().ok()?, image)));
    match parsed.collect::<Option<BTreeMap<Version, String>>>() {
        Some(images) if !images.is_empty() => Ok(Images::ByVersion(images)),
        Some(_) | None => Err(rule(field, expected)),
    }
}

fn count(field: &Field) -> Result<NonZeroU32, String> {
    read(field, "a whole number from 1")
}

fn read<T: DeserializeOwned>(field: &Field, expected: &str) -> Result<T, String> {
    // The library's message would quote the value.
    serde_json::from_value(field.node.to_json()).map_err(|_| rule(field, expected))
}

fn rule(field: &Field, expected: &str) -> String {
    format!("`{}` must be {expected}", field.key)
}

fn unknown(field: &Field, names: &str) -> String {
    format!("unknown field `{}`; known are {names}", field.key.escape_debug())
}
