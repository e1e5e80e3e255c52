//! The embedded broker: a nats-server child over the data folder.
//!
//! It listens on a loopback port that it keeps over restarts, so that clients find it again by
//! reconnecting. When it dies it is started again; when this process dies, however it does, the
//! child dies with it (see [`crate::exec`]).
//!
//! Two servers over one store would destroy it. The child therefore holds the lock on
//! `store.lock`, as its standard input: the operating system drops that lock when the child is
//! gone and not before, and nobody starts a server without it.

pub mod accounts;
pub mod binary;
mod child;
mod disk;
mod error;
pub mod logins;
mod output;
pub mod render;
mod store;
#[cfg(test)]
mod tests;
pub mod users;
mod varz;

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use broker_config::{Chain, Names, PluginId};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

pub use self::binary::{Binary, BinaryError};
use self::child::{Child, Plan};
pub use self::error::StartError;
use self::logins::Order;
pub use self::logins::{Access, Logins, NotLetIn, Plugins, Tenants};
pub use self::render::{Listen, Sync};
pub use self::users::Users;
use crate::config::connection::{Connection, Login, Origin, Tls};
use crate::config::{DataDir, private_file};
use crate::exec::Guard;
use crate::process::restart::RestartPolicy;

/// Everything waits for the broker, so it comes back fast.
const RESTART: RestartPolicy = RestartPolicy {
    first: Duration::from_millis(50),
    longest: Duration::from_secs(5),
    healthy_after: Duration::from_secs(60),
    crash_loop: 5,
};
/// How often it is looked after.
const LOOK: Duration = Duration::from_secs(10);
/// How often another port is tried when one is taken between the look and the start.
const PORT_ATTEMPTS: u32 = 5;
/// Ports we choose from; the upper end lies below what systems give to outgoing connections.
const PORTS: std::ops::Range<u16> = 14_000..32_000;

/// What the embedded broker needs to know.
#[derive(Clone, Debug)]
pub struct NatsServerOptions {
    /// Where it keeps everything.
    pub data_dir: DataDir,
    /// Names of what plugins may use.
    pub names: Names,
    /// Who may log in besides the coordinator.
    pub tenants: Tenants,
    /// The program.
    pub binary: Binary,
    /// What starts the program.
    pub guard: Guard,
    /// How soon what is written is on disk.
    pub sync: Sync,
    /// How long it may take to stop before it is killed.
    pub grace: Duration,
}

/// The running broker; see [`NatsServer::run`].
#[derive(Debug)]
pub struct NatsServer {
    plan: Plan,
    port: u16,
    child: Child,
    grace: Duration,
    state: watch::Sender<ServerState>,
    users: watch::Sender<Users>,
    orders: mpsc::Receiver<Order>,
    /// Those whose passwords are forgotten when the server lets them in no more.
    leaving: BTreeSet<PluginId>,
    /// Who waits for a restart that lets plugins in.
    waiting: Vec<oneshot::Sender<Result<(), NotLetIn>>>,
}

/// How to reach the broker, and how it is.
#[derive(Clone, Debug)]
pub struct NatsServerHandle {
    /// The login that may do everything.
    pub coordinator: Connection,
    /// The logins of plugins, where each has its own.
    pub logins: Logins,
    /// The login of all plugins, where they share one.
    pub plugin: Option<Connection>,
    state: watch::Receiver<ServerState>,
}

/// How the broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// It answers.
    Ready {
        /// Its process.
        pid: u32,
        /// Where it tells about itself, e.g. `http://127.0.0.1:8222`.
        monitoring: Option<String>,
        /// What a person should know, e.g. that the disk is nearly full.
        trouble: Option<String>,
    },
    /// It has died and is being started again.
    Down {
        /// Times in a row.
        failures: u32,
        /// Why, as far as is known.
        reason: String,
    },
    /// It was told to stop and has.
    Stopped,
}

impl NatsServerHandle {
    /// How it is now.
    #[must_use]
    pub fn state(&self) -> ServerState {
        self.state.borrow().clone()
    }

