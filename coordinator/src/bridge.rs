//! HTTP plugins, unchanged: a bridge between plugins that are HTTP servers and the broker.
//!
//! ```text
//! tasks ──► SDK worker ──► POST /process ──► plugin (one of its instances)
//!             ▲                                 │  PATCH <metaCoreUrl>/meta/<cid>   the KV API
//!             └── verdict ◄── pending ◄─────────┘  POST <callbackUrl>               the callback
//! ```
//!
//! Each attempt at a task has a token of its own, which stands in both URLs that the plugin is
//! told. What it writes there is its own until the callback says `completed`; then it is the
//! plugin's record. Who starts the instances is not known here: a [`watch`] channel says where they
//! listen, and a channel takes the wish that one be started anew.

pub mod answer;
pub mod client;
pub mod health;
mod instances;
mod keeper;
pub mod layer;
pub mod pending;
pub mod urls;
mod worker;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use broker_config::{InstanceId, PluginId, Prefix};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::error;
use worker_sdk::{Credentials, WorkerOptions};

use self::instances::Board;
pub use self::instances::{Place, Places};
use self::keeper::Keeper;
pub use self::keeper::Restarts;
use self::pending::Pending;
use self::urls::Urls;
use self::worker::Serving;
use crate::config::Connection;
use crate::config::connection::Login;
use crate::http::{BindError, HttpOptions, Server, callback, meta};
use crate::nats_server::Access;
use crate::store::Store;

/// Tasks that one instance works on at once, unless the operator or its manifest says otherwise.
const USUAL_CONCURRENCY: usize = 4;

/// One HTTP plugin.
#[derive(Debug)]
pub struct Bridged {
    /// Its id; an instance that says another one is not served.
    pub plugin: PluginId,
    /// Where its instances listen; may change at any time.
    pub places: watch::Receiver<Places>,
    /// Who starts an instance anew; `None` when somebody else runs them.
    pub restarts: Option<Restarts>,
    /// Tasks that one instance works on at once.
    pub concurrency: Option<NonZeroUsize>,
    /// How many instances there are to be.
    pub instances: NonZeroUsize,
}

/// Where the bridge listens, and what plugins are told of it.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// Callbacks.
    pub api: HttpOptions,
    /// Metadata.
    pub kv: HttpOptions,
    /// What plugins are told instead of the address of [`Addresses::api`].
    pub api_url: Option<String>,
    /// What plugins are told instead of the address of [`Addresses::kv`].
    pub kv_url: Option<String>,
}

/// What a bridge is started with.
#[derive(Debug)]
pub struct BridgeOptions {
    /// The plugins.
    pub plugins: Vec<Bridged>,
    /// Where it listens.
    pub addresses: Addresses,
    /// What else is answered where callbacks are taken.
    pub routes: Router,
    /// How workers reach the broker.
    pub access: Access,
    /// The fleet's prefix.
    pub prefix: Prefix,
    /// How long tasks in hand may take when it stops.
    pub grace: Duration,
    /// The fleet's state.
    pub store: Store,
}

/// A running bridge.
#[derive(Debug)]
pub struct Bridge {
    /// Where plugins reach it.
    pub urls: Urls,
    /// Where it listens on this machine: callbacks and metadata.
    pub listening: (SocketAddr, SocketAddr),
    pending: Arc<Pending>,
    boards: Troubles,
    serving: JoinSet<()>,
    serve: CancellationToken,
    beneath: JoinSet<()>,
    stop: CancellationToken,
}

/// Why an instance does not serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The plugin.
    pub plugin: PluginId,
    /// The instance.
    pub instance: InstanceId,
    /// The reason, for people.
    pub why: String,
}

/// Shows which instances do not serve, at any time.
#[derive(Clone, Debug, Default)]
pub struct Troubles(Vec<(PluginId, Arc<Board>)>);

impl Troubles {
    /// The instances that do not serve now, and why.
    #[must_use]
    pub fn list(&self) -> Vec<Trouble> {
        let of = |(plugin, board): &(PluginId, Arc<Board>)| {
            let all = board.troubles().into_iter();
            let plugin = plugin.clone();
            all.map(move |(instance, why)| Trouble { plugin: plugin.clone(), instance, why })
        };
        self.0.iter().flat_map(of).collect()
    }
}

impl Default for Addresses {
    fn default() -> Self {
        let on = |port| HttpOptions {
            listen: SocketAddr::from(([127, 0, 0, 1], port)),
            ..HttpOptions::default()
        };
        let api = HttpOptions { or_any_port: true, ..on(API_PORT) };
        Self { api, kv: on(KV_PORT), api_url: None, kv_url: None }
    }
}

/// Where callbacks are taken unless told otherwise.
pub const API_PORT: u16 = 8180;
/// Where metadata is read and written unless told otherwise.
pub const KV_PORT: u16 = 9000;

