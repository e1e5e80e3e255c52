//! PURE  the media type of a file: its content decides, its name only where the content is silent.
//!
//! Scans, plugins that hand in files and `file/mime` all ask here, so that a filter means the same
//! wherever a file comes from. [`read_head`] is the one part that reads.

use std::path::Path;

mod head;

pub use head::read_head;

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
pub fn mime_of(name: &Path, head: &[u8]) -> &'static str {
    let head = head.get(..HEAD_BYTES).unwrap_or(head);
    if head.is_empty() {
        return EMPTY;
    }
    if let Some(mime) = by_structure(head) {
        return mime;
    }
    let by_name = mime_guess::from_path(name).first_raw();
    if is_text(head) {
        return text_type(name, head, by_name);
    }
    if let Some(kind) = infer::get(head) {
        return uniform(kind.mime_type());
    }
    // Binary content under the name of a text is neither.
    by_name.filter(|mime| !is_text_type(mime)).unwrap_or(UNKNOWN)
}

/// Formats that have to be told apart by more than a magic number.
fn by_structure(head: &[u8]) -> Option<&'static str> {
    if head.starts_with(&[0x1a, 0x45, 0xdf, 0xa3]) {
        return Some(match ebml_doc_type(head) {
            Some(b"webm") => "video/webm",
            Some(_) | None => "video/x-matroska",
        });
    }
    if head.starts_with(b"OggS") {
        let video = contains(head, b"\x80theora");
        return Some(if video { "video/ogg" } else { "audio/ogg" });
    }
    if is_transport_stream(head) {
        return Some("video/mp2t");
    }
    None
}

/// The value of the `DocType` element (id 0x4282) of an EBML header.
fn ebml_doc_type(head: &[u8]) -> Option<&[u8]> {
    let header = head.get(..1024).unwrap_or(head);
    let at = header.windows(2).position(|id| id == [0x42, 0x82])?;
    let size = *header.get(at + 2)?;
    // One-byte sizes have their highest bit set; a doc type is never longer.
    let length = usize::from(size.checked_sub(0x80)?);
    let value = header.get(at + 3..at + 3 + length)?;
    Some(value.split(|b| *b == 0).next().unwrap_or(value))
}

/// Packets of 188 bytes that begin with 0x47, or of 192 with a time stamp in front (m2ts).
fn is_transport_stream(head: &[u8]) -> bool {
    [(188, 0), (192, 4)].into_iter().any(|(packet, offset)| {
        (0..4).all(|n| head.get(offset + n * packet).is_some_and(|byte| *byte == 0x47))
    })
}

/// Text is UTF-8, or UTF-16 with its mark, without control characters.
fn is_text(head: &[u8]) -> bool {
    if head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]) {
        return head.len() >= 4 && head.get(2..4) != Some(&[0, 0]);
    }
    let whole = match std::str::from_utf8(head) {
        Ok(_) => head,
        // Cut in the middle of a character at the end of what was read.
        Err(error) if error.error_len().is_none() => &head[..error.valid_up_to()],
        Err(_) => return legacy_text(head),
    };
    !whole.is_empty() && !whole.iter().any(|b| is_control(*b))
}

/// Old subtitles and notes are in an 8-bit code page: mostly ASCII, no control character.
fn legacy_text(head: &[u8]) -> bool {
    let high = head.iter().filter(|b| **b >= 0x80).count();
    !head.iter().any(|b| is_control(*b)) && high * 3 <= head.len() && head.len() >= 16
}

fn is_control(byte: u8) -> bool {
    byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b) || byte == 0x7f
}

fn text_type(name: &Path, head: &[u8], by_name: Option<&'static str>) -> &'static str {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let extension = name.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    let extension = extension.as_deref().unwrap_or_default();
    if text.starts_with(b"WEBVTT") {
        return "text/vtt";
    }
    if starts_with_ignoring_case(text, b"[script info]") {
        return "text/x-ssa";
    }
    if starts_with_ignoring_case(text, b"<sami>") {
        return "application/x-sami";
    }
    if is_subrip(text) {
        return "application/x-subrip";
    }
    if text.starts_with(b"{") && extension == "sub" {
        return "text/x-microdvd";
    }
    if text.starts_with(b"<?xml") || (extension == "nfo" && text.starts_with(b"<")) {
        return by_name.filter(|mime| mime.ends_with("+xml")).unwrap_or("text/xml");
    }
    if extension == "nfo" {
        return "text/x-nfo";
    }
    if let Some(kind) = infer::get(head)
        && is_text_type(kind.mime_type())
    {
        return uniform(kind.mime_type());
    }
    by_name.filter(|mime| is_text_type(mime)).unwrap_or("text/plain")
}

/// A number, then `00:00:01,000 --> 00:00:02,000`.
fn is_subrip(text: &[u8]) -> bool {
    let mut lines = text.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
    let number = lines.next().unwrap_or_default();
    let times = lines.next().unwrap_or_default();
    !number.is_empty() && number.iter().all(u8::is_ascii_digit) && contains(times, b"-->")
}

fn is_text_type(mime: &str) -> bool {
    mime.starts_with("text/")
        || mime.ends_with("+xml")
        || mime.ends_with("+json")
        || matches!(
            mime,
            "application/json"
                | "application/xml"
                | "application/javascript"
                | "application/x-sh"
                | "application/x-subrip"
                | "application/rtf"
        )
}

/// One spelling for types that have several.
fn uniform(mime: &'static str) -> &'static str {
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

fn starts_with_ignoring_case(text: &[u8], prefix: &[u8]) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests;
