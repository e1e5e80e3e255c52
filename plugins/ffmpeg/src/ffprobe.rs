//! PURE  ffprobe: how it is called, what it answers, what its messages mean.

use std::collections::BTreeMap;
use std::ffi::OsString;

use serde::Deserialize;

/// The most that one error message holds of ffprobe's words, in characters.
const MAX_WORDS: usize = 600;

/// The arguments that make ffprobe describe what `input` says, as JSON.
#[must_use]
pub fn arguments(input: Vec<OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = [
        "-v",
        "error",
        "-hide_banner",
        "-print_format",
        "json",
        "-show_format",
        "-show_streams",
        "-show_chapters",
    ]
    .map(OsString::from)
    .into();
    arguments.extend(input);
    arguments
}

/// Tags by name, as they are in the file.
pub type Tags = BTreeMap<String, String>;

/// All that ffprobe says about a file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Probe {
    /// The container.
    pub format: Format,
    /// In the order of the container.
    pub streams: Vec<Stream>,
    /// In the order of the container.
    pub chapters: Vec<Chapter>,
}

/// The container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Format {
    /// All names of the demuxer, e.g. `matroska,webm`.
    pub format_name: String,
    /// In words.
    pub format_long_name: Option<String>,
    /// Seconds.
    pub duration: Option<String>,
    /// Bits per second.
    pub bit_rate: Option<String>,
    /// Title, artist, and so on.
    pub tags: Tags,
}

/// One stream of the container; what does not apply to its kind is absent.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are ffprobe's")]
pub struct Stream {
    pub codec_type: String,
    pub codec_name: Option<String>,
    pub profile: Option<String>,
    pub width: Option<i64>,
    pub height: Option<i64>,
    pub display_aspect_ratio: Option<String>,
    pub avg_frame_rate: Option<String>,
    pub r_frame_rate: Option<String>,
    pub pix_fmt: Option<String>,
    pub field_order: Option<String>,
    pub color_space: Option<String>,
    pub color_transfer: Option<String>,
    pub color_primaries: Option<String>,
    pub channels: Option<i64>,
    pub channel_layout: Option<String>,
    pub sample_rate: Option<String>,
    pub bits_per_sample: Option<i64>,
    pub bits_per_raw_sample: Option<String>,
    pub bit_rate: Option<String>,
    pub duration: Option<String>,
    pub disposition: BTreeMap<String, i64>,
    pub tags: Tags,
    pub side_data_list: Vec<SideData>,
}

impl Stream {
    /// Whether ffprobe says this of the stream, e.g. `forced`.
    #[must_use]
    pub fn is(&self, disposition: &str) -> bool {
        self.disposition.get(disposition).is_some_and(|flag| *flag != 0)
    }

    /// A tag by its name, case ignored.
    #[must_use]
    pub fn tag(&self, name: &str) -> Option<&str> {
        let mut tags = self.tags.iter();
        tags.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Something that goes with a stream.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct SideData {
    /// What it is, in words.
    pub side_data_type: String,
    /// Of a display matrix, in degrees.
    pub rotation: Option<f64>,
}

/// One chapter.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Chapter {
    /// Seconds.
    pub start_time: String,
    /// Seconds.
    pub end_time: String,
    /// The title is among them.
    pub tags: Tags,
}

/// ffprobe succeeded and yet its answer cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UselessAnswer {
    /// It is not the JSON that ffprobe writes.
    #[error("ffprobe's answer is not what it should be")]
    Malformed(#[from] serde_json::Error),
    /// It says nothing about the file.
    #[error("ffprobe found no container and no stream")]
    Nothing,
    /// It leads to other files, whose streams would be told, and copied, as its own.
    #[error("it is a list of other files ({0}), which are not read in its place")]
    List(String),
}

/// The demuxers that read other files in the place of the one they are given: formats of text, which
/// may bear any name.
const LISTS: [&str; 6] = ["avisynth", "concat", "dash", "hls", "imf", "sdp"];

/// Reads what ffprobe wrote.
///
/// # Errors
///
/// [`UselessAnswer`] when it is not JSON of the right form, or is about nothing.
pub fn parse(output: &[u8]) -> Result<Probe, UselessAnswer> {
    // Names of files come through as they are, valid or not.
    let probe: Probe = serde_json::from_str(&String::from_utf8_lossy(output))?;
    let mut names = probe.format.format_name.split(',');
    if let Some(list) = names.find(|name| LISTS.contains(name)) {
        return Err(UselessAnswer::List(list.to_owned()));
    }
    if probe.format.format_name.is_empty() && probe.streams.is_empty() {
        return Err(UselessAnswer::Nothing);
    }
    Ok(probe)
}

/// Makes one short line of ffprobe's messages that is the same on every run.
///
/// Addresses and the path are left out, and so is a line that repeats the one before it.
#[must_use]
pub fn words(messages: &[u8]) -> String {
    let text = String::from_utf8_lossy(messages);
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let line = without_path(&without_address(line)).to_owned();
        if lines.last() != Some(&line) {
            lines.push(line);
        }
    }
    let line = lines.join("; ").replace(char::is_control, " ");
    match line.char_indices().nth(MAX_WORDS) {
        Some((cut, _)) => format!("{}…", line.get(..cut).unwrap_or_default()),
        None => line,
    }
}

