//! PURE  what a subtitle file holds: its format, and when its cues are shown.

mod cue;
mod time;

use self::cue::Cue;
use crate::encoding::{self, Encoding};
use crate::language;

/// How subtitles are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the formats")]
pub enum Format {
    Srt,
    Vtt,
    Ass,
    Ssa,
    MicroDvd,
    Mpl2,
    SubViewer,
    Sami,
    Ttml,
    VobSub,
    Pgs,
}

impl Format {
    /// The word that is written as `format`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Srt => "srt",
            Self::Vtt => "vtt",
            Self::Ass => "ass",
            Self::Ssa => "ssa",
            Self::MicroDvd => "microdvd",
            Self::Mpl2 => "mpl2",
            Self::SubViewer => "subviewer",
            Self::Sami => "sami",
            Self::Ttml => "ttml",
            Self::VobSub => "vobsub",
            Self::Pgs => "pgs",
        }
    }
}

/// What was found in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// By what the text looks like.
    pub format: Format,
    /// How the text is encoded.
    pub encoding: Encoding,
    /// How many cues there are.
    pub cues: usize,
    /// The earliest beginning of a cue, in milliseconds.
    pub first: Option<u64>,
    /// The latest end of a cue, in milliseconds.
    pub last: Option<u64>,
    /// Languages that the text names itself, BCP 47; only the index of `VobSub` does.
    pub languages: Vec<String>,
}

/// The format of a file of pictures, by its first bytes.
#[must_use]
pub fn pictures(head: &[u8]) -> Option<Format> {
    if head.starts_with(b"\x00\x00\x01\xba") {
        return Some(Format::VobSub);
    }
    // `PG`, two times of four bytes, then the type of the segment: composition first.
    (head.starts_with(b"PG") && head.get(10) == Some(&0x16)).then_some(Format::Pgs)
}

/// Reads a whole text file; `None` when its format is not known.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<Content> {
    let (text, encoding) = encoding::decode(bytes);
    let format = format(&text)?;
    let cues: Vec<Cue> = match format {
        Format::Srt | Format::Vtt => cue::arrows(&text),
        Format::Ass | Format::Ssa => cue::dialogues(&text),
        Format::MicroDvd => cue::frames(&text),
        Format::Mpl2 => cue::tenths(&text),
        Format::SubViewer => cue::pairs(&text),
        Format::Sami => cue::syncs(&text),
        Format::Ttml => cue::paragraphs(&text),
        Format::VobSub => cue::timestamps(&text),
        Format::Pgs => Vec::new(),
    };
    Some(Content {
        format,
        encoding,
        cues: cues.len(),
        first: cues.iter().filter_map(|cue| cue.start).min(),
        last: cues.iter().filter_map(|cue| cue.end.or(cue.start)).max(),
        languages: if format == Format::VobSub { index_languages(&text) } else { Vec::new() },
    })
}

/// Lines at the beginning that are looked at for what tells the format.
const FIRST_LINES: usize = 50;

fn format(text: &str) -> Option<Format> {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty()).take(FIRST_LINES);
    let first = lines().next()?;
    let has = |words: &str| lines().any(|line| begins(line, words));
    if first.starts_with("WEBVTT") {
        return Some(Format::Vtt);
    }
    if first.starts_with("# VobSub index file") {
        return Some(Format::VobSub);
    }
    if has("[script info]") {
        let new = has("scripttype: v4.00+") || text.contains("[V4+ Styles]");
        return Some(if new { Format::Ass } else { Format::Ssa });
    }
    if has("<sami") {
        return Some(Format::Sami);
    }
    if text.contains("/ns/ttml") || text.contains("/2006/10/ttaf1") {
        return Some(Format::Ttml);
    }
    if cue::numbers(first, '{', '}').is_some() || first.starts_with("{DEFAULT}") {
        return Some(Format::MicroDvd);
    }
    if cue::numbers(first, '[', ']').is_some() {
        return Some(Format::Mpl2);
    }
    // A broken or commented beginning does not make it another format.
    if text.lines().any(|line| cue::arrow(line).is_some()) {
        return Some(Format::Srt);
    }
    text.lines().any(|line| cue::pair(line).is_some()).then_some(Format::SubViewer)
}

/// Lines `id: en, index: 0`.
fn index_languages(text: &str) -> Vec<String> {
    /// The format has room for 32 streams.
    const MOST: usize = 32;
    let ids = text.lines().filter_map(|line| line.trim().strip_prefix("id:"));
    let codes = ids.filter_map(|rest| rest.split(',').next());
    codes.filter_map(|code| language::tag(code.trim())).take(MOST).collect()
}

fn begins(line: &str, words: &str) -> bool {
    line.get(..words.len()).is_some_and(|start| start.eq_ignore_ascii_case(words))
}

#[cfg(test)]
mod tests;
