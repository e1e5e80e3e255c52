//! PURE. Tags as metadata.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use symphonia::core::meta::{StandardTag, StandardVisualKey, Visual};
use worker_sdk::Meta;

use crate::read::Found;

/// So many pictures are described.
const MOST_PICTURES: usize = 50;
/// Longer texts are no tags.
const LONGEST: usize = 16 * 1024;

/// The metadata of what was found.
pub(crate) fn meta(found: &Found) -> Meta {
    let mut texts = Texts::default();
    let mut pictures = Vec::new();
    let mut formats = BTreeSet::new();
    for revision in &found.revisions {
        if !revision.media.tags.is_empty() || !revision.media.visuals.is_empty() {
            formats.insert(revision.info.short_name);
        }
        let per_track = revision.per_track.iter().map(|track| &track.metadata);
        let before = texts.clone();
        for container in std::iter::once(&revision.media).chain(per_track) {
            container
                .tags
                .iter()
                .filter_map(|tag| tag.std.as_ref())
                .for_each(|tag| texts.take(tag));
            pictures.extend(container.visuals.iter().map(picture));
        }
        texts = before.or(texts);
    }
    let mut meta = texts.finish();
    meta.set("audio/tagFormats", formats);
    if !pictures.is_empty() {
        meta.text("audio/pictureCount", pictures.len());
        pictures.truncate(MOST_PICTURES);
        meta.json("audio/pictures", pictures.into());
    }
    // What is not known is 0 as well.
    meta.text_opt("audio/encoderDelay", found.delay.filter(|&samples| samples > 0));
    meta.text_opt("audio/encoderPadding", found.padding.filter(|&samples| samples > 0));
    meta
}

/// The values of each key, in order, none twice.
#[derive(Clone, Default)]
struct Texts(BTreeMap<&'static str, Vec<String>>);

impl Texts {
    /// What is here, and of the other what is not.
    fn or(mut self, other: Self) -> Self {
        for (key, values) in other.0 {
            self.0.entry(key).or_insert(values);
        }
        self
    }

    fn take(&mut self, tag: &StandardTag) {
        if let Some((key, value)) = entry(tag) {
            // A zero byte divides the texts of a frame.
            for part in value.split('\0').map(readable).filter(|part| !part.is_empty()) {
                let values = self.0.entry(key).or_default();
                if !values.contains(&part) {
                    values.push(part);
                }
            }
        }
    }

    fn finish(mut self) -> Meta {
        let mut meta = Meta::new();
        let date = self.0.get("audio/date").and_then(|dates| dates.first());
        let year = date.and_then(|date| date.get(..4)).map(str::to_owned);
        if let Some(year) = year.filter(|year| year.bytes().all(|byte| byte.is_ascii_digit())) {
            self.0.entry("audio/year").or_insert_with(|| vec![year]);
        }
        if let Some(artists) = self.0.get("audio/artist") {
            meta.set("audio/artists", artists);
        }
        for (key, values) in self.0 {
            match key {
                "audio/genres" | "audio/composers" => meta.set(key, values),
                "audio/artist" => meta.text(key, values.join("; ")),
                _ => meta.text_opt(key, values.into_iter().next()),
            };
        }
        meta
    }
}

/// Without control characters, and not endless.
fn readable(text: &str) -> String {
    let cut = text.get(..text.floor_char_boundary(LONGEST)).unwrap_or_default();
    let text: String =
        cut.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect();
    text.trim().to_owned()
}

/// The key of a tag, and its value as text; `None` for what is not told.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library knows some two hundred tags, and will know more"
)]
fn entry(tag: &StandardTag) -> Option<(&'static str, String)> {
    use StandardTag as Tag;
    let text = |key, value: &str| Some((key, value.to_owned()));
    let number = |key, value: u64| (value > 0).then(|| (key, value.to_string()));
    match tag {
        Tag::TrackTitle(value) => text("audio/title", value),
        Tag::Artist(value) => text("audio/artist", value),
        Tag::Album(value) => text("audio/album", value),
        Tag::AlbumArtist(value) => text("audio/albumArtist", value),
        Tag::TrackNumber(value) => number("audio/track", *value),
        Tag::TrackTotal(value) => number("audio/trackTotal", *value),
        Tag::DiscNumber(value) => number("audio/disc", *value),
        Tag::DiscTotal(value) => number("audio/discTotal", *value),
        Tag::ReleaseDate(value) | Tag::RecordingDate(value) => text("audio/date", value),
        Tag::ReleaseYear(value) | Tag::RecordingYear(value) => {
            number("audio/year", (*value).into())
        }
        Tag::Genre(value) => text("audio/genres", value),
        Tag::Composer(value) => text("audio/composers", value),
        Tag::Bpm(value) => number("audio/bpm", *value),
        Tag::Comment(value) => text("audio/comment", value),
        Tag::IdentIsrc(value) => text("audio/isrc", value),
        Tag::Label(value) => text("audio/label", value),
        Tag::Copyright(value) => text("audio/copyright", value),
        Tag::Encoder(value) => text("audio/encoder", value),
        Tag::CompilationFlag(value) => Some(("audio/compilation", value.to_string())),
        Tag::Lyrics(value) => {
            (!value.trim().is_empty()).then(|| ("audio/lyrics", "true".to_owned()))
        }
        Tag::ReplayGainTrackGain(value) => text("audio/replayGain/trackGain", value),
        Tag::ReplayGainTrackPeak(value) => text("audio/replayGain/trackPeak", value),
        Tag::ReplayGainAlbumGain(value) => text("audio/replayGain/albumGain", value),
        Tag::ReplayGainAlbumPeak(value) => text("audio/replayGain/albumPeak", value),
        Tag::MusicBrainzRecordingId(value) => text("audio/musicBrainz/recording", value),
        Tag::MusicBrainzReleaseTrackId(value) => text("audio/musicBrainz/track", value),
        Tag::MusicBrainzAlbumId(value) => text("audio/musicBrainz/release", value),
        Tag::MusicBrainzReleaseGroupId(value) => text("audio/musicBrainz/releaseGroup", value),
        Tag::MusicBrainzArtistId(value) => text("audio/musicBrainz/artist", value),
        Tag::MusicBrainzAlbumArtistId(value) => text("audio/musicBrainz/albumArtist", value),
        _ => None,
    }
}

fn picture(visual: &Visual) -> serde_json::Value {
    let usage = visual.usage.map(usage);
    json!({"usage": usage, "type": visual.media_type, "size": visual.data.len()})
}

/// What a picture shows, in the order of the ID3 standard.
fn usage(usage: StandardVisualKey) -> &'static str {
    use StandardVisualKey as Key;
    match usage {
        Key::FileIcon => "icon",
        Key::OtherIcon => "otherIcon",
        Key::FrontCover => "front",
        Key::BackCover => "back",
        Key::Leaflet => "leaflet",
        Key::Media => "media",
        Key::LeadArtistPerformerSoloist => "leadArtist",
        Key::ArtistPerformer => "artist",
        Key::Conductor => "conductor",
        Key::BandOrchestra => "band",
        Key::Composer => "composer",
        Key::Lyricist => "lyricist",
        Key::RecordingLocation => "location",
        Key::RecordingSession => "session",
        Key::Performance => "performance",
        Key::ScreenCapture => "screen",
        Key::Illustration => "illustration",
        Key::BandArtistLogo => "artistLogo",
        Key::PublisherStudioLogo => "publisherLogo",
        // The library may learn more kinds.
        Key::Other | _ => "other",
    }
}
