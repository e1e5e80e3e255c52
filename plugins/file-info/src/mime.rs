//! PURE  the media type of a file: its content decides, its name only where the content is silent.
//!
//! The spellings are those that the scanner uses for filters, so that a plugin's filter and
//! `file/mime` speak of the same types.

use std::path::Path;

/// How many bytes from the beginning of a file are looked at.
pub const HEAD_BYTES: usize = 8192;
/// An empty file has no content to go by, whatever its name.
pub const EMPTY: &str = "inode/x-empty";
/// Nothing is known.
pub const UNKNOWN: &str = "application/octet-stream";

/// The media type of a file called `name` that begins with `head`.
///
/// `head` is the whole file or at least its first [`HEAD_BYTES`].
#[must_use]
pub fn media_type(name: &Path, head: &[u8]) -> &'static str {
    let head = head.get(..HEAD_BYTES).unwrap_or(head);
    if head.is_empty() {
        return EMPTY;
    }
    if let Some(mime) = container(head) {
        return mime;
    }
    let by_name = mime_guess::from_path(name).first_raw();
    if is_text(head) {
        return text_type(name, head, by_name);
    }
    match infer::get(head) {
        Some(found) => one_spelling(found.mime_type()),
        // Binary content under the name of a text is neither.
        None => by_name.filter(|mime| !is_text_type(mime)).unwrap_or(UNKNOWN),
    }
}

/// Containers whose first bytes alone do not tell which type they are.
fn container(head: &[u8]) -> Option<&'static str> {
    if head.starts_with(b"\x1a\x45\xdf\xa3") {
        let webm = doc_type(head) == Some(b"webm");
        return Some(if webm { "video/webm" } else { "video/x-matroska" });
    }
    if head.starts_with(b"OggS") {
        let video = contains(head, b"\x80theora");
        return Some(if video { "video/ogg" } else { "audio/ogg" });
    }
    // MPEG transport stream: packets of 188 bytes, or of 192 with a time in front of each.
    let packets = |size: usize, at: usize| {
        (0..4).all(|packet| head.get(at + packet * size).is_some_and(|byte| *byte == 0x47))
    };
    (packets(188, 0) || packets(192, 4)).then_some("video/mp2t")
}

/// The `DocType` of an EBML header; its size is one byte, as it is in every file seen.
fn doc_type(head: &[u8]) -> Option<&[u8]> {
    let header = head.get(..1024).unwrap_or(head);
    let at = header.windows(2).position(|id| id == [0x42, 0x82])? + 2;
    let length = usize::from(header.get(at)?.checked_sub(0x80)?);
    let value = header.get(at + 1..at + 1 + length)?;
    value.split(|byte| *byte == 0).next()
}

/// UTF-8, UTF-16 with its mark, or mostly ASCII in an 8-bit code page; no control characters.
fn is_text(head: &[u8]) -> bool {
    if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
        return head.get(2..4).is_some_and(|next| next != [0, 0]);
    }
    if head.iter().any(|byte| is_control(*byte)) {
        return false;
    }
    match std::str::from_utf8(head) {
        Ok(_) => true,
        // A character that is cut where the head ends.
        Err(error) if error.error_len().is_none() => error.valid_up_to() > 0,
        Err(_) => head.len() >= 16 && head.iter().filter(|b| **b >= 0x80).count() * 3 <= head.len(),
    }
}

fn is_control(byte: u8) -> bool {
    (byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b)) || byte == 0x7f
}

