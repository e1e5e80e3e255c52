//! A cable between a client and its server that can be cut and mended.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Passes connections on to a server; lives as long as the runtime it was laid on.
#[derive(Debug)]
pub struct Wire {
    address: SocketAddr,
    whole: watch::Sender<bool>,
    carriers: JoinSet<()>,
}

impl Wire {
    /// Lays a cable to `server`.
    pub async fn to(server: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (whole, seen) = watch::channel(true);
        let mut carriers = JoinSet::new();
        carriers.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                if *seen.borrow() {
                    connections.spawn(carry(client, server, seen.clone()));
                }
            }
        });
        Ok(Self { address, whole, carriers })
    }

    /// Where the client connects.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Cuts every connection; new ones are closed at once.
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    /// Lets connections through again.
    pub fn mend(&self) {
        self.whole.send_replace(true);
    }

    /// How many parts of it are at work; one while it is laid.
    #[must_use]
    pub fn carriers(&self) -> usize {
        self.carriers.len()
    }
}

async fn carry(mut client: TcpStream, server: SocketAddr, mut whole: watch::Receiver<bool>) {
    let Ok(mut upstream) = TcpStream::connect(server).await else { return };
    tokio::select! {
        // An error at either end is the end of the connection, as it is without a cable.
        _ = copy_bidirectional(&mut client, &mut upstream) => {}
        _ = whole.wait_for(|whole| !*whole) => {}
    }
}
