//! What a fleet tells, from now on.

use broker_config::wire::event::{Event, Fact};

use crate::store::cursor::{Cursor, Start};
use crate::store::{Store, StoreError};

/// A place in the stream of events.
#[derive(Debug)]
pub struct Events(Cursor);

impl Events {
    /// Begins with what comes after this.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the broker does not answer.
    pub async fn open(store: &Store) -> Result<Self, StoreError> {
        let names = store.names();
        let stream = names.event_stream();
        let next = store.stream_state(&stream).await?.last_seq + 1;
        Ok(Self(store.cursor(stream, names.event(">"), Start::Sequence(next))))
    }

    /// What has come since.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the same call may be made again.
    pub async fn read(&mut self) -> Result<Vec<Fact>, StoreError> {
        let found = self.0.read().await?;
        let facts = found.iter().filter_map(|stored| {
            serde_json::from_slice::<Event>(&stored.payload).ok().map(|event| event.what)
        });
        Ok(facts.collect())
    }
}
