//! What a plugin says about itself.
//!
//! A [`Manifest`] that exists is valid: reading one from JSON runs every check and reports all
//! that is wrong at once, in words for the plugin's author.

mod check;
pub mod data;
pub mod engine;
pub mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::check::Check;
pub use self::data::{DataField, DataType};
pub use self::engine::LastEngine;
pub use self::settings::{ConfigField, ConfigOption, ConfigType, SettingProblem};
use crate::filter::Filter;
use crate::id::PluginId;
use crate::queue::Queue;
use crate::retry::{RetryOptions, RetryPolicy};

/// Time for one attempt when the manifest does not say, in milliseconds.
pub const DEFAULT_TIMEOUT_MS: u64 = 30_000;
/// The only version of the protocol there is.
pub const PROTOCOL: u32 = 1;
/// Longest allowed timeout: seven days, in milliseconds.
const MAX_TIMEOUT_MS: u64 = 7 * 24 * 3600 * 1000;

/// A plugin's description of itself, as written; see [`Manifest`] for the checks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "ManifestOptions", rename_all = "camelCase")]
pub struct Manifest {
    /// Unique name.
    pub id: PluginId,
    /// For people.
    pub name: String,
    /// Semantic version; a new one runs the plugin again on every file.
    #[schemars(with = "String")]
    pub version: semver::Version,
    /// 10 to 100, lower earlier: orders plugins that could run at the same time, and the merge of
    /// metadata (later wins).
    pub priority: u8,
    /// Where its tasks wait, unless the submission says otherwise.
    pub queue: Queue,
    /// The keys it writes; it can write no others.
    pub data_schema: BTreeMap<String, DataField>,
    /// One line for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Where its source is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Where to read about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub website: Option<String>,
    /// SPDX expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// For people to find it by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What sort of plugin it is, for people, e.g. `metadata_scraper`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Time for one attempt, in milliseconds.
    pub timeout: u64,
    /// Time within an attempt from one report of progress to the next, in milliseconds; absent = no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress_timeout: Option<u64>,
    /// Plugins that must be done with a file before this one gets it.
    pub dependencies: BTreeSet<PluginId>,
    /// Patterns of the metadata it wants to see; absent = all of the plugins it depends on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reads: Option<Vec<String>>,
    /// Which files it wants; empty = all.
    pub filter: Filter,
    /// Its settings.
    pub config_schema: BTreeMap<String, ConfigField>,
    /// How failures are tried again.
    pub retry: RetryOptions,
    /// Whether it runs although something it depends on has failed.
    pub on_dependency_failure: OnDependencyFailure,
    /// Tasks that one instance runs at once; absent = the SDK decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<NonZeroU32>,
    /// Tasks at once over the whole fleet; absent = no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<NonZeroU32>,
    /// The program, when a fleet is to start it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry_point: Option<EntryPoint>,
    /// Version of the protocol it speaks.
    pub protocol: u32,
    /// The first version of MetaFleet that it works with; absent = any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub min_engine_version: Option<semver::Version>,
    /// The last one; absent = any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub max_engine_version: Option<LastEngine>,
    /// What it can do beyond metadata, for people and pages.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub capabilities: BTreeMap<String, bool>,
    /// What it asks for beyond reading files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<String>,
    /// Hints for pages, e.g. `color`.
    #[serde(skip_serializing_if = "serde_json::Value::is_null")]
    pub ui: serde_json::Value,
}

/// Whether a plugin runs although something it depends on has failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnDependencyFailure {
    /// It runs without the missing metadata.
    #[default]
    Run,
    /// It does not run.
    Skip,
}

/// How to start a plugin as a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EntryPoint {
    /// The program, relative to the plugin's folder.
    pub main: String,
    /// Its arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
}

/// The manifest breaks at least one rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid manifest: {}", reasons.join("; "))]
pub struct InvalidManifest {
    /// Everything that is wrong, each with the field it is about.
    pub reasons: Vec<String>,
}

