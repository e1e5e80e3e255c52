//! Trying again while the broker is away: a scan goes on where it was, without a person.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::HeaderMap;
use broker_config::publish::PublishError;
use broker_config::read::{ReadError, Stored, last_messages, message_at};
use bytes::Bytes;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::api::StreamState;
use super::cursor::{Cursor, Start};
use super::{Store, StoreError};

/// For so long a broker that does not answer is waited for.
const AWAY: Duration = Duration::from_secs(300);
/// For so long one that says no: a full disk needs a person, and a person should hear of it.
const REFUSING: Duration = Duration::from_secs(20);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Tries again what may pass by itself, until it is told to stop.
#[derive(Clone, Debug)]
pub struct Patience {
    /// Ends the waiting; what is on its way to the broker still arrives.
    cancel: CancellationToken,
    /// Whether it was told that the broker is away: a thousand requests wait at the same time, and
    /// one line is enough.
    told: Arc<AtomicBool>,
}

impl Patience {
    /// Waits until `cancel`.
    #[must_use]
    pub fn new(cancel: CancellationToken) -> Self {
        Self { cancel, told: Arc::default() }
    }

    /// Publishes until the stream has stored it.
    ///
    /// # Errors
    ///
    /// The last error, when trying again cannot help or was tried for long enough.
    pub async fn publish(
        &self,
        store: &Store,
        subject: &str,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<u64, PublishError> {
        let mut tries = Tries::new(self);
        loop {
            let error = match store
                .publisher()
                .publish(subject.to_owned(), headers.clone(), body.clone())
                .await
            {
                Ok(sequence) => {
                    tries.succeeded();
                    return Ok(sequence);
                }
                Err(error) => error,
            };
            let most = match error {
                PublishError::Unacknowledged { .. } | PublishError::NoStream { .. } => AWAY,
                PublishError::Refused { .. } => REFUSING,
                PublishError::WrongLastSequence { .. }
                | PublishError::TooLarge { .. }
                | PublishError::Closed => return Err(error),
            };
            if !tries.pause(most, &error).await {
                return Err(error);
            }
        }
    }

    /// Reads the last messages until there is an answer.
    ///
    /// # Errors
    ///
    /// As [`Patience::publish`]; [`ReadError::TooMany`] at once.
    pub async fn read(
        &self,
        store: &Store,
        stream: &str,
        filters: &[String],
    ) -> Result<Vec<Stored>, ReadError> {
        let mut tries = Tries::new(self);
        loop {
            match last_messages(store.client(), stream, filters).await {
                Ok(found) => {
                    tries.succeeded();
                    return Ok(found);
                }
                Err(error) => tries.read_again(error).await?,
            }
        }
    }

    /// Reads one message, as soon as there is an answer; `None` if it is gone.
    ///
    /// # Errors
    ///
    /// As [`Patience::publish`].
    pub async fn message(
        &self,
        store: &Store,
        stream: &str,
        sequence: u64,
    ) -> Result<Option<Stored>, ReadError> {
        let mut tries = Tries::new(self);
        loop {
            match message_at(store.client(), stream, sequence).await {
                Ok(found) => {
                    tries.succeeded();
                    return Ok(found);
                }
                Err(error) => tries.read_again(error).await?,
            }
        }
    }

    /// Reads the next messages of a cursor, as soon as there is an answer.
    ///
    /// # Errors
    ///
    /// As [`Patience::publish`].
    pub async fn page(&self, cursor: &mut Cursor) -> Result<Vec<Stored>, StoreError> {
        let mut tries = Tries::new(self);
        loop {
            match cursor.read().await {
                Ok(found) => {
                    tries.succeeded();
                    return Ok(found);
                }
                Err(error) => tries.again(error).await?,
            }
        }
    }

    /// Reads everything of a stream under a filter, deletions left out.
    ///
    /// # Errors
    ///
    /// As [`Patience::publish`].
    pub async fn read_all(
        &self,
        store: &Store,
        stream: &str,
        filter: &str,
    ) -> Result<Vec<Stored>, StoreError> {
        let mut cursor = store.cursor(stream.to_owned(), filter.to_owned(), Start::Sequence(1));
        let mut all = Vec::new();
        loop {
            let page = self.page(&mut cursor).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page.into_iter().filter(|stored| !stored.is_deletion()));
        }
    }

