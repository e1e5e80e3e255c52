//! PURE. The offer of a file's bytes by HTTP, and how a path goes into the request.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bytes that a reader asks for at once, at most.
pub const MOST_AHEAD: u64 = 1 << 20;

/// Where an instance gets the bytes of files that it cannot see; `Debug` does not print the token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FilesOffer {
    /// Where to ask, `http://host:port/files`.
    pub url: String,
    /// What to show there.
    pub token: String,
}

impl fmt::Debug for FilesOffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilesOffer").field("url", &self.url).field("token", &"***").finish()
    }
}

fn stands_for_itself(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte)
}

/// A path as the value of `path` in the query: any bytes, percent-encoded.
#[must_use]
pub fn encode_path(path: &[u8]) -> String {
    use fmt::Write as _;
    let mut text = String::with_capacity(path.len());
    for &byte in path {
        if stands_for_itself(byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            write!(text, "%{byte:02X}").unwrap_or_default();
        }
    }
    text
}

/// The path that the value of `path` in a query stands for; a reader takes more spellings than
/// [`encode_path`] writes, but a `+` is a plus. `None` where an escape is cut off or no number.
#[must_use]
pub fn decode_path(text: &str) -> Option<Vec<u8>> {
    let mut path = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    let digit = |byte: Option<u8>| u8::try_from(char::from(byte?).to_digit(16)?).ok();
    while let Some(byte) = rest.next() {
        path.push(if byte == b'%' { digit(rest.next())? << 4 | digit(rest.next())? } else { byte });
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_paths_have_known_spellings() {
        for (path, text) in [
            (b"/library/a-b_c.d~e/F9".as_slice(), "/library/a-b_c.d~e/F9"),
            (b"/a b+c%&?#=", "/a%20b%2Bc%25%26%3F%23%3D"),
            ("/é".as_bytes(), "/%C3%A9"),
            (b"/\xff\n\0", "/%FF%0A%00"),
        ] {
            assert_eq!(encode_path(path), text);
            assert_eq!(decode_path(text).as_deref(), Some(path), "{text}");
        }
    }

    #[test]
    fn escapes_that_are_none_are_refused_and_other_spellings_are_not() {
        for text in ["%", "%2", "a%zz", "%+1", "%-1"] {
            assert_eq!(decode_path(text), None, "{text}");
        }
        assert_eq!(decode_path("%2f%41+b").as_deref(), Some(b"/A+b".as_slice()));
    }

    #[test]
    fn the_token_is_not_printed() {
        let offer = FilesOffer { url: "http://nas:9310/files".into(), token: "hush".into() };
        let shown = format!("{offer:?}");
        assert!(shown.contains("nas") && !shown.contains("hush"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(path: Vec<u8>) {
            let text = encode_path(&path);
            prop_assert!(text.bytes().all(|byte| stands_for_itself(byte) || byte == b'%'));
            prop_assert_eq!(decode_path(&text), Some(path));
        }
    }
}
