//! PURE. The metadata keys of what a name says.

use worker_sdk::Meta;

use crate::parsed::{Parsed, Sort};

/// Writes every property under its key; the manifest documents them.
pub(crate) fn meta(parsed: &Parsed) -> Meta {
    let mut meta = Meta::new();
    let sort = parsed.sort();
    general(parsed, sort, &mut meta);
    let mut text = |key: &str, value: Option<String>| {
        meta.text_opt(format!("filename/{key}"), value);
    };
    let number = |value: Option<u32>| value.map(|value| value.to_string());
    let fixed = |value: Option<&'static str>| value.map(str::to_owned);
    let (first, last) = (parsed.episodes.first().copied(), parsed.episodes.last().copied());
    text("type", Some(sort.as_str().to_owned()));
    text("title", parsed.title.clone());
    text("year", number(parsed.year));
    text("season", number(parsed.season));
    text("episode", number(first));
    text("episodeEnd", number(last.filter(|_| parsed.episodes.len() > 1)));
    text("absoluteEpisode", number(first.filter(|_| parsed.absolute)));
    text("episodeTitle", parsed.episode_title.clone());
    text("date", parsed.date.clone());
    text("part", number(parsed.part));
    text("version", number(parsed.version));
    text("resolution", fixed(parsed.resolution));
    text("source", fixed(parsed.source));
    text("service", fixed(parsed.service));
    text("videoCodec", fixed(parsed.video_codec));
    text("audioChannels", fixed(parsed.channels));
    text("bitDepth", fixed(parsed.bit_depth));
    text("group", parsed.group.as_ref().map(|group| group.name.clone()));
    text("groupPosition", parsed.group.as_ref().map(|group| position(group.in_front)));
    text("crc32", parsed.crc32.clone());
    text("extra", fixed(parsed.extra));
    text("container", parsed.container.clone());
    text("artist", parsed.artist.clone());
    text("album", parsed.album.clone());
    text("track", number(parsed.track));
    text("disc", number(parsed.disc));
    for (database, id) in &parsed.unique_ids {
        text(&format!("uniqueid/{database}"), Some(id.clone()));
    }
    if parsed.episodes.len() > 1 {
        meta.set("filename/episodes", parsed.episodes.iter().map(u32::to_string));
    }
    meta.set("filename/editions", parsed.editions.iter().cloned());
    for (key, values) in [
        ("filename/audioCodecs", &parsed.audio_codecs),
        ("filename/hdr", &parsed.hdr),
        ("filename/languages", &parsed.languages),
        ("filename/subtitleLanguages", &parsed.subtitle_languages),
        ("filename/flags", &parsed.flags),
    ] {
        meta.set(key, values.iter().copied());
    }
    meta
}

/// The keys that other plugins write too; the later one wins.
fn general(parsed: &Parsed, sort: Sort, meta: &mut Meta) {
    let title = match sort {
        Sort::Episode => parsed.episode_title.as_ref().or(parsed.title.as_ref()),
        Sort::Movie | Sort::Extra | Sort::Track | Sort::Video => parsed.title.as_ref(),
    };
    meta.text_opt("title", title);
    meta.text_opt("year", parsed.year);
    if sort == Sort::Episode {
        meta.text_opt("showTitle", parsed.title.as_ref());
        meta.text_opt("season", parsed.season);
        meta.text_opt("episode", parsed.episodes.first());
    }
}

fn position(in_front: bool) -> String {
    if in_front { "front".to_owned() } else { "end".to_owned() }
}
