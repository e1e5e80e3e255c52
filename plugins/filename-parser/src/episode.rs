//! PURE. Finds season and episode where a name says that they are that: `S01E02`, `1x02`,
//! `Season 1 Episode 2`, `第04話`, `Ep 7`.
//!
//! Bare numbers (`- 03`) need to know what else stands in the name and are found by
//! [`absolute`](crate::absolute).

use std::ops::Range;

use crate::scan::{Scan, whole_number};
use crate::token::Tokens;

/// The most episodes that one file is believed to hold.
const MAX_SPAN: u32 = 50;

const SEASON_WORDS: [&str; 8] =
    ["season", "saison", "staffel", "temporada", "stagione", "sezon", "seizoen", "series"];
const EPISODE_WORDS: [&str; 8] =
    ["episode", "episodio", "épisode", "folge", "avsnitt", "capitulo", "ep", "e"];

/// Season and episodes, and where the name says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Numbering {
    pub(crate) span: Range<usize>,
    pub(crate) season: Option<u32>,
    /// In ascending order; empty when only the season is known.
    pub(crate) episodes: Vec<u32>,
    /// Release version, `v2`.
    pub(crate) version: Option<u32>,
}

/// The first numbering; one with an episode goes before one with only a season.
pub(crate) fn find(tokens: &Tokens<'_>) -> Option<Numbering> {
    let indices = 0..tokens.words().len();
    indices
        .clone()
        .find_map(|i| season_and_episode(tokens, i).or_else(|| crossed(tokens, i)))
        .or_else(|| indices.clone().find_map(|i| in_words(tokens, i)))
        .or_else(|| east_asian(tokens))
        .or_else(|| indices.clone().find_map(|i| episode_only(tokens, i)))
        .or_else(|| indices.clone().find_map(|i| season_only(tokens, i)))
}

/// The season that a folder is for: `Season 01`, `S01`, `Specials`.
pub(crate) fn season_of_folder(name: &str) -> Option<u32> {
    let tokens = Tokens::new(name);
    let first = tokens.get(0)?;
    let rest_is_year = |from: usize| {
        tokens.words().len() == from
            || (tokens.words().len() == from + 1
                && tokens.get(from).is_some_and(|word| whole_number(word.text, 4).is_some()))
    };
    if ["specials", "special"].iter().any(|word| first.text.eq_ignore_ascii_case(word)) {
        return rest_is_year(1).then_some(0);
    }
    let (season, next) = season_at(&tokens, 0)?;
    rest_is_year(next).then_some(season)
}

/// `S01E02`, `S01E02E03`, `S01E02-E04`, `S01E02-04`, `S01 E02`, `S01.EP02`.
fn season_and_episode(tokens: &Tokens<'_>, index: usize) -> Option<Numbering> {
    let word = tokens.get(index)?;
    let mut scan = Scan::new(word.text);
    if !scan.take("s") {
        return None;
    }
    let season = scan.number(4)?;
    let mut next = index + 1;
    let (mut episodes, version) = if scan.is_done() {
        let follows = tokens.gap(next).len() <= 3;
        let found =
            follows.then(|| tokens.get(next)).flatten().and_then(|w| episodes_of(w.text))?;
        next += 1;
        found
    } else {
        let rest = word.text.get(word.text.len() - scan.rest_len()..)?;
        episodes_of(rest)?
    };
    next = extend(tokens, next, Some(season), &mut episodes);
    Some(numbering(tokens, index..next, Some(season), episodes, version))
}

/// `1x02`, `01x02-03`, `1x02x03`.
fn crossed(tokens: &Tokens<'_>, index: usize) -> Option<Numbering> {
    let mut scan = Scan::new(tokens.get(index)?.text);
    let season = scan.number(2)?;
    let mut episodes = Vec::new();
    while scan.take("x") {
        let before = scan.rest_len();
        episodes.push(scan.number(3)?);
        if before - scan.rest_len() < 2 {
            return None; // `4x4` is a car
        }
    }
    let version = scan.version();
    if episodes.is_empty() || !scan.is_done() {
        return None;
    }
    let next = extend(tokens, index + 1, Some(season), &mut episodes);
    Some(numbering(tokens, index..next, Some(season), episodes, version))
}

/// `Season 1 Episode 2`, `Staffel 1 Folge 2`.
fn in_words(tokens: &Tokens<'_>, index: usize) -> Option<Numbering> {
    let (season, next) = season_at(tokens, index)?;
    let (mut episodes, version, next) = episode_at(tokens, next)?;
    let next = extend(tokens, next, Some(season), &mut episodes);
    Some(numbering(tokens, index..next, Some(season), episodes, version))
}

/// `E02`, `Ep 02`, `Episode 12`, `#12`; not a lone letter and a number.
fn episode_only(tokens: &Tokens<'_>, index: usize) -> Option<Numbering> {
    let word = tokens.get(index)?;
    if let Some(number) = word.text.strip_prefix('#').and_then(|text| whole_number(text, 4)) {
        return Some(numbering(tokens, index..index + 1, None, vec![number], None));
    }
    let (mut episodes, version, next) = episode_at(tokens, index)?;
    let spelled = Scan::new(word.text).take_any(&["ep", "folge", "avs", "cap", "é"]);
    if !spelled && word.text.len() < 3 {
        return None; // `E3` is a fair
    }
    let next = extend(tokens, next, None, &mut episodes);
    Some(numbering(tokens, index..next, None, episodes, version))
}

