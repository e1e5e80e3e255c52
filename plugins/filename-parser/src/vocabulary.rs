//! PURE. The words by which releases are described, and what each one says.
//!
//! A phrase is written without separators and in lower case: `webdl` stands for `WEB-DL`, `Web.DL`
//! and `WEB DL`.

mod release;
mod words;

use self::release::{AUDIO, PICTURE, SOURCES};
use crate::scan::whole_number;

use self::words::{LANGUAGES, WORDS};

/// What a word is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Resolution,
    Source,
    VideoCodec,
    AudioCodec,
    Channels,
    Hdr,
    BitDepth,
    Edition,
    Service,
    Flag,
    Language,
    SubtitleLanguage,
    Extra,
}

/// How much else a word could mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strength {
    /// Never part of a title.
    Strong,
    /// Could be part of a title, so it counts only after a year, a number or a strong word.
    Weak,
    /// As weak, and only in capitals.
    Capitals,
}

/// What a phrase says; a phrase may have several rows.
pub(crate) type Row = (&'static str, Strength, Kind, &'static str);

/// The most words that one phrase may be spread over (`DTS-HD.MA.5.1`).
pub(crate) const MAX_WORDS: usize = 5;

/// The rows that `phrase` has.
pub(crate) fn rows(phrase: &str) -> impl Iterator<Item = &'static Row> {
    TABLES.into_iter().flatten().filter(move |row| row.0 == phrase)
}

/// Audio codec and channels of a phrase such as `ddp51`.
pub(crate) fn audio(phrase: &str) -> Option<(&'static str, Option<&'static str>)> {
    let codec = |name: &str| AUDIO.iter().find(|row| row.0 == name).map(|row| row.3);
    if let Some(found) = codec(phrase) {
        return Some((found, None));
    }
    let (digits, channels) = CHANNELS.into_iter().find(|(digits, _)| phrase.ends_with(digits))?;
    Some((codec(phrase.strip_suffix(digits)?)?, Some(channels)))
}

/// The resolution that a size such as `1920x1080` means; `Some(None)` for a size without a name.
pub(crate) fn lines_of_size(text: &str) -> Option<Option<&'static str>> {
    let (width, height) = text.split_once(['x', 'X', '×'])?;
    let (width, height) = (whole_number(width, 4)?, whole_number(height, 4)?);
    (width >= 320 && height >= 200).then(|| {
        let row = |lines: &str| PICTURE.iter().find(|row| row.0 == lines).map(|row| row.3);
        row(&format!("{height}p")).or_else(|| match width {
            1280 => row("720p"),
            1920 => row("1080p"),
            3840 => row("2160p"),
            _ => None,
        })
    })
}

/// The row of an audio codec.
pub(crate) fn audio_row(codec: &str) -> Option<&'static Row> {
    AUDIO.iter().find(|row| row.3 == codec)
}

/// The channels that a word such as `5.1` or `6ch` means.
pub(crate) fn channels(text: &str) -> Option<&'static str> {
    match text.to_ascii_lowercase().as_str() {
        "1.0" | "1ch" => Some("1.0"),
        "2.0" | "2ch" => Some("2.0"),
        "2.1" => Some("2.1"),
        "4.0" => Some("4.0"),
        "5.0" => Some("5.0"),
        "5.1" | "6ch" => Some("5.1"),
        "6.1" | "7ch" => Some("6.1"),
        "7.1" | "8ch" => Some("7.1"),
        _ => None,
    }
}

const CHANNELS: [(&str, &str); 8] = [
    ("10", "1.0"),
    ("20", "2.0"),
    ("21", "2.1"),
    ("40", "4.0"),
    ("50", "5.0"),
    ("51", "5.1"),
    ("61", "6.1"),
    ("71", "7.1"),
];

const TABLES: [&[Row]; 5] = [PICTURE, SOURCES, AUDIO, WORDS, LANGUAGES];
