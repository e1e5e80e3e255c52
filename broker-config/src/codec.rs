//! One reversible encoding of any bytes into one token of a subject or KV key.
//!
//! `A-Z a-z 0-9 _ -` stand for themselves, every other byte is `=XX` (upper-case hex), and the
//! empty text is a lone `=`. The mapping is injective in both directions: [`decode`] accepts
//! only what [`encode`] makes, so one text has one key and one key has one text.

use std::fmt::Write as _;

/// The token is not something [`encode`] makes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an encoded token")]
pub struct InvalidToken(pub String);

fn stands_for_itself(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

/// Encodes any bytes as one non-empty token without `.`, `*`, `>` or white space.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "=".to_owned();
    }
    let mut token = String::with_capacity(bytes.len());
    for &byte in bytes {
        if stands_for_itself(byte) {
            token.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            write!(token, "={byte:02X}").unwrap_or_default();
        }
    }
    token
}

/// Decodes a token made by [`encode`].
///
/// # Errors
///
/// [`InvalidToken`] for anything else, also for a second spelling of the same bytes (lower-case
/// hex, an escaped letter), because two keys for one text would be two records for one file.
pub fn decode(token: &str) -> Result<Vec<u8>, InvalidToken> {
    if token == "=" {
        return Ok(Vec::new());
    }
    let invalid = || InvalidToken(token.to_owned());
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.bytes();
    while let Some(byte) = rest.next() {
        if stands_for_itself(byte) {
            bytes.push(byte);
        } else if byte == b'=' {
            let high = rest.next().and_then(hex_value).ok_or_else(invalid)?;
            let low = rest.next().and_then(hex_value).ok_or_else(invalid)?;
            let value = high << 4 | low;
            if stands_for_itself(value) {
                return Err(invalid());
            }
            bytes.push(value);
        } else {
            return Err(invalid());
        }
    }
    if bytes.is_empty() { Err(invalid()) } else { Ok(bytes) }
}

/// Decodes a token that must be text.
///
/// # Errors
///
/// [`InvalidToken`] when it is not a token or its bytes are not UTF-8.
pub fn decode_text(token: &str) -> Result<String, InvalidToken> {
    String::from_utf8(decode(token)?).map_err(|_| InvalidToken(token.to_owned()))
}

fn hex_value(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_texts_have_known_tokens() {
        for (text, token) in [
            ("", "="),
            ("abc-DEF_09", "abc-DEF_09"),
            ("midhash256:abc", "midhash256=3Aabc"),
            ("a.b", "a=2Eb"),
            ("=", "=3D"),
            ("é", "=C3=A9"),
        ] {
            assert_eq!(encode(text.as_bytes()), token, "{text}");
            assert_eq!(decode_text(token).unwrap(), text, "{token}");
        }
    }

    #[test]
    fn a_second_spelling_is_refused() {
        for token in ["", "=3a", "=41", "=4", "a.b", "==", "a=", "a b", "*", ">"] {
            assert!(decode(token).is_err(), "{token}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes: Vec<u8>) {
            let token = encode(&bytes);
            prop_assert!(token.bytes().all(|b| stands_for_itself(b) || b == b'='));
            prop_assert_eq!(decode(&token).unwrap(), bytes);
        }

        #[test]
        fn whatever_decodes_was_encoded(token in "[A-Za-z0-9=._-]{0,24}") {
            if let Ok(bytes) = decode(&token) {
                prop_assert_eq!(encode(&bytes), token);
            }
        }
    }
}
