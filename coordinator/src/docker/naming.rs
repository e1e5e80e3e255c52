//! PURE: what containers, networks and labels are called, and whose a container is.

use std::collections::BTreeMap;
use std::fmt;

use broker_config::{PluginId, Prefix};
use sha2::{Digest as _, Sha256};

/// Says that a container or network is MetaFleet's.
pub const MANAGED: &str = "metafleet.managed";
/// Which fleet it belongs to.
pub const FLEET_ID: &str = "metafleet.fleet-id";
/// Which plugin it is for.
pub const PLUGIN_ID: &str = "metafleet.plugin-id";
/// Which instance a container is.
pub const INSTANCE: &str = "metafleet.instance";
/// The hash of all that it was made from.
pub const CONFIG_HASH: &str = "metafleet.config-hash";
/// Label of an image: what its plugin wants, with commas between.
pub const IMAGE_PERMISSIONS: &str = "metafleet.plugin.permissions";
/// Label of an image: the manifest of its plugin as JSON.
pub const IMAGE_MANIFEST: &str = "metafleet.plugin.manifest";

/// One fleet on one machine: containers of another are never touched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FleetId(String);

impl FleetId {
    /// The fleet with this prefix over the data folder of this node.
    #[must_use]
    pub fn new(prefix: &Prefix, node: &str) -> Self {
        Self(format!("{prefix}-{node}"))
    }

    /// As it stands in labels.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Labels of everything that belongs to `plugin`.
    #[must_use]
    pub fn labels(&self, plugin: &PluginId) -> BTreeMap<String, String> {
        [(MANAGED, "true"), (FLEET_ID, self.as_str()), (PLUGIN_ID, plugin.as_str())]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    /// Whether something with these labels is ours.
    #[must_use]
    pub fn owns(&self, labels: &BTreeMap<String, String>) -> bool {
        let says = |name: &str, value: &str| labels.get(name).is_some_and(|text| text == value);
        says(MANAGED, "true") && says(FLEET_ID, self.as_str())
    }
}

impl fmt::Display for FleetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The network of a plugin. One that leads outside has another name, so that it is never mistaken.
#[must_use]
pub fn network_name(fleet: &FleetId, plugin: &PluginId, is_open: bool) -> String {
    let end = if is_open { "-open" } else { "" };
    format!("metafleet-{fleet}-{plugin}{end}")
}

/// The interface of a network on this machine; the kernel allows 15 characters.
#[must_use]
pub fn bridge_name(network: &str) -> String {
    format!("mfb-{}", hash(network.as_bytes(), 5))
}

/// The first `bytes` bytes of the hash of `data`, in hex.
#[must_use]
pub fn hash(data: &[u8], bytes: usize) -> String {
    let whole = Sha256::digest(data);
    data_encoding::HEXLOWER.encode(whole.get(..bytes).unwrap_or(&whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_these() {
        let fleet = FleetId::new(&"mf".parse().unwrap(), "12ab");
        let plugin: PluginId = "file-info".parse().unwrap();
        assert_eq!(network_name(&fleet, &plugin, false), "metafleet-mf-12ab-file-info");
        assert_eq!(network_name(&fleet, &plugin, true), "metafleet-mf-12ab-file-info-open");
        assert_eq!(bridge_name("x").len(), 14);
        assert_ne!(bridge_name("x"), bridge_name("y"));
    }

    #[test]
    fn ours_is_only_what_has_both_labels_with_our_values() {
        let fleet = FleetId::new(&"mf".parse().unwrap(), "12ab");
        let other = FleetId::new(&"mf".parse().unwrap(), "12ac");
        let plugin: PluginId = "a".parse().unwrap();
        assert!(fleet.owns(&fleet.labels(&plugin)));
        assert!(!fleet.owns(&other.labels(&plugin)));
        for name in [MANAGED, FLEET_ID] {
            let mut labels = fleet.labels(&plugin);
            labels.remove(name);
            assert!(!fleet.owns(&labels), "{name}");
            labels.insert(name.to_owned(), String::new());
            assert!(!fleet.owns(&labels), "{name}");
        }
    }
}