/// Whether the reason is the system's and may pass, not the file's.
#[must_use]
pub fn may_pass(words: &str) -> bool {
    const PASSING: [&str; 5] = [
        "Cannot allocate memory",
        "Input/output error",
        "No such file or directory",
        "Stale file handle",
        "Too many open files",
    ];
    PASSING.iter().any(|reason| words.ends_with(reason))
}

/// `[mov,mp4 @ 0x55f9b73ef240] moov atom not found` without the address.
fn without_address(line: &str) -> String {
    let Some((name, rest)) = line.split_once(" @ 0x") else { return line.to_owned() };
    format!("{name}{}", rest.trim_start_matches(|c: char| c.is_ascii_hexdigit()))
}

/// `file:/a/b.mp4: Invalid data found` without the path; reasons have no colon in them.
fn without_path(line: &str) -> &str {
    let named = line.strip_prefix("file:").or_else(|| line.strip_prefix("http://file/"));
    match named.and_then(|rest| rest.rsplit_once(": ")) {
        Some((_, reason)) => reason,
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_become_one_stable_line() {
        for (messages, expected) in [
            (
                "[mov,mp4,m4a @ 0x55f9b73ef240] moov atom not found\n\
                 file:/tmp/a: b.mp4: Invalid data found when processing input\n",
                "[mov,mp4,m4a] moov atom not found; Invalid data found when processing input",
            ),
            ("same\nsame\n\n\nother", "same; other"),
            ("a\x1b[0mb", "a [0mb"),
            ("", ""),
        ] {
            assert_eq!(words(messages.as_bytes()), expected, "{messages}");
        }
        assert_eq!(words("é".repeat(5000).as_bytes()).chars().count(), MAX_WORDS + 1);
    }

    #[test]
    fn only_reasons_of_the_system_may_pass() {
        for (words, expected) in [
            ("Input/output error", true),
            ("[matroska] Read error; No such file or directory", true),
            ("No such file or directory.mkv: Invalid data found when processing input", false),
            ("moov atom not found", false),
        ] {
            assert_eq!(may_pass(words), expected, "{words}");
        }
    }

    #[test]
    fn an_answer_about_nothing_is_refused() {
        for (answer, expected) in [
            ("{}", "found no container"),
            ("{\n\n}", "found no container"),
            ("", "not what it should be"),
            (r#"{"streams": 5}"#, "not what it should be"),
            (
                r#"{"format": {"format_name": "hls"}, "streams": [{}]}"#,
                "a list of other files (hls)",
            ),
            (r#"{"format": {"format_name": "mpegts,concat"}}"#, "a list of other files (concat)"),
            ("[1", "not what it should be"),
        ] {
            let error = parse(answer.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{answer}: {error}");
        }
        assert!(parse(br#"{"format": {"format_name": "ogg", "filename": "caf\xff"}}"#).is_err());
        assert!(parse(b"{\"format\": {\"format_name\": \"ogg\", \"filename\": \"\xff\"}}").is_ok());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            prop_assert!(words(&bytes).chars().count() <= MAX_WORDS + 1);
            drop(parse(&bytes));
        }
    }
}
