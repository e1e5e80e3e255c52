//! PURE. Marks the words that describe a release, and its group.

use std::ops::Range;

use crate::parsed::{Group, Parsed};
use crate::title;
use crate::video::Reading;
use crate::vocabulary::{self, Kind, MAX_WORDS, Row, Strength};

/// Marks what can be no part of a title.
pub(crate) fn mark_strong(reading: &mut Reading<'_>) {
    let mut index = 0;
    while let Some(word) = reading.tokens.get(index) {
        let span = word.start..word.end;
        if let Some(lines) = vocabulary::lines_of_size(word.text)
            && !reading.is_marked(&span)
        {
            reading.parsed.resolution = reading.parsed.resolution.or(lines);
            reading.marks.push(span.clone());
            reading.release.push(span);
        }
        index += mark_at(reading, index, &|row, _| row.1 == Strength::Strong).unwrap_or(1);
    }
}

/// Marks what could be part of a title, behind `after` or else behind the first strong word, and in
/// brackets; then what stands directly before the first strong word.
pub(crate) fn mark_weak(reading: &mut Reading<'_>, after: Option<usize>) {
    let strong = reading.release.iter().map(|span| span.start).min();
    let from = match (after, strong) {
        (Some(after), Some(strong)) => Some(after.min(strong)),
        (after, strong) => after.or(strong),
    };
    let (first, lead) = (reading.first_word(), reading.lead);
    let mut index = first;
    while let Some(word) = reading.tokens.get(index) {
        let behind = from.is_some_and(|from| word.start >= from);
        let bracketed = word.bracket.is_some() && word.bracket != lead;
        let step = if behind || bracketed { mark_at(reading, index, &allowed) } else { None };
        index += step.unwrap_or(1);
    }
    if let Some(strong) = strong {
        absorb(reading, first, strong);
    }
}

/// Marks `-GROUP` behind the words of a release, or a last bracket that means nothing else.
pub(crate) fn mark_group(reading: &mut Reading<'_>) {
    if reading.parsed.group.is_some() {
        return;
    }
    let free: Vec<usize> = (0..reading.tokens.words().len())
        .filter(|&i| reading.tokens.get(i).is_some_and(|word| word.bracket.is_none()))
        .collect();
    if let [.., before, last] = free.as_slice()
        && let (Some(word), Some(before)) = (reading.tokens.get(*last), reading.tokens.get(*before))
    {
        let (span, before) = (word.start..word.end, before.start..before.end);
        let behind_release = reading.release.iter().any(|mark| overlaps(mark, &before));
        let joined = reading.tokens.slice(before.end..span.start) == "-";
        if behind_release && joined && !reading.is_marked(&span) {
            reading.parsed.group = Some(Group { name: word.text.to_owned(), in_front: false });
            reading.marks.push(span);
            return;
        }
    }
    let last = reading.tokens.brackets().last().cloned();
    if let Some(bracket) = last.filter(|bracket| bracket.outer.end == reading.tokens.len())
        && reading.tokens.slice(bracket.outer.start..bracket.inner.start) == "["
        && bracket.outer.start > 0
        && !reading.marks.is_empty()
        && !reading.is_marked(&bracket.inner)
        && let Some(name) =
            title::clean(&reading.tokens.slice(bracket.inner.clone()).replace('.', "\u{1}"))
    {
        let name = name.replace('\u{1}', ".");
        reading.parsed.group = Some(Group { name, in_front: false });
        reading.marks.push(bracket.inner);
    }
}

fn overlaps(one: &Range<usize>, other: &Range<usize>) -> bool {
    one.start < other.end && other.start < one.end
}

fn allowed(row: &Row, text: &str) -> bool {
    row.1 != Strength::Capitals || is_capital(text)
}

fn is_capital(text: &str) -> bool {
    !text.chars().any(char::is_lowercase)
}