fn text_type(name: &Path, head: &[u8], by_name: Option<&'static str>) -> &'static str {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let extension = name.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    let nfo = extension.as_deref() == Some("nfo");
    if text.starts_with(b"WEBVTT") {
        return "text/vtt";
    }
    if begins(text, b"[script info]") {
        return "text/x-ssa";
    }
    if begins(text, b"<sami>") {
        return "application/x-sami";
    }
    if is_subrip(text) {
        return "application/x-subrip";
    }
    if text.starts_with(b"{") && extension.as_deref() == Some("sub") {
        return "text/x-microdvd";
    }
    if text.starts_with(b"<?xml") || (nfo && text.starts_with(b"<")) {
        return by_name.filter(|mime| mime.ends_with("+xml")).unwrap_or("text/xml");
    }
    if nfo {
        return "text/x-nfo";
    }
    let found = infer::get(head).map(|found| one_spelling(found.mime_type()));
    found.or(by_name).filter(|mime| is_text_type(mime)).unwrap_or("text/plain")
}

/// A number alone on its line, then a line with the arrow between two times.
fn is_subrip(text: &[u8]) -> bool {
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let number = lines.next().unwrap_or_default();
    !number.is_empty()
        && number.iter().all(u8::is_ascii_digit)
        && contains(lines.next().unwrap_or_default(), b"-->")
}

fn is_text_type(mime: &str) -> bool {
    mime.starts_with("text/")
        || mime.ends_with("+xml")
        || mime.ends_with("+json")
        || matches!(
            mime,
            "application/json"
                | "application/javascript"
                | "application/rtf"
                | "application/x-sh"
                | "application/x-subrip"
                | "application/xml"
        )
}

fn one_spelling(mime: &'static str) -> &'static str {
    match mime {
        "audio/x-flac" => "audio/flac",
        "audio/x-wav" => "audio/wav",
        "audio/m4a" => "audio/mp4",
        other => other,
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|part| part == needle)
}

fn begins(text: &[u8], prefix: &[u8]) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn content_decides_and_the_name_helps_where_it_is_silent() {
        let matroska = b"\x1a\x45\xdf\xa3\xa3\x42\x82\x88matroska";
        let webm = b"\x1a\x45\xdf\xa3\xa3\x42\x86\x81\x01\x42\x82\x84webm";
        let mut transport = vec![0xff; 188 * 5];
        transport.iter_mut().step_by(188).for_each(|byte| *byte = 0x47);
        let binary = b"\x00\x01\x02\x03\x04\x05\x06\x07";
        let cases: &[(&str, &[u8], &str)] = &[
            ("empty.mkv", b"", EMPTY),
            ("film.mkv", matroska, "video/x-matroska"),
            ("film.avi", matroska, "video/x-matroska"),
            ("film.mkv", webm, "video/webm"),
            ("cut.txt", b"\x1a\x45\xdf\xa3", "video/x-matroska"),
            ("film.ts", &transport, "video/mp2t"),
            ("code.ts", b"export const a = 1;\n", "text/plain"),
            ("picture.txt", b"\x89PNG\r\n\x1a\n0000", "image/png"),
            ("song.mp3", b"fLaC\x00\x00\x00\x22", "audio/flac"),
            ("song.ogg", b"OggS\0\0\0\0\x01vorbis", "audio/ogg"),
            ("film.ogg", b"OggS\0\0\0\0\x80theora", "video/ogg"),
            ("a.txt", b"\xef\xbb\xbf1\n00:00:01,000 --> 00:00:02,000\n", "application/x-subrip"),
            ("a.srt", b"\xff\xfe1\0\n\0", "application/x-subrip"),
            ("a.vtt", b"WEBVTT\n\n", "text/vtt"),
            ("a.ass", b"[Script Info]\n", "text/x-ssa"),
            ("a.smi", b"<SAMI>\n", "application/x-sami"),
            ("a.sub", b"{0}{25}Hello\n", "text/x-microdvd"),
            ("movie.nfo", b"<?xml version=\"1.0\"?><movie/>", "text/xml"),
            ("movie.nfo", b"<movie><title>A</title></movie>", "text/xml"),
            ("movie.nfo", b"Some release notes", "text/x-nfo"),
            ("picture.svg", b"<?xml version=\"1.0\"?><svg/>", "image/svg+xml"),
            ("data.json", b"{\"a\": 1}", "application/json"),
            ("readme", b"plain words", "text/plain"),
            ("old.bak", b"1\nna\xefve caf\xe9 text here\n", "text/plain"),
            ("tricky.mp4", b"this is not a film", "text/plain"),
            ("notes.txt", binary, UNKNOWN),
            ("film.avi", binary, "video/x-msvideo"),
        ];
        for (name, head, expected) in cases {
            assert_eq!(media_type(Path::new(name), head), *expected, "{name} {head:?}");
        }
    }

    #[test]
    fn a_character_cut_at_the_end_of_the_head_is_still_text() {
        let text = format!("a{}", "é".repeat(HEAD_BYTES / 2));

        assert_eq!(media_type(Path::new("long.txt"), text.as_bytes()), "text/plain");
    }

    proptest! {
        #[test]
        fn any_bytes_under_any_name_have_a_media_type(name in ".{0,20}", head: Vec<u8>) {
            prop_assert!(media_type(Path::new(&name), &head).contains('/'));
        }
    }
}