    /// Follows how it is.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<ServerState> {
        self.state.clone()
    }
}

impl NatsServer {
    /// Starts the broker and returns when it answers.
    ///
    /// Call it on a thread that lives as long as the process.
    ///
    /// # Errors
    ///
    /// [`StartError`] with what the server itself said, if it said anything.
    pub async fn start(options: NatsServerOptions) -> Result<(Self, NatsServerHandle), StartError> {
        let NatsServerOptions { data_dir, names, tenants, binary, guard, sync, grace } = options;
        let home = data_dir.nats();
        for dir in [&home, &data_dir.log()] {
            private_file::make_dir(dir).map_err(StartError::io(dir))?;
        }
        let users_file = home.join("users.json");
        let mut users = Users::load_or_make(&users_file).map_err(StartError::io(&users_file))?;
        let tenants = tenants.among(&users);
        let before = users.clone();
        users.prepare(&tenants).map_err(StartError::io(&users_file))?;
        if users != before {
            users.keep(&users_file).map_err(StartError::io(&users_file))?;
        }
        let port_file = home.join("port");
        let saved =
            std::fs::read_to_string(&port_file).ok().and_then(|text| text.trim().parse().ok());
        let plan = Plan { home, log: data_dir.log(), names, users, tenants, binary, guard, sync };
        let (port, child) = start_somewhere(&plan, saved).await?;
        if saved != Some(port) {
            let text = format!("{port}\n");
            private_file::write(&port_file, text.as_bytes()).map_err(StartError::io(&port_file))?;
        }
        info!(port, pid = child.pid, version = %plan.binary.version, "the broker runs");
        let connection = |login: Login| Connection {
            url: format!("nats://127.0.0.1:{port}"),
            login,
            tls: Tls::default(),
            origin: Origin::Fleet,
        };
        let (sender, state) = watch::channel(child.state());
        let (users, known) = watch::channel(plan.users.clone());
        let (logins, orders) = Logins::new(format!("nats://127.0.0.1:{port}"), known);
        let handle = NatsServerHandle {
            coordinator: connection(plan.users.coordinator_login()),
            plugin: plan.users.shared_login().map(connection),
            logins,
            state,
        };
        let (leaving, waiting) = (BTreeSet::new(), Vec::new());
        let server =
            Self { plan, port, child, grace, state: sender, users, orders, leaving, waiting };
        Ok((server, handle))
    }

    /// Keeps the broker running until `drain` is cancelled, then stops it and returns when its
    /// process is gone.
    ///
    /// Cancel `drain` after everything that uses the broker has stopped.
    pub async fn run(mut self, drain: CancellationToken) {
        let mut failures = 0;
        loop {
            let since = Instant::now();
            let Some(reason) = drain.run_until_cancelled(self.watch()).await else { break };
            failures = RESTART.failures(failures, since.elapsed());
            error!(reason, failures, "the broker is started again");
            self.state.send_replace(ServerState::Down { failures, reason });
            if !self.restart(&mut failures, &drain).await {
                break;
            }
        }
        self.child.stop(self.grace).await;
        self.state.send_replace(ServerState::Stopped);
        info!("the broker has stopped");
    }

    /// Looks after the server until it must be started again; says why.
    async fn watch(&mut self) -> String {
        loop {
            let looked = tokio::select! {
                biased;
                reason = self.child.ended() => return reason,
                Some(order) = self.orders.recv() => self.carry_out(order).await,
                () = sleep(LOOK) => self.child.look_after(&self.plan).await,
            };
            if let Err(problem) = looked {
                self.child.stop(self.grace).await;
                return problem;
            }
            let state = self.child.state();
            self.state.send_if_modified(|known| {
                let changed = *known != state;
                *known = state;
                changed
            });
        }
    }

