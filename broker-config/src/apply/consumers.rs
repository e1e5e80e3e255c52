//! Makes durable consumers, also where a server that lost its power has left something of one.
//!
//! nats-server 2.15.1 writes what a consumer is and how far it has come into files of their own, without waiting for the disk.
//! After a power cut it may have the second without the first. Then the consumer is gone; one that is made in its place takes up
//! what is left of it, and so passes over messages that nobody was given. Or what is left cannot be read, and none can be made
//! that is kept on disk.

use async_nats::jetstream::consumer::{Consumer, Info, pull};
use async_nats::jetstream::stream::ConsumerErrorKind;
use async_nats::jetstream::{self, stream};

use super::keepers::is_absent;

/// What a server says that cannot read what is left of a consumer.
const UNREADABLE: &str = "error creating store for consumer";

/// Makes a durable consumer, or changes the one that is there; one that is made anew begins anew.
///
/// # Errors
///
/// What the server says; doing it again is safe.
pub async fn make_consumer(
    js: &jetstream::Context,
    stream: &str,
    config: pull::Config,
) -> Result<Consumer<pull::Config>, stream::ConsumerError> {
    let name = config.durable_name.clone().unwrap_or_default();
    let before = match js.get_consumer_from_stream::<pull::Config, _, _>(&name, stream).await {
        Ok(found) => Some(found),
        Err(error) if is_absent(error.kind()) => None,
        Err(error) => return Err(error),
    };
    // Where it is kept cannot be changed.
    let is_in_memory =
        before.as_ref().is_some_and(|found| found.cached_info().config.memory_storage);
    let config = pull::Config { memory_storage: config.memory_storage || is_in_memory, ..config };
    let made = match js.create_consumer_on_stream(config.clone(), stream).await {
        Err(error) if is_unreadable(error.kind()) => {
            // In memory nothing that is left is read. When the server is started anew, it is gone and made again.
            let config = pull::Config { memory_storage: true, ..config.clone() };
            js.create_consumer_on_stream(config, stream).await
        }
        made => made,
    }?;
    if before.is_some() || !has_delivered(made.cached_info()) {
        return Ok(made);
    }
    js.delete_consumer_from_stream(&name, stream).await?;
    js.create_consumer_on_stream(config, stream).await
}

/// Whether a consumer has delivered anything; one that has just been made has not. Pure.
const fn has_delivered(consumer: &Info) -> bool {
    consumer.delivered.consumer_sequence > 0
}

fn is_unreadable(kind: ConsumerErrorKind) -> bool {
    match kind {
        ConsumerErrorKind::JetStream(error) => error.to_string().contains(UNREADABLE),
        ConsumerErrorKind::TimedOut
        | ConsumerErrorKind::Request
        | ConsumerErrorKind::InvalidConsumerType
        | ConsumerErrorKind::InvalidName
        | ConsumerErrorKind::Other => false,
    }
}
