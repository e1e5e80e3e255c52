//! PURE  bytes of a subtitle file as text.

/// How a text is written as bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// ASCII too.
    Utf8,
    /// With its mark or without, in either order.
    Utf16,
    /// A guess that stands for any 8-bit code page: times and numbers are the same in all.
    Latin1,
}

impl Encoding {
    /// The word that is written as `encoding`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Utf16 => "utf-16",
            Self::Latin1 => "latin-1",
        }
    }
}

/// Bytes that are looked at to tell UTF-16 without its mark.
const SAMPLE: usize = 1024;

/// Decodes any bytes.
#[must_use]
pub fn decode(bytes: &[u8]) -> (String, Encoding) {
    if let Some(rest) = bytes.strip_prefix(b"\xff\xfe") {
        return (utf16(rest, u16::from_le_bytes), Encoding::Utf16);
    }
    if let Some(rest) = bytes.strip_prefix(b"\xfe\xff") {
        return (utf16(rest, u16::from_be_bytes), Encoding::Utf16);
    }
    let sample = bytes.get(..SAMPLE).unwrap_or(bytes);
    let zeros = |odd: usize| {
        let zeros = sample.iter().skip(odd).step_by(2).filter(|byte| **byte == 0).count();
        zeros > 0 && zeros * 5 >= sample.len()
    };
    match (zeros(1), zeros(0)) {
        (true, false) => return (utf16(bytes, u16::from_le_bytes), Encoding::Utf16),
        (false, true) => return (utf16(bytes, u16::from_be_bytes), Encoding::Utf16),
        (true, true) | (false, false) => {}
    }
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match std::str::from_utf8(text) {
        Ok(text) => (text.to_owned(), Encoding::Utf8),
        // The file ends in the middle of a character.
        Err(error) if error.error_len().is_none() => {
            (String::from_utf8_lossy(text).into_owned(), Encoding::Utf8)
        }
        Err(_) => (text.iter().map(|byte| char::from(*byte)).collect(), Encoding::Latin1),
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let (pairs, _) = bytes.as_chunks::<2>();
    char::decode_utf16(pairs.iter().map(|pair| unit(*pair)))
        .map(|character| character.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_usual_encodings_are_told_apart() {
        let text = "1\n00:00:01,000 --> 00:00:02,000\nÉté\n";
        let le: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let be: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let latin1: Vec<u8> = text.chars().map(|c| u8::try_from(c).unwrap()).collect();
        for (name, bytes, expected) in [
            ("utf-8", text.as_bytes().to_vec(), Encoding::Utf8),
            ("utf-8 with mark", [b"\xef\xbb\xbf", text.as_bytes()].concat(), Encoding::Utf8),
            ("utf-16le with mark", [b"\xff\xfe".as_slice(), &le].concat(), Encoding::Utf16),
            ("utf-16be with mark", [b"\xfe\xff".as_slice(), &be].concat(), Encoding::Utf16),
            ("utf-16le", le, Encoding::Utf16),
            ("utf-16be", be, Encoding::Utf16),
            ("latin-1", latin1, Encoding::Latin1),
        ] {
            assert_eq!(decode(&bytes), (text.to_owned(), expected), "{name}");
        }
    }

    #[test]
    fn a_cut_character_at_the_end_is_no_other_encoding() {
        let (text, encoding) = decode(b"caf\xc3");

        assert_eq!((text.as_str(), encoding), ("caf\u{fffd}", Encoding::Utf8));
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded(bytes: Vec<u8>) {
            prop_assert!(decode(&bytes).0.chars().count() <= bytes.len());
        }
    }
}