    /// Lets plugins in; `Err` = only a restart does, and why the server itself does not.
    async fn carry_out(&mut self, Order { plugins, done }: Order) -> Result<(), String> {
        let told = match self.take_in(plugins) {
            Ok(Some(())) => self.child.let_in(&self.plan).await,
            Ok(None) => Ok(()),
            Err(error) => {
                done.send(Err(NotLetIn::Write(error))).ok();
                return Ok(());
            }
        };
        match told {
            Ok(()) => {
                self.forget();
                // Whoever has asked may have gone.
                done.send(Ok(())).ok();
                Ok(())
            }
            Err(problem) => {
                self.waiting.push(done);
                Err(problem)
            }
        }
    }

    /// Makes passwords for newcomers and keeps them, before anybody is told; `None` = the server lets
    /// in exactly these already.
    fn take_in(&mut self, plugins: Plugins) -> io::Result<Option<()>> {
        let mut users = self.plan.users.clone();
        users.admit(&plugins)?;
        if users != self.plan.users {
            users.keep(&self.plan.users_file())?;
            self.users.send_replace(users.clone());
            self.plan.users = users;
        }
        let before = self.plan.tenants.plugins().cloned().unwrap_or_default();
        if before == plugins {
            return Ok(None);
        }
        self.leaving.extend(before.into_keys());
        self.leaving.retain(|id| !plugins.contains_key(id));
        self.plan.tenants = Tenants::Each { plugins, forgets_others: false };
        Ok(Some(()))
    }

    /// Forgets the passwords of those that the server does not let in any more.
    fn forget(&mut self) {
        let mut users = self.plan.users.clone();
        users.plugins.retain(|id, _| !self.leaving.contains(id));
        if users == self.plan.users {
            return;
        }
        match users.keep(&self.plan.users_file()) {
            Ok(()) => {
                self.users.send_replace(users.clone());
                self.plan.users = users;
                self.leaving.clear();
            }
            // They open nothing, and it is tried again with the next change.
            Err(error) => warn!(%error, "passwords of plugins that are gone are kept"),
        }
    }

    /// Tries until it runs again; `false` when it is to stop instead.
    async fn restart(&mut self, failures: &mut u32, drain: &CancellationToken) -> bool {
        loop {
            let pause = tokio::time::sleep(RESTART.delay(*failures));
            if drain.run_until_cancelled(pause).await.is_none() {
                return false;
            }
            match drain.run_until_cancelled(Box::pin(Child::start(&self.plan, self.port))).await {
                None => return false,
                Some(Ok(child)) => {
                    info!(port = self.port, pid = child.pid, "the broker runs again");
                    self.state.send_replace(child.state());
                    self.child = child;
                    self.forget();
                    for done in self.waiting.drain(..) {
                        done.send(Ok(())).ok();
                    }
                    return true;
                }
                Some(Err(error)) => {
                    *failures = failures.saturating_add(1);
                    error!(error = %Chain(&error), failures = *failures, "the broker does not start");
                    let reason = Chain(&error).to_string();
                    self.state.send_replace(ServerState::Down { failures: *failures, reason });
                }
            }
        }
    }
}

/// Starts on the port used last, else on a free one.
async fn start_somewhere(plan: &Plan, saved: Option<u16>) -> Result<(u16, Child), StartError> {
    let mut port = match saved {
        Some(port) if is_free(port) => port,
        Some(port) => {
            warn!(port, "the port of the broker is taken by another program, choosing a new one");
            free_port()?
        }
        None => free_port()?,
    };
    let mut attempts = 1;
    loop {
        match Box::pin(Child::start(plan, port)).await {
            Ok(child) => return Ok((port, child)),
            Err(error) if attempts < PORT_ATTEMPTS && !is_free(port) => {
                warn!(port, error = %Chain(&error), "the port was taken in the meantime");
                attempts += 1;
                port = free_port()?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// A port nobody listens on.
///
/// The server could choose one itself, but would choose among those of outgoing connections: while
/// it restarts, a client that tries to reconnect may be given that very port, connect to itself
/// and keep the server from coming back.
fn free_port() -> Result<u16, StartError> {
    (0..1_000)
        .map(|_| fastrand::u16(PORTS))
        .find(|port| is_free(*port))
        .ok_or(StartError::NoPort { from: PORTS.start, to: PORTS.end })
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
