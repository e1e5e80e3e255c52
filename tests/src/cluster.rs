//! Three nats-servers that keep every message together, each a process of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_nats::{Client, ConnectOptions, jetstream};
use tempfile::TempDir;

use crate::nats::{Server, free_port};
use crate::within;

/// How many servers there are, and copies of every message.
pub const NODES: usize = 3;
/// How long they may take to find each other.
const START: Duration = Duration::from_secs(60);

/// Where the servers are going to listen, for clients and for each other.
#[derive(Clone, Debug)]
pub struct Layout {
    /// For clients.
    pub clients: Vec<SocketAddr>,
    /// For the other servers.
    pub routes: Vec<SocketAddr>,
}

impl Layout {
    /// Ports that are free just now.
    pub fn free() -> anyhow::Result<Self> {
        let free = || -> anyhow::Result<Vec<SocketAddr>> {
            (0..NODES).map(|_| Ok((Ipv4Addr::LOCALHOST, free_port()?).into())).collect()
        };
        Ok(Self { clients: free()?, routes: free()? })
    }
}

/// The servers.
#[derive(Debug)]
pub struct Cluster {
    /// Each of them.
    pub nodes: Vec<Arc<Server>>,
    /// A connection to the account of the servers themselves.
    system: Client,
}

impl Cluster {
    /// Starts them where the layout says; `route` says where node `from` is to look for node `to`,
    /// and what node `to` tells of itself (`from` is `None`).
    pub async fn start(
        layout: &Layout,
        route: impl Fn(Option<usize>, usize) -> SocketAddr,
    ) -> anyhow::Result<Self> {
        let mut nodes = Vec::new();
        for (number, client) in layout.clients.iter().enumerate() {
            let home = TempDir::new()?;
            let others = (0..NODES).filter(|other| *other != number);
            let routes: Vec<String> = others
                .map(|other| format!("\"nats-route://{}\"", route(Some(number), other)))
                .collect();
            let listen = layout.routes.get(number).context("a port for routes")?;
            let config = format!(
                "server_name: \"{}\"\n\
                 listen: \"{client}\"\n\
                 jetstream {{ store_dir: {:?} }}\n\
                 cluster {{\n  name: chaos\n  listen: \"{listen}\"\n  advertise: \"{}\"\n  \
                 no_advertise: true\n  pool_size: -1\n  routes: [{}]\n}}\n\
                 accounts {{\n  \
                 $SYS {{ users: [{{ user: sys, password: sys }}] }}\n  \
                 FLEET {{ jetstream: enabled, users: [{{ user: fleet, password: fleet }}] }}\n}}\n\
                 no_auth_user: fleet\n",
                name(number),
                home.path().join("store"),
                route(None, number),
                routes.join(", "),
            );
            let server = Server::at(home, client.port(), &config).await?;
            nodes.push(Arc::new(server));
        }
        let system = ConnectOptions::with_user_and_password("sys".to_owned(), "sys".to_owned())
            .max_reconnects(None)
            .reconnect_delay_callback(|_| Duration::from_millis(50))
            .retry_on_initial_connect();
        let addresses: Vec<String> = nodes.iter().map(|node| node.url()).collect();
        let system = system.connect(addresses.as_slice()).await?;
        let cluster = Self { nodes, system };
        cluster.ready().await?;
        Ok(cluster)
    }

    /// Where clients connect: to any of them.
    #[must_use]
    pub fn url(&self) -> String {
        let urls: Vec<String> = self.nodes.iter().map(|node| node.url()).collect();
        urls.join(",")
    }

    /// Waits until a stream with a copy on each can be made.
    async fn ready(&self) -> anyhow::Result<()> {
        let addresses: Vec<String> = self.nodes.iter().map(|node| node.url()).collect();
        let client = async_nats::connect(addresses.as_slice()).await?;
        let js = jetstream::new(client);
        within(START, "the servers to find each other", async || {
            let config = jetstream::stream::Config {
                name: "probe".to_owned(),
                num_replicas: NODES,
                ..jetstream::stream::Config::default()
            };
            js.create_stream(config).await?;
            js.delete_stream("probe").await?;
            Ok(Some(()))
        })
        .await
    }

    /// Has the leader of all servers step down.
    pub async fn step_down(&self) -> anyhow::Result<()> {
        let subject = "$JS.API.META.LEADER.STEPDOWN";
        let answer = self.system.request(subject, "{}".into()).await?;
        let answer: serde_json::Value = serde_json::from_slice(&answer.payload)?;
        anyhow::ensure!(answer.get("error").is_none(), "{answer}");
        Ok(())
    }

    /// The number of the node that keeps the lead of a stream; `None` while nobody does.
    pub async fn leader(
        &self,
        js: &jetstream::Context,
        stream: &str,
    ) -> anyhow::Result<Option<usize>> {
        let stream = js.get_stream(stream).await?;
        let leader = stream.cached_info().cluster.as_ref().and_then(|it| it.leader.as_deref());
        Ok(leader.and_then(|leader| (0..NODES).find(|number| name(*number) == leader)))
    }

    /// Whether a stream has a leader, and every copy is up to date.
    pub async fn is_whole(js: &jetstream::Context, stream: &str) -> anyhow::Result<bool> {
        let stream = js.get_stream(stream).await?;
        let Some(cluster) = &stream.cached_info().cluster else { return Ok(false) };
        let copies = cluster.replicas.iter().filter(|copy| copy.current && !copy.offline).count();
        Ok(cluster.leader.is_some() && copies + 1 == NODES)
    }
}

fn name(number: usize) -> String {
    format!("n{}", number + 1)
}