/// A manifest as its author wrote it: required fields may be missing, values out of range.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ManifestOptions {
    id: Option<String>,
    name: Option<String>,
    version: Option<String>,
    priority: Option<f64>,
    queue: Option<String>,
    data_schema: Option<BTreeMap<String, DataField>>,
    description: Option<String>,
    author: Option<String>,
    repository: Option<String>,
    website: Option<String>,
    license: Option<String>,
    tags: Vec<String>,
    #[serde(rename = "type")]
    category: Option<String>,
    timeout: Option<u64>,
    progress_timeout: Option<u64>,
    dependencies: Vec<String>,
    reads: Option<Vec<String>>,
    filter: Option<Filter>,
    config_schema: Option<BTreeMap<String, ConfigField>>,
    retry: RetryOptions,
    on_dependency_failure: OnDependencyFailure,
    concurrency: Option<u32>,
    max_in_flight: Option<u32>,
    entry_point: Option<EntryPoint>,
    protocol: Option<u32>,
    min_engine_version: Option<String>,
    max_engine_version: Option<String>,
    capabilities: BTreeMap<String, bool>,
    permissions: Vec<String>,
    ui: serde_json::Value,
}

impl Manifest {
    /// Reads and checks a manifest.
    ///
    /// # Errors
    ///
    /// [`InvalidManifest`] with every broken rule, or with the place where the JSON breaks.
    pub fn from_json(text: &str) -> Result<Self, InvalidManifest> {
        let options: ManifestOptions = serde_json::from_str(text)
            .map_err(|error| InvalidManifest::of(vec![error.to_string()]))?;
        Self::try_from(options)
    }

    /// Time for one attempt.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        Duration::from_millis(self.timeout)
    }

    /// How failures are tried again, as tasks carry it.
    #[must_use]
    pub fn retry_policy(&self) -> RetryPolicy {
        self.retry.policy()
    }
}

impl TryFrom<ManifestOptions> for Manifest {
    type Error = InvalidManifest;