impl Bridge {
    /// Starts to listen and to serve; returns when both addresses are there.
    ///
    /// # Errors
    ///
    /// [`BindError`] when an address cannot be listened on.
    pub async fn start(options: BridgeOptions) -> Result<Self, BindError> {
        let BridgeOptions { plugins, addresses, routes, access, prefix, grace, store } = options;
        let pending = Arc::new(Pending::default());
        let routes = routes.merge(callback::routes(pending.clone()));
        let api = Server::bind(&addresses.api, routes).await?;
        let kv = Server::bind(&addresses.kv, meta::routes(store, pending.clone())).await?;
        let urls = Urls {
            api: addresses.api_url.unwrap_or_else(|| url_of(api.address())),
            kv: addresses.kv_url.unwrap_or_else(|| url_of(kv.address())),
        };
        let listening = (reachable(api.address()), reachable(kv.address()));
        let (serve, stop) = (CancellationToken::new(), CancellationToken::new());
        let (mut serving, mut beneath) = (JoinSet::new(), JoinSet::new());
        beneath.spawn(api.run(stop.clone()));
        beneath.spawn(kv.run(stop.clone()));
        let mut boards = Troubles::default();
        for bridged in plugins {
            let per_instance = bridged.concurrency.map_or(USUAL_CONCURRENCY, NonZeroUsize::get);
            let board = Board::new(per_instance);
            boards.0.push((bridged.plugin.clone(), board.clone()));
            let all = per_instance.saturating_mul(bridged.instances.get());
            let serving_one = Serving {
                plugin: bridged.plugin.clone(),
                board: board.clone(),
                pending: pending.clone(),
                urls: urls.clone(),
                options: WorkerOptions {
                    plugin: Some(bridged.plugin.clone()),
                    instance: name_of(&bridged.plugin),
                    concurrency: NonZeroUsize::new(all),
                    prefix: prefix.clone(),
                    grace,
                    ..worker_options(&access.of(&bridged.plugin))
                },
            };
            serving.spawn(serving_one.run(serve.clone()));
            beneath.spawn(look_after(bridged, board, stop.clone()));
        }
        Ok(Self { urls, listening, pending, boards, serving, serve, beneath, stop })
    }

    /// Attempts that wait for a callback.
    #[must_use]
    pub fn attempts(&self) -> usize {
        self.pending.len()
    }

    /// The instances that do not serve now, and why.
    #[must_use]
    pub fn troubles(&self) -> Vec<Trouble> {
        self.boards.list()
    }

    /// Shows the same after the bridge was handed on.
    #[must_use]
    pub fn watch_troubles(&self) -> Troubles {
        self.boards.clone()
    }

    /// Finishes what is in hand within the grace period, then stops to listen.
    ///
    /// The plugins must still run meanwhile.
    pub async fn stop(mut self) {
        self.serve.cancel();
        join(&mut self.serving).await;
        self.stop.cancel();
        join(&mut self.beneath).await;
    }
}

async fn join(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            error!(%error, "a part of the bridge failed");
        }
    }
}

/// Keeps a keeper for each instance, a new one for each incarnation, until `stop`.
async fn look_after(mut bridged: Bridged, board: Arc<Board>, stop: CancellationToken) {
    let mut keepers: BTreeMap<InstanceId, (Place, CancellationToken)> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    loop {
        let places = bridged.places.borrow_and_update().clone();
        keepers.retain(|name, (place, keeper)| {
            let stays = places.get(name) == Some(place);
            if !stays {
                keeper.cancel();
                board.remove(name, place.incarnation);
            }
            stays
        });
        for (name, place) in places {
            if keepers.contains_key(&name) {
                continue;
            }
            board.put(&name, place.clone());
            let token = stop.child_token();
            keepers.insert(name.clone(), (place.clone(), token.clone()));
            let keeper = Keeper {
                plugin: bridged.plugin.clone(),
                name,
                place,
                board: board.clone(),
                restarts: bridged.restarts.clone(),
            };
            tasks.spawn(keeper.run(token));
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(ended) = tasks.join_next() => if let Err(error) = ended {
                error!(%error, plugin.id = %bridged.plugin, "the keeper of an instance failed");
            },
            // Whoever runs them says nothing more: what is known holds until the end.
            changed = bridged.places.changed() => if changed.is_err() {
                stop.cancelled().await;
                break;
            },
        }
    }
    join(&mut tasks).await;
}

/// How a server at this address is reached from this machine.
pub(crate) fn url_of(address: SocketAddr) -> String {
    format!("http://{}", reachable(address))
}

/// Everywhere is no address to connect to.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        return SocketAddr::from(([127, 0, 0, 1], address.port()));
    }
    address
}

/// A name that no other bridge has, on this machine or another.
fn name_of(plugin: &PluginId) -> Option<InstanceId> {
    format!("bridge-{plugin}-{:08x}", fastrand::u32(..)).parse().ok()
}

/// What a worker in this process is told of its broker.
pub(crate) fn worker_options(connection: &Connection) -> WorkerOptions {
    let credentials = match &connection.login {
        Login::Anonymous => Credentials::None,
        Login::User { name, password } => {
            Credentials::User { name: name.clone(), password: password.reveal().to_owned() }
        }
        Login::Token(token) => Credentials::Token(token.reveal().to_owned()),
        Login::Credentials(path) => Credentials::File(path.clone()),
        Login::Nkey(seed) => Credentials::Nkey(seed.reveal().to_owned()),
    };
    WorkerOptions {
        url: connection.url.clone(),
        credentials,
        root_certificates: connection.tls.ca.clone(),
        client_certificate: connection.tls.client.clone(),
        ..WorkerOptions::default()
    }
}
