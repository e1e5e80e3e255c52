//! A link whose faults are made: it holds bytes back, closes connections, is slow, or stops dead
//! after a certain message.
//!
//! What is held back gets through later, as TCP sees to it when a network comes back in time. New
//! connections are taken even then, and hear nothing.

mod count;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

pub use self::count::Messages;

/// Bytes taken at once.
const CHUNK: usize = 16 * 1024;

/// What a link does to what goes over it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Nothing gets through: to the server, to the client, or either way.
    Held {
        /// To the server.
        up: bool,
        /// To the client.
        down: bool,
    },
    /// Connections are closed, and new ones at once.
    Closed,
    /// Everything is late, and not much of it gets through in a second.
    Slow {
        /// How late.
        delay: Duration,
        /// Bytes in a second.
        bytes_per_second: u32,
    },
}

/// Where a stretch goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

/// Counts what a client sends, and stops it after a message.
#[derive(Debug)]
struct Fuse {
    state: Mutex<Fused>,
    blown: watch::Sender<u64>,
    pulls: watch::Sender<u64>,
    /// A message to a subject that begins so is counted as a pull.
    pull: String,
}

#[derive(Debug, Default)]
struct Fused {
    /// Messages that may still pass; `None` = all.
    left: Option<u64>,
    /// Messages that have passed.
    passed: u64,
}

/// Passes connections on to a server; lives as long as the runtime it was made on.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    fuse: Arc<Fuse>,
    _carriers: JoinSet<()>,
}

impl Proxy {
    /// Makes a link to `server`. Messages of clients to subjects that begin with `pull` are counted
    /// for [`Proxy::pulls`].
    pub async fn to(server: SocketAddr, pull: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let fault = watch::Sender::new(Fault::None);
        let fuse = Arc::new(Fuse {
            state: Mutex::default(),
            blown: watch::Sender::new(0),
            pulls: watch::Sender::new(0),
            pull: pull.to_owned(),
        });
        let (seen, its_fuse) = (fault.clone(), fuse.clone());
        let mut carriers = JoinSet::new();
        carriers.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                if *seen.borrow() != Fault::Closed {
                    connections.spawn(carry(client, server, seen.subscribe(), its_fuse.clone()));
                }
            }
        });
        Ok(Self { address, fault, fuse, _carriers: carriers })
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on this happens to what goes over it.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// After so many more messages of clients nothing of theirs gets through, until [`Proxy::mend`].
    pub fn stop_after(&self, messages: u64) {
        self.fuse.lock().left = Some(messages);
    }

    /// Lets messages of new connections through again. What was stopped stays so.
    pub fn mend(&self) {
        self.fuse.lock().left = None;
    }

    /// Rises whenever messages were stopped.
    #[must_use]
    pub fn blown(&self) -> watch::Receiver<u64> {
        self.fuse.blown.subscribe()
    }

    /// How many pulls have passed.
    #[must_use]
    pub fn pulls(&self) -> watch::Receiver<u64> {
        self.fuse.pulls.subscribe()
    }

    /// How many messages of clients have passed.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.fuse.lock().passed
    }
}

impl Fuse {
    fn lock(&self) -> std::sync::MutexGuard<'_, Fused> {
        // Whole after every single change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much of a chunk may pass: all of it, or as far as the end of the last message that may.
    fn pass(&self, messages: &mut Messages, chunk: &[u8]) -> Result<usize, usize> {
        let (mut state, mut pulls) = (self.lock(), 0);
        let mut end = Ok(chunk.len());
        messages.feed(chunk, |at, subject| {
            if end.is_err() {
                return;
            }
            state.passed += 1;
            pulls += u64::from(subject.starts_with(self.pull.as_bytes()));
            if let Some(left) = &mut state.left {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    end = Err(at);
                }
            }
        });
        drop(state);
        if pulls > 0 && !self.pull.is_empty() {
            self.pulls.send_modify(|all| *all += pulls);
        }
        end
    }
}

async fn carry(
    client: TcpStream,
    server: SocketAddr,
    mut fault: watch::Receiver<Fault>,
    fuse: Arc<Fuse>,
) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    client.set_nodelay(true).ok();
    server.set_nodelay(true).ok();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (up, down) = (fault.clone(), fault.clone());
    // The end of either way is the end of the connection.
    tokio::select! {
        () = pass(&mut from_client, &mut to_server, Way::Up, up, Some(&fuse)) => {}
        () = pass(&mut from_server, &mut to_client, Way::Down, down, None) => {}
        _ = fault.wait_for(|fault| *fault == Fault::Closed) => {}
    }
}

async fn pass(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    way: Way,
    mut fault: watch::Receiver<Fault>,
    fuse: Option<&Fuse>,
) {
    let mut chunk = vec![0; CHUNK];
    let mut messages = Messages::default();
    loop {
        let read = match from.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(read) => chunk.get(..read).unwrap_or_default(),
        };
        let holds = |fault: &Fault| match fault {
            Fault::Held { up, down } => match way {
                Way::Up => *up,
                Way::Down => *down,
            },
            Fault::None | Fault::Closed | Fault::Slow { .. } => false,
        };
        let slow = match fault.wait_for(|fault| !holds(fault)).await {
            Ok(fault) => match *fault {
                Fault::Slow { delay, bytes_per_second } => {
                    let bytes = u32::try_from(read.len()).unwrap_or(u32::MAX);
                    delay + Duration::from_secs(1) * bytes / bytes_per_second.max(1)
                }
                Fault::None | Fault::Closed | Fault::Held { .. } => Duration::ZERO,
            },
            Err(_) => return,
        };
        if !slow.is_zero() {
            sleep(slow).await;
        }
        let passed = fuse.map_or(Ok(read.len()), |fuse| fuse.pass(&mut messages, read));
        let (Ok(end) | Err(end)) = passed;
        if to.write_all(read.get(..end).unwrap_or_default()).await.is_err() {
            return;
        }
        if passed.is_err() {
            if let Some(fuse) = fuse {
                fuse.blown.send_modify(|times| *times += 1);
            }
            // What its sender still says goes nowhere; its end is the end of the connection.
            while !matches!(from.read(&mut chunk).await, Ok(0) | Err(_)) {}
            return;
        }
    }
}
