//! PURE  the cues of each format.

use super::time::{clock, offset};

/// When one text is shown, in milliseconds; unknown where the format counts pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cue {
    pub(super) start: Option<u64>,
    pub(super) end: Option<u64>,
}

impl Cue {
    fn new(start: u64, end: u64) -> Self {
        Self { start: Some(start), end: Some(end) }
    }
}

/// `SubRip` and `WebVTT`.
pub(super) fn arrows(text: &str) -> Vec<Cue> {
    text.lines().filter_map(arrow).collect()
}

/// `00:00:01,000 --> 00:00:02,000`, with or without positions behind it.
pub(super) fn arrow(line: &str) -> Option<Cue> {
    let (start, rest) = line.split_once("-->")?;
    Some(Cue::new(clock(start)?, clock(rest.split_whitespace().next()?)?))
}

/// `SubViewer`.
pub(super) fn pairs(text: &str) -> Vec<Cue> {
    text.lines().filter_map(pair).collect()
}

/// `00:00:01.00,00:00:02.00`
pub(super) fn pair(line: &str) -> Option<Cue> {
    let (start, end) = line.trim().split_once(',')?;
    (start.matches(':').count() == 2).then_some(())?;
    Some(Cue::new(clock(start)?, clock(end)?))
}

/// SSA and ASS: the columns of `Dialogue:` are as the `Format:` of `[Events]` says.
pub(super) fn dialogues(text: &str) -> Vec<Cue> {
    let mut in_events = false;
    let (mut start_at, mut end_at) = (1, 2);
    let mut cues = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            in_events = line.eq_ignore_ascii_case("[events]");
        }
        if !in_events {
            continue;
        }
        if let Some(columns) = line.strip_prefix("Format:") {
            let position = |name| columns.split(',').position(|column| column.trim() == name);
            start_at = position("Start").unwrap_or(start_at);
            end_at = position("End").unwrap_or(end_at);
        } else if let Some(values) = line.strip_prefix("Dialogue:") {
            let value = |at| values.split(',').nth(at).and_then(clock);
            cues.push(Cue { start: value(start_at), end: value(end_at) });
        }
    }
    cues
}

/// `MicroDVD`: `{25}{50}text`; the rate may stand in the first line as `{1}{1}25.000`.
pub(super) fn frames(text: &str) -> Vec<Cue> {
    let mut rate = None;
    let mut cues = Vec::new();
    for (start, end, words) in text.lines().filter_map(|line| numbers(line, '{', '}')) {
        if cues.is_empty() && rate.is_none() && start == end {
            rate = words.trim().parse::<f64>().ok().filter(|rate| (1.0..=1000.0).contains(rate));
            if rate.is_some() {
                continue;
            }
        }
        let time = |frame| rate.and_then(|rate| milliseconds(frame, rate));
        cues.push(Cue { start: time(start), end: time(end) });
    }
    cues
}

/// MPL2: `[10][20]text`, in tenths of a second.
pub(super) fn tenths(text: &str) -> Vec<Cue> {
    let lines = text.lines().filter_map(|line| numbers(line, '[', ']'));
    lines.map(|(start, end, _)| Cue::new(u64::from(start) * 100, u64::from(end) * 100)).collect()
}

/// The two numbers at the beginning of a line, and what follows; the second may be empty.
pub(super) fn numbers(line: &str, open: char, close: char) -> Option<(u32, u32, &str)> {
    let (start, rest) = line.trim_start().strip_prefix(open)?.split_once(close)?;
    let (end, words) = rest.strip_prefix(open)?.split_once(close)?;
    let start = start.parse().ok()?;
    let end = if end.is_empty() { start } else { end.parse().ok()? };
    Some((start, end, words))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is checked")]
fn milliseconds(frame: u32, rate: f64) -> Option<u64> {
    let time = f64::from(frame) * 1000.0 / rate;
    (0.0..1e13).contains(&time).then_some(time.round() as u64)
}

/// SAMI: `<SYNC Start=1000>` shows what follows; an empty one ends what was shown.
pub(super) fn syncs(text: &str) -> Vec<Cue> {
    let lower = text.to_ascii_lowercase();
    let mut cues: Vec<Cue> = Vec::new();
    for block in lower.split("<sync").skip(1) {
        let Some((attributes, words)) = block.split_once('>') else { continue };
        let time = attribute(attributes, "start").and_then(|number| number.parse().ok());
        if let Some(open) = cues.last_mut()
            && open.end.is_none()
        {
            open.end = time;
        }
        if shows(words) {
            cues.push(Cue { start: time, end: None });
        }
    }
    cues
}

/// Whether anything is left of a text without its elements and spaces.
fn shows(words: &str) -> bool {
    let mut inside = false;
    words.replace("&nbsp;", " ").chars().any(|character| match character {
        '<' => {
            inside = true;
            false
        }
        '>' => {
            inside = false;
            false
        }
        other => !inside && !other.is_whitespace(),
    })
}

/// TTML: `<p begin="00:00:01.000" end="00:00:02.000">`, whatever the prefix of the names.
pub(super) fn paragraphs(text: &str) -> Vec<Cue> {
    let elements = text.split('<').skip(1).filter_map(|rest| rest.split_once('>'));
    elements
        .filter_map(|(element, _)| {
            let (name, attributes) = element.split_once(char::is_whitespace)?;
            (name.rsplit(':').next() == Some("p")).then_some(())?;
            let start = offset(attribute(attributes, "begin")?)?;
            let end = attribute(attributes, "end").and_then(offset);
            let length = || attribute(attributes, "dur").and_then(offset);
            Some(Cue { start: Some(start), end: end.or_else(|| length().map(|ms| start + ms)) })
        })
        .collect()
}

/// The value of `name=`, in quotes or not.
fn attribute<'a>(attributes: &'a str, name: &str) -> Option<&'a str> {
    let mut places = attributes.match_indices(name);
    places.find_map(|(at, _)| {
        let before = attributes.get(..at)?;
        let free = before.is_empty() || before.ends_with(char::is_whitespace);
        let after = attributes.get(at + name.len()..)?.trim_start().strip_prefix('=')?.trim_start();
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''));
        let value = match quote {
            Some(quote) => after.get(1..)?.split(quote).next()?,
            None => after.split([' ', '\t', '\r', '\n', '/']).next()?,
        };
        free.then_some(value)
    })
}

/// The index of `VobSub`: `timestamp: 00:00:01:000, filepos: 000000000`.
pub(super) fn timestamps(text: &str) -> Vec<Cue> {
    let times = text.lines().filter_map(|line| line.trim().strip_prefix("timestamp:"));
    times
        .filter_map(|rest| clock(rest.split(',').next()?))
        .map(|start| Cue { start: Some(start), end: None })
        .collect()
}
