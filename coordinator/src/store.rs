//! The fleet's buckets and streams as commands read and write them.
//!
//! Nothing is kept here: every call asks the broker. Reads go by direct gets, which leave nothing
//! behind on the server and can simply be made again after it was away.

pub mod api;
mod artifacts;
mod copies;
pub mod cursor;
pub mod dead;
pub mod files;
pub mod files_secret;
pub mod overview;
pub mod paths;
pub mod patience;
pub mod pause;
mod places;
pub mod plugins;
pub mod quarantine;
pub mod records;
pub mod scale;
pub mod submit;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod versions;

use std::time::Duration;

use async_nats::Client;
use broker_config::Names;
use broker_config::publish::{PublishError, Publisher};
use broker_config::read::ReadError;
use tokio::time::timeout;

/// How long what is left may take to be sent.
const CLOSING: Duration = Duration::from_secs(2);

/// One fleet's state on one broker; cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    client: Client,
    names: Names,
    publisher: Publisher,
}

/// The broker did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No answer: it is away, or the connection is closed. Asking again is safe.
    #[error("the broker does not answer ({what})")]
    Away {
        /// What was asked.
        what: String,
        /// What the client says.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is no such stream, consumer or message.
    #[error("{what}: not found")]
    NotFound {
        /// What was asked.
        what: String,
    },
    /// It said no.
    #[error("the broker refused ({what}): {description}")]
    Refused {
        /// What was asked.
        what: String,
        /// Its words.
        description: String,
    },
    /// What was read has changed before it was written.
    #[error("{what} was changed by somebody else at the same time")]
    Conflict {
        /// What was written.
        what: String,
    },
    /// What is stored there is not what should be.
    #[error("{what} cannot be understood")]
    Unreadable {
        /// What was read.
        what: String,
        /// Why not.
        #[source]
        cause: serde_json::Error,
    },
}

impl Store {
    /// Takes a connection and starts to listen for acknowledgements.
    ///
    /// # Errors
    ///
    /// [`StoreError::Away`] when the connection is closed.
    pub async fn open(client: Client, names: Names) -> Result<Self, StoreError> {
        let publisher = Publisher::open(client.clone())
            .await
            .map_err(|error| StoreError::Away { what: "subscribe".into(), cause: error.into() })?;
        Ok(Self { client, names, publisher })
    }

    /// The connection.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The names of this fleet.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Publishes with acknowledgement.
    #[must_use]
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// Ends the listening and closes the connection; publishes that wait fail.
    pub async fn close(&self) {
        self.publisher.close().await;
        // What is still to be sent goes first; a drain alone would lose it. A broker that is away
        // is not waited for.
        if timeout(CLOSING, self.client.flush()).await.is_ok() {
            self.client.drain().await.ok();
        }
    }
}

impl StoreError {
    /// Whether the same request can succeed later without any other change.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Away { .. } => true,
            Self::NotFound { .. }
            | Self::Refused { .. }
            | Self::Conflict { .. }
            | Self::Unreadable { .. } => false,
        }
    }

    pub(crate) fn of_read(what: &str, error: ReadError) -> Self {
        let what = what.to_owned();
        match error {
            ReadError::TimedOut { .. } | ReadError::Closed => {
                Self::Away { what, cause: error.into() }
            }
            // The server says 503 where no stream answers to the name.
            ReadError::Refused { status: 404 | 503, .. } => Self::NotFound { what },
            ReadError::TooMany | ReadError::Refused { .. } => {
                Self::Refused { what, description: error.to_string() }
            }
        }
    }

    pub(crate) fn of_publish(what: &str, error: PublishError) -> Self {
        let what = what.to_owned();
        match error {
            PublishError::WrongLastSequence { .. } => Self::Conflict { what },
            PublishError::Unacknowledged { .. } | PublishError::Closed => {
                Self::Away { what, cause: error.into() }
            }
            PublishError::NoStream { .. } => Self::NotFound { what },
            PublishError::TooLarge { .. } | PublishError::Refused { .. } => {
                Self::Refused { what, description: error.to_string() }
            }
        }
    }
}
