//! PURE  what the broker says of a delivery in its reply subject, and what it can be answered.

use std::time::Duration;

use bytes::Bytes;

/// Longest reason in a term, in bytes.
const REASON: usize = 256;

/// Where a delivered message stands in its stream and in its consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// How often the message was delivered, this time included.
    pub delivered: u32,
    /// Its sequence in the stream.
    pub stream_sequence: u64,
    /// Its sequence in the consumer.
    pub consumer_sequence: u64,
    /// When the stream stored it, in nanoseconds of Unix time.
    pub stored_at: i64,
    /// Messages that wait in the consumer after this one.
    pub pending: usize,
}

impl Place {
    /// Reads `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>`
    /// or the second form, `$JS.ACK.<domain>.<account>.<stream>.…`, which may go on behind.
    ///
    /// `None` for the reply subject of anything else.
    #[must_use]
    pub fn parse(reply: &str) -> Option<Self> {
        let tokens: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
        let numbers = match tokens.len() {
            7 => tokens.get(2..)?,
            9.. => tokens.get(4..)?,
            _ => return None,
        };
        Some(Self {
            delivered: numbers.first()?.parse().ok()?,
            stream_sequence: numbers.get(1)?.parse().ok()?,
            consumer_sequence: numbers.get(2)?.parse().ok()?,
            stored_at: numbers.get(3)?.parse().ok()?,
            pending: numbers.get(4)?.parse().ok()?,
        })
    }
}

/// What a delivery can be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// Done.
    Ack,
    /// Still at it: renews the lease.
    Progress,
    /// Again after this long.
    Nak(Duration),
    /// Never again, and why; the reason goes into the broker's advisory.
    Term(&'a str),
}

impl Answer<'_> {
    /// The message to send to the reply subject.
    #[must_use]
    pub fn body(self) -> Bytes {
        match self {
            Self::Ack => Bytes::from_static(b"+ACK"),
            Self::Progress => Bytes::from_static(b"+WPI"),
            Self::Nak(delay) => {
                // Without a delay it would come back at once, over and over.
                let nanos = delay.max(Duration::from_millis(1)).as_nanos();
                Bytes::from(format!(r#"-NAK {{"delay":{nanos}}}"#))
            }
            Self::Term("") => Bytes::from_static(b"+TERM"),
            Self::Term(reason) => {
                let reason = reason.get(..reason.floor_char_boundary(REASON)).unwrap_or_default();
                let reason = reason.replace(|c: char| c.is_control(), " ");
                Bytes::from(format!("+TERM {reason}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_the_reply_subject_are_read_and_anything_else_is_refused() {
        let place = |delivered, stream_sequence, consumer_sequence, pending| {
            let stored_at = 1_700_000_000;
            Some(Place { delivered, stream_sequence, consumer_sequence, stored_at, pending })
        };
        for (reply, expected) in [
            ("$JS.ACK.MF_TASKS.x_fast.3.100.7.1700000000.42", place(3, 100, 7, 42)),
            ("$JS.ACK._.szMpdrwD.MF_TASKS.x_fast.1.2.3.1700000000.4", place(1, 2, 3, 4)),
            ("$JS.ACK.hub.szMpdrwD.MF_TASKS.x_fast.1.2.3.1700000000.0.rand", place(1, 2, 3, 0)),
            ("$JS.ACK.hub.szMpdrwD.MF_TASKS.x_fast.1.2.3.1700000000.0.a.b", place(1, 2, 3, 0)),
            ("$JS.ACK.MF_TASKS.x_fast.3.100.7.1700000000", None),
            ("$JS.ACK.MF_TASKS.x_fast.3.100.7.1700000000.4.5", None),
            ("$JS.ACK.MF_TASKS.x_fast.x.100.7.1700000000.42", None),
            ("_INBOX.abc", None),
            ("", None),
        ] {
            assert_eq!(Place::parse(reply), expected, "{reply}");
        }
    }

    #[test]
    fn answers_are_spelled_as_the_broker_reads_them() {
        let long = format!("{}é{}", "x".repeat(REASON - 1), "x".repeat(REASON));
        let cut = format!("+TERM {}", "x".repeat(REASON - 1));
        for (answer, body) in [
            (Answer::Ack, "+ACK"),
            (Answer::Progress, "+WPI"),
            (Answer::Nak(Duration::from_millis(500)), r#"-NAK {"delay":500000000}"#),
            (Answer::Nak(Duration::ZERO), r#"-NAK {"delay":1000000}"#),
            (Answer::Term(""), "+TERM"),
            (Answer::Term("broken\r\nfile"), "+TERM broken  file"),
            (Answer::Term(&long), cut.as_str()),
        ] {
            assert_eq!(answer.body(), body, "{answer:?}");
        }
    }
}
