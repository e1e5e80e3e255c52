//! Reads a file's tags with the library.

use std::fs::File;
use std::io;
use std::path::Path;

use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::{MetadataOptions, MetadataRevision};
use tokio_util::sync::CancellationToken;

use crate::file::Bounded;

/// What is in a file.
pub(crate) struct Found {
    /// The better ones first.
    pub(crate) revisions: Vec<MetadataRevision>,
    /// Samples at the beginning and at the end that are none of the music.
    pub(crate) delay: Option<u32>,
    pub(crate) padding: Option<u32>,
}

/// Why a file has no tags to tell of.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// It is something else.
    #[error("no audio file of a known format")]
    Unknown,
    /// It could not be read.
    #[error("could not read the file")]
    Io(#[source] io::Error),
    /// It is broken.
    #[error("the file is broken: {0}")]
    Broken(String),
}

/// Reads a file; blocks while it does.
pub(crate) fn read(path: &Path, cancelled: CancellationToken) -> Result<Found, ReadError> {
    let file = open(path).and_then(|file| Bounded::new(file, cancelled));
    let source = MediaSourceStream::new(Box::new(file.map_err(ReadError::Io)?), <_>::default());
    let mut hint = Hint::new();
    if let Some(extension) = path.extension().and_then(|it| it.to_str()) {
        hint.with_extension(extension);
    }
    let options = (FormatOptions::default(), MetadataOptions::default());
    let mut reader = symphonia::default::get_probe()
        .probe(&hint, source, options.0, options.1)
        .map_err(ReadError::from)?;
    let track = reader.first_track(TrackType::Audio);
    let (delay, padding) = track.map_or((None, None), |track| (track.delay, track.padding));
    Ok(Found { revisions: revisions(&mut *reader), delay, padding })
}

/// Asks before it opens: opening a pipe would wait for its writer.
fn open(path: &Path) -> io::Result<File> {
    if std::fs::metadata(path)?.is_file() {
        File::open(path)
    } else {
        Err(io::Error::other("it is no regular file"))
    }
}

/// All tags: those of the newer kind first, for the old one cuts its texts.
fn revisions(reader: &mut dyn FormatReader) -> Vec<MetadataRevision> {
    let mut metadata = reader.metadata();
    let mut revisions = Vec::new();
    while let Some(revision) = metadata.pop() {
        revisions.push(revision);
    }
    revisions.extend(metadata.current().cloned());
    revisions.sort_by_key(|revision| revision.info.short_name == "id3v1");
    revisions
}

impl From<Error> for ReadError {
    fn from(error: Error) -> Self {
        match error {
            Error::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Self::Broken("it ends too early".to_owned())
            }
            Error::IoError(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                Self::Broken(error.to_string())
            }
            Error::IoError(error) => Self::Io(error),
            Error::Unsupported(_) => Self::Unknown,
            Error::DecodeError(_)
            | Error::SeekError(_)
            | Error::LimitError(_)
            | Error::ResetRequired => Self::Broken(error.to_string()),
            // The library may learn more kinds.
            _ => Self::Broken(error.to_string()),
        }
    }
}