    /// What a stream holds, as soon as there is an answer.
    ///
    /// # Errors
    ///
    /// As [`Patience::publish`].
    pub async fn stream_state(
        &self,
        store: &Store,
        stream: &str,
    ) -> Result<StreamState, StoreError> {
        let mut tries = Tries::new(self);
        loop {
            match store.stream_state(stream).await {
                Ok(state) => {
                    tries.succeeded();
                    return Ok(state);
                }
                Err(error) => tries.again(error).await?,
            }
        }
    }
}

struct Tries<'a> {
    patience: &'a Patience,
    since: Instant,
    pause: Duration,
}

impl<'a> Tries<'a> {
    fn new(patience: &'a Patience) -> Self {
        Self { patience, since: Instant::now(), pause: FIRST_PAUSE }
    }

    fn succeeded(&self) {
        let retried = self.pause > FIRST_PAUSE;
        if retried && self.patience.told.swap(false, Ordering::Relaxed) {
            info!("the broker takes part again");
        }
    }

    /// As [`Tries::again`].
    async fn read_again(&mut self, error: ReadError) -> Result<(), ReadError> {
        let most = match error {
            ReadError::TimedOut { .. } => AWAY,
            // While a server starts, nobody answers for its streams yet.
            ReadError::Refused { status: 503, .. } => AWAY,
            ReadError::Refused { .. } => REFUSING,
            ReadError::TooMany | ReadError::Closed => return Err(error),
        };
        if self.pause(most, &error).await { Ok(()) } else { Err(error) }
    }

    /// Waits before the next try where that can help; else the error stands.
    async fn again(&mut self, error: StoreError) -> Result<(), StoreError> {
        let may_pass = match &error {
            // While a server starts, nobody answers for its streams yet.
            StoreError::Away { .. } | StoreError::NotFound { .. } => true,
            StoreError::Refused { .. }
            | StoreError::Conflict { .. }
            | StoreError::Unreadable { .. } => false,
        };
        if may_pass && self.pause(AWAY, &error).await { Ok(()) } else { Err(error) }
    }

    /// Waits before the next try; `false` when there is to be none.
    async fn pause(
        &mut self,
        most: Duration,
        error: &(dyn std::error::Error + Send + Sync),
    ) -> bool {
        if self.since.elapsed() > most {
            return false;
        }
        if !self.patience.told.swap(true, Ordering::Relaxed) {
            warn!(%error, "the broker does not take part; trying again");
        }
        let waited = self.patience.cancel.run_until_cancelled(sleep(self.pause)).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        waited.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::TestBroker;

    #[tokio::test]
    async fn a_broker_that_is_away_is_waited_for() -> anyhow::Result<()> {
        let (mut broker, store) = TestBroker::start().await?;
        let patience = Patience::new(CancellationToken::new());
        let stream = store.names().event_stream();
        let mut cursor =
            store.cursor(stream.clone(), store.names().all_events(), Start::Sequence(1));
        let (headers, body) = (HeaderMap::new(), Bytes::from_static(b"{}"));

        broker.restart()?;
        assert_eq!(patience.stream_state(&store, &stream).await?.messages, 0);
        broker.restart()?;
        let sequence =
            patience.publish(&store, &store.names().event("a.b"), &headers, &body).await?;
        broker.restart()?;
        let page = patience.page(&mut cursor).await?;

        // One whose acknowledgement was lost may be there twice.
        assert_eq!(page.last().map(|stored| stored.sequence), Some(sequence));
        Ok(())
    }

    #[tokio::test]
    async fn who_is_told_to_stop_does_not_wait() -> anyhow::Result<()> {
        let (broker, store) = TestBroker::start().await?;
        let cancel = CancellationToken::new();
        let patience = Patience::new(cancel.clone());
        drop(broker);
        cancel.cancel();

        let stream = store.names().event_stream();
        assert!(patience.stream_state(&store, &stream).await.is_err());
        Ok(())
    }
}
