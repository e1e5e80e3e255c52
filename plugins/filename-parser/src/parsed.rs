//! PURE. All that a name can say.

use std::collections::{BTreeMap, BTreeSet};

/// What a name and its folders say; what they do not say is `None` or empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Film, show or piece of music.
    pub title: Option<String>,
    /// Year of release.
    pub year: Option<u32>,
    /// Season; 0 holds specials.
    pub season: Option<u32>,
    /// Episodes in ascending order.
    pub episodes: Vec<u32>,
    /// Whether the episodes are counted over all seasons, as far as the name tells.
    pub absolute: bool,
    /// Title of the episode.
    pub episode_title: Option<String>,
    /// Day of broadcast, `2024-01-15`.
    pub date: Option<String>,
    /// Number of a film's part.
    pub part: Option<u32>,
    /// Version of a release, `v2`.
    pub version: Option<u32>,
    /// Editions, e.g. `Director's Cut`.
    pub editions: BTreeSet<String>,
    /// Resolution, e.g. `1080p`.
    pub resolution: Option<&'static str>,
    /// Source, e.g. `BluRay`.
    pub source: Option<&'static str>,
    /// Streaming service.
    pub service: Option<&'static str>,
    /// Video codec, e.g. `H.265`.
    pub video_codec: Option<&'static str>,
    /// Audio codecs.
    pub audio_codecs: BTreeSet<&'static str>,
    /// Audio channels, e.g. `5.1`.
    pub channels: Option<&'static str>,
    /// High dynamic range formats.
    pub hdr: BTreeSet<&'static str>,
    /// Bits per channel of a pixel.
    pub bit_depth: Option<&'static str>,
    /// Who made the release.
    pub group: Option<Group>,
    /// Eight hexadecimal digits in capitals.
    pub crc32: Option<String>,
    /// BCP 47 tags of spoken languages.
    pub languages: BTreeSet<&'static str>,
    /// BCP 47 tags of subtitles.
    pub subtitle_languages: BTreeSet<&'static str>,
    /// Other properties of the release, e.g. `proper`.
    pub flags: BTreeSet<&'static str>,
    /// What sort of extra it is, e.g. `trailer`.
    pub extra: Option<&'static str>,
    /// File name extension, lower case.
    pub container: Option<String>,
    /// Ids of databases by their name, e.g. `imdb`.
    pub unique_ids: BTreeMap<&'static str, String>,
    /// Name of an artist.
    pub artist: Option<String>,
    /// Name of an album.
    pub album: Option<String>,
    /// Number of a track.
    pub track: Option<u32>,
    /// Number of a disc.
    pub disc: Option<u32>,
}

/// Who made a release, and where the name says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Whether it stands in front, as fansub groups write it.
    pub in_front: bool,
}

/// The sort of thing that a name seems to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// A film: it has a year and no episode.
    Movie,
    /// An episode of a show.
    Episode,
    /// A trailer or the like.
    Extra,
    /// A piece of music.
    Track,
    /// Any video.
    Video,
}

impl Parsed {
    /// The sort of thing that it seems to be.
    #[must_use]
    pub fn sort(&self) -> Sort {
        if self.extra.is_some() {
            Sort::Extra
        } else if !self.episodes.is_empty() || self.season.is_some() || self.date.is_some() {
            Sort::Episode
        } else if self.track.is_some() || self.artist.is_some() || self.album.is_some() {
            Sort::Track
        } else if self.year.is_some() || !self.unique_ids.is_empty() {
            Sort::Movie
        } else {
            Sort::Video
        }
    }
}

impl Sort {
    /// As it is written into the metadata.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Movie => "movie",
            Self::Episode => "episode",
            Self::Extra => "extra",
            Self::Track => "track",
            Self::Video => "video",
        }
    }
}
