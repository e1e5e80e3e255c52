//! Follows a stream from a sequence on and misses nothing.
//!
//! An unacknowledged consumer in the server's memory; when it is gone (restart) or has skipped
//! something, a new one begins behind the last message that was seen. Where the stream was made anew, or
//! the broker has lost its last moments, that number belongs to nobody or to another message; then it
//! begins with what was stored since.

use std::time::Duration;

use async_nats::datetime::from_nanos;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::{Message, SubscribeError};
use broker_config::Chain;
use broker_config::pull::{Pulled, Puller};
use broker_config::read::message_at;

use super::Broker;
use super::deliver::{Place, place_of};
use super::records::stored_at;

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
    /// When the message before that was stored, if it was seen.
    seen_at: Option<i64>,
    puller: Option<Puller>,
    delivered: u64,
}

impl Tail {
    /// Follows `stream` from sequence `from` (counted from 1) on, only subjects that match
    /// `filters` (empty = all).
    #[must_use]
    pub fn new(broker: Broker, stream: String, filters: Vec<String>, from: u64) -> Self {
        let next_sequence = from.max(1);
        Self { broker, stream, filters, next_sequence, seen_at: None, puller: None, delivered: 0 }
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
                    self.seen_at = Some(place.stored_at);
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
        let deliver_policy = match self.begin().await? {
            Begin::Sequence(start_sequence) => DeliverPolicy::ByStartSequence { start_sequence },
            Begin::Time(nanos) => {
                tracing::warn!(stream = self.stream, "a stream has lost what was seen of it");
                let start_time = from_nanos(nanos.into()).map_err(|error| error.to_string())?;
                DeliverPolicy::ByStartTime { start_time }
            }
        };
        let config = pull::Config {
            deliver_policy,
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

    /// Looks where a new consumer is to begin.
    async fn begin(&self) -> Result<Begin, String> {
        let broker = &self.broker;
        let stream = broker.js.get_stream(&self.stream).await;
        let last = stream.map_err(|error| error.to_string())?.cached_info().state.last_sequence;
        let there = match self.seen_at {
            Some(_) => message_at(&broker.client, &self.stream, self.next_sequence - 1).await,
            None => Ok(None),
        };
        let there = there.map_err(|error| Chain(&error).to_string())?;
        let there = there.as_ref().map(stored_at);
        Ok(begin(self.next_sequence, self.seen_at, there, last))
    }
}

/// Where a consumer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begin {
    Sequence(u64),
    /// With the first message that was stored at this time, or later, in nanoseconds.
    Time(i64),
}

/// Where to begin, if `next` is the sequence after the last message that was seen, which was stored at
/// `seen_at`; where it was, there is now a message of the time `there`, and the last one of the stream
/// has the sequence `last`. Pure.
fn begin(next: u64, seen_at: Option<i64>, there: Option<i64>, last: u64) -> Begin {
    let is_rolled_back = last + 1 < next;
    match seen_at {
        Some(at) if is_rolled_back || there.is_some_and(|there| there != at) => Begin::Time(at + 1),
        // Another message of its subject may have taken its place since.
        Some(_) => Begin::Sequence(next),
        None => Begin::Sequence(next.min(last + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_since_is_followed_whatever_its_number() {
        for (case, next, seen_at, there, last, expected) in [
            ("nothing was seen yet", 5, None, None, 9, Begin::Sequence(5)),
            ("nothing was seen, and it is not there", 5, None, None, 2, Begin::Sequence(3)),
            ("what was seen is there", 5, Some(70), Some(70), 9, Begin::Sequence(5)),
            ("it was the last", 5, Some(70), Some(70), 4, Begin::Sequence(5)),
            ("it was replaced", 5, Some(70), None, 9, Begin::Sequence(5)),
            ("it is lost", 5, Some(70), None, 3, Begin::Time(71)),
            ("its number belongs to another", 5, Some(70), Some(80), 9, Begin::Time(71)),
            ("the stream was made anew", 5, Some(70), None, 0, Begin::Time(71)),
        ] {
            assert_eq!(begin(next, seen_at, there, last), expected, "{case}");
        }
    }
}
