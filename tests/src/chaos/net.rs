//! All links of an experiment, each through a proxy, so that any of them can be broken.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;

use super::plan::{Partition, Place};
use crate::cluster::NODES;
use crate::proxy::{Fault, Proxy};

/// Who dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The coordinator of this number.
    Coordinator(usize),
    /// A worker of this half.
    Workers(usize),
    /// The server of this number.
    Server(usize),
    /// A server that has heard of another one.
    Anybody,
}

/// A link to the server of a number.
#[derive(Debug)]
struct Cable {
    from: End,
    to: usize,
    proxy: Proxy,
}

/// The links.
#[derive(Debug, Default)]
pub struct Net {
    cables: Vec<Cable>,
}

impl Net {
    /// Lays links from every client there may be to the servers; `pull` as in [`Proxy::to`].
    pub async fn clients(&mut self, servers: &[SocketAddr], pull: &str) -> anyhow::Result<()> {
        for half in 0..2 {
            for from in [End::Coordinator(half), End::Workers(half)] {
                for (to, server) in servers.iter().enumerate() {
                    self.lay(from, to, *server, pull).await?;
                }
            }
        }
        Ok(())
    }

    /// Lays links between servers.
    pub async fn routes(&mut self, servers: &[SocketAddr]) -> anyhow::Result<()> {
        for (to, server) in servers.iter().enumerate() {
            let others = (0..NODES).filter(|from| *from != to).map(End::Server);
            for from in others.chain([End::Anybody]) {
                self.lay(from, to, *server, "").await?;
            }
        }
        Ok(())
    }

    async fn lay(
        &mut self,
        from: End,
        to: usize,
        server: SocketAddr,
        pull: &str,
    ) -> anyhow::Result<()> {
        let proxy = Proxy::to(server, pull).await?;
        self.cables.push(Cable { from, to, proxy });
        Ok(())
    }

    /// Where a server, or whoever hears of it, finds another one.
    #[must_use]
    pub fn route(&self, from: Option<usize>, to: usize) -> Option<SocketAddr> {
        let from = from.map_or(End::Anybody, End::Server);
        let found = self.cables.iter().find(|cable| cable.from == from && cable.to == to);
        found.map(|cable| cable.proxy.address())
    }

    /// Where a client finds the broker; empty when nothing was laid for it.
    #[must_use]
    pub fn url(&self, from: End) -> String {
        let urls: Vec<String> =
            self.of(from).map(|proxy| format!("nats://{}", proxy.address())).collect();
        urls.join(",")
    }

    /// The links of a client.
    pub fn of(&self, from: End) -> impl Iterator<Item = &Proxy> {
        self.cables.iter().filter(move |cable| cable.from == from).map(|cable| &cable.proxy)
    }

    /// Breaks all links at a place, or mends them (`None`).
    pub fn set(&self, place: Place, partition: Option<Partition>) -> anyhow::Result<()> {
        let mut any = false;
        for Cable { from, to, proxy } in &self.cables {
            // Seen from who dials, `Partition::To` holds what goes up.
            let (is_there, dials) = match place {
                Place::Coordinator(number) => (*from == End::Coordinator(number), true),
                Place::Workers(half) => (*from == End::Workers(half), true),
                Place::Server(number) => {
                    let routes = matches!(from, End::Server(_) | End::Anybody);
                    let dials = *from == End::Server(number);
                    (routes && (dials || *to == number), !dials)
                }
            };
            if is_there {
                proxy.set(partition.map_or(Fault::None, |partition| fault(partition, dials)));
                any = true;
            }
        }
        any.then_some(()).context("no such link")
    }
}

/// What a link does; `up` says whether what is cut off from `To` is the end that is dialled.
const fn fault(partition: Partition, up: bool) -> Fault {
    match partition {
        Partition::Both => Fault::Held { up: true, down: true },
        Partition::To => Fault::Held { up, down: !up },
        Partition::From => Fault::Held { up: !up, down: up },
        Partition::Flapping => Fault::Closed,
        Partition::Slow => {
            Fault::Slow { delay: Duration::from_millis(100), bytes_per_second: 100_000 }
        }
    }
}
