//! PURE. From a path to all that its names say.

use crate::extension;
use crate::folder::Folders;
use crate::music;
use crate::parsed::Parsed;
use crate::token::normalise;
use crate::video;

/// What sort of media the file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// Sound only.
    Audio,
    /// Anything else.
    Video,
}

/// Reads the name of a file and of the folders above it, nearest last.
///
/// Never fails: a name that says nothing gives a title at most.
#[must_use]
pub fn parse(folders: &[String], name: &str, media: Media) -> Parsed {
    let name = normalise(name);
    let (stem, container) = extension::split(&name);
    let mut parsed = match media {
        Media::Audio => music::read(stem, folders),
        Media::Video => {
            let folders = Folders::read(folders);
            let mut parsed = video::read(stem, folders.season);
            folders.complete(&mut parsed);
            parsed
        }
    };
    parsed.container = container;
    parsed
}

#[cfg(test)]
mod tests;
