//! PURE: what is shown of an instance beyond how it is: what it uses, or why there is none.

use broker_config::{Lane, PluginId};
use jiff::Timestamp;

use super::{Container, signed};
use crate::config::plugins::Runtime;
use crate::fleet::failing::NOT_STARTED;
use crate::process::instance_name;
use crate::usage::Usage;

/// The instance that is not started until somebody changes something; its name is that of the first.
pub(super) fn not_started(plugin: &PluginId, runtime: Runtime, reason: &str) -> Option<Container> {
    let name = instance_name(plugin, Lane::Main, 1)?;
    let note = Some(format!("{NOT_STARTED}{reason}"));
    Some(Container { note, ..signed(name.as_str(), ("blocked", super::runtime(runtime)), None) })
}

/// With what it uses, unless that is from before it was started.
pub(super) fn using(
    one: Container,
    started: Option<Timestamp>,
    usage: Option<&Usage>,
) -> Container {
    let usage = usage.filter(|usage| started.is_none_or(|started| started <= usage.sampled_at));
    let Some(usage) = usage else { return one };
    Container {
        cpu: usage.cpu,
        memory_bytes: Some(usage.memory_bytes),
        memory_limit_bytes: usage.memory_limit_bytes,
        pids: Some(usage.pids),
        sampled_at: Some(usage.sampled_at.to_string()),
        ..one
    }
}
