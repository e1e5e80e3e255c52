//! Where a delivered message stands in its stream, and answering it.

use async_nats::{Client, Message};
pub use broker_config::delivery::{Answer, Place};

/// The place of a message; `None` for one that did not come from a consumer.
#[must_use]
pub fn place_of(message: &Message) -> Option<Place> {
    Place::parse(message.reply.as_ref()?)
}

/// Answers a delivery. Not confirmed: if it is lost the message comes again, which is harmless.
pub async fn answer(client: &Client, reply: &str, answer: Answer<'_>) {
    #[expect(clippy::disallowed_methods, reason = "an answer to a delivery; see above")]
    let sent = client.publish(reply.to_owned(), answer.body()).await;
    if sent.is_err() {
        tracing::debug!("connection closed before an answer was sent");
    }
}
