//! A network for each plugin, with relays as its only doors.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};

use broker_config::PluginId;
use tracing::debug;

use super::super::Behind;
use super::super::describe::{Doors, Network};
use super::super::engine::{Engine, EngineError};
use super::super::firewall::Firewall;
use super::super::naming::{FleetId, bridge_name, network_name};
use super::super::relay::{API_PORTS, BROKER_PORTS, KV_PORTS, Relay};

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
    /// What it was opened for.
    behind: Behind,
    _relays: Vec<Relay>,
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
        behind: &Behind,
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
            && door.behind == *behind
        {
            return Ok(door.network.clone());
        }
        // The one of a network that is gone must not hold its address.
        self.open.remove(&name);
        let gateway = found.gateway.ok_or_else(|| {
            NoNetwork::Other(format!("the network {name} has no gateway on this machine"))
        })?;
        let (doors, relays) = open(gateway, behind).map_err(|error| {
            let what = format!("could not listen at {gateway}, the gateway of {name}: {error}");
            NoNetwork::Other(what)
        })?;
        if let Some(firewall) = &self.firewall {
            let ways = (gateway, doors.ports());
            let closed = firewall.close(&bridge_name(&name), &ways, is_open).await;
            closed.map_err(|error| {
                NoNetwork::Other(format!("could not close this machine to {name}: {error}"))
            })?;
        }
        let network = Network { name: name.clone(), id: found.id, gateway, doors };
        let door = Door { network: network.clone(), behind: behind.clone(), _relays: relays };
        self.open.insert(name, door);
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
                debug!(network = name, ports = ?door.network.doors.ports(), "a network is closed");
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

/// Opens all doors of a network.
fn open(gateway: IpAddr, behind: &Behind) -> io::Result<(Doors, Vec<Relay>)> {
    match behind {
        Behind::Broker(address) => {
            let relay = Relay::open((gateway, BROKER_PORTS), address.clone())?;
            Ok((Doors::Broker { port: relay.port() }, vec![relay]))
        }
        Behind::Bridge { api, kv } => {
            let to = |address: &SocketAddr| (address.ip().to_string(), address.port());
            let api = Relay::open((gateway, API_PORTS), to(api))?;
            let kv = Relay::open((gateway, KV_PORTS), to(kv))?;
            Ok((Doors::Bridge { api: api.port(), kv: kv.port() }, vec![api, kv]))
        }
    }
}
