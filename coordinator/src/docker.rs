//! Plugins as containers: as many as wanted, each kept apart from the machine and from the others.
//!
//! ```text
//! plugins.yml ─► wanted ─┐
//! images, networks ──────┼─► describe ─► reconcile ─► one task per step ─► engine
//! containers ─► look ────┴─► memory ────────▲                               │
//!                  ▲                                                        │
//!                  └───────── events of the engine, and every ten seconds ──┘
//! ```
//!
//! Every round looks at what there is and decides anew, so it does not matter what has happened
//! meanwhile or who did it. Only containers with our labels and the identity of our fleet are ever
//! acted on. All modules but [`context`], [`engine`], [`relay`], [`firewall`], [`secrets`], [`credentials`] and
//! [`runtime`] are pure.

pub mod broker;
pub mod context;
pub mod credentials;
pub mod describe;
pub mod digest;
pub mod engine;
pub mod firewall;
pub mod found;
pub mod info;
pub mod isolation;
pub mod memory;
pub mod naming;
pub mod reconcile;
pub mod relay;
pub mod runtime;
pub mod secrets;
pub mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use broker_config::InstanceId;
use tokio::sync::{mpsc, watch};

use self::broker::Broker;
pub use self::info::{ContainerInfo, ContainerState};
use self::naming::FleetId;
pub use self::runtime::{DockerRuntime, dry_run};
pub use self::wanted::{Instances, Surroundings, Wanted, wanted};
use crate::config::plugins::Protocol;
use crate::process::Masks;

/// How long a container may take to stop before the engine kills it.
pub const STOP_GRACE: Duration = Duration::from_secs(10);

/// How containers are run.
#[derive(Clone, Debug)]
pub struct DockerOptions {
    /// Where the engine listens; see [`engine::address`].
    pub address: String,
    /// Whose they are.
    pub fleet: FleetId,
    /// How they reach the broker; `Err` says why they cannot.
    pub broker: Result<Broker, String>,
    /// Where the bridge listens, for HTTP plugins: callbacks and metadata.
    pub bridge: Option<(SocketAddr, SocketAddr)>,
    /// Where secrets are kept for them.
    pub secrets: PathBuf,
    /// Where what they print at their end is kept.
    pub log_dir: PathBuf,
    /// What of it is not to be seen.
    pub masks: Masks,
    /// Where logins at registries are kept.
    pub registry_config: Option<PathBuf>,
    /// User and group of this process.
    pub user: (u32, u32),
    /// How long one may take to stop.
    pub grace: Duration,
}

/// What the doors of a network lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    /// The broker: host and port.
    Broker((String, u16)),
    /// The bridge.
    Bridge {
        /// Where callbacks are taken.
        api: SocketAddr,
        /// Where metadata is.
        kv: SocketAddr,
    },
}

impl DockerOptions {
    /// What the network of a plugin leads to.
    pub(crate) fn behind(&self, protocol: Protocol) -> Result<Behind, String> {
        match protocol {
            Protocol::Nats => {
                self.broker.as_ref().map(|broker| Behind::Broker(broker.address.clone())).map_err(Clone::clone)
            }
            Protocol::Http => match self.bridge {
                Some((api, kv)) => Ok(Behind::Bridge { api, kv }),
                None => Err("it speaks HTTP, and this fleet was started without such plugins; start the fleet again".to_owned()),
            },
        }
    }
}

/// Who has given a sign of life lately; each message is one look.
#[derive(Clone, Debug, Default)]
pub struct Signs(pub BTreeSet<InstanceId>);

/// Says what is to run, and shows what runs.
#[derive(Clone, Debug)]
pub struct DockerHandle {
    wanted: watch::Sender<Instances>,
    board: watch::Receiver<BTreeMap<InstanceId, ContainerInfo>>,
    signs: watch::Sender<Signs>,
    restarts: mpsc::Sender<InstanceId>,
    there: watch::Receiver<BTreeSet<InstanceId>>,
}

impl DockerHandle {
    /// Replaces what is to run.
    pub fn set_wanted(&self, instances: Instances) {
        self.wanted.send_replace(instances);
    }

    /// Everything that is to run, in the order of names.
    #[must_use]
    pub fn list(&self) -> Vec<ContainerInfo> {
        self.board.borrow().values().cloned().collect()
    }

    /// Follows the list.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<BTreeMap<InstanceId, ContainerInfo>> {
        self.board.clone()
    }

    /// Takes names of instances that are to be started anew because they do not serve.
    #[must_use]
    pub fn restarts(&self) -> mpsc::Sender<InstanceId> {
        self.restarts.clone()
    }

    /// Waits until none of these instances, wanted or not, has a container.
    pub async fn until_gone(&self, names: &BTreeSet<InstanceId>) {
        // An error says that the runtime has ended, and so have they.
        self.there.clone().wait_for(|there| there.is_disjoint(names)).await.ok();
    }

    /// Tells who has given a sign of life; to be called every [`memory::HEALTH_EVERY`].
    pub fn tell_signs(&self, alive: BTreeSet<InstanceId>) {
        self.signs.send_replace(Signs(alive));
    }
}
