//! PURE. Reads from a file's metadata and path what [`score`](crate::score) weighs.

use std::path::Path;

use worker_sdk::{MetaMap, MetaValue};

/// Groups that release anime and little else; compared without case and punctuation.
const GROUPS: [&str; 52] = [
    "animerg",
    "animetime",
    "ani",
    "aone",
    "asw",
    "beatriceraws",
    "blasphemy",
    "bluraydesuyo",
    "chihiro",
    "cleo",
    "coalgirls",
    "commie",
    "damedesuyo",
    "dattebayo",
    "dkb",
    "doki",
    "ember",
    "erairaws",
    "fff",
    "gg",
    "gjm",
    "golumpa",
    "horriblerips",
    "horriblesubs",
    "judas",
    "kametsu",
    "kawaiika",
    "leopardraws",
    "lilithraws",
    "liveevil",
    "lolihouse",
    "lostyears",
    "mazui",
    "moozzi2",
    "mtbb",
    "ncraws",
    "nekomoekissaten",
    "ohysraws",
    "reinforce",
    "seed",
    "senfansubs",
    "shinsensubs",
    "snowraws",
    "sokudo",
    "subsplease",
    "tsundere",
    "tsundereraws",
    "underwater",
    "utw",
    "vcbstudio",
    "vivid",
    "yameii",
];

/// What is known that speaks for or against anime.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent observation")]
pub struct Evidence {
    /// A genre or tag of the `.nfo` is anime.
    pub nfo_anime: bool,
    /// A genre of the `.nfo` is animation.
    pub nfo_animation: bool,
    /// The `.nfo` names genres.
    pub nfo_genres: bool,
    /// The `.nfo` names countries.
    pub nfo_countries: bool,
    /// One of them is Japan.
    pub nfo_japan: bool,
    /// One of them is a country whose animation is called anime, too.
    pub nfo_asia: bool,
    /// The release group is known for anime.
    pub known_group: bool,
    /// The name starts with its group in brackets.
    pub group_in_front: bool,
    /// The episode is counted over all seasons.
    pub absolute_number: bool,
    /// The name holds a CRC-32.
    pub checksum: bool,
    /// A folder is called anime.
    pub anime_folder: bool,
    /// An audio stream, or the name, is Japanese.
    pub japanese_audio: bool,
    /// There are subtitles in another language.
    pub foreign_subtitles: bool,
    /// There are ASS or SSA subtitles.
    pub styled_subtitles: bool,
    /// The name speaks of OVA, OAD, openings and endings without credits.
    pub anime_words: bool,
    /// The name holds kana.
    pub japanese_name: bool,
    /// H.264 with 10 bits, which hardly anybody else uses.
    pub ten_bit_h264: bool,
}

impl Evidence {
    /// Collects it from what other plugins wrote, the path and the names of the sidecars.
    pub fn collect<'a>(
        known: &MetaMap,
        path: &Path,
        sidecars: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let text = |key: &str| known.get(key).and_then(MetaValue::as_text);
        let genres = values(known, "genres");
        let countries = values(known, "countries");
        let is_anime = |word: &String| word.split([' ', '-', '/']).any(|word| word == "anime");
        let subtitles = streams(known, "subtitle", "language");
        let codecs = streams(known, "subtitle", "codec");
        let is_styled = |codec: &String| matches!(codec.as_str(), "ass" | "ssa");
        let sidecars: Vec<String> = sidecars.into_iter().map(str::to_lowercase).collect();
        let audio = [streams(known, "audio", "language"), values(known, "filename/languages")];
        let tags = values(known, "tags");
        Self {
            nfo_anime: genres.iter().chain(&tags).any(is_anime),
            nfo_animation: genres.iter().any(|genre| is_animation(genre)),
            nfo_genres: !genres.is_empty(),
            nfo_countries: !countries.is_empty(),
            nfo_japan: countries.iter().any(|country| is_japan(country)),
            nfo_asia: countries.iter().any(|country| is_asian(country)),
            known_group: text("filename/group").is_some_and(is_known_group),
            group_in_front: text("filename/groupPosition") == Some("front"),
            absolute_number: text("filename/absoluteEpisode").is_some(),
            checksum: text("filename/crc32").is_some(),
            anime_folder: path.parent().is_some_and(|folder| folder.iter().any(is_anime_folder)),
            japanese_audio: audio.iter().flatten().any(|language| is_japanese(language)),
            foreign_subtitles: subtitles.iter().any(|language| !is_japanese(language)),
            styled_subtitles: codecs.iter().any(is_styled)
                || sidecars.iter().any(|name| name.ends_with(".ass") || name.ends_with(".ssa")),
            anime_words: text("filename/extra").is_some_and(|e| e == "opening" || e == "ending")
                || values(known, "filename/flags").iter().any(|flag| is_anime_word(flag)),
            japanese_name: path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().chars().any(is_kana)),
            ten_bit_h264: text("filename/videoCodec") == Some("H.264")
                && text("filename/bitDepth") == Some("10"),
        }
    }
}