/// Marks the longest phrase that starts at `index` and passes `test`; gives its number of words.
fn mark_at(
    reading: &mut Reading<'_>,
    index: usize,
    test: &dyn Fn(&Row, &str) -> bool,
) -> Option<usize> {
    for words in (1..=MAX_WORDS).rev() {
        let Some((phrase, span)) = phrase(reading, index, words) else { continue };
        if reading.is_marked(&span) {
            continue;
        }
        let text = reading.tokens.slice(span.clone());
        let mut found = false;
        for row in vocabulary::rows(&phrase).filter(|row| test(row, text)) {
            note(&mut reading.parsed, row.2, row.3);
            found = true;
        }
        if !found
            && let Some((codec, channels)) = vocabulary::audio(&phrase)
            && vocabulary::audio_row(codec).is_some_and(|row| channels.is_some() || test(row, text))
        {
            note(&mut reading.parsed, Kind::AudioCodec, codec);
            if let Some(channels) = channels {
                note(&mut reading.parsed, Kind::Channels, channels);
            }
            found = true;
        }
        let weak: Row = ("", Strength::Weak, Kind::Channels, "");
        if !found
            && test(&weak, text)
            && let Some(channels) = vocabulary::channels(text)
        {
            note(&mut reading.parsed, Kind::Channels, channels);
            found = true;
        }
        if found {
            reading.marks.push(span.clone());
            reading.release.push(span);
            return Some(words);
        }
    }
    None
}

/// `words` words from `index` on without what separates them, if they stand close together.
fn phrase(reading: &Reading<'_>, index: usize, words: usize) -> Option<(String, Range<usize>)> {
    let tokens = &reading.tokens;
    let (first, last) = (tokens.get(index)?, tokens.get(index + words - 1)?);
    let close = |i: usize| {
        tokens.gap(i).len() <= 1 && tokens.get(i).is_some_and(|word| word.bracket == first.bracket)
    };
    if !(index + 1..index + words).all(close) {
        return None;
    }
    let text: String = (index..index + words)
        .filter_map(|i| tokens.get(i))
        .flat_map(|word| word.text.chars())
        .flat_map(char::to_lowercase)
        .collect();
    Some((text, first.start..last.end))
}

/// Marks editions, flags and capitals that lead up to the first strong word: `GERMAN.DL.1080p`.
fn absorb(reading: &mut Reading<'_>, first: usize, strong: usize) {
    let words = reading.tokens.words().iter();
    let mut end = words.take_while(|word| word.end <= strong).count();
    let mut absorbed = false;
    while end > first + 1 {
        let is_known =
            |span: Range<usize>| reading.release.iter().any(|mark| overlaps(mark, &span));
        if reading.tokens.get(end - 1).is_some_and(|word| is_known(word.start..word.end)) {
            end -= 1;
            continue;
        }
        let passes = |row: &Row, text: &str| {
            let sure = matches!(row.2, Kind::Edition | Kind::Flag);
            allowed(row, text) && (sure || absorbed || is_capital(text))
        };
        let start = (1..=MAX_WORDS.min(end - first - 1))
            .rev()
            .map(|words| (end - words, words))
            .find(|&(start, words)| {
                phrase(reading, start, words).is_some_and(|(phrase, span)| {
                    let text = reading.tokens.slice(span.clone());
                    !reading.is_marked(&span)
                        && vocabulary::rows(&phrase).any(|row| passes(row, text))
                })
            });
        let Some((start, _)) = start else { return };
        if mark_at(reading, start, &passes).is_none() {
            return;
        }
        absorbed = true;
        end = start;
    }
}

fn note(parsed: &mut Parsed, kind: Kind, value: &'static str) {
    match kind {
        Kind::Resolution => {
            parsed.resolution.get_or_insert(value);
        }
        Kind::Source => {
            parsed.source.get_or_insert(value);
        }
        Kind::VideoCodec => {
            parsed.video_codec.get_or_insert(value);
        }
        Kind::Channels => {
            parsed.channels.get_or_insert(value);
        }
        Kind::BitDepth => {
            parsed.bit_depth.get_or_insert(value);
        }
        Kind::Service => {
            parsed.service.get_or_insert(value);
        }
        Kind::Extra => {
            parsed.extra.get_or_insert(value);
        }
        Kind::AudioCodec => {
            parsed.audio_codecs.insert(value);
        }
        Kind::Hdr => {
            parsed.hdr.insert(value);
        }
        Kind::Edition => {
            parsed.editions.insert(value.to_owned());
        }
        Kind::Flag => {
            parsed.flags.insert(value);
        }
        Kind::Language => {
            parsed.languages.insert(value);
        }
        Kind::SubtitleLanguage => {
            parsed.subtitle_languages.insert(value);
        }
    }
}
