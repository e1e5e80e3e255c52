//! PURE. Understands what stands in brackets and nowhere else: checksums, ids, editions, years.

use std::ops::Range;

use crate::date::year_of;
use crate::token::Bracket;
use crate::video::Reading;

const DATABASES: [(&str, &str); 8] = [
    ("imdbid", "imdb"),
    ("imdb", "imdb"),
    ("tmdbid", "tmdb"),
    ("tmdb", "tmdb"),
    ("tvdbid", "tvdb"),
    ("tvdb", "tvdb"),
    ("anidbid", "anidb"),
    ("anidb", "anidb"),
];
/// The longest id that is believed.
const MAX_ID: usize = 32;

/// Marks `[A1B2C3D4]`, `[imdbid-tt0111161]`, `{tmdb-603}` and `{edition-Final Cut}`.
pub(crate) fn mark(reading: &mut Reading<'_>) {
    let brackets: Vec<Bracket> = reading.tokens.brackets().to_vec();
    for bracket in brackets {
        let text = reading.tokens.slice(bracket.inner.clone()).trim();
        let understood = if let Some(crc) = checksum(text) {
            reading.parsed.crc32 = Some(crc);
            true
        } else if let Some((database, id)) = unique_id(text) {
            reading.parsed.unique_ids.insert(database, id);
            true
        } else if let Some(edition) = edition(text) {
            reading.parsed.editions.insert(edition);
            true
        } else {
            false
        };
        if understood {
            reading.marks.push(bracket.inner);
        }
    }
}

/// Marks the first `(2010)` or `(2010-2015)`.
pub(crate) fn mark_year(reading: &mut Reading<'_>) -> Option<Range<usize>> {
    let (year, span) = reading.tokens.brackets().iter().find_map(|bracket| {
        let text = reading.tokens.slice(bracket.inner.clone()).trim();
        let (first, last) = text.split_once(['-', '–']).unwrap_or((text, ""));
        let is_range = last.trim().is_empty() || year_of(last.trim()).is_some();
        let year = year_of(first.trim()).filter(|_| is_range)?;
        (!reading.is_marked(&bracket.inner)).then(|| (year, bracket.inner.clone()))
    })?;
    reading.parsed.year = Some(year);
    reading.marks.push(span.clone());
    Some(span)
}

fn checksum(text: &str) -> Option<String> {
    let hexadecimal = text.len() == 8 && text.bytes().all(|b| b.is_ascii_hexdigit());
    hexadecimal.then(|| text.to_ascii_uppercase())
}

fn unique_id(text: &str) -> Option<(&'static str, String)> {
    let (name, id) = text.split_once(['-', '=', ':'])?;
    let (_, database) = DATABASES.iter().find(|(prefix, _)| name.eq_ignore_ascii_case(prefix))?;
    let id = id.trim();
    let legal = (1..=MAX_ID).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric());
    legal.then(|| (*database, id.to_owned()))
}

fn edition(text: &str) -> Option<String> {
    let (name, edition) = text.split_once('-')?;
    (name.eq_ignore_ascii_case("edition")).then(|| crate::title::clean(edition)).flatten()
}
