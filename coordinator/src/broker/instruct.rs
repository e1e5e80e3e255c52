//! Telling one instance what to do.

use async_nats::Client;
use broker_config::wire::signal::Control;
use broker_config::{InstanceId, Names, PluginId};
use tracing::debug;

use super::json;

/// Sends a request of control to one instance. Nobody acknowledges it: call it again until the
/// instance's sign of life shows that it has heard.
pub async fn instruct(
    (client, names): (&Client, &Names),
    plugin: &PluginId,
    instance: &InstanceId,
    control: &Control,
) {
    let subject = names.control_instance(plugin, instance);
    #[expect(clippy::disallowed_methods, reason = "it is told again until it shows what it does")]
    let sent = client.publish(subject, json(control)).await;
    if sent.is_err() {
        debug!(instance.id = %instance, "connection closed before it could be told");
    }
}
