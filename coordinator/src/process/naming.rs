//! PURE: the names of the processes of a plugin.

use broker_config::{InstanceId, Lane, PluginId};

use super::Wanted;
use super::wanted::{INSTANCE, SCRATCH};

/// The name of instance `n` of a plugin.
#[must_use]
pub fn instance_name(plugin: &PluginId, lane: Lane, n: u32) -> Option<InstanceId> {
    // A plugin's id with a number behind it is always the name of an instance. No plugin's id holds
    // `_`, so that no other plugin's instance is called so.
    match lane {
        Lane::Main => format!("plugin-{plugin}-{n}").parse().ok(),
        Lane::Next | Lane::Route(_) => format!("plugin-{plugin}_{lane}-{n}").parse().ok(),
    }
}

impl Wanted {
    /// The same as instance `n` of its plugin; not for one that listens at a port of its own.
    #[must_use]
    pub fn numbered(&self, n: u32) -> Option<Self> {
        let name = instance_name(&self.plugin, self.lane, n)?;
        let mut other = Self { name: name.clone(), ..self.clone() };
        other.env.insert(INSTANCE.to_owned(), name.to_string());
        if let Some(sandbox) = &mut other.sandbox {
            sandbox.scratch.set_file_name(name.as_str());
            other.env.insert(SCRATCH.to_owned(), sandbox.scratch.display().to_string());
        }
        Some(other)
    }
}
