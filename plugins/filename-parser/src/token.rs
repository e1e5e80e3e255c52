//! PURE. Splits a file name into words and remembers where each one stands.
//!
//! Every position is a byte offset into the same text and lies between two characters.

use std::ops::Range;

/// The longest name that is looked at, in bytes; file systems stop at 255.
const MAX_BYTES: usize = 1024;

/// Opening and closing brackets.
const BRACKETS: [(char, char); 5] =
    [('[', ']'), ('(', ')'), ('{', '}'), ('【', '】'), ('「', '」')];

/// One word of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) text: &'a str,
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Index of the bracket that it stands in.
    pub(crate) bracket: Option<usize>,
}

/// A pair of brackets; pairs do not nest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bracket {
    /// With the brackets.
    pub(crate) outer: Range<usize>,
    /// Without them.
    pub(crate) inner: Range<usize>,
}

/// A name and its words.
#[derive(Debug, Clone)]
pub(crate) struct Tokens<'a> {
    text: &'a str,
    words: Vec<Token<'a>>,
    brackets: Vec<Bracket>,
}

impl<'a> Tokens<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let brackets = find_brackets(text);
        let mut words = Vec::new();
        let mut start = None;
        for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
            match (start, is_separator(c)) {
                (None, false) => start = Some(at),
                (Some(from), true) => {
                    let bracket = brackets.iter().position(|b| b.outer.contains(&from));
                    let word = text.get(from..at).unwrap_or_default();
                    words.push(Token { text: word, start: from, end: at, bracket });
                    start = None;
                }
                _ => {}
            }
        }
        Self { text, words, brackets }
    }

    pub(crate) fn words(&self) -> &[Token<'a>] {
        &self.words
    }

    pub(crate) fn brackets(&self) -> &[Bracket] {
        &self.brackets
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Token<'a>> {
        self.words.get(index)
    }

    pub(crate) fn slice(&self, range: Range<usize>) -> &'a str {
        self.text.get(range).unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    /// What stands between the word before `index` and that word.
    pub(crate) fn gap(&self, index: usize) -> &'a str {
        let end = self.get(index).map_or(self.text.len(), |word| word.start);
        let start = match index.checked_sub(1) {
            Some(before) => self.get(before).map_or(end, |word| word.end),
            None => 0,
        };
        self.slice(start..end)
    }

    /// Whether every word of the bracket, and there is at least one, satisfies `test`.
    pub(crate) fn words_in(&self, bracket: usize) -> impl Iterator<Item = (usize, &Token<'a>)> {
        self.words.iter().enumerate().filter(move |(_, word)| word.bracket == Some(bracket))
    }
}

/// Makes a name comparable: full-width forms become ASCII, other spaces a space, control characters
/// go away, and what is too long is cut.
pub(crate) fn normalise(name: &str) -> String {
    let mut text = String::with_capacity(name.len().min(MAX_BYTES));
    for c in name.chars() {
        let c = match c {
            '\u{ff01}'..='\u{ff5e}' => {
                char::from_u32(u32::from(c) - 0xfee0).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            '\u{200b}'..='\u{200f}' | '\u{feff}' => continue,
            '\t' | '\n' | '\r' => ' ',
            c if c.is_whitespace() => ' ',
            c if c.is_control() => continue,
            c => c,
        };
        if text.len() + c.len_utf8() > MAX_BYTES {
            break;
        }
        text.push(c);
    }
    text
}

fn is_separator(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, '.' | '_' | '-' | '–' | '—' | '~' | ',' | ';' | '|' | '/' | '\\' | '=')
        || BRACKETS.iter().any(|&(open, close)| c == open || c == close)
}

fn find_brackets(text: &str) -> Vec<Bracket> {
    let mut found: Vec<Bracket> = Vec::new();
    let mut until = 0;
    for (at, c) in text.char_indices() {
        let Some(&(_, close)) = BRACKETS.iter().find(|(open, _)| *open == c && at >= until) else {
            continue;
        };
        let from = at + c.len_utf8();
        let Some(to) = text.get(from..).and_then(|rest| rest.find(close)) else { continue };
        until = from + to + close.len_utf8();
        found.push(Bracket { outer: at..until, inner: from..from + to });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_know_their_bracket_and_the_gap_before_them() {
        let tokens = Tokens::new("[G r] Ab - 03 (x");

        let words: Vec<_> = tokens.words().iter().map(|w| (w.text, w.bracket)).collect();

        let expected = [("G", Some(0)), ("r", Some(0)), ("Ab", None), ("03", None), ("x", None)];
        assert_eq!(words, expected);
        assert_eq!(tokens.gap(0), "[");
        assert_eq!(tokens.gap(2), "] ");
        assert_eq!(tokens.gap(3), " - ");
        assert_eq!(tokens.gap(5), "");
    }

    #[test]
    fn full_width_becomes_ascii_and_long_names_are_cut() {
        assert_eq!(normalise("０４\u{3000}Ａ\u{200b}\u{0}b"), "04 Ab");
        assert!(normalise(&"é".repeat(5000)).len() <= MAX_BYTES);
    }
}
