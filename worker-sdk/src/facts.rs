//! What can be said of a file by looking at it, but for its media type: the coordinator decides
//! that by content.

use std::io;
use std::path::Path;

use broker_config::FileFacts;

/// Looks at a file.
pub(crate) fn of_file(path: &Path) -> io::Result<FileFacts> {
    let metadata = std::fs::metadata(path)?;
    Ok(FileFacts { size: metadata.len(), modified: modified(&metadata), ..of_name(path) })
}

/// What its name says.
pub(crate) fn of_name(path: &Path) -> FileFacts {
    let text = |part: Option<&std::ffi::OsStr>| {
        part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default()
    };
    FileFacts {
        mime: "application/octet-stream".to_owned(),
        name: text(path.file_name()),
        extension: text(path.extension()).to_lowercase(),
        ..FileFacts::default()
    }
}

/// The time of the last change, RFC 3339.
pub(crate) fn modified(metadata: &std::fs::Metadata) -> String {
    metadata
        .modified()
        .ok()
        .and_then(|time| jiff::Timestamp::try_from(time).ok())
        .map(|time| time.to_string())
        .unwrap_or_default()
}
