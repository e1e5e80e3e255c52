//! The connection to the broker: reconnects without limit, and says when it did.

use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event};
use backon::{BackoffBuilder as _, ExponentialBuilder};
use broker_config::Chain;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::options::{Credentials, WorkerOptions};

/// Longest pause between two attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection, and the number of times it was made.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) client: Client,
    /// Rises with every connect, also the first.
    pub(crate) epoch: watch::Receiver<u64>,
}

/// The broker cannot be used, and waiting does not help.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// It does not let us in.
    #[error("the broker at {url} does not accept the credentials")]
    Refused {
        /// Where.
        url: String,
        /// What it said.
        #[source]
        source: async_nats::ConnectError,
    },
    /// A file with credentials cannot be read.
    #[error("could not read the credentials {path}")]
    Credentials {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The address makes no sense.
    #[error("`{url}` is not the address of a broker")]
    Address {
        /// The address, without the user and the password that may stand in it.
        url: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Link {
    /// Connects; while nobody is there it tries again until `drain`, then returns `None`.
    pub(crate) async fn open(
        options: &WorkerOptions,
        name: &str,
        drain: &CancellationToken,
    ) -> Result<Option<Self>, ConnectError> {
        let addresses: Vec<async_nats::ServerAddr> = options
            .url
            .split(',')
            .map(|url| {
                let url = url.trim();
                let unreadable =
                    |source| ConnectError::Address { url: without_user(url).to_owned(), source };
                url.parse().map_err(unreadable)
            })
            .collect::<Result<_, _>>()?;
        let shown = addresses.first().map_or("", async_nats::ServerAddr::host).to_owned();
        let mut pauses = pauses();
        loop {
            let (sender, epoch) = watch::channel(0);
            let connect = configure(options, name, sender)?.connect(addresses.clone());
            let Some(connected) = drain.run_until_cancelled(connect).await else { return Ok(None) };
            match connected {
                Ok(client) => {
                    info!(server = %shown, "connected to the broker");
                    return Ok(Some(Self { client, epoch }));
                }
                Err(source) => match source.kind() {
                    ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                        return Err(ConnectError::Refused { url: shown, source });
                    }
                    ConnectErrorKind::ServerParse
                    | ConnectErrorKind::Dns
                    | ConnectErrorKind::TimedOut
                    | ConnectErrorKind::Tls
                    | ConnectErrorKind::Io
                    | ConnectErrorKind::MaxReconnects => {
                        warn!(server = %shown, error = %Chain(&source), "the broker is not there, trying again");
                    }
                },
            }
            let pause = pauses.next().unwrap_or(LONGEST_PAUSE);
            if drain.run_until_cancelled(sleep(pause)).await.is_none() {
                return Ok(None);
            }
        }
    }

    /// Waits until the connection is up; at once if it is.
    pub(crate) async fn connected(&self) {
        let mut epoch = self.epoch.clone();
        while self.client.connection_state() != State::Connected {
            // A connect that happened just before is noticed by its state after a moment.
            let moment = Duration::from_millis(50);
            match tokio::time::timeout(moment, epoch.changed()).await {
                Ok(Ok(())) | Err(_) => {}
                Ok(Err(_)) => return,
            }
        }
    }
}

/// A URL from its host on. What cannot be parsed has no parts, but a password ends at the last `@`.
fn without_user(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, host)| host)
}

/// Growing pauses with some chance in them, without end.
pub(crate) fn pauses() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(LONGEST_PAUSE)
        .with_jitter()
        .without_max_times()
        .build()
}

fn configure(
    options: &WorkerOptions,
    name: &str,
    epoch: watch::Sender<u64>,
) -> Result<ConnectOptions, ConnectError> {
    let mut connect = ConnectOptions::new()
        .name(name)
        .connection_timeout(CONNECT_TIMEOUT)
        .ping_interval(Duration::from_secs(10))
        .max_reconnects(None)
        .reconnect_delay_callback(|attempts| {
            let doublings = u32::try_from(attempts.min(6)).unwrap_or(6);
            (Duration::from_millis(25) * 2_u32.pow(doublings)).min(LONGEST_PAUSE)
                + Duration::from_millis(fastrand::u64(0..50))
        })
        .event_callback(move |event| {
            on_event(&event, &epoch);
            std::future::ready(())
        });
    if let Some(path) = &options.root_certificates {
        connect = connect.add_root_certificates(path.clone());
    }
    if let Some((certificate, key)) = &options.client_certificate {
        connect = connect.add_client_certificate(certificate.clone(), key.clone());
    }
    let unreadable = |path: &std::path::Path| {
        let path = path.display().to_string();
        move |source| ConnectError::Credentials { path, source }
    };
    Ok(match &options.credentials {
        Credentials::None => connect,
        Credentials::User { name, password } => {
            connect.user_and_password(name.clone(), password.clone())
        }
        Credentials::Token(token) => connect.token(token.clone()),
        Credentials::File(path) => {
            let text = std::fs::read_to_string(path).map_err(unreadable(path))?;
            connect.credentials(&text).map_err(unreadable(path))?
        }
        Credentials::Nkey(seed) => {
            let path = std::path::Path::new(seed);
            let seed = if path.exists() {
                std::fs::read_to_string(path).map_err(unreadable(path))?
            } else {
                seed.clone()
            };
            connect.nkey(seed.trim().to_owned())
        }
    })
}

fn on_event(event: &Event, epoch: &watch::Sender<u64>) {
    match event {
        Event::Connected => epoch.send_modify(|epoch| *epoch += 1),
        Event::Disconnected => warn!("the connection to the broker is lost, reconnecting"),
        Event::LameDuckMode => info!("the broker is about to stop"),
        Event::SlowConsumer(subscription) => {
            warn!(subscription, "messages came faster than they were read, some are lost");
        }
        // What we are not allowed to do shows up nowhere else than here.
        Event::ServerError(error) => warn!(error = %error, "the broker refused something"),
        Event::ClientError(error) => debug!(error = %error, "connection error"),
        Event::Draining | Event::Closed => debug!("the connection is closing"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_makes_no_sense_is_named_without_its_password() {
        for (url, shown) in [
            ("nats://user:hush#@nas:4222x", "`nas:4222x` is not"),
            ("nats://user:hush@more@[nas", "`[nas` is not"),
            ("nats://a:1,nats://u:hush@b:port", "`b:port` is not"),
        ] {
            let options = WorkerOptions { url: url.to_owned(), ..WorkerOptions::default() };

            let error = Link::open(&options, "x", &CancellationToken::new()).await.unwrap_err();

            let said = Chain(&error).to_string();
            assert!(said.contains(shown) && !said.contains("hush"), "{url}: {said}");
        }
    }
}
