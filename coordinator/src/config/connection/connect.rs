//! A [`Connection`] as the client library wants it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event};
use tracing::{debug, info, warn};

use super::{Connection, Login};

/// Longest pause between two attempts to reconnect.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that is dead without saying so is noticed after about two of these.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// No connection was made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A file with a key or credentials cannot be used.
    #[error("could not read {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The broker is not there or does not let us in.
    #[error("could not connect to the broker at {url}")]
    Broker {
        /// Where.
        url: String,
        /// Why.
        #[source]
        source: async_nats::ConnectError,
    },
}

impl Connection {
    /// Options for a client called `name`: it reconnects without limit, with growing pauses, and
    /// logs when it must.
    ///
    /// # Errors
    ///
    /// [`ConnectError::Unreadable`] when a file with a key or credentials cannot be used.
    pub fn connect_options(&self, name: &str) -> Result<ConnectOptions, ConnectError> {
        let mut options = ConnectOptions::new()
            .name(name)
            .connection_timeout(CONNECT_TIMEOUT)
            .ping_interval(PING_INTERVAL)
            .max_reconnects(None)
            .reconnect_delay_callback(pause)
            .event_callback(|event| {
                on_event(&event);
                std::future::ready(())
            });
        if let Some(ca) = &self.tls.ca {
            options = options.add_root_certificates(ca.clone());
        }
        if let Some((cert, key)) = &self.tls.client {
            options = options.add_client_certificate(cert.clone(), key.clone());
        }
        Ok(match &self.login {
            Login::Anonymous => options,
            Login::User { name, password } => {
                options.user_and_password(name.clone(), password.reveal().to_owned())
            }
            Login::Token(token) => options.token(token.reveal().to_owned()),
            Login::Credentials(path) => options.credentials(&read(path)?).map_err(|source| {
                let path = path.clone();
                ConnectError::Unreadable { path, source }
            })?,
            Login::Nkey(seed) => {
                let path = Path::new(seed.reveal());
                let seed = if path.exists() { read(path)? } else { seed.reveal().to_owned() };
                options.nkey(seed.trim().to_owned())
            }
        })
    }

    /// Connects once; a client that exists reconnects by itself.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] when a file cannot be used, or the broker is not there or refuses.
    pub async fn connect(&self, name: &str) -> Result<Client, ConnectError> {
        let failed = |source| ConnectError::Broker { url: self.url.clone(), source };
        self.connect_options(name)?.connect(self.addresses().as_slice()).await.map_err(failed)
    }

    /// The servers, one by one: the library takes a text for the address of one.
    #[must_use]
    pub fn addresses(&self) -> Vec<&str> {
        self.url.split(',').map(str::trim).collect()
    }
}

fn read(path: &Path) -> Result<String, ConnectError> {
    let failed = |source| ConnectError::Unreadable { path: path.to_owned(), source };
    std::fs::read_to_string(path).map_err(failed)
}

/// The pause before attempt `attempts`, with some chance in it so that a fleet does not come back
/// all at once.
fn pause(attempts: usize) -> Duration {
    let doublings = u32::try_from(attempts.min(7)).unwrap_or(7);
    (Duration::from_millis(20) * 2_u32.pow(doublings)).min(LONGEST_PAUSE)
        + Duration::from_millis(fastrand::u64(0..50))
}

fn on_event(event: &Event) {
    match event {
        Event::Connected => info!("connected to the broker"),
        Event::Disconnected => warn!("the connection to the broker is lost, reconnecting"),
        Event::LameDuckMode => info!("the broker is about to stop"),
        Event::SlowConsumer(subscription) => {
            warn!(subscription, "messages came faster than they were read, some are lost");
        }
        // What we are not allowed to do shows up nowhere else than here.
        Event::ServerError(error) => warn!(%error, "the broker refused something"),
        Event::ClientError(error) => debug!(%error, "connection error"),
        Event::Draining | Event::Closed => debug!("the connection is closing"),
    }
}
