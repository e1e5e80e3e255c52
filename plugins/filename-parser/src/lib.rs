//! Reads what the names of a file and its folders say of it.
//!
//! The parser is pure and never fails; the plugin only turns paths into names and names into keys.

mod absolute;
mod brackets;
mod date;
mod episode;
mod extension;
mod folder;
mod keys;
mod music;
mod parse;
mod parsed;
mod release;
mod scan;
mod title;
mod token;
mod video;
mod vocabulary;

use std::path::Path;

use worker_sdk::{Context, Failure, Manifest, Outcome, Plugin};

pub use self::parse::{Media, parse};
pub use self::parsed::{Group, Parsed, Sort};

/// Folders above the file that are looked at.
const FOLDERS: usize = 4;

/// The plugin.
#[derive(Debug, Clone, Copy, Default)]
pub struct FilenameParser;

impl Plugin for FilenameParser {
    fn manifest(&self) -> Manifest {
        worker_sdk::manifest(include_str!("../manifest.json"))
    }

    async fn process(&self, ctx: &Context) -> Result<Outcome, Failure> {
        let mime = ctx.existing_text("file/mime").unwrap_or(&ctx.file().mime);
        let media = if mime.starts_with("audio/") { Media::Audio } else { Media::Video };
        // What the library calls it, wherever it is here.
        let (folders, name) = names(&ctx.task().path.to_path());
        let parsed = parse(&folders, &name, media);
        if parsed.title.is_none() && parsed.episodes.is_empty() && parsed.date.is_none() {
            return Ok(Outcome::skipped(format!("the name `{name}` says nothing")));
        }
        Ok(Outcome::Completed(keys::meta(&parsed)))
    }
}

/// The names of the nearest folders, nearest last, and of the file, readable.
fn names(path: &Path) -> (Vec<String>, String) {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let mut folders: Vec<String> = path
        .ancestors()
        .skip(1)
        .take(FOLDERS)
        .filter_map(|folder| Some(folder.file_name()?.to_string_lossy().into_owned()))
        .collect();
    folders.reverse();
    (folders, name.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use worker_sdk::testing::Bench;

    use super::*;

    #[tokio::test]
    async fn a_path_becomes_keys() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let folder = home.path().join("Night Signal (2017)/Season 01");
        std::fs::create_dir_all(&folder)?;
        let file = folder.join("Night.Signal.S01E02.The.Relay.720p.WEB-DL.AAC2.0.H.264-TEAM.mkv");
        std::fs::write(&file, b"x")?;

        let report = Bench::new(FilenameParser)
            .existing([("file/mime", "video/x-matroska")])
            .run(&file)
            .await;

        for (key, expected) in [
            ("title", "The Relay"),
            ("showTitle", "Night Signal"),
            ("year", "2017"),
            ("season", "1"),
            ("episode", "2"),
            ("filename/type", "episode"),
            ("filename/title", "Night Signal"),
            ("filename/group", "TEAM"),
            ("filename/videoCodec", "H.264"),
        ] {
            assert_eq!(report.text(key), Some(expected), "{key}: {:?}", report.outcome);
        }
        Ok(())
    }

    #[tokio::test]
    async fn the_media_type_decides_how_a_name_is_read() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        let file = home.path().join("02 - Second Wind.mp3");
        std::fs::write(&file, b"x")?;

        let report =
            Bench::new(FilenameParser).existing([("file/mime", "audio/mpeg")]).run(&file).await;

        assert_eq!(report.text("title"), Some("Second Wind"), "{:?}", report.outcome);
        assert_eq!(report.text("filename/track"), Some("2"));
        Ok(())
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_name_that_is_not_utf8_is_read_as_well_as_it_goes() -> anyhow::Result<()> {
        use std::os::unix::ffi::OsStrExt;
        let home = tempfile::tempdir()?;
        let file = home.path().join(std::ffi::OsStr::from_bytes(b"Caf\xe9 (2010).mkv"));
        std::fs::write(&file, b"x")?;

        let report = Bench::new(FilenameParser).run(&file).await;

        assert_eq!(report.text("year"), Some("2010"), "{:?}", report.outcome);
        Ok(())
    }

    #[tokio::test]
    async fn a_name_without_a_letter_is_skipped() {
        let report = Bench::new(FilenameParser).run("/media/---.mkv").await;

        assert!(
            matches!(&report.outcome, Ok(Outcome::Skipped { reason }) if reason.contains("---")),
            "{:?}",
            report.outcome
        );
    }
}
