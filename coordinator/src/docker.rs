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
//! acted on. All modules but [`engine`], [`relay`], [`firewall`], [`secrets`], [`credentials`] and
//! [`runtime`] are pure.

pub mod broker;
pub mod credentials;
pub mod describe;
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
use std::path::PathBuf;
use std::time::Duration;

use broker_config::InstanceId;
use tokio::sync::watch;

use self::broker::Broker;
pub use self::info::{ContainerInfo, ContainerState};
use self::naming::FleetId;
pub use self::runtime::{DockerRuntime, dry_run};
pub use self::wanted::{Instances, Surroundings, Wanted, wanted};

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
    /// Where secrets are kept for them.
    pub secrets: PathBuf,
    /// Where what they print at their end is kept.
    pub log_dir: PathBuf,
    /// Where logins at registries are kept.
    pub registry_config: Option<PathBuf>,
    /// User and group of this process.
    pub user: (u32, u32),
    /// How long one may take to stop.
    pub grace: Duration,
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
