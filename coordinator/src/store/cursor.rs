//! Reading a stream from some point on, in batches, without a consumer.
//!
//! A cursor keeps nothing but the next sequence, so it survives a restart of the broker: the next
//! read goes on where the last one ended.

use async_nats::Client;
use broker_config::read::{Stored, answers};
use serde_json::{Value, json};

use super::{Store, StoreError};

/// Messages of one request: many for the round trip, few enough for one client's buffer.
const BATCH: u64 = 1000;

/// Where to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// With this sequence; 1 is the oldest there can be.
    Sequence(u64),
    /// With the first message stored at or after this time, RFC 3339.
    Time(String),
}

/// A place in a stream.
#[derive(Debug)]
pub struct Cursor {
    client: Client,
    stream: String,
    filter: String,
    next: Start,
}

impl Store {
    /// Reads the messages of a stream that match a filter, from `start` on.
    #[must_use]
    pub fn cursor(&self, stream: String, filter: String, start: Start) -> Cursor {
        Cursor { client: self.client.clone(), stream, filter, next: start }
    }

    /// Everything present in a bucket or stream under a filter, deletions left out.
    pub(crate) async fn all(
        &self,
        stream: String,
        filter: String,
    ) -> Result<Vec<Stored>, StoreError> {
        let mut cursor = self.cursor(stream, filter, Start::Sequence(1));
        let mut all = Vec::new();
        loop {
            let batch = cursor.read().await?;
            if batch.is_empty() {
                return Ok(all);
            }
            all.extend(batch.into_iter().filter(|stored| !stored.is_deletion()));
        }
    }
}

impl Cursor {
    /// The next messages, at most 1,000; none when there are none at the moment.
    ///
    /// # Errors
    ///
    /// [`StoreError::Away`], after which the same call may be made again; [`StoreError::NotFound`]
    /// when there is no such stream.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a batch that was not returned comes again.
    pub async fn read(&mut self) -> Result<Vec<Stored>, StoreError> {
        let mut body = json!({ "batch": BATCH, "next_by_subj": self.filter });
        match &self.next {
            Start::Sequence(next) => body["seq"] = Value::from(*next),
            Start::Time(time) => body["start_time"] = Value::from(time.as_str()),
        }
        let found = answers(&self.client, &self.stream, &body)
            .await
            .map_err(|error| StoreError::of_read(&format!("read {}", self.stream), error))?;
        if let Some(last) = found.last() {
            self.next = Start::Sequence(last.sequence + 1);
        }
        Ok(found)
    }
}
