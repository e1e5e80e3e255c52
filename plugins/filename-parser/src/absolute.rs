//! PURE. Finds an episode number that stands alone: `Show - 03`, `[Group] Show 03 [1080p]`,
//! `[03]`, and `03 - Title` in the folder of a season.

use std::ops::Range;

use crate::date::year_of;
use crate::episode::Numbering;
use crate::scan::Scan;
use crate::token::Tokens;

/// What else is known of the name.
#[derive(Debug, Clone)]
pub(crate) struct Setting<'a> {
    /// Index of the first word of the title.
    pub(crate) first: usize,
    /// Whether the name starts with a group in brackets.
    pub(crate) fansub: bool,
    /// The season that the folder is for.
    pub(crate) folder_season: Option<u32>,
    /// What has been understood already.
    pub(crate) marks: &'a [Range<usize>],
}

/// The number, and where it stands.
pub(crate) fn find(tokens: &Tokens<'_>, setting: &Setting<'_>) -> Option<Numbering> {
    let indices = setting.first..tokens.words().len();
    let free = |index: &usize| {
        tokens.get(*index).is_some_and(|word| {
            !setting.marks.iter().any(|mark| mark.start < word.end && word.start < mark.end)
        })
    };
    let open = || indices.clone().filter(free);
    open()
        .find_map(|i| after_dash(tokens, i, setting))
        .or_else(|| open().find_map(|i| in_bracket(tokens, i, setting)))
        .or_else(|| in_season_folder(tokens, setting).filter(|_| free(&setting.first)))
        .or_else(|| open().rev().find_map(|i| last_before_bracket(tokens, i, setting)))
}

/// ` - 03`, `_-_03v2`, ` - 01-02`.
fn after_dash(tokens: &Tokens<'_>, index: usize, setting: &Setting<'_>) -> Option<Numbering> {
    let gap = tokens.gap(index);
    let set_off = gap.trim_matches(|c: char| c.is_whitespace() || c == '_' || c == '.');
    let wide = gap.chars().next().is_some_and(|c| c != '-') && gap.len() >= 3;
    if index <= setting.first || !matches!(set_off, "-" | "–" | "—") || !wide {
        return None;
    }
    let found = bare(tokens, index)?;
    let ends = tokens.get(index + 1).is_none()
        || tokens.gap(index + 1).contains(['-', '[', '(', '–', '.', '_'])
        || setting
            .marks
            .iter()
            .any(|mark| tokens.get(index + 1).is_some_and(|w| w.start == mark.start));
    (ends || setting.fansub).then_some(found)
}

/// `[03]`, `[03v2]`.
fn in_bracket(tokens: &Tokens<'_>, index: usize, setting: &Setting<'_>) -> Option<Numbering> {
    let word = tokens.get(index)?;
    let alone = tokens.words_in(word.bracket?).count() == 1;
    (alone && setting.fansub).then(|| bare(tokens, index)).flatten()
}

/// `[Group] Show 03 [1080p]`: the last number before the first bracket.
fn last_before_bracket(
    tokens: &Tokens<'_>,
    index: usize,
    setting: &Setting<'_>,
) -> Option<Numbering> {
    let word = tokens.get(index)?;
    let end = tokens.get(index + 1).is_none_or(|next| {
        next.bracket.is_some()
            || setting.marks.iter().any(|m| m.start <= next.start && next.start < m.end)
    });
    let wanted = setting.fansub || setting.folder_season.is_some();
    if !wanted || !end || word.bracket.is_some() || index <= setting.first {
        return None;
    }
    bare(tokens, index)
}

/// `03 - Title`, `03`, and `103` for the third of season 1, in the folder of a season.
fn in_season_folder(tokens: &Tokens<'_>, setting: &Setting<'_>) -> Option<Numbering> {
    let season = setting.folder_season?;
    let mut found = bare(tokens, setting.first)?;
    if let [number] = found.episodes.as_mut_slice()
        && (1..=99).contains(&season)
        && *number / 100 == season
        && *number % 100 > 0
    {
        *number %= 100;
    }
    Some(found)
}

/// A word that is a number of 1 to 4 digits and no year, `03v2` too; a range if `-04` follows.
fn bare(tokens: &Tokens<'_>, index: usize) -> Option<Numbering> {
    let word = tokens.get(index)?;
    let mut scan = Scan::new(word.text);
    let number = scan.number(4)?;
    let version = scan.version();
    if !scan.is_done() || year_of(word.text).is_some() {
        return None;
    }
    let mut found =
        Numbering { span: word.start..word.end, season: None, episodes: vec![number], version };
    if let Some(next) = tokens.get(index + 1)
        && matches!(tokens.gap(index + 1), "-" | "~")
        && next.text.len() == word.text.len()
        && let Some(last) = crate::scan::whole_number(next.text, 4)
        && number < last
        && last - number <= 50
    {
        found.episodes = (number..=last).collect();
        found.span.end = next.end;
    }
    Some(found)
}
