//! Networks.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use bollard::models::NetworkCreateRequest;
use bollard::query_parameters::ListNetworksOptionsBuilder;
use broker_config::PluginId;

use super::super::naming::{FLEET_ID, FleetId, bridge_name};
use super::{CALL, Engine, EngineError, idempotent, within};

/// A network that the engine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundNetwork {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub id: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The address of this machine in it.
    pub gateway: Option<IpAddr>,
}

impl Engine {
    /// The network called so, if there is one.
    ///
    /// # Errors
    ///
    /// [`EngineError`].
    pub async fn network(&self, name: &str) -> Result<Option<FoundNetwork>, EngineError> {
        let what = format!("look at the network {name}");
        let inspected = match within(&what, CALL, self.docker.inspect_network(name, None)).await {
            Ok(inspected) => inspected,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let ipam = inspected.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
        let gateway = |text: String| text.split('/').next().unwrap_or_default().parse().ok();
        Ok(Some(FoundNetwork {
            name: inspected.name.unwrap_or_default(),
            id: inspected.id.unwrap_or_default(),
            labels: inspected.labels.unwrap_or_default().into_iter().collect(),
            gateway: ipam.into_iter().find_map(|config| config.gateway.and_then(gateway)),
        }))
    }

    /// Makes the network of a plugin.
    ///
    /// # Errors
    ///
    /// [`EngineError`].
    pub async fn create_network(
        &self,
        name: &str,
        fleet: &FleetId,
        plugin: &PluginId,
        is_open: bool,
    ) -> Result<(), EngineError> {
        let what = format!("make the network {name}");
        let options = [
            ("com.docker.network.bridge.name", bridge_name(name)),
            // Containers of one plugin need nothing of one another.
            ("com.docker.network.bridge.enable_icc", "false".to_owned()),
        ];
        let request = NetworkCreateRequest {
            name: name.to_owned(),
            driver: Some("bridge".to_owned()),
            internal: Some(!is_open),
            enable_ipv6: Some(false),
            options: Some(options.map(|(name, value)| (name.to_owned(), value)).into()),
            labels: Some(fleet.labels(plugin).into_iter().collect()),
            ..NetworkCreateRequest::default()
        };
        within(&what, CALL, self.docker.create_network(request)).await.map(drop)
    }

    /// Names and identities of all networks of the fleet.
    ///
    /// # Errors
    ///
    /// [`EngineError`].
    pub async fn networks(&self, fleet: &FleetId) -> Result<BTreeMap<String, String>, EngineError> {
        let filters = HashMap::from([("label", vec![format!("{FLEET_ID}={fleet}")])]);
        let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let all = within("list networks", CALL, self.docker.list_networks(Some(options))).await?;
        let ours = all.into_iter().filter(|network| {
            let labels = network.labels.clone().unwrap_or_default().into_iter().collect();
            fleet.owns(&labels)
        });
        Ok(ours.filter_map(|network| Some((network.name?, network.id?))).collect())
    }

    /// Removes a network; it need not be there.
    ///
    /// # Errors
    ///
    /// [`EngineError`], e.g. while a container is in it.
    pub async fn remove_network(&self, id: &str) -> Result<(), EngineError> {
        let what = format!("remove the network {id}");
        idempotent(within(&what, CALL, self.docker.remove_network(id)).await)
    }
}