/// The values of a set, or a text that stands in its place, in lower case.
fn values(known: &MetaMap, key: &str) -> Vec<String> {
    match known.get(key) {
        Some(MetaValue::Set(values)) => values.iter().map(|value| value.to_lowercase()).collect(),
        Some(MetaValue::Text(text)) => {
            text.split(['|', ',']).map(|value| value.trim().to_lowercase()).collect()
        }
        Some(MetaValue::Json(_)) | None => Vec::new(),
    }
}

/// One property of all streams of a kind, in lower case.
fn streams(known: &MetaMap, kind: &str, property: &str) -> Vec<String> {
    let prefix = format!("fileinfo/streamdetails/{kind}/");
    let of_stream = |key: &str| {
        let number = key.strip_prefix(&prefix)?.strip_suffix(property)?.strip_suffix('/')?;
        number.parse::<u32>().ok()
    };
    known
        .iter()
        .filter(|(key, _)| of_stream(key.as_str()).is_some())
        .filter_map(|(_, value)| Some(value.as_text()?.to_lowercase()))
        .collect()
}

fn is_known_group(name: &str) -> bool {
    let plain: String =
        name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    GROUPS.contains(&plain.as_str())
}

fn is_animation(genre: &str) -> bool {
    ["animation", "animated", "cartoon", "zeichentrick"].iter().any(|word| genre.contains(word))
}

fn is_japan(country: &str) -> bool {
    matches!(country, "japan" | "jp" | "jpn" | "日本" | "japon" | "giappone")
}

fn is_asian(country: &str) -> bool {
    is_japan(country)
        || matches!(country, "china" | "cn" | "taiwan" | "tw" | "south korea" | "korea" | "kr")
}

fn is_japanese(language: &str) -> bool {
    let first = language.split(['-', '_']).next().unwrap_or_default();
    matches!(first, "ja" | "jpn" | "jap" | "jp" | "japanese")
}

fn is_anime_word(flag: &str) -> bool {
    matches!(flag, "ova" | "oad" | "ona")
}

fn is_anime_folder(folder: &std::ffi::OsStr) -> bool {
    let name = folder.to_string_lossy().to_lowercase();
    name.split(|c: char| !c.is_alphanumeric()).any(|word| matches!(word, "anime" | "animes"))
}

