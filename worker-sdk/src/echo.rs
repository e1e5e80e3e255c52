//! A message to ourselves: when it comes back, the broker has read all that was sent before it.

use async_nats::Message;
use bytes::Bytes;
use tokio::time::Instant;

/// The echo that was sent last. What came before it on the same connection is read when it is back.
#[derive(Debug, Default)]
pub(crate) struct Echo {
    number: u64,
    sent: Option<Instant>,
}

impl Echo {
    /// The body of an echo that is sent now.
    pub(crate) fn send(&mut self, now: Instant) -> Bytes {
        self.number += 1;
        self.sent = Some(now);
        self.number.to_string().into()
    }

    /// Whether it is still on its way.
    pub(crate) fn is_awaited(&self) -> bool {
        self.sent.is_some()
    }

    /// When it was sent, if `message` is the one that was sent last.
    pub(crate) fn came_back(&mut self, message: &Message) -> Option<Instant> {
        if message.payload == self.number.to_string() { self.sent.take() } else { None }
    }
}
