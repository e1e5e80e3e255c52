//! PURE. Years and days of release in a name.

use std::ops::Range;

use crate::scan::whole_number;
use crate::token::Tokens;

/// The oldest film there is.
const FIRST_YEAR: u32 = 1888;
/// Numbers above it are part of titles (`Blade Runner 2049`).
const LAST_YEAR: u32 = 2039;

/// The year that `text` is, if it is one.
pub(crate) fn year_of(text: &str) -> Option<u32> {
    let year = whole_number(text, 4)?;
    (text.len() == 4 && (FIRST_YEAR..=LAST_YEAR).contains(&year)).then_some(year)
}

/// The first day in the name, as `2024-01-15`, and where it stands.
///
/// `2024-01-15` and `15.01.2024` with any separator that is the same twice, and `20240115`.
pub(crate) fn find_day(tokens: &Tokens<'_>) -> Option<(String, Range<usize>)> {
    (0..tokens.words().len()).find_map(|index| day_at(tokens, index))
}

fn day_at(tokens: &Tokens<'_>, index: usize) -> Option<(String, Range<usize>)> {
    let first = tokens.get(index)?;
    if first.bracket.is_none()
        && first.text.len() == 8
        && let (Some(year), Some(month), Some(day)) =
            (first.text.get(..4), first.text.get(4..6), first.text.get(6..))
        && let Some(text) = iso_day(year, month, day)
    {
        return Some((text, first.start..first.end));
    }
    let (second, third) = (tokens.get(index + 1)?, tokens.get(index + 2)?);
    let gap = tokens.gap(index + 1);
    if gap != tokens.gap(index + 2) || !matches!(gap, "." | "-" | "_" | " ") {
        return None;
    }
    let text = iso_day(first.text, second.text, third.text)
        .or_else(|| iso_day(third.text, second.text, first.text))?;
    Some((text, first.start..third.end))
}

fn iso_day(year: &str, month: &str, day: &str) -> Option<String> {
    let (two_digits, year) = (month.len() == 2 && day.len() == 2, year_of(year)?);
    let (month, day) = (whole_number(month, 2)?, whole_number(day, 2)?);
    let days = match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    (two_digits && (1..=days).contains(&day)).then(|| format!("{year:04}-{month:02}-{day:02}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_years_are_told_from_other_numbers() {
        for (name, expected) in [
            ("Show.2024.01.15.Guest", Some("2024-01-15")),
            ("Show 2024-01-15", Some("2024-01-15")),
            ("Show 15.01.2024", Some("2024-01-15")),
            ("VID_20240115_1200", Some("2024-01-15")),
            ("[20240115]", None),
            ("Show.2024.13.15", None),
            ("Show.2024.02.30", None),
            ("Show.2024.01-15", None),
            ("Show.2024.1.5", None),
            ("Show 2049-01-15", None),
        ] {
            let found = find_day(&Tokens::new(name)).map(|(day, _)| day);
            assert_eq!(found.as_deref(), expected, "{name}");
        }
        for (text, expected) in
            [("1887", None), ("1888", Some(1888)), ("02010", None), ("2049", None)]
        {
            assert_eq!(year_of(text), expected, "{text}");
        }
    }
}