fn is_kana(c: char) -> bool {
    matches!(c, '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30fa}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What of `expected` is collected from texts, sets (`a|b` under these keys) and a path.
    fn collect(entries: &[(&str, &str)], path: &str, sidecars: &[&str]) -> Evidence {
        let known = entries
            .iter()
            .map(|(key, value)| (key.parse().unwrap(), MetaValue::from(*value)))
            .collect();
        Evidence::collect(&known, Path::new(path), sidecars.iter().copied())
    }

    #[test]
    fn each_observation_is_made_from_its_own_source() {
        let none = Evidence::default;
        let all: [(&str, Evidence, Evidence); 15] = [
            (
                "nfo genre",
                collect(&[("genres", "Action|Anime")], "/a.mkv", &[]),
                Evidence { nfo_anime: true, nfo_genres: true, ..none() },
            ),
            (
                "nfo tag",
                collect(&[("tags", "based on anime")], "/a.mkv", &[]),
                Evidence { nfo_anime: true, ..none() },
            ),
            (
                "no anime",
                collect(&[("genres", "Animefest")], "/a.mkv", &[]),
                Evidence { nfo_genres: true, ..none() },
            ),
            (
                "animation from Japan",
                collect(&[("genres", "Animation"), ("countries", "Japan")], "/a.mkv", &[]),
                Evidence {
                    nfo_genres: true,
                    nfo_animation: true,
                    nfo_countries: true,
                    nfo_japan: true,
                    nfo_asia: true,
                    ..none()
                },
            ),
            (
                "group",
                collect(
                    &[("filename/group", "Erai-Raws"), ("filename/groupPosition", "front")],
                    "/a.mkv",
                    &[],
                ),
                Evidence { known_group: true, group_in_front: true, ..none() },
            ),
            (
                "other group",
                collect(
                    &[("filename/group", "RARBG"), ("filename/groupPosition", "end")],
                    "/a",
                    &[],
                ),
                none(),
            ),
            (
                "number and checksum",
                collect(
                    &[("filename/absoluteEpisode", "3"), ("filename/crc32", "ABCD1234")],
                    "/a.mkv",
                    &[],
                ),
                Evidence { absolute_number: true, checksum: true, ..none() },
            ),
            (
                "folder",
                collect(&[], "/Media/Anime/x/a.mkv", &[]),
                Evidence { anime_folder: true, ..none() },
            ),
            ("no folder", collect(&[], "/Media/Anime.mkv", &[]), none()),
            (
                "streams",
                collect(
                    &[
                        ("fileinfo/streamdetails/audio/0/language", "eng"),
                        ("fileinfo/streamdetails/audio/1/language", "jpn"),
                        ("fileinfo/streamdetails/subtitle/0/language", "eng"),
                        ("fileinfo/streamdetails/subtitle/0/codec", "ass"),
                    ],
                    "/a.mkv",
                    &[],
                ),
                Evidence {
                    japanese_audio: true,
                    foreign_subtitles: true,
                    styled_subtitles: true,
                    ..none()
                },
            ),
            (
                "other streams",
                collect(
                    &[
                        ("fileinfo/streamdetails/audio/0/language", "eng"),
                        ("fileinfo/streamdetails/subtitle/0/language", "ja-JP"),
                        ("fileinfo/streamdetails/subtitle/0/codec", "subrip"),
                    ],
                    "/a.mkv",
                    &[],
                ),
                none(),
            ),
            (
                "sidecar",
                collect(&[], "/a.mkv", &["a.EN.ASS"]),
                Evidence { styled_subtitles: true, ..none() },
            ),
            (
                "words",
                collect(&[("filename/flags", "proper|ova")], "/a.mkv", &[]),
                Evidence { anime_words: true, ..none() },
            ),
            (
                "name",
                collect(&[], "/夜の信号 第04話.mkv", &[]),
                Evidence { japanese_name: true, ..none() },
            ),
            (
                "ten bits",
                collect(
                    &[("filename/videoCodec", "H.264"), ("filename/bitDepth", "10")],
                    "/信号.mkv",
                    &[],
                ),
                Evidence { ten_bit_h264: true, ..none() },
            ),
        ];
        for (case, found, expected) in all {
            assert_eq!(found, expected, "{case}");
        }
    }

    #[test]
    fn known_groups_are_written_plainly() {
        for group in GROUPS {
            assert!(is_known_group(group), "{group}");
        }
    }
}
