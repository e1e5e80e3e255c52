//! The files that tasks are about.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use broker_config::mime::mime_of;
use broker_config::{FileFacts, Filter};

/// Largest file that is made so that it is large enough for a filter.
const MOST: u64 = 64 << 20;

/// A file with what its finder says of it.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) path: PathBuf,
    pub(super) facts: FileFacts,
}

/// Looks at a file as the scanner does.
pub(super) fn look(path: &Path) -> anyhow::Result<FileFacts> {
    let content = std::fs::metadata(path).with_context(|| format!("read {}", path.display()))?;
    let head = std::fs::File::open(path)
        .and_then(|file| broker_config::mime::read_head(&file))
        .with_context(|| format!("read {}", path.display()))?;
    Ok(FileFacts {
        size: content.len(),
        mime: mime_of(path, &head).to_owned(),
        name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        extension: extension(path),
        ..FileFacts::default()
    })
}

fn extension(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_lowercase()
}

/// Lets everybody read a file of the kit: whoever runs in a container may be another user.
pub(super) fn show(path: &Path) -> anyhow::Result<()> {
    let readable = Permissions::from_mode(0o644);
    std::fs::set_permissions(path, readable).with_context(|| format!("write {}", path.display()))
}

/// Makes a small file that fits a filter as far as it can without knowing its format.
pub(super) fn make(folder: &Path, filter: &Filter) -> anyhow::Result<Sample> {
    let mime = filter.mime_types.iter().flatten().next().map_or("text/plain", String::as_str);
    let mime = concrete(mime);
    let wanted = filter.extensions.iter().flatten().next();
    let extension = wanted.map_or_else(|| usual(mime), |it| it.trim_start_matches('.'));
    let path = folder.join(format!("sample.{extension}"));
    let mut content = b"One line, and another one.\nThis file means nothing.\n".repeat(4);
    let least = filter.min_size.unwrap_or(0).min(MOST);
    let least = usize::try_from(least).context("the size of the file")?;
    if content.len() < least {
        content.resize(least, b'\n');
    }
    if let Some(most) = filter.max_size.and_then(|most| usize::try_from(most).ok()) {
        content.truncate(most);
    }
    std::fs::write(&path, &content).with_context(|| format!("write {}", path.display()))?;
    // The filter goes by what is said of the file, and its content says nothing.
    let facts = FileFacts { mime: mime.to_owned(), ..look(&path)? };
    Ok(Sample { path, facts })
}

/// A media type that a pattern matches.
fn concrete(pattern: &str) -> &str {
    match pattern {
        "video/*" => "video/x-matroska",
        "audio/*" => "audio/mpeg",
        "image/*" => "image/png",
        "application/*" => "application/octet-stream",
        "text/*" | "*" | "*/*" => "text/plain",
        exact => exact,
    }
}

/// The usual extension of a media type.
fn usual(mime: &str) -> &str {
    match mime {
        "video/x-matroska" => "mkv",
        "audio/mpeg" => "mp3",
        "image/png" => "png",
        "text/plain" => "txt",
        other => other.rsplit('/').next().unwrap_or("bin"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_made_that_the_filter_takes() {
        let home = tempfile::tempdir().unwrap();
        for (filter, name) in [
            (r#"{}"#, "sample.txt"),
            (r#"{"mimeTypes": ["video/*"]}"#, "sample.mkv"),
            (r#"{"mimeTypes": ["image/jpeg"], "extensions": ["JPG"]}"#, "sample.JPG"),
            (r#"{"extensions": [".mp4"], "minSize": 5000}"#, "sample.mp4"),
            (r#"{"minSize": 10, "maxSize": 20}"#, "sample.txt"),
        ] {
            let wanted: Filter = serde_json::from_str(filter).unwrap();
            let made = make(home.path(), &wanted).unwrap();
            assert_eq!(wanted.mismatch(&made.facts), None, "{filter}");
            assert_eq!(made.facts.name, name, "{filter}");
            assert_eq!(made.facts.size, std::fs::metadata(&made.path).unwrap().len());
        }
    }
}