/// `S2`, `Season 2`, `2nd Season`.
fn season_only(tokens: &Tokens<'_>, index: usize) -> Option<Numbering> {
    let ordinal = |text: &str| {
        let mut scan = Scan::new(text);
        let number = scan.number(2)?;
        (scan.take_any(&["st", "nd", "rd", "th"]) && scan.is_done()).then_some(number)
    };
    if let Some(season) = ordinal(tokens.get(index)?.text)
        && tokens.get(index + 1).is_some_and(|word| word.text.eq_ignore_ascii_case("season"))
    {
        return Some(numbering(tokens, index..index + 2, Some(season), vec![], None));
    }
    let (season, next) = season_at(tokens, index)?;
    Some(numbering(tokens, index..next, Some(season), vec![], None))
}

/// `第2期`, `第04話`, `第4集`, with or without space around it.
fn east_asian(tokens: &Tokens<'_>) -> Option<Numbering> {
    let text = tokens.slice(0..tokens.len());
    let (mut season, mut episode) = (None, None);
    let mut span: Option<Range<usize>> = None;
    for (at, mark) in text.match_indices('第') {
        let rest = text.get(at + mark.len()..)?.trim_start();
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let Some(number) = rest.get(..digits).and_then(|digits| whole_number(digits, 4)) else {
            continue;
        };
        let after = rest.get(digits..)?.trim_start();
        let Some(unit) = after.chars().next() else { continue };
        match unit {
            '話' | '话' | '集' | '回' if episode.is_none() => episode = Some(number),
            '期' | '季' if season.is_none() => season = Some(number),
            _ => continue,
        }
        let end = text.len() - after.len() + unit.len_utf8();
        span = Some(span.map_or(at..end, |span| span.start.min(at)..span.end.max(end)));
    }
    Some(Numbering { span: span?, season, episodes: episode.into_iter().collect(), version: None })
}

/// The season that the words from `index` on say, and the index after them.
fn season_at(tokens: &Tokens<'_>, index: usize) -> Option<(u32, usize)> {
    let text = tokens.get(index)?.text;
    let mut scan = Scan::new(text);
    if scan.take_any(&SEASON_WORDS) {
        if scan.is_done() {
            let digits = if text.eq_ignore_ascii_case("series") { 2 } else { 4 };
            let number = whole_number(tokens.get(index + 1)?.text, digits)?;
            return Some((number, index + 2));
        }
    } else if !scan.take("s") {
        return None;
    }
    let season = scan.number(4)?;
    scan.is_done().then_some((season, index + 1))
}

/// The episodes that the words from `index` on say, and the index after them.
fn episode_at(tokens: &Tokens<'_>, index: usize) -> Option<(Vec<u32>, Option<u32>, usize)> {
    let text = tokens.get(index)?.text;
    if EPISODE_WORDS.iter().any(|word| text.to_lowercase() == *word) {
        let mut scan = Scan::new(tokens.get(index + 1)?.text);
        let number = scan.number(4)?;
        let version = scan.version();
        return scan.is_done().then(|| (vec![number], version, index + 2));
    }
    let (episodes, version) = episodes_of(text)?;
    Some((episodes, version, index + 1))
}

/// The episodes of one word: `E02`, `Ep02`, `E02E03`, `Episode2`, `E02v2`, `E02a`.
fn episodes_of(text: &str) -> Option<(Vec<u32>, Option<u32>)> {
    let mut scan = Scan::new(text);
    let mut episodes = Vec::new();
    while scan.take_any(&EPISODE_WORDS) || (!episodes.is_empty() && scan.take("x")) {
        episodes.push(scan.number(4)?);
    }
    let version = scan.version();
    if !scan.is_done() && !scan.take_any(&["a", "b", "c"]) {
        return None;
    }
    (scan.is_done() && !episodes.is_empty()).then_some((episodes, version))
}

/// Takes what continues a list or a range (`-E04`, `-04`, `E03`, `-S01E04`); gives the next index.
fn extend(
    tokens: &Tokens<'_>,
    mut index: usize,
    season: Option<u32>,
    list: &mut Vec<u32>,
) -> usize {
    while let (Some(word), Some(&last)) = (tokens.get(index), list.last()) {
        let gap = tokens.gap(index);
        let joined = matches!(gap.trim(), "-" | "~" | "–" | "&" | "+");
        let more = if joined || matches!(gap, "." | " " | "_") {
            let same_season = season.and_then(|season| {
                let mut scan = Scan::new(word.text);
                let same = scan.take("s") && scan.number(4)? == season;
                let at = word.text.len() - scan.rest_len();
                same.then(|| episodes_of(word.text.get(at..)?)).flatten()
            });
            let tight = joined && !gap.contains(char::is_whitespace);
            let bare = tight.then(|| whole_number(word.text, 3)).flatten();
            episodes_of(word.text)
                .or(same_season)
                .or_else(|| bare.map(|number| (vec![number], None)))
        } else {
            None
        };
        let Some(first) = more.as_ref().and_then(|(more, _)| more.first().copied()) else { break };
        if first <= last || first - last > MAX_SPAN {
            break;
        }
        if joined {
            list.extend(last + 1..first);
        }
        list.extend(more.into_iter().flat_map(|(more, _)| more));
        index += 1;
    }
    list.sort_unstable();
    list.dedup();
    index
}

fn numbering(
    tokens: &Tokens<'_>,
    words: Range<usize>,
    season: Option<u32>,
    episodes: Vec<u32>,
    version: Option<u32>,
) -> Numbering {
    let start = tokens.get(words.start).map_or(0, |word| word.start);
    let last = words.end.checked_sub(1).and_then(|last| tokens.get(last));
    let end = last.map_or(start, |word| word.end);
    Numbering { span: start..end.max(start), season, episodes, version }
}
