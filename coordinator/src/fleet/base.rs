//! What a fleet stands on: the right to the data folder, and the broker.

use async_nats::Client;
use broker_config::apply::{apply, check_server};
use broker_config::topology::Topology;
use broker_config::{ApplyError, Names};

use super::embedded::EmbeddedBroker;
use crate::config::data_dir::FleetLock;

/// What the rest stands on; the lock goes last.
#[derive(Debug)]
pub(super) enum Base {
    Own(Box<EmbeddedBroker>),
    Existing(FleetLock),
}

impl Base {
    pub(super) const fn lock(&self) -> &FleetLock {
        match self {
            Self::Own(broker) => &broker.lock,
            Self::Existing(lock) => lock,
        }
    }

    pub(super) async fn stop(self) {
        match self {
            Self::Own(broker) => broker.stop().await,
            Self::Existing(lock) => drop(lock),
        }
    }
}

/// Makes sure that the broker can carry the fleet, and makes its streams.
pub(super) async fn prepare(
    client: &Client,
    names: &Names,
    replicas: usize,
) -> Result<(), ApplyError> {
    let js = async_nats::jetstream::new(client.clone());
    check_server(&js, &client.server_info().version).await?;
    apply(&js, &Topology::of(names, replicas)).await.map(drop)
}
