//! PURE  the kind of file that a media type stands for.

use std::fmt;

/// What people call a file of this media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// Moving pictures.
    Video,
    /// Sound.
    Audio,
    /// A still picture.
    Image,
    /// Timed text, as a file of its own.
    Subtitle,
    /// Any other text.
    Text,
    /// Files packed into one.
    Archive,
    /// Pages for reading.
    Document,
    /// Nothing of these, or nothing at all.
    Other,
}

impl FileKind {
    /// The kind that `mime` stands for; parameters after a `;` do not matter.
    #[must_use]
    pub fn of(mime: &str) -> Self {
        let mime = mime.split(';').next().unwrap_or(mime).trim();
        let (major, minor) = mime.split_once('/').unwrap_or((mime, ""));
        if SUBTITLES.contains(&mime) {
            return Self::Subtitle;
        }
        if DOCUMENTS.contains(&mime) || DOCUMENT_FAMILIES.iter().any(|f| mime.starts_with(f)) {
            return Self::Document;
        }
        match major {
            "video" => Self::Video,
            "audio" => Self::Audio,
            "image" => Self::Image,
            "text" => Self::Text,
            _ if ARCHIVES.contains(&mime) => Self::Archive,
            _ if minor == "mxf" || minor.starts_with("vnd.rn-realmedia") => Self::Video,
            _ if is_text(minor) => Self::Text,
            _ => Self::Other,
        }
    }

    /// The word that is written as `file/type`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Image => "image",
            Self::Subtitle => "subtitle",
            Self::Text => "text",
            Self::Archive => "archive",
            Self::Document => "document",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn is_text(minor: &str) -> bool {
    minor.ends_with("+xml")
        || minor.ends_with("+json")
        || matches!(minor, "json" | "xml" | "javascript" | "x-sh" | "toml" | "yaml" | "sql")
}

const SUBTITLES: &[&str] = &[
    "application/ttml+xml",
    "application/x-sami",
    "application/x-subrip",
    "text/vnd.dvb.subtitle",
    "text/vtt",
    "text/x-microdvd",
    "text/x-ssa",
];

const DOCUMENTS: &[&str] = &[
    "application/epub+zip",
    "application/msword",
    "application/pdf",
    "application/postscript",
    "application/rtf",
    "application/x-mobipocket-ebook",
    "image/vnd.djvu",
    "text/rtf",
];

const DOCUMENT_FAMILIES: &[&str] = &[
    "application/vnd.ms-excel",
    "application/vnd.ms-powerpoint",
    "application/vnd.ms-word",
    "application/vnd.oasis.opendocument.",
    "application/vnd.openxmlformats-officedocument.",
];

const ARCHIVES: &[&str] = &[
    "application/gzip",
    "application/java-archive",
    "application/vnd.android.package-archive",
    "application/vnd.bzip3",
    "application/vnd.debian.binary-package",
    "application/vnd.ms-cab-compressed",
    "application/vnd.rar",
    "application/x-7z-compressed",
    "application/x-bzip2",
    "application/x-compress",
    "application/x-cpio",
    "application/x-iso9660-image",
    "application/x-lzip",
    "application/x-rar-compressed",
    "application/x-rpm",
    "application/x-tar",
    "application/x-unix-archive",
    "application/x-xz",
    "application/zip",
    "application/zstd",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_media_type_has_a_kind() {
        for (mime, expected) in [
            ("video/x-matroska", "video"),
            ("application/vnd.rn-realmedia-vbr", "video"),
            ("application/mxf", "video"),
            ("audio/flac", "audio"),
            ("image/png", "image"),
            ("image/svg+xml", "image"),
            ("image/vnd.djvu", "document"),
            ("application/x-subrip", "subtitle"),
            ("text/vtt", "subtitle"),
            ("text/x-ssa", "subtitle"),
            ("application/ttml+xml", "subtitle"),
            ("text/plain; charset=utf-8", "text"),
            ("text/x-nfo", "text"),
            ("application/json", "text"),
            ("application/ld+json", "text"),
            ("application/zip", "archive"),
            ("application/pdf", "document"),
            ("application/vnd.oasis.opendocument.text", "document"),
            ("inode/x-empty", "other"),
            ("application/octet-stream", "other"),
            ("", "other"),
            ("video", "video"),
        ] {
            assert_eq!(FileKind::of(mime).as_str(), expected, "{mime}");
        }
    }
}
