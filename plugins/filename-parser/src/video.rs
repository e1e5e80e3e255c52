//! PURE. Reads the name of a video.
//!
//! What is sure is marked first (brackets, numbering, days, strong words). The first sure thing is
//! the anchor: what stands before it is the title, and words that could be part of a title count
//! only behind it.

use std::ops::Range;

use crate::absolute::{self, Setting};
use crate::brackets;
use crate::date::{find_day, year_of};
use crate::episode;
use crate::parsed::{Group, Parsed};
use crate::release;
use crate::scan::Scan;
use crate::title;
use crate::token::Tokens;

/// A name on its way to being understood.
pub(crate) struct Reading<'a> {
    pub(crate) tokens: Tokens<'a>,
    pub(crate) parsed: Parsed,
    /// What has been understood.
    pub(crate) marks: Vec<Range<usize>>,
    /// The part of `marks` that describes the release.
    pub(crate) release: Vec<Range<usize>>,
    /// A group in brackets at the start.
    pub(crate) lead: Option<usize>,
}

/// Reads the name of a video without its extension.
pub(crate) fn read(stem: &str, folder_season: Option<u32>) -> Parsed {
    let mut reading = Reading {
        tokens: Tokens::new(stem),
        parsed: Parsed::default(),
        marks: Vec::new(),
        release: Vec::new(),
        lead: None,
    };
    brackets::mark(&mut reading);
    let numbered = reading.mark_numbering();
    let dated = reading.mark_day();
    release::mark_strong(&mut reading);
    reading.find_lead();
    let year = reading.mark_year(numbered.as_ref().or(dated.as_ref()));
    let after = match &numbered {
        Some(_) => None,
        None => year.as_ref().or(dated.as_ref()).map(|span| span.end),
    };
    release::mark_weak(&mut reading, after);
    let numbered = reading.mark_bare_number(folder_season).or(numbered).or(dated);
    reading.mark_part();
    reading.mark_extra();
    release::mark_group(&mut reading);
    reading.take_titles(numbered);
    reading.parsed
}

