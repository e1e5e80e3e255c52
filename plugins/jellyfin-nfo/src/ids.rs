//! PURE. Ids of databases, from elements and from the addresses that people paste.

use std::collections::BTreeMap;

/// The longest id and the longest name of a database.
const MAX_BYTES: usize = 64;
/// The most databases in one file.
const MAX_IDS: usize = 64;

/// Ids by the name of their database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UniqueIds(BTreeMap<String, String>);

impl UniqueIds {
    /// Every database and its id.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(database, id)| (database.as_str(), id.as_str()))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps an id, unless there is one or it cannot be one.
    pub(crate) fn add(&mut self, database: &str, id: &str) {
        let (database, id) = (database.trim().to_ascii_lowercase(), id.trim());
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let fits = |text: &str| (1..=MAX_BYTES).contains(&text.len());
        let known = fits(&database) && database.bytes().all(legal);
        let possible = fits(id) && !id.contains(|c: char| c.is_control() || c.is_whitespace());
        if known && possible && id != "0" && self.0.len() < MAX_IDS {
            self.0.entry(database).or_insert_with(|| id.to_owned());
        }
    }

    /// Keeps the ids in addresses such as `https://www.themoviedb.org/movie/603-the-matrix`.
    pub(crate) fn add_from_addresses(&mut self, text: &str) {
        let words = text.split(|c: char| c.is_whitespace() || "<>\"'".contains(c));
        for address in words.filter(|word| word.contains("://") || word.starts_with("www.")) {
            let parts: Vec<&str> = address.split(['/', '?', '&', '#']).collect();
            let host = parts.iter().find(|part| part.contains('.')).copied().unwrap_or_default();
            let after = |names: &[&str]| {
                let at = parts.iter().position(|part| names.contains(part))?;
                let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
                let part = parts.get(at + 1)?;
                part.get(..digits(part)).filter(|id| !id.is_empty())
            };
            if host.ends_with("imdb.com") {
                let imdb = parts.iter().find(|part| is_imdb(part)).copied();
                self.add("imdb", imdb.unwrap_or_default());
            } else if host.ends_with("themoviedb.org") {
                self.add("tmdb", after(&["movie", "tv"]).unwrap_or_default());
            } else if host.ends_with("thetvdb.com") {
                let query = parts.iter().find_map(|part| part.strip_prefix("id="));
                let id = after(&["series", "episodes", "movies"]).or(query);
                self.add("tvdb", id.unwrap_or_default());
            } else if host.ends_with("anidb.net") {
                self.add("anidb", after(&["anime"]).unwrap_or_default());
            }
        }
    }
}

/// Whether it is an id such as `tt0133093`.
pub(crate) fn is_imdb(text: &str) -> bool {
    text.strip_prefix("tt").is_some_and(|digits| {
        (5..=12).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_give_ids() {
        for (text, expected) in [
            ("https://www.imdb.com/title/tt0133093/?ref_=x", Some(("imdb", "tt0133093"))),
            ("see https://www.themoviedb.org/movie/603-the-matrix now", Some(("tmdb", "603"))),
            ("http://thetvdb.com/?tab=series&id=81189&lid=7", Some(("tvdb", "81189"))),
            ("https://anidb.net/anime/17617", Some(("anidb", "17617"))),
            ("https://example.org/movie/603", None),
            ("https://evilthemoviedb.org.example.org/movie/603", None),
            ("imdb.com/title/tt0133093", None),
            ("https://www.themoviedb.org/movie/", None),
        ] {
            let mut ids = UniqueIds::default();
            ids.add_from_addresses(text);
            assert_eq!(ids.iter().next(), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_an_id_is_left_out() {
        for (database, id) in
            [("a/b", "1"), ("", "1"), ("tmdb", ""), ("tmdb", "a b"), ("tmdb", "0")]
        {
            let mut ids = UniqueIds::default();
            ids.add(database, id);
            assert!(ids.is_empty(), "{database} {id}");
        }
    }
}
