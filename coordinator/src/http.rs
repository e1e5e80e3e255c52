//! The HTTP server that all our routes stand on: bounded in every direction, drained at the end.
//!
//! A client that is slow to send its head or its body, or to read its answer, is cut off; a body
//! that is too large is refused before it is read. Requests for another host, or from a page of
//! another origin, are refused: that is how a page in a browser would reach us. Errors are
//! `application/problem+json`.

pub mod api;
pub mod callback;
mod guard;
pub mod meta;
mod patience;
pub mod problem;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router, middleware};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

pub use self::guard::Peer;
use self::patience::Patient;
use self::problem::Problem;

/// Where a server listens, and how patient it is.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether another port will do when this one is taken.
    pub or_any_port: bool,
    /// Names it answers to, besides `localhost` and addresses.
    pub hosts: BTreeSet<String>,
    /// Whether it answers to any name: where each route needs a token, a page gains nothing by one.
    pub any_host: bool,
    /// How patient it is.
    pub limits: Limits,
}

/// How patient a server is.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time for the head of a request; also for the next one on a connection.
    pub head: Duration,
    /// Time for the body of a request.
    pub body: Duration,
    /// Time for the head of the answer.
    pub answer: Duration,
    /// Time in which a client must have read some more of its answer.
    pub stall: Duration,
    /// Bytes of a body.
    pub body_bytes: usize,
    /// Connections at once; more wait.
    pub connections: usize,
    /// Time for requests in hand at the end.
    pub grace: Duration,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            or_any_port: false,
            hosts: BTreeSet::new(),
            any_host: false,
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            body: Duration::from_secs(20),
            answer: Duration::from_secs(30),
            stall: Duration::from_secs(20),
            body_bytes: 1 << 20,
            connections: 512,
            grace: Duration::from_secs(5),
        }
    }
}

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("could not listen on {address}")]
pub struct BindError {
    /// Where.
    pub address: SocketAddr,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// A server that has its address and answers nobody yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    limits: Limits,
}

/// Pause after the system gave no connection, e.g. because too many files are open.
const BREATH: Duration = Duration::from_millis(100);
/// Largest head of a request.
const HEAD_BYTES: usize = 64 << 10;

impl Server {
    /// Takes the address.
    ///
    /// # Errors
    ///
    /// [`BindError`], e.g. when another program has it.
    pub async fn bind(options: &HttpOptions, routes: Router) -> Result<Self, BindError> {
        let HttpOptions { listen, or_any_port, limits, .. } = *options;
        let failed = |source| BindError { address: listen, source };
        let listener = match TcpListener::bind(listen).await {
            Err(error) if or_any_port && error.kind() == io::ErrorKind::AddrInUse => {
                let free = SocketAddr::new(listen.ip(), 0);
                TcpListener::bind(free).await.map_err(failed)?
            }
            bound => bound.map_err(failed)?,
        };
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, router: guarded(options, routes), limits })
    }

    /// Where it listens; the port may be another than was asked for.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `drain`, and what is in hand then within the grace period.
    pub async fn run(self, drain: CancellationToken) {
        info!(address = %self.address, "listening for HTTP");
        let places = Arc::new(Semaphore::new(self.limits.connections));
        let mut connections = JoinSet::new();
        loop {
            let accepting = async {
                // The semaphore is never closed.
                let place = places.clone().acquire_owned().await;
                (place, self.listener.accept().await)
            };
            tokio::select! {
                biased;
                () = drain.cancelled() => break,
                Some(ended) = connections.join_next() => if let Err(error) = ended {
                    error!(%error, "a connection failed");
                },
                (place, accepted) = accepting => match accepted {
                    Ok((stream, peer)) => {
                        let router = self.router.clone().layer(Extension(Peer(peer)));
                        let (limits, drain) = (self.limits, drain.clone());
                        connections.spawn(async move {
                            serve(stream, router, limits, drain).await;
                            drop(place);
                        });
                    }
                    Err(error) => {
                        warn!(%error, "a connection cannot be taken");
                        sleep(BREATH).await;
                    }
                },
            }
        }
        drop(self.listener);
        let rest = async { while connections.join_next().await.is_some() {} };
        if timeout(self.limits.grace, rest).await.is_err() {
            debug!(connections = connections.len(), "connections are cut off");
            connections.shutdown().await;
        }
    }
}

/// The routes behind what every request goes through, as a server has them.
pub fn guarded(options: &HttpOptions, routes: Router) -> Router {
    let hosts = (!options.any_host).then(|| options.hosts.clone());
    let rules = Arc::new(guard::Rules { hosts, limits: options.limits });
    routes
        .fallback(async || Problem::not_found("there is no such route"))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(middleware::from_fn_with_state(rules, guard::guard))
}

async fn serve(stream: TcpStream, router: Router, limits: Limits, drain: CancellationToken) {
    // Answers are small; without it they would wait for the client's acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "a connection cannot be made quick");
    }
    let io = TokioIo::new(Patient::new(stream, limits.stall));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(io, TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        biased;
        ended = &mut connection => ended,
        () = drain.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection ended early");
    }
}
