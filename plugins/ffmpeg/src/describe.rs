//! PURE  ffprobe's answer as metadata.
//!
//! Everything that a file can make long is bounded, so that no file makes a record that the broker
//! would refuse: streams of a kind, tags, chapters and the texts in them.

pub mod stream;
pub mod value;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use worker_sdk::Meta;

use crate::ffprobe::{Chapter, Probe, Stream, Tags};

/// Streams of one kind that are described; all are counted.
pub const MAX_STREAMS: usize = 64;
/// Tags of the container that are kept.
pub const MAX_TAGS: usize = 128;
/// Chapters that are listed; all are counted.
pub const MAX_CHAPTERS: usize = 500;

/// The longest name of a tag, in bytes.
const MAX_TAG_NAME: usize = 60;
/// The longest value of a tag, in bytes.
const MAX_TAG_VALUE: usize = 2000;
/// The longest title of a chapter, in bytes.
const MAX_CHAPTER_TITLE: usize = 200;

/// Describes a file that the finder took for a `mime`.
#[must_use]
pub fn describe(probe: &Probe, mime: &str) -> Meta {
    let mut meta = Meta::new();
    let format = &probe.format;
    meta.text_opt("fileinfo/duration", format.duration.as_deref().and_then(value::seconds))
        .text_opt("fileinfo/formatName", format_name(probe, mime))
        .text_opt("fileinfo/formatLongName", value::text_opt(format.format_long_name.as_deref()))
        .text_opt("fileinfo/bitRate", format.bit_rate.as_deref().and_then(value::whole))
        .text("fileinfo/streamCount", probe.streams.len());
    streams(&mut meta, &probe.streams);
    tags(&mut meta, probe);
    chapters(&mut meta, &probe.chapters);
    meta
}

fn streams(meta: &mut Meta, streams: &[Stream]) {
    let covers = |stream: &&Stream| stream.is("attached_pic");
    let of = |kind: &str| -> Vec<&Stream> {
        streams.iter().filter(|s| s.codec_type == kind && !covers(s)).collect()
    };
    for (n, video) in of("video").into_iter().take(MAX_STREAMS).enumerate() {
        stream::video(meta, n, video);
    }
    for (n, audio) in of("audio").into_iter().take(MAX_STREAMS).enumerate() {
        stream::audio(meta, n, audio);
    }
    for (n, subtitle) in of("subtitle").into_iter().take(MAX_STREAMS).enumerate() {
        stream::subtitle(meta, n, subtitle);
    }
    meta.set("fileinfo/audioLanguages", languages(&of("audio")))
        .set("fileinfo/subtitleLanguages", languages(&of("subtitle")))
        .text("fileinfo/attachments", of("attachment").len())
        .text("fileinfo/attachedPictures", streams.iter().filter(covers).count());
}

fn languages(streams: &[&Stream]) -> BTreeSet<String> {
    streams.iter().take(MAX_STREAMS).filter_map(|stream| stream::language(stream)).collect()
}

/// One of the names that ffprobe gives to a demuxer for several containers.
fn format_name(probe: &Probe, mime: &str) -> Option<String> {
    let mut names = probe.format.format_name.split(',').map(str::trim).filter(|n| !n.is_empty());
    let first = names.clone().next()?;
    let brand = probe.format.tags.get("major_brand").map(|brand| brand.trim());
    let wanted = match (first, brand) {
        ("mov", Some("qt")) => "mov",
        ("mov", Some("M4A" | "M4B")) => "m4a",
        ("mov", Some(brand)) if brand.starts_with("3g2") => "3g2",
        ("mov", Some(brand)) if brand.starts_with("3g") => "3gp",
        ("mov", Some(_)) => "mp4",
        ("matroska", _) if mime == "video/webm" || mime == "audio/webm" => "webm",
        _ => first,
    };
    let name = if names.any(|name| name == wanted) { wanted } else { first };
    value::text_opt(Some(name))
}

/// The tags of the container; Ogg has them on its stream.
fn tags(meta: &mut Meta, probe: &Probe) {
    let none = Tags::new();
    let first = match probe.format.format_name.as_str() {
        "ogg" => probe.streams.first().map_or(&none, |stream| &stream.tags),
        _ => &none,
    };
    let mut seen = BTreeSet::new();
    for (name, text) in probe.format.tags.iter().chain(first) {
        let Some(name) = tag_name(name) else { continue };
        if seen.len() < MAX_TAGS && seen.insert(name.clone()) {
            meta.text(format!("fileinfo/tags/{name}"), value::cut(text, MAX_TAG_VALUE));
        }
    }
}

/// Lower case, and nothing in it that would end or break a key.
fn tag_name(name: &str) -> Option<String> {
    let name = name.trim().to_lowercase().replace(|c: char| c == '/' || c.is_control(), "_");
    let name = value::cut(&name, MAX_TAG_NAME);
    (!name.is_empty()).then_some(name)
}

fn chapters(meta: &mut Meta, chapters: &[Chapter]) {
    meta.text("fileinfo/chapterCount", chapters.len());
    if chapters.is_empty() {
        return;
    }
    let listed: Vec<Value> = chapters
        .iter()
        .take(MAX_CHAPTERS)
        .map(|chapter| {
            let title = chapter.tags.get("title").map(|title| value::cut(title, MAX_CHAPTER_TITLE));
            json!({
                "start": value::number(&chapter.start_time),
                "end": value::number(&chapter.end_time),
                "title": title,
            })
        })
        .collect();
    meta.json("fileinfo/chapters", Value::Array(listed));
}

#[cfg(test)]
mod tests;
