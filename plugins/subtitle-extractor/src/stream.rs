//! PURE  The subtitles of a container, as the plugin `ffmpeg` has found them, and what can be made of
//! each.

use worker_sdk::{MetaMap, MetaValue};

/// So many are looked at, which is all that `ffmpeg` describes.
const MAX_STREAMS: usize = 64;

/// One subtitle of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Its number among the subtitles, from 0.
    pub number: usize,
    /// As ffprobe names it; empty if it has no name for it.
    pub codec: String,
    /// As in the file.
    pub language: Option<String>,
    /// Shown even if nobody asks for subtitles.
    pub is_forced: bool,
    /// For the hard of hearing.
    pub is_sdh: bool,
}

/// What can be made of a subtitle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It is taken out as it is.
    Copy(Format),
    /// It is text in a form that only this container has, and becomes `SubRip`.
    Convert,
    /// It is pictures.
    Pictures,
    /// ffmpeg makes no text of it.
    Unknown,
}

/// What a subtitle file is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `SubRip`.
    Srt,
    /// `WebVTT`.
    Vtt,
    /// Advanced `SubStation` Alpha, with its styles.
    Ass,
}

impl Format {
    /// The extension of its files.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Srt => "srt",
            Self::Vtt => "vtt",
            Self::Ass => "ass",
        }
    }

    /// What ffmpeg calls it.
    #[must_use]
    pub const fn muxer(self) -> &'static str {
        match self {
            Self::Srt => "srt",
            Self::Vtt => "webvtt",
            Self::Ass => "ass",
        }
    }

    /// Its media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Srt => "application/x-subrip",
            Self::Vtt => "text/vtt",
            Self::Ass => "text/x-ssa",
        }
    }

    /// Whether a file of this format shows anything at all.
    #[must_use]
    pub fn has_cues(self, text: &[u8]) -> bool {
        let has = |mark: &[u8]| text.windows(mark.len()).any(|window| window == mark);
        match self {
            Self::Srt | Self::Vtt => has(b"-->"),
            Self::Ass => has(b"Dialogue:"),
        }
    }
}

impl Way {
    /// What can be made of a codec.
    #[must_use]
    pub fn of(codec: &str) -> Self {
        match codec {
            "subrip" => Self::Copy(Format::Srt),
            "webvtt" => Self::Copy(Format::Vtt),
            "ass" | "ssa" => Self::Copy(Format::Ass),
            "mov_text" | "text" | "eia_608" | "jacosub" | "microdvd" | "mpl2" | "pjs"
            | "realtext" | "sami" | "stl" | "subviewer" | "subviewer1" | "vplayer" => Self::Convert,
            "hdmv_pgs_subtitle" | "dvd_subtitle" | "dvb_subtitle" | "xsub" => Self::Pictures,
            _ => Self::Unknown,
        }
    }

    /// The format and the codec of what is made, or why nothing is.
    ///
    /// # Errors
    ///
    /// The reason, for people.
    pub const fn target(self) -> Result<(Format, &'static str), &'static str> {
        match self {
            Self::Copy(format) => Ok((format, "copy")),
            Self::Convert => Ok((Format::Srt, "srt")),
            Self::Pictures => Err("not extracted: it is pictures, not text"),
            Self::Unknown => Err("not extracted: ffmpeg makes no text of this codec"),
        }
    }
}

/// The subtitles that `existing` tells of, in their order.
#[must_use]
pub fn streams(existing: &MetaMap) -> Vec<Stream> {
    let text = |number: usize, property: &str| {
        let key = format!("fileinfo/streamdetails/subtitle/{number}/{property}");
        existing.get(key.as_str()).and_then(MetaValue::as_text)
    };
    let is_there = |number: &usize| text(*number, "default").is_some();
    let numbers = (0..MAX_STREAMS).take_while(is_there);
    numbers
        .map(|number| Stream {
            number,
            codec: text(number, "codec").unwrap_or_default().to_owned(),
            language: text(number, "language").map(str::to_owned),
            is_forced: text(number, "forced") == Some("true"),
            is_sdh: text(number, "hearingImpaired") == Some("true"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_codec_decides_what_is_made_of_it() {
        for (codec, expected) in [
            ("subrip", Ok((Format::Srt, "copy"))),
            ("ass", Ok((Format::Ass, "copy"))),
            ("ssa", Ok((Format::Ass, "copy"))),
            ("webvtt", Ok((Format::Vtt, "copy"))),
            ("mov_text", Ok((Format::Srt, "srt"))),
            ("hdmv_pgs_subtitle", Err("not extracted: it is pictures, not text")),
            ("dvd_subtitle", Err("not extracted: it is pictures, not text")),
            ("ttml", Err("not extracted: ffmpeg makes no text of this codec")),
            ("", Err("not extracted: ffmpeg makes no text of this codec")),
        ] {
            assert_eq!(Way::of(codec).target(), expected, "{codec}");
        }
    }

    #[test]
    fn streams_are_read_from_what_ffmpeg_has_found() {
        let found = |entries: &[(&str, &str)]| {
            let key = |key| format!("fileinfo/streamdetails/subtitle/{key}").parse().unwrap();
            let entries = entries.iter().map(|(k, v)| (key(k), MetaValue::Text((*v).to_owned())));
            streams(&entries.collect())
        };
        let plain = Stream {
            number: 0,
            codec: String::new(),
            language: None,
            is_forced: false,
            is_sdh: false,
        };
        assert_eq!(found(&[]), []);
        assert_eq!(found(&[("1/default", "true")]), [], "there is no first one");
        assert_eq!(found(&[("0/default", "false")]), std::slice::from_ref(&plain));
        let all = [
            ("0/default", "true"),
            ("1/default", "false"),
            ("1/codec", "subrip"),
            ("1/language", "ger"),
            ("1/forced", "true"),
            ("1/hearingImpaired", "true"),
        ];
        let second = Stream {
            number: 1,
            codec: "subrip".to_owned(),
            language: Some("ger".to_owned()),
            is_forced: true,
            is_sdh: true,
        };
        assert_eq!(found(&all), [plain, second]);
    }

    #[test]
    fn a_file_without_cues_shows_nothing() {
        for (format, text, expected) in [
            (Format::Srt, "1\n00:00:01,000 --> 00:00:02,000\nx\n", true),
            (Format::Srt, "", false),
            (Format::Vtt, "WEBVTT\n\n", false),
            (Format::Vtt, "WEBVTT\n\n00:01.000 --> 00:02.000\nx", true),
            (Format::Ass, "[Events]\nFormat: Layer, Start\n", false),
            (Format::Ass, "[Events]\nDialogue: 0,0:00:00.10,", true),
        ] {
            assert_eq!(format.has_cues(text.as_bytes()), expected, "{text}");
        }
    }
}
