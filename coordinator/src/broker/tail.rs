//! Follows a stream from a sequence on and misses nothing.
//!
//! An unacknowledged consumer in the server's memory; when it is gone (restart) or has skipped
//! something, a new one begins behind the last message that was seen; or behind the last one that
//! there is, where the stream was made anew or the broker has lost its last moments.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::{Message, SubscribeError};
use broker_config::pull::{Pulled, Puller};

use super::Broker;
use super::deliver::{Place, place_of};

/// Messages asked for at once; what has come waits in this process.
const ROOM: usize = 1024;
/// A consumer that nobody pulls from goes after this long.
const IDLE: Duration = Duration::from_secs(60);
/// Pause before trying again to make a consumer.
const PAUSE: Duration = Duration::from_millis(300);

/// Follows one stream.
#[derive(Debug)]
pub struct Tail {
    broker: Broker,
    stream: String,
    filters: Vec<String>,
    next_sequence: u64,
    puller: Option<Puller>,
    delivered: u64,
}

impl Tail {
    /// Follows `stream` from sequence `from` (counted from 1) on, only subjects that match
    /// `filters` (empty = all).
    #[must_use]
    pub fn new(broker: Broker, stream: String, filters: Vec<String>, from: u64) -> Self {
        Self { broker, stream, filters, next_sequence: from.max(1), puller: None, delivered: 0 }
    }

    /// Makes the consumer now, so that nothing stored from here on can be missed.
    pub async fn start(&mut self) {
        while self.puller.is_none() {
            if let Err(error) = self.restart().await {
                tracing::debug!(error, stream = self.stream, "cannot follow, trying again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Waits for the next message; `None` when the connection is closed for good.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped call has taken no message.
    pub async fn next(&mut self) -> Option<(Message, Place)> {
        loop {
            self.start().await;
            let Some(puller) = &mut self.puller else { continue };
            puller.set_room(ROOM);
            match puller.next().await {
                Pulled::Message(message) => {
                    let Some(place) = place_of(&message) else { continue };
                    if place.consumer_sequence != self.delivered + 1 {
                        // Something was dropped on the way.
                        self.puller = None;
                        continue;
                    }
                    self.delivered = place.consumer_sequence;
                    self.next_sequence = place.stream_sequence + 1;
                    return Some((*message, place));
                }
                Pulled::Refused(status) => {
                    tracing::debug!(status, stream = self.stream, "follows anew");
                    self.puller = None;
                    tokio::time::sleep(PAUSE).await;
                }
                Pulled::Closed => return None,
            }
        }
    }

    async fn restart(&mut self) -> Result<(), String> {
        let stream = self.broker.js.get_stream(&self.stream).await;
        let last = stream.map_err(|error| error.to_string())?.cached_info().state.last_sequence;
        if last + 1 < self.next_sequence {
            tracing::warn!(stream = self.stream, last, "a stream has lost what was seen of it");
            self.next_sequence = last + 1;
        }
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: self.next_sequence },
            ack_policy: AckPolicy::None,
            filter_subjects: self.filters.clone(),
            inactive_threshold: IDLE,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let consumer = self
            .broker
            .js
            .create_consumer_on_stream(config, self.stream.clone())
            .await
            .map_err(|error| error.to_string())?;
        let name = consumer.cached_info().name.clone();
        let opened = Puller::open(self.broker.client.clone(), &self.stream, &name).await;
        self.puller = Some(opened.map_err(|error: SubscribeError| error.to_string())?);
        self.delivered = 0;
        Ok(())
    }
}
