//! PURE. What an `.nfo` file of Kodi, Jellyfin or Emby says.

use std::collections::BTreeSet;

use crate::fields;
use crate::ids::{self, UniqueIds};
use crate::xml::{self, BrokenXml, Element};

/// The most actors that are kept.
const MAX_ACTORS: usize = 500;

/// What a file is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A film.
    Movie,
    /// A whole show.
    TvShow,
    /// One episode.
    Episode,
    /// A music video.
    MusicVideo,
}

const KINDS: [(&str, Kind); 4] = [
    ("movie", Kind::Movie),
    ("tvshow", Kind::TvShow),
    ("episodedetails", Kind::Episode),
    ("musicvideo", Kind::MusicVideo),
];

impl Kind {
    /// The name of its element.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        KINDS.iter().find(|row| row.1 == self).map_or("movie", |row| row.0)
    }
}

/// One description; what the file does not say is `None` or empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Nfo {
    /// What it is about; `None` where the file holds addresses only.
    pub kind: Option<Kind>,
    /// Title of the film, show or episode.
    pub title: Option<String>,
    /// Title in the original language.
    pub original_title: Option<String>,
    /// Title to sort by.
    pub sort_title: Option<String>,
    /// Title of the show that an episode belongs to.
    pub show_title: Option<String>,
    /// Year of release.
    pub year: Option<u32>,
    /// Day of release or broadcast, as the file says it.
    pub premiered: Option<String>,
    /// What happens.
    pub plot: Option<String>,
    /// What happens, in short.
    pub outline: Option<String>,
    /// Catch phrase.
    pub tagline: Option<String>,
    /// In minutes.
    pub runtime: Option<u32>,
    /// Parental guidance.
    pub mpaa: Option<String>,
    /// `Ended`, `Continuing`.
    pub status: Option<String>,
    /// Set of films.
    pub collection: Option<String>,
    /// When it came into the library, as the file says it.
    pub date_added: Option<String>,
    /// Season; 0 holds specials.
    pub season: Option<u32>,
    /// Episode.
    pub episode: Option<u32>,
    /// Genres.
    pub genres: BTreeSet<String>,
    /// Tags.
    pub tags: BTreeSet<String>,
    /// Studios.
    pub studios: BTreeSet<String>,
    /// Countries.
    pub countries: BTreeSet<String>,
    /// Directors.
    pub directors: BTreeSet<String>,
    /// Writers.
    pub writers: BTreeSet<String>,
    /// Actors in the order of the file.
    pub actors: Vec<serde_json::Value>,
    /// Ratings by who gave them.
    pub ratings: serde_json::Map<String, serde_json::Value>,
    /// Ids by database.
    pub unique_ids: UniqueIds,
}

/// What came of reading a file.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// At least one description; several are episodes of one file.
    Described(Vec<Nfo>),
    /// The file is not a description, for this reason: e.g. the notice of a release group.
    Nothing(String),
}

/// Reads a file.
///
/// # Errors
///
/// [`BrokenXml`] with the line, where the file means to be XML and is not.
pub(crate) fn read(text: &str) -> Result<Found, BrokenXml> {
    let Some(start) = start_of_xml(text) else {
        let mut nfo = Nfo::default();
        nfo.unique_ids.add_from_addresses(text);
        return Ok(if nfo.unique_ids.is_empty() {
            Found::Nothing("holds no XML and no known address".to_owned())
        } else {
            Found::Described(vec![nfo])
        });
    };
    let document = xml::read(text, start)?;
    let mut described: Vec<Nfo> = document.roots.iter().filter_map(describe).collect();
    // Once for all of them: there may be thousands, and the text around them long.
    let mut around = UniqueIds::default();
    around.add_from_addresses(&document.around);
    for nfo in &mut described {
        around.iter().for_each(|(database, id)| nfo.unique_ids.add(database, id));
    }
    if !described.is_empty() {
        return Ok(Found::Described(described));
    }
    let names: Vec<&str> = document.roots.iter().take(3).map(|root| root.name.as_str()).collect();
    Ok(Found::Nothing(format!("describes no video, but `{}`", names.join("`, `"))))
}

