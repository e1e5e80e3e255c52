//! What can be said of a file by looking at it, the same as a scan says.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use broker_config::{FileFacts, mime};

/// Looks at a file; blocks while it reads.
pub(crate) fn of_file(path: &Path) -> io::Result<FileFacts> {
    let metadata = fs::metadata(path)?;
    let mut facts = of_name(path);
    facts.size = metadata.len();
    facts.modified = modified(&metadata);
    // A pipe may never say anything.
    if metadata.is_file() {
        mime::mime_of(path, &mime::read_head(&File::open(path)?)?).clone_into(&mut facts.mime);
    }
    Ok(facts)
}

/// What its name says.
pub(crate) fn of_name(path: &Path) -> FileFacts {
    let text = |part: Option<&std::ffi::OsStr>| {
        part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default()
    };
    FileFacts {
        mime: mime::UNKNOWN.to_owned(),
        name: text(path.file_name()),
        extension: text(path.extension()).to_lowercase(),
        ..FileFacts::default()
    }
}

/// The time of the last change, RFC 3339.
pub(crate) fn modified(metadata: &fs::Metadata) -> String {
    metadata
        .modified()
        .ok()
        .and_then(|time| jiff::Timestamp::try_from(time).ok())
        .map(|time| time.to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_media_type_is_that_of_the_content() {
        let dir = tempfile::tempdir().unwrap();
        for (name, content, mime) in [
            ("picture.txt", b"\x89PNG\r\n\x1a\n0000".as_slice(), "image/png"),
            ("sub.en.srt", b"1\n00:00:01,000 --> 00:00:02,000\nHi\n", "application/x-subrip"),
            ("empty.MKV", b"", "inode/x-empty"),
            ("thing", b"\x00\x01\x02", "application/octet-stream"),
        ] {
            let path = dir.path().join(name);
            fs::write(&path, content).unwrap();

            let facts = of_file(&path).unwrap();

            assert_eq!((facts.mime.as_str(), facts.name.as_str()), (mime, name));
            assert_eq!(facts.size, content.len() as u64);
        }
    }

    #[test]
    fn what_is_no_file_is_described_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("folder.mkv");
        fs::create_dir(&path).unwrap();

        let facts = of_file(&path).unwrap();

        assert_eq!((facts.mime.as_str(), facts.extension.as_str()), (mime::UNKNOWN, "mkv"));
        assert!(of_file(&dir.path().join("gone")).is_err());
    }
}