impl Reading<'_> {
    pub(crate) fn is_marked(&self, span: &Range<usize>) -> bool {
        self.marks.iter().any(|mark| mark.start < span.end && span.start < mark.end)
    }

    /// Index of the first word behind the group in front.
    pub(crate) fn first_word(&self) -> usize {
        let start = self.title_start();
        self.tokens.words().iter().take_while(|word| word.start < start).count()
    }

    fn title_start(&self) -> usize {
        let end = |lead: usize| self.tokens.brackets().get(lead).map(|bracket| bracket.outer.end);
        self.lead.and_then(end).unwrap_or(0)
    }

    fn mark_numbering(&mut self) -> Option<Range<usize>> {
        let found = episode::find(&self.tokens)?;
        if self.is_marked(&found.span) {
            return None;
        }
        self.parsed.season = found.season;
        self.parsed.version = found.version;
        self.parsed.absolute = found.season.is_none();
        self.parsed.episodes = found.episodes;
        self.marks.push(found.span.clone());
        Some(found.span)
    }

    fn mark_day(&mut self) -> Option<Range<usize>> {
        let (day, span) = find_day(&self.tokens)?;
        if self.is_marked(&span) {
            return None;
        }
        self.parsed.date = Some(day);
        self.marks.push(span.clone());
        Some(span)
    }

    /// Decides whether the bracket at the start is a group, or a title in a name of brackets only.
    fn find_lead(&mut self) {
        let Some(first) = self.tokens.brackets().first() else { return };
        let at_start = self.tokens.slice(0..first.outer.start).trim().is_empty();
        if !at_start {
            return;
        }
        self.lead = Some(0);
        let square = self.tokens.slice(first.outer.start..first.inner.start) != "(";
        let name = self.tokens.slice(first.inner.clone()).trim().to_owned();
        let more = self.tokens.words().iter().any(|word| word.bracket != Some(0));
        if !more {
            self.lead = None;
        } else if square && !self.is_marked(&first.inner) && !name.is_empty() {
            self.parsed.group = Some(Group { name, in_front: true });
        }
    }

    /// The year in brackets, or the last one before all else that is sure.
    fn mark_year(&mut self, numbered: Option<&Range<usize>>) -> Option<Range<usize>> {
        if let Some(span) = brackets::mark_year(self) {
            return Some(span);
        }
        if self.parsed.date.is_some() {
            return None;
        }
        let first = self.first_word();
        let anchor = self.release.iter().chain(numbered).map(|span| span.start).min();
        let words = self.tokens.words().iter().enumerate().skip(first + 1);
        let (year, span) = words
            .filter(|(_, word)| word.bracket.is_none())
            .filter(|(_, word)| anchor.is_none_or(|anchor| word.start < anchor))
            .filter_map(|(_, word)| Some((year_of(word.text)?, word.start..word.end)))
            .rfind(|(_, span)| !self.is_marked(span))?;
        self.parsed.year = Some(year);
        self.marks.push(span.clone());
        Some(span)
    }

    fn mark_bare_number(&mut self, folder_season: Option<u32>) -> Option<Range<usize>> {
        let setting = Setting {
            first: self.first_word(),
            fansub: self.parsed.group.as_ref().is_some_and(|group| group.in_front),
            folder_season,
            marks: &self.marks,
        };
        // `Show S2 - 03` has said its season; a whole numbering leaves nothing to find
        if !self.parsed.episodes.is_empty() || self.parsed.date.is_some() {
            return None;
        }
        let found = absolute::find(&self.tokens, &setting)?;
        self.parsed.absolute = self.parsed.season.is_none();
        self.parsed.episodes = found.episodes;
        self.parsed.version = found.version.or(self.parsed.version);
        self.marks.push(found.span.clone());
        Some(found.span)
    }

    /// `cd1`, `disc 2`, `-part1`; `Part 2` only behind the title.
    fn mark_part(&mut self) {
        let title_ends = self.marks.iter().map(|mark| mark.start).min();
        for index in (self.first_word() + 1)..self.tokens.words().len() {
            let (Some(word), next) = (self.tokens.get(index), self.tokens.get(index + 1)) else {
                return;
            };
            let mut scan = Scan::new(word.text);
            let disc = scan.take_any(&["cd", "disc", "disk", "dvd"]);
            if !disc && !scan.take_any(&["part", "pt"]) {
                continue;
            }
            let behind = title_ends.is_some_and(|end| word.start > end);
            let (number, end) = if scan.is_done() {
                let number = next.and_then(|next| crate::scan::whole_number(next.text, 2));
                (number.filter(|_| disc || behind), next.map_or(word.end, |next| next.end))
            } else {
                (scan.number(2).filter(|_| scan.is_done()), word.end)
            };
            let span = word.start..end;
            if let Some(number) = number.filter(|_| !self.is_marked(&span)) {
                self.parsed.part = Some(number);
                self.marks.push(span);
                return;
            }
        }
    }

    /// `-trailer`, `.sample`: the last word, or the only one.
    fn mark_extra(&mut self) {
        let Some(last) = self.tokens.words().len().checked_sub(1) else { return };
        let Some(word) = self.tokens.get(last) else { return };
        let Some(extra) = crate::folder::extra_of_suffix(word.text) else { return };
        let gap = self.tokens.gap(last).trim_start_matches([')', ']', '}']);
        let simple = ["trailer", "sample"].contains(&extra);
        let set_off = gap == "-" || (simple && (last == 0 || matches!(gap, "." | "_" | " - ")));
        let span = word.start..word.end;
        if set_off && !self.is_marked(&span) {
            self.parsed.extra = Some(extra);
            self.marks.push(span);
        }
    }

    fn take_titles(&mut self, numbered: Option<Range<usize>>) {
        let start = self.title_start();
        let end = self.boundary(start);
        self.parsed.title = title::clean(self.tokens.slice(start..end));
        if self.parsed.title.is_none() && self.tokens.words().iter().all(|w| w.bracket.is_some()) {
            self.parsed.title = self.title_in_brackets();
        }
        if let Some(span) = numbered.filter(|_| self.parsed.extra.is_none()) {
            let end = self.boundary(span.end);
            self.parsed.episode_title = title::clean(self.tokens.slice(span.end..end));
        }
        if self.marks.is_empty() && self.parsed.title.is_none() {
            self.parsed.title = title::clean(self.tokens.slice(0..self.tokens.len()));
        }
    }

    /// Where the text that begins at `from` ends: at the next thing understood, or at a square
    /// bracket. Round brackets that mean nothing belong to the text: `Show (US)`.
    fn boundary(&self, from: usize) -> usize {
        let brackets = self.tokens.brackets().iter().filter(|bracket| {
            let square = self.tokens.slice(bracket.outer.start..bracket.inner.start) != "(";
            square || self.is_marked(&bracket.inner)
        });
        let marks = self.marks.iter().map(|mark| mark.start);
        let starts = marks.chain(brackets.map(|bracket| bracket.outer.start));
        starts.filter(|&start| start >= from).min().unwrap_or_else(|| self.tokens.len())
    }

    /// `[Group][Title][01][1080p]`: the first bracket behind the group that means nothing else.
    fn title_in_brackets(&self) -> Option<String> {
        let behind = self.tokens.brackets().iter().skip(usize::from(self.parsed.group.is_some()));
        behind
            .filter(|bracket| !self.is_marked(&bracket.inner))
            .find_map(|bracket| title::clean(self.tokens.slice(bracket.inner.clone())))
    }
}
