//! Where a delivered message stands in its stream, and what to answer.

use async_nats::{Client, Message};
use bytes::Bytes;

/// What the reply subject of a delivery says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// How often the message was delivered, this time included.
    pub delivered: u64,
    /// Its sequence in the stream.
    pub stream_sequence: u64,
    /// Its sequence in the consumer.
    pub consumer_sequence: u64,
    /// When the stream stored it, in nanoseconds of Unix time.
    pub stored_at: i64,
}

/// Reads a delivery's reply subject, in its form with or without domain.
#[must_use]
pub fn place(reply: &str) -> Option<Place> {
    let tokens: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
    // stream, consumer, delivered, stream seq, consumer seq, time, pending; before them in the
    // longer form: domain, account hash.
    let from = match tokens.len() {
        7 => 2,
        9.. => 4,
        _ => return None,
    };
    Some(Place {
        delivered: tokens.get(from)?.parse().ok()?,
        stream_sequence: tokens.get(from + 1)?.parse().ok()?,
        consumer_sequence: tokens.get(from + 2)?.parse().ok()?,
        stored_at: tokens.get(from + 3)?.parse().ok()?,
    })
}

/// The place of a message; `None` for one that did not come from a consumer.
#[must_use]
pub fn place_of(message: &Message) -> Option<Place> {
    place(message.reply.as_ref()?)
}

/// What the coordinator answers to a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Done.
    Ack,
    /// Still at it.
    Progress,
    /// Again in half a second.
    Later,
    /// Never again.
    Term,
}

/// Answers a delivery. Not confirmed: if it is lost the message comes again, which is harmless.
pub async fn answer(client: &Client, reply: &str, answer: Answer) {
    let body: &'static [u8] = match answer {
        Answer::Ack => b"+ACK",
        Answer::Progress => b"+WPI",
        Answer::Later => br#"-NAK {"delay":500000000}"#,
        Answer::Term => b"+TERM",
    };
    #[expect(clippy::disallowed_methods, reason = "an answer to a delivery; see above")]
    let sent = client.publish(reply.to_owned(), Bytes::from_static(body)).await;
    if sent.is_err() {
        tracing::debug!("connection closed before an answer was sent");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_the_reply_subject_are_read() {
        let expected =
            Place { delivered: 2, stream_sequence: 30, consumer_sequence: 4, stored_at: 5 };
        assert_eq!(place("$JS.ACK.S.C.2.30.4.5.0"), Some(expected));
        assert_eq!(place("$JS.ACK.hub.hash.S.C.2.30.4.5.0.rnd"), Some(expected));
        assert_eq!(place("_INBOX.x"), None);
        assert_eq!(place("$JS.ACK.S.C.2"), None);
    }
}
