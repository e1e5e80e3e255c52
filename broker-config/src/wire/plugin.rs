//! A plugin as the fleet knows it, also while no instance of it runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::manifest::Manifest;

super::message_type!(
    /// `metafleet.plugin.v1`
    PluginType = "metafleet.plugin.v1"
);

/// The value of key `<plugin>` in the bucket of plugins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PluginEntry {
    /// `metafleet.plugin.v1`
    #[serde(rename = "type")]
    pub kind: PluginType,
    /// What it announced last.
    pub manifest: Manifest,
    /// Whether it takes part in new runs.
    #[serde(default = "enabled")]
    pub enabled: bool,
    /// Whether a fleet starts it (as opposed to: somebody else does, and it only announces itself).
    #[serde(default)]
    pub managed: bool,
    /// Whether its tasks wait.
    #[serde(default)]
    pub paused: bool,
    /// Hash of its settings and of what the operator overrides; with the manifest it says whether
    /// files that have not changed must be looked at again.
    #[serde(default)]
    pub settings_hash: String,
    /// First announcement of this version, or since it was switched off, RFC 3339.
    #[serde(default)]
    pub registered_at: String,
}

const fn enabled() -> bool {
    true
}
