//! PURE. What the folders of a file add to its name.

use crate::episode::season_of_folder;
use crate::parsed::Parsed;
use crate::title;
use crate::token::normalise;
use crate::video;

/// How many folders above the file are looked at.
const DEPTH: usize = 3;

/// Folders that hold whole libraries and say nothing about one title.
const GENERIC: [&str; 27] = [
    "anime",
    "audio",
    "cartoons",
    "collection",
    "complete",
    "copies",
    "documentaries",
    "downloads",
    "episodes",
    "extras",
    "films",
    "home",
    "incoming",
    "library",
    "media",
    "mnt",
    "movies",
    "music",
    "new",
    "odd",
    "series",
    "shows",
    "tv",
    "tv shows",
    "tvshows",
    "video",
    "videos",
];

const EXTRAS: [(&str, &str); 22] = [
    ("trailer", "trailer"),
    ("trailers", "trailer"),
    ("sample", "sample"),
    ("samples", "sample"),
    ("featurette", "featurette"),
    ("featurettes", "featurette"),
    ("behindthescenes", "behind-the-scenes"),
    ("behind the scenes", "behind-the-scenes"),
    ("deleted", "deleted-scene"),
    ("deletedscene", "deleted-scene"),
    ("deleted scenes", "deleted-scene"),
    ("interview", "interview"),
    ("interviews", "interview"),
    ("scene", "scene"),
    ("scenes", "scene"),
    ("short", "short"),
    ("shorts", "short"),
    ("clip", "clip"),
    ("clips", "clip"),
    ("extra", "extra"),
    ("extras", "extra"),
    ("bonus", "extra"),
];

/// The sort of extra that a last word of a name means.
pub(crate) fn extra_of_suffix(word: &str) -> Option<&'static str> {
    let word = word.to_lowercase();
    let word = word.trim_end_matches(|c: char| c.is_ascii_digit());
    EXTRAS.iter().find(|(name, _)| *name == word).map(|row| row.1)
}

/// What the folders say, nearest first.
#[derive(Debug, Default)]
pub(crate) struct Folders {
    /// The season that the nearest folder is for.
    pub(crate) season: Option<u32>,
    extra: Option<&'static str>,
    /// The nearest folder that names something.
    named: Option<Parsed>,
}

impl Folders {
    /// Reads the names of the folders, nearest last.
    pub(crate) fn read(names: &[String]) -> Self {
        let mut folders = Self::default();
        for name in names.iter().rev().take(DEPTH) {
            let name = normalise(name);
            let plain = name.trim().to_lowercase();
            if let Some(season) = season_of_folder(&name) {
                folders.season.get_or_insert(season);
            } else if let Some((_, extra)) = EXTRAS.iter().find(|row| row.0 == plain) {
                folders.extra.get_or_insert(extra);
            } else if !is_disc(&plain) {
                let named = (!GENERIC.contains(&plain.as_str())).then(|| video::read(&name, None));
                folders.named = named;
                break;
            }
        }
        if folders.season.is_none()
            && let Some(named) = &folders.named
            && named.episodes.is_empty()
        {
            folders.season = named.season;
        }
        folders
    }

    /// Adds to what the name said, and never changes it.
    pub(crate) fn complete(self, parsed: &mut Parsed) {
        if parsed.extra.is_none() {
            parsed.extra = self.extra;
        }
        if !parsed.episodes.is_empty() && parsed.season.is_none() && self.season.is_some() {
            parsed.season = self.season;
            parsed.absolute = false;
        }
        let Some(named) = self.named else { return };
        let numbered = !parsed.episodes.is_empty() || self.season.is_some();
        let meaningless = parsed.title.as_deref().is_none_or(is_gibberish);
        if meaningless && named.title.is_some() && (parsed.title.is_none() || named.year.is_some())
        {
            parsed.title.clone_from(&named.title);
        }
        let same = parsed.title.as_deref().zip(named.title.as_deref());
        let same = same.is_some_and(|(one, other)| title::same(one, other));
        if same || (numbered && parsed.extra.is_none()) {
            parsed.year = parsed.year.or(named.year);
            for (database, id) in named.unique_ids {
                parsed.unique_ids.entry(database).or_insert(id);
            }
        }
        if same {
            parsed.resolution = parsed.resolution.or(named.resolution);
            parsed.source = parsed.source.or(named.source);
            parsed.video_codec = parsed.video_codec.or(named.video_codec);
            parsed.group = parsed.group.take().or(named.group);
            parsed.editions.extend(named.editions);
        }
    }
}

fn is_disc(name: &str) -> bool {
    let digits = name.trim_start_matches(|c: char| c.is_ascii_alphabetic()).trim();
    let word = name.trim_end_matches(|c: char| c.is_ascii_digit()).trim();
    !digits.is_empty()
        && digits.bytes().all(|b| b.is_ascii_digit())
        && ["cd", "disc", "disk", "dvd", "part"].contains(&word)
        || ["bdmv", "stream", "video_ts"].contains(&name)
}

/// A name that a program made: one long word of letters and digits.
fn is_gibberish(title: &str) -> bool {
    title.len() >= 16
        && title.bytes().all(|b| b.is_ascii_alphanumeric())
        && title.bytes().filter(u8::is_ascii_digit).count() >= 3
}
