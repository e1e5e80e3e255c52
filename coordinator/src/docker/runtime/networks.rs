//! A network for each plugin, with the relay as its only door.

use std::collections::{BTreeMap, BTreeSet};

use broker_config::PluginId;
use tracing::debug;

use super::super::broker::Broker;
use super::super::describe::Network;
use super::super::engine::{Engine, EngineError};
use super::super::firewall::Firewall;
use super::super::naming::{FleetId, bridge_name, network_name};
use super::super::relay::Relay;

/// The networks of the fleet.
pub(super) struct Networks {
    fleet: FleetId,
    firewall: Option<Firewall>,
    /// By name.
    open: BTreeMap<String, Door>,
    /// For which networks the firewall was looked through last.
    kept: Option<BTreeSet<String>>,
}

/// A network that is ready for containers.
struct Door {
    network: Network,
    relay: Relay,
}

/// A network cannot be had.
pub(super) enum NoNetwork {
    /// The engine does not answer or says no.
    Engine(EngineError),
    /// Something else; it may be otherwise later.
    Other(String),
}

impl Networks {
    pub(super) const fn new(fleet: FleetId, firewall: Option<Firewall>) -> Self {
        Self { fleet, firewall, open: BTreeMap::new(), kept: None }
    }

    /// The network of a plugin, made if it is not there.
    pub(super) async fn ensure(
        &mut self,
        engine: &Engine,
        plugin: &PluginId,
        is_open: bool,
        broker: &Broker,
    ) -> Result<Network, NoNetwork> {
        let name = network_name(&self.fleet, plugin, is_open);
        let found = match engine.network(&name).await.map_err(NoNetwork::Engine)? {
            Some(found) => found,
            None => {
                engine
                    .create_network(&name, &self.fleet, plugin, is_open)
                    .await
                    .map_err(NoNetwork::Engine)?;
                let made = engine.network(&name).await.map_err(NoNetwork::Engine)?;
                made.ok_or_else(|| NoNetwork::Other(format!("the network {name} is gone again")))?
            }
        };
        if !self.fleet.owns(&found.labels) {
            let problem = format!("the network {name} is somebody else's; remove or rename it");
            return Err(NoNetwork::Other(problem));
        }
        if let Some(door) = self.open.get(&name)
            && door.network.id == found.id
        {
            return Ok(door.network.clone());
        }
        // The one of a network that is gone must not hold its address.
        self.open.remove(&name);
        let gateway = found.gateway.ok_or_else(|| {
            NoNetwork::Other(format!("the network {name} has no gateway on this machine"))
        })?;
        let relay = Relay::open(gateway, broker.address.clone()).await.map_err(|error| {
            let what = format!("could not listen at {gateway}, the gateway of {name}: {error}");
            NoNetwork::Other(what)
        })?;
        if let Some(firewall) = &self.firewall {
            let closed = firewall.close(&bridge_name(&name), relay.address(), is_open).await;
            closed.map_err(|error| {
                NoNetwork::Other(format!("could not close this machine to {name}: {error}"))
            })?;
        }
        let network = Network { name: name.clone(), id: found.id, relay: relay.address() };
        self.open.insert(name, Door { network: network.clone(), relay });
        Ok(network)
    }

    /// Removes the fleet's networks that nobody uses; returns whether any is left of those.
    pub(super) async fn keep(
        &mut self,
        engine: &Engine,
        used: &BTreeSet<String>,
    ) -> Result<bool, EngineError> {
        let mut left = used.clone();
        for (name, id) in engine.networks(&self.fleet).await? {
            if used.contains(&name) {
                continue;
            }
            // Its door stays open until then: who stops has to tell the broker what it has done.
            if let Err(error) = engine.remove_network(&id).await {
                debug!(%error, "a network stays for now");
                left.insert(name);
            } else if let Some(door) = self.open.remove(&name) {
                debug!(network = name, port = door.relay.address().1, "a network is closed");
            }
        }
        self.open.retain(|name, _| left.contains(name));
        if let Some(firewall) = &self.firewall
            && self.kept.as_ref() != Some(&left)
        {
            let bridges: Vec<String> = left.iter().map(|name| bridge_name(name)).collect();
            firewall.keep(&bridges).await;
            self.kept = Some(left.clone());
        }
        Ok(left.len() > used.len())
    }

    /// Closes all doors.
    pub(super) async fn close(&mut self) {
        self.open.clear();
        if let Some(firewall) = &self.firewall {
            firewall.keep(&[]).await;
        }
    }
}
