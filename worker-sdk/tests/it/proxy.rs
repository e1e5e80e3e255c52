//! A way to the broker that can be cut, and that can hold back what is said to it.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::harness::PATIENCE;

/// Passes connections on to a server until it is cut.
pub(crate) struct Proxy {
    port: u16,
    open: Arc<watch::Sender<bool>>,
    holding: Arc<watch::Sender<Holding>>,
    _passing: JoinSet<()>,
}

/// What is held back.
#[derive(Clone, Default)]
enum Holding {
    #[default]
    Nothing,
    /// What the client says behind the line that begins so.
    Behind(String),
    /// Such a line has passed; all that came behind it.
    Held,
}

impl Proxy {
    /// A way to the server at this URL.
    pub(crate) async fn start(url: &str) -> anyhow::Result<Self> {
        let server = url.trim_start_matches("nats://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let open = Arc::new(watch::Sender::new(true));
        let holding: Arc<watch::Sender<Holding>> = Arc::default();
        let mut passing = JoinSet::new();
        let (opened, held) = (open.clone(), holding.clone());
        passing.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (mut open, held) = (opened.subscribe(), held.clone());
                if !*open.borrow() {
                    continue;
                }
                let server = server.clone();
                connections.spawn(async move {
                    let Ok(server) = TcpStream::connect(server).await else { return };
                    let (mut said, mut heard) = server.into_split();
                    let (from, mut to) = client.into_split();
                    tokio::select! {
                        _ = copy(&mut said, &mut to) => {}
                        _ = pass_on(from, &mut heard, &held) => {}
                        _ = open.changed() => {}
                    }
                });
            }
        });
        Ok(Self { port, open, holding, _passing: passing })
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Cuts all connections, and takes no new one.
    pub(crate) fn cut(&self) {
        self.open.send_replace(false);
    }

    /// Takes connections again.
    pub(crate) fn mend(&self) {
        self.open.send_replace(true);
    }

    /// Holds back what a client says behind a line that begins so.
    pub(crate) fn hold_behind(&self, line: String) {
        self.holding.send_replace(Holding::Behind(line));
    }

    /// Waits until such a line has passed.
    pub(crate) async fn held(&self) -> anyhow::Result<()> {
        let mut holding = self.holding.subscribe();
        timeout(PATIENCE, holding.wait_for(|it| matches!(it, Holding::Held))).await??;
        Ok(())
    }

    /// Lets go what was held back.
    pub(crate) fn let_go(&self) {
        self.holding.send_replace(Holding::Nothing);
    }
}

async fn pass_on(
    mut from: OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    holding: &watch::Sender<Holding>,
) -> std::io::Result<()> {
    let (mut said, mut passed) = (Vec::new(), 0);
    while from.read_buf(&mut said).await? > 0 {
        let line = match &*holding.borrow() {
            Holding::Behind(line) => Some(line.clone()),
            Holding::Nothing | Holding::Held => None,
        };
        if let Some(line) = line {
            // Whole lines, for the one that is looked for may come in parts.
            let Some(length) = said[passed..].iter().rposition(|&byte| byte == b'\n') else {
                continue;
            };
            let lines = &said[passed..=passed + length];
            let found = length_to(lines, line.as_bytes());
            let length = found.unwrap_or(lines.len());
            to.write_all(&lines[..length]).await?;
            passed += length;
            if found.is_none() {
                continue;
            }
            holding.send_replace(Holding::Held);
            let mut held = holding.subscribe();
            drop(held.wait_for(|it| !matches!(it, Holding::Held)).await);
        }
        to.write_all(&said[passed..]).await?;
        passed = said.len();
    }
    Ok(())
}

/// How much there is up to the end of the line that begins so.
fn length_to(said: &[u8], line: &[u8]) -> Option<usize> {
    let begin = said.windows(line.len()).position(|window| window == line)?;
    let length = said[begin..].iter().position(|&byte| byte == b'\n')?;
    Some(begin + length + 1)
}
