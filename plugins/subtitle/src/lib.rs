//! The plugin `subtitle`: subtitle files, beside a video or on their own.

pub mod content;
pub mod encoding;
pub mod file;
pub mod language;
pub mod name;
pub mod sidecar;

use std::io;

use worker_sdk::{Context, Failure, Manifest, Meta, Outcome, Plugin};

use crate::file::{FileError, Found};
use crate::name::{Flag, NameTags};

/// The plugin; it has no state and no settings.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subtitle;

impl Plugin for Subtitle {
    fn manifest(&self) -> Manifest {
        worker_sdk::manifest(include_str!("../manifest.json"))
    }

    async fn process(&self, ctx: &Context) -> Result<Outcome, Failure> {
        let mime = ctx.existing_text("file/mime").unwrap_or(&ctx.file().mime);
        if is_video(mime) { files_beside(ctx).await } else { file_itself(ctx).await }
    }
}

/// Whether a media type of the manifest's filter is a video; the others are subtitles.
fn is_video(mime: &str) -> bool {
    mime.starts_with("video/")
        || mime == "application/mxf"
        || mime.starts_with("application/vnd.rn-realmedia")
}

/// Describes the subtitle files of a video; one that cannot be read is listed with its problem.
async fn files_beside(ctx: &Context) -> Result<Outcome, Failure> {
    let names = sidecar::names(ctx.existing().get("file/sidecars"));
    let owner = ctx.file().name.clone();
    let mut found: Vec<(String, Result<Found, FileError>)> = Vec::new();
    for name in names {
        // Nobody waits for the rest once the attempt has had its time.
        if ctx.cancelled().is_cancelled() {
            break;
        }
        match file::look(ctx.open_sidecar(&name).await).await {
            Err(error @ FileError::Fetch(_)) => return Err(Failure::retryable(error)),
            looked if is_subtitle(&name, &looked) => found.push((name, looked)),
            _ => {}
        }
    }
    if found.is_empty() {
        return Ok(Outcome::skipped("no subtitle files beside it"));
    }
    let mut meta = Meta::new();
    meta.text("subtitle/externalCount", found.len());
    for (n, (name, found)) in found.iter().enumerate() {
        let prefix = format!("subtitle/external/{n}");
        meta.text(format!("{prefix}/name"), name);
        describe(&mut meta, &prefix, &NameTags::beside(name, &owner), found);
    }
    Ok(Outcome::Completed(meta))
}

/// Any text may stand beside a video, and a file may have gone since the scan.
fn is_subtitle(name: &str, found: &Result<Found, FileError>) -> bool {
    match found {
        Err(FileError::Unknown) => !name.to_ascii_lowercase().ends_with(".txt"),
        Err(FileError::Read(error)) => error.kind() != io::ErrorKind::NotFound,
        Ok(_) | Err(FileError::Fetch(_) | FileError::NotAFile | FileError::TooLarge) => true,
    }
}

async fn file_itself(ctx: &Context) -> Result<Outcome, Failure> {
    let found = file::look(ctx.open().await).await;
    match found {
        Ok(_) => {
            let mut meta = Meta::new();
            describe(&mut meta, "subtitle", &NameTags::alone(&ctx.file().name), &found);
            Ok(Outcome::Completed(meta))
        }
        Err(FileError::Unknown) => Ok(Outcome::skipped(FileError::Unknown.to_string())),
        Err(FileError::Read(error)) if error.kind() != io::ErrorKind::PermissionDenied => {
            Err(Failure::retryable(FileError::Read(error)))
        }
        Err(error @ FileError::Fetch(_)) => Err(Failure::retryable(error)),
        Err(error) => Err(Failure::permanent(error)),
    }
}

fn describe(meta: &mut Meta, prefix: &str, tags: &NameTags, found: &Result<Found, FileError>) {
    let mut write = |property: &str, value: Option<String>| {
        meta.text_opt(format!("{prefix}/{property}"), value);
    };
    for (property, flag) in [
        ("forced", Flag::Forced),
        ("sdh", Flag::Sdh),
        ("default", Flag::Default),
        ("commentary", Flag::Commentary),
    ] {
        write(property, Some(tags.is(flag).to_string()));
    }
    let mut languages: Vec<String> = tags.language.iter().cloned().collect();
    match found {
        Ok(Found::Text(content)) => {
            write("format", Some(content.format.as_str().to_owned()));
            write("encoding", Some(content.encoding.as_str().to_owned()));
            write("cues", Some(content.cues.to_string()));
            write("first", content.first.map(seconds));
            write("last", content.last.map(seconds));
            languages.extend(content.languages.iter().cloned());
        }
        Ok(Found::Pictures(format)) => write("format", Some(format.as_str().to_owned())),
        Err(error) => write("problem", Some(problem(error))),
    }
    write("language", languages.first().cloned());
    for language in languages {
        meta.add("subtitle/languages", language);
    }
}

/// The error with its cause, as text.
fn problem(error: &FileError) -> String {
    match error {
        FileError::Read(cause) | FileError::Fetch(cause) => format!("{error}: {cause}"),
        FileError::NotAFile | FileError::TooLarge | FileError::Unknown => error.to_string(),
    }
}

/// Milliseconds as seconds, without needless zeros.
fn seconds(milliseconds: u64) -> String {
    let text = format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests;
