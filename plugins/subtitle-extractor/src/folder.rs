//! The folder into which subtitles are written as files, which are handed in.

use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};
use tempfile::Builder;

use crate::extract::Job;

/// The longest content id that is the beginning of a name, in bytes.
const MAX_CID: usize = 128;
/// Everybody may read what was made, as they may the library.
const MODE: u32 = 0o644;

/// The name of a subtitle's file, always the same for the same content.
///
/// One made again takes the place of the one before. The name says language and flags as players, and
/// the plugin `subtitle`, read them.
#[must_use]
pub fn name(cid: &str, job: &Job<'_>) -> String {
    let stream = job.stream;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let fits = cid.len() <= MAX_CID && !cid.is_empty() && cid.chars().all(is_plain);
    let hashed = || HEXLOWER.encode(&Sha256::digest(cid));
    let stem = if fits { cid.to_owned() } else { hashed() };
    // It comes out of the file, by way of another plugin.
    let code = |text: &&String| text.len() <= 35 && text.chars().all(is_plain) && !text.is_empty();
    let language = stream.language.as_ref().filter(code).map_or("und", String::as_str);
    let forced = if stream.is_forced { ".forced" } else { "" };
    let sdh = if stream.is_sdh { ".sdh" } else { "" };
    let extension = job.format.extension();
    format!("{stem}.{}.{language}{forced}{sdh}.{extension}", stream.number)
}

/// Writes `text` to `path` unless it is there already; returns whether it was not.
///
/// The file appears whole or not at all.
///
/// # Errors
///
/// When it cannot be written.
pub fn write(path: &Path, text: &[u8]) -> io::Result<bool> {
    if is_there(path, text) {
        return Ok(false);
    }
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut file = Builder::new().prefix(".making-").suffix(".part").tempfile_in(folder)?;
    file.write_all(text)?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(MODE))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(true)
}

fn is_there(path: &Path, text: &[u8]) -> bool {
    // Nothing is read that cannot be it: a pipe, a large file.
    let length = std::fs::symlink_metadata(path).ok().filter(|it| it.is_file()).map(|it| it.len());
    length == Some(text.len() as u64) && std::fs::read(path).is_ok_and(|there| there == text)
}

/// Sees to it that the folder is there and can be written to.
///
/// # Errors
///
/// When it cannot.
pub fn prepare(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    Builder::new().prefix(".making-").suffix(".part").tempfile_in(folder)?.close()
}

/// Whether a file lies in the folder, by whatever way: through links, or under another name.
#[must_use]
pub fn holds(folder: &Path, file: &Path) -> bool {
    let real = |path: &Path| -> PathBuf { path.canonicalize().unwrap_or_else(|_| path.to_owned()) };
    file.starts_with(folder) || real(file).starts_with(real(folder))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::extract::job;
    use crate::stream::Stream;

    fn stream(codec: &str, language: Option<&str>, is_forced: bool, is_sdh: bool) -> Stream {
        let (codec, language) = (codec.to_owned(), language.map(str::to_owned));
        Stream { number: 2, codec, language, is_forced, is_sdh }
    }

    #[test]
    fn a_name_says_content_stream_language_and_flags() {
        for (cid, codec, language, forced, sdh, expected) in [
            ("bagac", "subrip", Some("ger"), false, false, "bagac.2.ger.srt"),
            ("bagac", "ass", Some("pt-br"), true, true, "bagac.2.pt-br.forced.sdh.ass"),
            ("bagac", "webvtt", None, false, false, "bagac.2.und.vtt"),
            ("bagac", "subrip", Some("../x"), false, false, "bagac.2.und.srt"),
            (
                "../x",
                "subrip",
                None,
                false,
                false,
                "d6b96a97d147daaae49eb87a5ca7bfbc280e79551016df8aa5edc5920d21c274.2.und.srt",
            ),
        ] {
            let stream = stream(codec, language, forced, sdh);
            assert_eq!(name(cid, &job(&stream).unwrap()), expected, "{cid}");
        }
    }

    #[test]
    fn a_file_is_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.srt");
        for (text, changed) in [("one", true), ("one", false), ("two", true), ("", true)] {
            assert_eq!(write(&path, text.as_bytes()).unwrap(), changed, "{text}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
        std::fs::create_dir(folder.path().join("taken")).unwrap();
        assert!(write(&folder.path().join("taken"), b"x").is_err());
        assert!(write(&folder.path().join("gone/a.srt"), b"x").is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else is left");
    }

    #[test]
    fn a_file_in_the_folder_is_known_by_any_way() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("made");
        prepare(&folder).unwrap();
        std::fs::write(folder.join("a.mks"), "").unwrap();
        std::fs::write(root.path().join("made.mks"), "").unwrap();
        std::os::unix::fs::symlink(&folder, root.path().join("link")).unwrap();
        for (file, expected) in [
            ("made/a.mks", true),
            ("made/gone.mks", true),
            ("link/a.mks", true),
            ("made.mks", false),
            ("other/a.mks", false),
        ] {
            assert_eq!(holds(&folder, &root.path().join(file)), expected, "{file}");
        }
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "nothing else is left");
    }

    proptest! {
        #[test]
        fn any_name_stays_in_the_folder(cid: String, language: Option<String>) {
            let stream = stream("subrip", language.as_deref(), true, true);
            let name = name(&cid, &job(&stream).unwrap());
            prop_assert!(!name.contains('/') && !name.starts_with('.') && name.len() < 255);
        }
    }
}