    fn try_from(raw: ManifestOptions) -> Result<Self, Self::Error> {
        let mut check = Check::default();
        let id = check.parsed::<PluginId>("id", raw.id);
        let name = check.text("name", raw.name);
        let version = check.parsed::<semver::Version>("version", raw.version);
        let priority = check.priority(raw.priority);
        let queue = check.parsed::<Queue>("queue", raw.queue);
        let data_schema = check.required("dataSchema", raw.data_schema);
        let timeout = raw.timeout.unwrap_or(DEFAULT_TIMEOUT_MS);
        check.holds((1..=MAX_TIMEOUT_MS).contains(&timeout), || {
            format!("timeout: {timeout} must be 1 to {MAX_TIMEOUT_MS} milliseconds")
        });
        let progress_timeout = raw.progress_timeout;
        check.holds(progress_timeout.is_none_or(|ms| (1..=MAX_TIMEOUT_MS).contains(&ms)), || {
            format!("progressTimeout: must be 1 to {MAX_TIMEOUT_MS} milliseconds")
        });
        let dependencies: BTreeSet<PluginId> = raw
            .dependencies
            .into_iter()
            .filter_map(|text| check.parsed("dependencies", Some(text)))
            .collect();
        let protocol = raw.protocol.unwrap_or(PROTOCOL);
        check.holds(protocol == PROTOCOL, || {
            format!("protocol: {protocol} is not spoken here, only {PROTOCOL}")
        });
        let min_engine_version = check.optional("minEngineVersion", raw.min_engine_version);
        let max_engine_version = check.optional("maxEngineVersion", raw.max_engine_version);
        let range = engine::range_problem(min_engine_version.as_ref(), max_engine_version.as_ref());
        check.reasons.extend(range);
        let concurrency = check.positive("concurrency", raw.concurrency);
        let max_in_flight = check.positive("maxInFlight", raw.max_in_flight);
        let config_schema = raw.config_schema.unwrap_or_default();
        check.reasons.extend(settings::schema_problems(&config_schema));
        if let Some(schema) = &data_schema {
            check.reasons.extend(data::schema_problems(schema));
        }
        if let Some((id, whom)) = id.as_ref().and_then(|id| Some((id, id.kept_for()?))) {
            check.reasons.push(format!("id: `{id}` is kept for {whom}"));
        }
        let (Some(id), Some(name), Some(version), Some(priority), Some(queue), Some(data_schema)) =
            (id, name, version, priority, queue, data_schema)
        else {
            return Err(InvalidManifest::of(check.reasons));
        };
        if !check.reasons.is_empty() {
            return Err(InvalidManifest::of(check.reasons));
        }
        Ok(Self {
            id,
            name,
            version,
            priority,
            queue,
            data_schema,
            description: raw.description,
            author: raw.author,
            repository: raw.repository,
            website: raw.website,
            license: raw.license,
            tags: raw.tags,
            category: raw.category,
            timeout,
            progress_timeout,
            dependencies,
            reads: raw.reads,
            filter: raw.filter.unwrap_or_default(),
            config_schema,
            retry: raw.retry,
            on_dependency_failure: raw.on_dependency_failure,
            concurrency,
            max_in_flight,
            entry_point: raw.entry_point,
            protocol,
            min_engine_version,
            max_engine_version,
            capabilities: raw.capabilities,
            permissions: raw.permissions,
            ui: raw.ui,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str =
        r#"{"id":"x","name":"X","version":"1.0.0","priority":15,"queue":"fast","dataSchema":{}}"#;

    #[test]
    fn what_is_left_out_has_the_documented_default() {
        let manifest = Manifest::from_json(MINIMAL).unwrap();
        assert_eq!((manifest.timeout, manifest.progress_timeout), (30_000, None));
        assert_eq!(manifest.retry_policy().max_attempts.get(), 3);
        assert_eq!(manifest.on_dependency_failure, OnDependencyFailure::Run);
        assert!(manifest.dependencies.is_empty() && manifest.reads.is_none());
    }

    #[test]
    fn a_manifest_survives_the_wire() {
        let manifest = Manifest::from_json(MINIMAL).unwrap();
        let json = serde_json::to_string(&manifest).unwrap();
        assert_eq!(Manifest::from_json(&json).unwrap(), manifest);
    }

    #[test]
    fn every_broken_rule_is_named() {
        let field = |name: &str, value: &str| {
            let mut json: serde_json::Value = serde_json::from_str(MINIMAL).unwrap();
            json[name] = serde_json::from_str(value).unwrap();
            json.to_string()
        };
        for (json, reason) in [
            ("{}".to_owned(), "id: is required"),
            ("{}".to_owned(), "dataSchema: is required"),
            (field("id", r#""A b""#), "plugin id `A b`"),
            (field("id", r#""user""#), "kept for the person"),
            (field("id", r#""coordinator""#), "kept for the coordinator's login"),
            (field("version", r#""1""#), "version:"),
            (field("priority", "9"), "priority: 9"),
            (field("priority", "12.5"), "priority: 12.5"),
            (field("queue", r#""slow""#), "queue `slow`"),
            (field("timeout", "0"), "timeout: 0"),
            (field("progressTimeout", "0"), "progressTimeout: must be"),
            (field("dependencies", r#"["B"]"#), "dependencies:"),
            (field("protocol", "2"), "protocol: 2"),
            (field("concurrency", "0"), "concurrency:"),
            (field("name", r#"" ""#), "name: must not be empty"),
            ("{".to_owned(), "EOF"),
        ] {
            let error = Manifest::from_json(&json).unwrap_err().to_string();
            assert!(error.contains(reason), "{json}: {error}");
        }
    }
}
