//! PURE. Turns a piece of a file name into text for people.

/// The longest title, in characters.
const MAX_CHARS: usize = 300;

/// The words of `raw` as a title; `None` when there are none.
///
/// Dots and underscores are spaces where no other space is used, but single letters between dots
/// stay together: `S.W.A.T.`.
pub(crate) fn clean(raw: &str) -> Option<String> {
    // a dot that touches what follows separates, one before a space ends a word: `Inc. (2001)`
    let separated = raw.ends_with('.') && raw.contains(char::is_whitespace);
    let raw = raw.trim_matches(|c: char| c.is_whitespace() || c == '_');
    let raw = if separated { raw.trim_end_matches('.') } else { raw };
    let spaced = raw.contains(char::is_whitespace) || raw.contains('_');
    let dashed = !spaced && !raw.contains('.') && raw.matches('-').count() > 1;
    let text = match (spaced, dashed) {
        (true, _) => raw.replace('_', " "),
        (false, true) => raw.replace('-', " "),
        (false, false) => split_dots(raw),
    };
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let loose = |c: char| c.is_whitespace() || "-–—_,;:~+=|/\\".contains(c);
    let mut text = text.trim_matches(loose).trim_start_matches(['.', ')', ']', '}']);
    for (open, close) in [('(', ')'), ('[', ']'), ('{', '}')] {
        if text.matches(open).count() > text.matches(close).count() {
            text = text.trim_end_matches(|c: char| c == open || loose(c));
        }
    }
    let text = text.trim_matches(loose);
    let has_content = text.chars().any(char::is_alphanumeric);
    has_content.then(|| text.chars().take(MAX_CHARS).collect())
}

/// Whether two titles are the same but for case and punctuation.
pub(crate) fn same(one: &str, other: &str) -> bool {
    let plain = |text: &str| {
        text.chars()
            .filter(|c| c.is_alphanumeric())
            .flat_map(char::to_lowercase)
            .collect::<String>()
    };
    plain(one) == plain(other)
}

fn split_dots(raw: &str) -> String {
    let parts: Vec<&str> = raw.split('.').collect();
    let is_letter = |part: &&str| {
        let mut chars = part.chars();
        chars.next().is_some_and(char::is_alphabetic) && chars.next().is_none()
    };
    let mut text = String::new();
    for (index, part) in parts.iter().enumerate() {
        text.push_str(part);
        let letter = is_letter(part);
        let before = index.checked_sub(1).and_then(|i| parts.get(i)).is_some_and(is_letter);
        let after = parts.get(index + 1).is_some_and(is_letter);
        text.push_str(match (letter, before, after) {
            (true, _, true) => ".",
            (true, true, false) => ". ",
            _ => " ",
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_titles() {
        for (raw, expected) in [
            ("The.Long.Way.Home.", "The Long Way Home"),
            ("Night Signal - ", "Night Signal"),
            ("Spider-Man_No_Way_Home_", "Spider-Man No Way Home"),
            ("S.W.A.T.", "S.W.A.T."),
            ("Agents.of.S.H.I.E.L.D.", "Agents of S.H.I.E.L.D."),
            ("Plan.9.from.Space", "Plan 9 from Space"),
            ("Monsters, Inc. ", "Monsters, Inc."),
            ("Mr. Robot", "Mr. Robot"),
            ("Show (US) - ", "Show (US)"),
            ("Movie (", "Movie"),
            ("one-two-three", "one two three"),
            ("夜の信号 ", "夜の信号"),
        ] {
            assert_eq!(clean(raw).as_deref(), Some(expected), "{raw}");
        }
        for nothing in ["", " - ", "...", "()", "_"] {
            assert_eq!(clean(nothing), None, "{nothing}");
        }
    }
}
