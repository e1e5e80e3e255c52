//! A door of a plugin's network: a listener at its gateway that leads to the broker or the bridge.
//!
//! It listens on that one address, so nobody else reaches the broker through it. It ends with this
//! process: containers that outlive us are cut off.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::debug;

use crate::bridge::{API_PORT, KV_PORT};

/// Ports to listen on, the usual one first; the first that is free is taken.
pub type Ports = [u16; 4];

/// For the broker. The port is part of a container's configuration, so it should be the same after a
/// restart.
pub const BROKER_PORTS: Ports = [4222, 14_222, 24_222, 34_222];
/// For callbacks of HTTP plugins.
pub const API_PORTS: Ports = [API_PORT, 18_180, 28_180, 38_180];
/// For metadata of HTTP plugins.
pub const KV_PORTS: Ports = [KV_PORT, 19_000, 29_000, 39_000];
/// Connections of one plugin at once.
const CONNECTIONS: usize = 256;
/// Connections that may wait to be taken.
const BACKLOG: u32 = 128;
/// How long the target may take to answer.
const CONNECT: Duration = Duration::from_secs(5);
/// Pause after an error of the listener.
const PAUSE: Duration = Duration::from_millis(200);

/// A door that is open until this is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    _open: DropGuard,
    _running: JoinSet<()>,
}

impl Relay {
    /// Opens a door at a gateway, at one of these ports, to `target`.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn open((gateway, ports): (IpAddr, Ports), target: (String, u16)) -> io::Result<Self> {
        let mut last = None;
        for port in ports {
            match listen((gateway, port).into()) {
                Ok(listener) => return Self::serve(listener, target),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
    }

    fn serve(listener: TcpListener, target: (String, u16)) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let mut running = JoinSet::new();
        running.spawn(accept(listener, Arc::new(target), stop.clone()));
        Ok(Self { address, _open: stop.drop_guard(), _running: running })
    }

    /// Where it listens.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.address.port()
    }
}

/// Listens at an address that may come later: Podman gives a network its address with the first
/// container in it.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if address.is_ipv4() {
        sockopt::set_ip_freebind(&socket, true)?;
    } else {
        sockopt::set_ipv6_freebind(&socket, true)?;
    }
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept(listener: TcpListener, target: Arc<(String, u16)>, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((client, _)) => {
                // One too many is closed at once; its client tries again.
                if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
                    let target = Arc::clone(&target);
                    connections.spawn(async move {
                        if let Err(error) = carry(client, &target).await {
                            debug!(%error, "a connection of a container has ended");
                        }
                        drop(place);
                    });
                }
            }
            Err(error) => {
                debug!(%error, "a connection of a container was not taken");
                sleep(PAUSE).await;
            }
        }
    }
    connections.shutdown().await;
}

async fn carry(mut client: TcpStream, target: &(String, u16)) -> io::Result<()> {
    let (host, port) = target;
    let mut server = timeout(CONNECT, TcpStream::connect((host.as_str(), *port))).await??;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn it_listens_at_an_address_that_is_not_there_yet() -> anyhow::Result<()> {
        // Nobody has it: RFC 5737.
        let relay = Relay::open(([203, 0, 113, 1].into(), KV_PORTS), (String::new(), 1))?;
        assert_eq!(relay.port(), KV_PORTS[0]);
        Ok(())
    }

    #[tokio::test]
    async fn it_carries_both_ways_and_ends_when_dropped() -> anyhow::Result<()> {
        let server = TcpListener::bind("127.0.0.1:0").await?;
        let broker = ("127.0.0.1".to_owned(), server.local_addr()?.port());
        let here = TcpListener::bind("127.0.0.1:0").await?;
        let relay = Relay::serve(here, broker)?;

        let mut client = TcpStream::connect(("127.0.0.1", relay.port())).await?;
        client.write_all(b"ping").await?;
        let (mut met, _) = server.accept().await?;
        let mut read = [0; 4];
        met.read_exact(&mut read).await?;
        met.write_all(b"pong").await?;
        client.read_exact(&mut read).await?;

        assert_eq!(&read, b"pong");
        drop(relay);
        let end = timeout(Duration::from_secs(10), client.read(&mut read)).await?;
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
        Ok(())
    }
}
