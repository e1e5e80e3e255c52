//! PURE. Text from bytes in the encodings that `.nfo` files come in.
//!
//! What the file declares is not believed: much of what says `UTF-8` is not, and the reverse.

/// What Windows-1252 has in place of the C1 control characters.
const WINDOWS_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
    '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// The text of a file: UTF-16 if it looks like it, UTF-8 if it is valid, else Windows-1252.
pub(crate) fn decode(bytes: &[u8]) -> String {
    match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => decode_bytes(rest),
        [0xff, 0xfe, rest @ ..] => decode_utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => decode_utf16(rest, u16::from_be_bytes),
        [b'<', 0, ..] => decode_utf16(bytes, u16::from_le_bytes),
        [0, b'<', ..] => decode_utf16(bytes, u16::from_be_bytes),
        _ => decode_bytes(bytes),
    }
}

fn decode_bytes(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|&byte| windows_1252(byte)).collect(),
    }
}

fn windows_1252(byte: u8) -> char {
    match byte {
        0x80..=0x9f => WINDOWS_1252.get(usize::from(byte - 0x80)).copied().unwrap_or(' '),
        _ => char::from(byte),
    }
}

fn decode_utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let (pairs, _) = bytes.as_chunks::<2>();
    let units = pairs.iter().map(|&pair| unit(pair));
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_gives_the_same_text() {
        let utf16 = |order: fn(u16) -> [u8; 2], mark: &[u8]| {
            let text = "<a>é€</a>".encode_utf16().flat_map(order);
            mark.iter().copied().chain(text).collect::<Vec<u8>>()
        };
        for (case, bytes) in [
            ("UTF-8", "<a>é€</a>".as_bytes().to_vec()),
            ("with BOM", "\u{feff}<a>é€</a>".as_bytes().to_vec()),
            ("Windows-1252", b"<a>\xe9\x80</a>".to_vec()),
            ("UTF-16 LE", utf16(u16::to_le_bytes, b"\xff\xfe")),
            ("UTF-16 BE", utf16(u16::to_be_bytes, b"\xfe\xff")),
            ("UTF-16 LE without BOM", utf16(u16::to_le_bytes, b"")),
            ("UTF-16 BE without BOM", utf16(u16::to_be_bytes, b"")),
        ] {
            assert_eq!(decode(&bytes), "<a>é€</a>", "{case}");
        }
        assert_eq!(decode(b"\xff\xfe<\0\x00"), "<");
    }
}