/// The description that is about this episode, else the first one.
pub(crate) fn pick(mut all: Vec<Nfo>, season: Option<u32>, episode: Option<u32>) -> Option<Nfo> {
    let matches = |nfo: &Nfo| {
        episode.is_some()
            && nfo.episode == episode
            && (season.is_none() || nfo.season.is_none() || nfo.season == season)
    };
    let index = all.iter().position(matches).unwrap_or(0);
    (index < all.len()).then(|| all.swap_remove(index))
}

/// Where the XML starts; text of release groups may hold `<` too, so only known words count.
fn start_of_xml(text: &str) -> Option<usize> {
    let known = ["?xml", "!doctype", "movie", "tvshow", "episodedetails", "musicvideo"];
    let opens = |at: &usize| {
        let rest = text.get(at + 1..).unwrap_or_default();
        known.iter().any(|name| {
            let starts = rest.get(..name.len()).is_some_and(|word| word.eq_ignore_ascii_case(name));
            let after = rest.get(name.len()..).and_then(|rest| rest.chars().next());
            starts && after.is_none_or(|c| c.is_whitespace() || c == '>' || c == '/')
        })
    };
    text.match_indices('<').map(|(at, _)| at).find(opens)
}

fn describe(root: &Element) -> Option<Nfo> {
    let kind = KINDS.iter().find(|row| row.0 == root.name)?.1;
    let line = |names: &[&str]| names.iter().find_map(|name| fields::line(root.first(name)?));
    let list = |names: &[&str]| fields::set(names.iter().flat_map(|name| root.all(name)));
    let premiered = line(&["premiered", "releasedate", "aired"]);
    let year = line(&["year"]).and_then(|text| fields::year(&text));
    let from_day = || fields::year(premiered.as_deref()?).filter(|_| kind != Kind::Episode);
    let number = |name: &str| fields::number(&root.first(name)?.text);
    Some(Nfo {
        kind: Some(kind),
        title: line(&["title", "name"]),
        original_title: line(&["originaltitle"]),
        sort_title: line(&["sorttitle", "sortname"]),
        show_title: line(&["showtitle"]),
        year: year.or_else(from_day),
        plot: root.first("plot").and_then(|plot| fields::block(&plot.text)),
        outline: root.first("outline").and_then(|outline| fields::block(&outline.text)),
        tagline: line(&["tagline"]),
        runtime: number("runtime").filter(|&minutes| minutes > 0),
        mpaa: line(&["mpaa"]),
        status: line(&["status"]),
        collection: root
            .first("set")
            .and_then(|set| fields::line(set.first("name").unwrap_or(set))),
        date_added: line(&["dateadded"]),
        season: number("season"),
        episode: number("episode"),
        genres: list(&["genre"]),
        tags: list(&["tag"]),
        studios: list(&["studio"]),
        countries: list(&["country"]),
        directors: list(&["director"]),
        writers: list(&["credits", "writer"]),
        actors: root.all("actor").filter_map(fields::actor).take(MAX_ACTORS).collect(),
        ratings: fields::ratings(root),
        unique_ids: unique_ids(root, kind),
        premiered,
    })
}

fn unique_ids(root: &Element, kind: Kind) -> UniqueIds {
    let mut found = UniqueIds::default();
    for element in root.all("uniqueid") {
        let guess = if ids::is_imdb(element.text.trim()) { "imdb" } else { "unknown" };
        let named = element.attribute("type").filter(|name| !name.trim().is_empty());
        found.add(named.unwrap_or(guess), &element.text);
    }
    for (name, database) in [
        ("imdbid", "imdb"),
        ("imdb_id", "imdb"),
        ("tmdbid", "tmdb"),
        ("tvdbid", "tvdb"),
        ("anidbid", "anidb"),
        ("anilistid", "anilist"),
        ("tvmazeid", "tvmaze"),
    ] {
        root.all(name).for_each(|element| found.add(database, &element.text));
    }
    for element in root.all("id") {
        let id = element.text.trim();
        if ids::is_imdb(id) {
            found.add("imdb", id);
        } else if matches!(kind, Kind::TvShow | Kind::Episode) && fields::number(id).is_some() {
            found.add("tvdb", id);
        }
    }
    found
}

#[cfg(test)]
mod tests;
