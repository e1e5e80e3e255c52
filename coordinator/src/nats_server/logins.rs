//! Who may log in to the embedded broker, also while it runs.

use std::collections::{BTreeMap, BTreeSet};

use broker_config::{PluginId, RouteName};
use tokio::sync::{mpsc, oneshot, watch};

use super::users::Users;
use crate::config::Secret;
use crate::config::connection::{Connection, Login, Origin, Tls};

/// Plugins with a login of their own, and their routes.
pub type Plugins = BTreeMap<PluginId, BTreeSet<RouteName>>;

/// Orders that wait for the server; whoever gives one waits for it.
const ORDERS: usize = 16;

/// Who is on the server besides the coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tenants {
    /// Each of these plugins, in an account of its own.
    Each {
        /// The plugins.
        plugins: Plugins,
        /// Whether passwords of others are forgotten, so that they get new ones when they come.
        forgets_others: bool,
    },
    /// Each of those that have a password already, for as long as a command takes.
    AsBefore,
    /// Whoever knows the one login of all plugins, in the account of the fleet: for a server on which
    /// one plugin is alone.
    Together,
}

impl Tenants {
    /// The plugins that have a login of their own, if any have.
    pub(super) const fn plugins(&self) -> Option<&Plugins> {
        match self {
            Self::Each { plugins, .. } => Some(plugins),
            Self::AsBefore | Self::Together => None,
        }
    }

    /// With those who have a password already, where they are meant.
    pub(super) fn among(self, users: &Users) -> Self {
        match self {
            Self::AsBefore => {
                let plugins = users.plugins.keys().map(|id| (id.clone(), BTreeSet::new()));
                Self::Each { plugins: plugins.collect(), forgets_others: false }
            }
            as_told @ (Self::Each { .. } | Self::Together) => as_told,
        }
    }
}

/// Lets plugins in while the server runs, and says with which login.
#[derive(Clone, Debug)]
pub struct Logins {
    url: String,
    users: watch::Receiver<Users>,
    orders: mpsc::Sender<Order>,
}

/// Exactly these plugins are to be let in.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) plugins: Plugins,
    pub(super) done: oneshot::Sender<Result<(), NotLetIn>>,
}

/// A plugin could not be let in, or not be shut out.
#[derive(Debug, thiserror::Error)]
pub enum NotLetIn {
    /// The server has been stopped.
    #[error("the broker has stopped")]
    Stopped,
    /// What it is told cannot be written.
    #[error("could not write who may log in to the broker")]
    Write(#[source] std::io::Error),
}

impl Logins {
    /// The other ends are the server's.
    pub(super) fn new(url: String, users: watch::Receiver<Users>) -> (Self, mpsc::Receiver<Order>) {
        let (orders, taken) = mpsc::channel(ORDERS);
        (Self { url, users, orders }, taken)
    }

    /// Those of a server that does not run: nobody is let in.
    #[must_use]
    pub fn nobody(url: String) -> Self {
        let nobody = Users { coordinator: Secret::new(""), plugins: BTreeMap::new(), plugin: None };
        Self::new(url, watch::channel(nobody).1).0
    }

    /// Where the server is.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How a plugin reaches the server; one that was not let in is refused there.
    #[must_use]
    pub fn of(&self, plugin: &PluginId) -> Connection {
        let unknown = || Login::User { name: plugin.to_string(), password: Secret::new("") };
        let login = self.users.borrow().plugin_login(plugin).unwrap_or_else(unknown);
        Connection { url: self.url.clone(), login, tls: Tls::default(), origin: Origin::Fleet }
    }

    /// Lets exactly these plugins in from now on, on exactly these routes; returns when the server
    /// does. Others that were let in are cut off, and have another password when they come again.
    ///
    /// # Errors
    ///
    /// [`NotLetIn`] says why they are not.
    pub async fn let_in(&self, plugins: Plugins) -> Result<(), NotLetIn> {
        for (plugin, whom) in plugins.keys().filter_map(|id| Some((id, id.kept_for()?))) {
            tracing::warn!(plugin.id = %plugin, "a plugin cannot log in by an id that is kept for {whom}");
        }
        let (done, answer) = oneshot::channel();
        let sent = self.orders.send(Order { plugins, done }).await;
        sent.map_err(|_| NotLetIn::Stopped)?;
        answer.await.unwrap_or(Err(NotLetIn::Stopped))
    }
}

/// How plugins reach the broker.
#[derive(Clone, Debug)]
pub enum Access {
    /// All by the same connection, which a person has given.
    Shared(Connection),
    /// Each by a login of its own.
    Each(Logins),
}

impl Access {
    /// How this plugin does.
    #[must_use]
    pub fn of(&self, plugin: &PluginId) -> Connection {
        match self {
            Self::Shared(connection) => connection.clone(),
            Self::Each(logins) => logins.of(plugin),
        }
    }

    /// How plugins do, but for the login where each has its own.
    #[must_use]
    pub fn common(&self) -> Connection {
        match self {
            Self::Shared(connection) => connection.clone(),
            Self::Each(logins) => Connection {
                url: logins.url.clone(),
                login: Login::Anonymous,
                tls: Tls::default(),
                origin: Origin::Fleet,
            },
        }
    }

    /// Whether each has its own login.
    #[must_use]
    pub const fn is_each(&self) -> bool {
        matches!(self, Self::Each(_))
    }
}
