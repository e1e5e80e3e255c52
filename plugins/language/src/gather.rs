//! PURE. Unites the languages that streams, sidecars and names say.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use worker_sdk::{MetaKey, MetaMap, MetaValue};

use crate::tag;

/// Endings of subtitle files.
const SUBTITLES: [&str; 12] =
    ["ass", "idx", "lrc", "mks", "smi", "srt", "ssa", "sub", "sup", "ttml", "txt", "vtt"];

/// The languages of one file, as BCP 47 tags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Languages {
    /// Of the audio streams; of the name where no stream says one.
    pub audio: BTreeSet<String>,
    /// Of subtitle streams and files.
    pub subtitle: BTreeSet<String>,
    /// Of the name.
    pub filename: BTreeSet<String>,
    /// Of the audio stream that players choose.
    pub default: Option<String>,
}

impl Languages {
    /// Unites what is known of a file called `file_name` that has these files beside it.
    pub fn gather<'a>(
        known: &MetaMap,
        file_name: &str,
        sidecars: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let audio = streams(known, "fileinfo/streamdetails/audio/");
        let subtitles = streams(known, "fileinfo/streamdetails/subtitle/");
        let filename = set(known, "filename/languages");
        let mut found = Self {
            default: audio
                .values()
                .find(|stream| stream.is_default)
                .or_else(|| audio.values().next())
                .and_then(|stream| stream.language.clone()),
            audio: audio.into_values().filter_map(|stream| stream.language).collect(),
            subtitle: subtitles.into_values().filter_map(|stream| stream.language).collect(),
            filename,
        };
        found.subtitle.extend(set(known, "filename/subtitleLanguages"));
        let stem = file_name.rsplit_once('.').map_or(file_name, |(stem, _)| stem);
        found.subtitle.extend(sidecars.into_iter().filter_map(|name| of_sidecar(name, stem)));
        if found.audio.is_empty() {
            found.audio.clone_from(&found.filename);
        }
        found
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> BTreeSet<&str> {
        let sets = [&self.audio, &self.subtitle, &self.filename];
        sets.into_iter().flatten().map(String::as_str).collect()
    }
}

#[derive(Debug, Default)]
struct Stream {
    language: Option<String>,
    is_default: bool,
}

/// The streams below `prefix` by number.
fn streams(known: &MetaMap, prefix: &str) -> BTreeMap<u32, Stream> {
    let mut found: BTreeMap<u32, Stream> = BTreeMap::new();
    for (key, value) in below(known, prefix) {
        let Some((number, property)) =
            key.as_str().strip_prefix(prefix).and_then(|k| k.split_once('/'))
        else {
            continue;
        };
        let (Ok(number), Some(text)) = (number.parse(), value.as_text()) else { continue };
        let stream: &mut Stream = found.entry(number).or_default();
        match property {
            "language" => stream.language = tag::normalise(text),
            "default" => stream.is_default = text == "true",
            _ => {}
        }
    }
    found
}

fn below<'a>(
    known: &'a MetaMap,
    prefix: &'a str,
) -> impl Iterator<Item = (&'a MetaKey, &'a MetaValue)> {
    known
        .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
        .take_while(move |(key, _)| key.as_str().starts_with(prefix))
}

/// The languages in a set, or in one text that somebody wrote in its place.
fn set(known: &MetaMap, key: &str) -> BTreeSet<String> {
    match known.get(key) {
        Some(MetaValue::Set(values)) => values.iter().filter_map(|v| tag::normalise(v)).collect(),
        Some(MetaValue::Text(text)) => text.split(['|', ',']).filter_map(tag::normalise).collect(),
        Some(MetaValue::Json(_)) | None => BTreeSet::new(),
    }
}

/// The language of `film.pt-BR.forced.srt` beside `film.mkv`.
fn of_sidecar(name: &str, stem: &str) -> Option<String> {
    let (rest, extension) = name.rsplit_once('.')?;
    let known = SUBTITLES.iter().any(|known| extension.eq_ignore_ascii_case(known));
    let ours =
        name.get(..stem.len()).is_some_and(|start| start.to_lowercase() == stem.to_lowercase());
    let tags = rest.get(stem.len()..).filter(|_| known && ours)?;
    let words = tags.split(['.', '_', ' ']).filter(|word| !word.is_empty());
    let mut found: Vec<String> = words.take(8).filter_map(tag::normalise).collect();
    // `hi` is Hindi only where no other language is named, else hearing impaired
    if found.len() > 1 {
        found.retain(|tag| tag != "hi");
    }
    found.into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(entries: &[(&str, &str)]) -> MetaMap {
        entries.iter().map(|(k, v)| (k.parse().unwrap(), MetaValue::from(*v))).collect()
    }

    fn joined(set: &BTreeSet<String>) -> String {
        set.iter().cloned().collect::<Vec<_>>().join("+")
    }

    #[test]
    fn sidecars_say_their_language() {
        for (name, expected) in [
            ("film.en.srt", Some("en")),
            ("Film.EN.SRT", Some("en")),
            ("film.pt-BR.ass", Some("pt-BR")),
            ("film.de.forced.srt", Some("de")),
            ("film.forced.ger.srt", Some("de")),
            ("film.English.sdh.srt", Some("en")),
            ("film.hi.srt", Some("hi")),
            ("film.en.hi.srt", Some("en")),
            ("film.srt", None),
            ("film.en.nfo", None),
            ("other.en.srt", None),
            ("film", None),
        ] {
            assert_eq!(of_sidecar(name, "film").as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn all_sources_unite() {
        let mut meta = known(&[
            ("fileinfo/streamdetails/audio/0/language", "jpn"),
            ("fileinfo/streamdetails/audio/0/default", "false"),
            ("fileinfo/streamdetails/audio/1/language", "eng"),
            ("fileinfo/streamdetails/audio/1/default", "true"),
            ("fileinfo/streamdetails/audio/10/language", "und"),
            ("fileinfo/streamdetails/audio/x/language", "fra"),
            ("fileinfo/streamdetails/subtitle/0/language", "chi"),
        ]);
        let names = ["German".to_owned(), "x".to_owned()].into();
        meta.insert("filename/languages".parse().unwrap(), MetaValue::Set(names));

        let found = Languages::gather(&meta, "film.mkv", ["film.es.srt", "film.nfo"]);

        assert_eq!(joined(&found.audio), "en+ja");
        assert_eq!(joined(&found.subtitle), "es+zh");
        assert_eq!(joined(&found.filename), "de");
        assert_eq!(found.default.as_deref(), Some("en"));
        assert_eq!(found.all().len(), 5);
    }

    #[test]
    fn the_name_counts_as_audio_where_streams_are_silent() {
        let meta = known(&[
            ("fileinfo/streamdetails/audio/0/codec", "aac"),
            ("filename/languages", "de|fr"),
            ("filename/subtitleLanguages", "en"),
        ]);

        let found = Languages::gather(&meta, "film.mkv", []);

        assert_eq!(joined(&found.audio), "de+fr");
        assert_eq!(joined(&found.subtitle), "en");
        assert_eq!(found.default, None);
    }

    #[test]
    fn nothing_known_is_nothing_found() {
        assert_eq!(Languages::gather(&MetaMap::new(), "", [""]), Languages::default());
    }
}
