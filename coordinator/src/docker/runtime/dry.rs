//! What a round would do, in words, with nothing done.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use super::super::DockerOptions;
use super::super::describe::{Doors, Network, Way, bridge_urls, describe, isolation_of};
use super::super::engine::{Engine, EngineError};
use super::super::memory::Moment;
use super::super::naming::network_name;
use super::super::reconcile::{Want, reconcile};
use super::super::relay::BROKER_PORTS;
use super::super::wanted::Instances;
use crate::bridge::{API_PORT, KV_PORT};
use crate::config::plugins::Protocol;

/// Lists what would be done to run `instances` and nothing else.
///
/// # Errors
///
/// [`EngineError`] while there is no engine that answers.
pub async fn dry_run(
    options: &DockerOptions,
    instances: &Instances,
) -> Result<Vec<String>, EngineError> {
    let engine = Engine::connect(&options.address).await?;
    let look = engine.look(&options.fleet).await?;
    let mut wants = BTreeMap::new();
    let mut steps = BTreeSet::new();
    let mut lines = Vec::new();
    for (name, wanted) in instances {
        let Some(image) = engine.image(&wanted.image).await? else {
            steps.insert(format!("pull the image {}", wanted.image));
            wants.insert(name.clone(), Want::Preparing(String::new()));
            if !look.found.iter().any(|found| found.instance == *name) {
                lines.push(format!("create {name} from {}", wanted.image));
            }
            continue;
        };
        let isolation = match isolation_of(wanted, &image, options.user) {
            Ok(isolation) => isolation,
            Err(reason) => {
                lines.push(format!("not start {name}: {reason}"));
                wants.insert(name.clone(), Want::Refused(reason));
                continue;
            }
        };
        let broker = match (wanted.protocol, &options.broker) {
            // The bridge is told where it listens when it does; any address stands for it here.
            (Protocol::Http, _) => None,
            (Protocol::Nats, Ok(broker)) => Some(broker),
            (Protocol::Nats, Err(reason)) => {
                lines.push(format!("not start {name}: {reason}"));
                continue;
            }
        };
        let network = network_name(&options.fleet, &wanted.plugin, isolation.is_open);
        let found = engine.network(&network).await?;
        if found.is_none() {
            steps.insert(format!("make the network {network}"));
        }
        let (id, gateway) = found.map(|found| (found.id, found.gateway)).unwrap_or_default();
        let gateway = gateway.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let [port, ..] = BROKER_PORTS;
        let network = Network { name: network, id, gateway, doors: Doors::Broker { port } };
        let secrets = &options.secrets.join(wanted.plugin.as_str());
        let urls = bridge_urls(API_PORT, KV_PORT);
        let bridge = Way::Bridge(&urls);
        let way = broker.map_or(bridge, |broker| Way::Broker { broker, port, secrets });
        let description = describe(wanted, &image, isolation, &network, way);
        wants.insert(name.clone(), Want::Ready(Box::new(description)));
    }
    for name in instances.keys().filter(|name| look.foreign.contains(name.as_str())) {
        lines.push(format!("not start {name}: a container that is not this fleet's has its name"));
    }
    let actions = reconcile(&wants, &look.found, &look.foreign, &BTreeMap::new(), Moment::ZERO);
    lines.extend(actions.iter().map(ToString::to_string));
    Ok(steps.into_iter().chain(lines).collect())
}
