//! PURE. Reads the reply subject of a delivery, by which the broker says what the message itself
//! does not.

/// One message of a stream, also across a stream that was deleted and made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct MessageKey {
    /// Its sequence in the stream.
    pub(crate) sequence: u64,
    /// When the stream stored it, in nanoseconds.
    pub(crate) stored: u64,
}

/// What the reply subject of a delivery says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeliveryInfo {
    /// How often the message was delivered, this time included.
    pub(crate) delivered: u32,
    /// Which message it is.
    pub(crate) message: MessageKey,
    /// Messages that wait in the consumer after this one.
    pub(crate) pending: usize,
}

impl DeliveryInfo {
    /// Reads `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>`
    /// or the second form, `$JS.ACK.<domain>.<account>.<stream>.…`, which may go on behind.
    pub(crate) fn parse(reply: &str) -> Option<Self> {
        let tokens: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
        let numbers = match tokens.len() {
            7 => tokens.get(2..)?,
            9.. => tokens.get(4..)?,
            _ => return None,
        };
        Some(Self {
            delivered: numbers.first()?.parse().ok()?,
            message: MessageKey {
                sequence: numbers.get(1)?.parse().ok()?,
                stored: numbers.get(3)?.parse().ok()?,
            },
            pending: numbers.get(4)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_anything_else_is_refused() {
        let info = |delivered, sequence, pending| {
            let message = MessageKey { sequence, stored: 1_700_000_000 };
            Some(DeliveryInfo { delivered, message, pending })
        };
        for (reply, expected) in [
            ("$JS.ACK.MF_TASKS.x_fast.3.100.7.1700000000.42", info(3, 100, 42)),
            ("$JS.ACK._.szMpdrwD.MF_TASKS.x_fast.1.2.3.1700000000.4", info(1, 2, 4)),
            ("$JS.ACK.hub.szMpdrwD.MF_TASKS.x_fast.1.2.3.1700000000.0.rand", info(1, 2, 0)),
            ("$JS.ACK.hub.szMpdrwD.MF_TASKS.x_fast.1.2.3.1700000000.0.a.b", info(1, 2, 0)),
            ("$JS.ACK.MF_TASKS.x_fast.3.100.7.1700000000", None),
            ("$JS.ACK.MF_TASKS.x_fast.3.100.7.1700000000.4.5", None),
            ("$JS.ACK.MF_TASKS.x_fast.x.100.7.1700000000.42", None),
            ("_INBOX.abc", None),
            ("", None),
        ] {
            assert_eq!(DeliveryInfo::parse(reply), expected, "{reply}");
        }
    }
}
