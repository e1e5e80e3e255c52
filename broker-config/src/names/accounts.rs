//! The accounts of a fleet on a server, and what a plugin may reach from its own.

use super::{Lane, Names};
use crate::id::PluginId;

impl Names {
    /// The account that has everything: streams, buckets, the coordinator and people.
    #[must_use]
    pub fn fleet_account(&self) -> String {
        self.upper.clone()
    }

    /// The account of one plugin; no fleet can be called so, because `-` is in no fleet's account.
    #[must_use]
    pub fn plugin_account(&self, plugin: &PluginId) -> String {
        format!("{}-{plugin}", self.upper)
    }

    /// Every record of one plugin, and what it says on trial in the lane [`Lane::Next`].
    #[must_use]
    pub fn records_by(&self, lane: Lane, plugin: &PluginId) -> String {
        format!("{}*.{}", self.record_root, lane.token(plugin))
    }

    /// Every artefact of one plugin in a lane.
    #[must_use]
    pub fn artifacts_by(&self, lane: Lane, plugin: &PluginId) -> String {
        let key = format!("*.{}.*", lane.token(plugin));
        Self::key_subject(&self.artifacts_bucket(), &key)
    }

    /// The signs of life of all instances of a plugin.
    #[must_use]
    pub fn instances_of(&self, plugin: &PluginId) -> String {
        Self::key_subject(&self.instances_bucket(), &format!("{plugin}.*"))
    }

    /// All requests to single instances of a plugin.
    #[must_use]
    pub fn control_instances(&self, plugin: &PluginId) -> String {
        format!("{}.*", self.control(plugin))
    }
}
