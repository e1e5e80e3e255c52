use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use worker_sdk::MetaValue;
use worker_sdk::testing::{Bench, Report, pipe_in};

use super::*;

const SRT: &str =
    "1\n00:00:00,500 --> 00:00:01,800\nQuiet.\n\n2\n00:00:02,000 --> 00:00:02,900\nÉté.\n";

#[tokio::test]
async fn the_subtitle_files_of_a_video_are_described() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let film = folder.path().join("film.mkv");
    let srt = folder.path().join("film.en.forced.srt");
    fs::write(&srt, SRT)?;
    make(&srt, &folder.path().join("film.pt-BR.sdh.ass"))?;
    make(&srt, &folder.path().join("film.vtt"))?;
    make_film(&film, &srt)?;
    let latin1: Vec<u8> = SRT.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect();
    fs::write(folder.path().join("film.fr.srt"), latin1)?;
    fs::write(folder.path().join("film.nfo"), "<movie/>")?;
    fs::write(folder.path().join("film.txt"), "a note, not a subtitle")?;
    fs::write(folder.path().join("film.xx.srt"), "not a subtitle, whatever its name")?;

    let report = describe_video(&film).await;

    let expected = [
        (
            "name",
            ["film.en.forced.srt", "film.fr.srt", "film.pt-BR.sdh.ass", "film.vtt", "film.xx.srt"],
        ),
        ("format", ["srt", "srt", "ass", "vtt", "-"]),
        ("language", ["en", "fr", "pt-BR", "-", "-"]),
        ("forced", ["true", "false", "false", "false", "false"]),
        ("sdh", ["false", "false", "true", "false", "false"]),
        ("cues", ["2", "2", "2", "2", "-"]),
        ("first", ["0.5", "0.5", "0.5", "0.5", "-"]),
        ("last", ["2.9", "2.9", "2.9", "2.9", "-"]),
        ("encoding", ["utf-8", "latin-1", "utf-8", "utf-8", "-"]),
        ("problem", ["-", "-", "-", "-", "no subtitle format that is known"]),
    ];
    for (property, values) in expected {
        for (n, value) in values.into_iter().enumerate() {
            let key = format!("subtitle/external/{n}/{property}");
            assert_eq!(report.text(&key).unwrap_or("-"), value, "{key}: {:?}", report.outcome);
        }
    }
    assert_eq!(report.text("subtitle/externalCount"), Some("5"));
    let languages = ["en", "fr", "pt-BR"].map(str::to_owned).into();
    assert_eq!(report.meta()["subtitle/languages"], MetaValue::Set(languages));
    Ok(())
}

#[tokio::test]
async fn a_video_without_subtitle_files_has_nothing_to_describe() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let film = folder.path().join("film.mkv");
    fs::write(&film, "")?;

    for sidecars in [serde_json::json!([]), serde_json::json!([{"name": "film.gone.srt"}])] {
        let bench = Bench::new(Subtitle).existing([("file/mime", "video/mp4")]);
        let report =
            bench.existing([("file/sidecars", MetaValue::Json(sidecars))]).run(&film).await;

        assert!(matches!(report.outcome, Ok(Outcome::Skipped { .. })), "{:?}", report.outcome);
    }
    Ok(())
}

#[tokio::test]
async fn what_keeps_a_file_from_being_read_is_said() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let film = folder.path().join("film.mkv");
    fs::write(&film, "")?;
    let large = fs::File::create(folder.path().join("film.a.srt"))?;
    large.set_len(file::MAX_BYTES + 1)?;
    fs::write(folder.path().join("film.sup"), b"PG\x00\x00\x00\x00\x00\x00\x00\x00\x16\x00\x13")?;
    let link = folder.path().join("film.loop.srt");
    std::os::unix::fs::symlink(&link, &link)?;
    let list = serde_json::json!(
        [{"name": "film.a.srt"}, {"name": "film.sup"}, {"name": "film.loop.srt"}]
    );

    let bench = Bench::new(Subtitle).existing([("file/mime", "video/mp4")]);
    let report = bench.existing([("file/sidecars", MetaValue::Json(list))]).run(&film).await;

    for (key, expected) in [
        ("0/problem", Some("larger than 16777216 bytes, not read")),
        (
            "1/problem",
            Some("could not read the file: Too many levels of symbolic links (os error 40)"),
        ),
        ("2/problem", None),
        ("2/format", Some("pgs")),
    ] {
        let found = report.text(&format!("subtitle/external/{key}"));
        assert_eq!(found, expected, "{key}: {:?}", report.outcome);
    }
    Ok(())
}

#[tokio::test]
async fn names_that_are_not_utf8_are_found() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let film = folder.path().join(OsStr::from_bytes(b"caf\xe9.mkv"));
    fs::write(&film, "")?;
    fs::write(folder.path().join(OsStr::from_bytes(b"caf\xe9.de.srt")), SRT)?;

    let report = describe_video(&film).await;

    assert_eq!(report.text("subtitle/external/0/cues"), Some("2"), "{:?}", report.outcome);
    assert_eq!(report.text("subtitle/external/0/language"), Some("de"));
    Ok(())
}

#[tokio::test]
async fn a_subtitle_file_is_described_on_its_own() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("Film.2019.en.sdh.srt");
    let utf16: Vec<u8> =
        format!("\u{feff}{SRT}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(&path, utf16)?;

    let report =
        Bench::new(Subtitle).existing([("file/mime", "application/x-subrip")]).run(&path).await;

    for (key, expected) in [
        ("format", "srt"),
        ("cues", "2"),
        ("first", "0.5"),
        ("last", "2.9"),
        ("language", "en"),
        ("sdh", "true"),
        ("forced", "false"),
        ("encoding", "utf-16"),
    ] {
        let found = report.text(&format!("subtitle/{key}"));
        assert_eq!(found, Some(expected), "{key}: {:?}", report.outcome);
    }
    Ok(())
}

#[tokio::test]
async fn a_file_of_its_own_that_cannot_be_read_fails() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let write = |name: &str, text: &str| -> Result<_> {
        let path = folder.path().join(name);
        fs::write(&path, text)?;
        Ok(path)
    };
    for (path, expected) in [
        (write("words.srt", "only words")?, "skipped"),
        (folder.path().join("gone.srt"), "retryable"),
        (pipe_in(folder.path())?, "permanent"),
    ] {
        let bench = Bench::new(Subtitle).existing([("file/mime", "application/x-subrip")]);

        let outcome = bench.run(&path).await.outcome;

        let found = match &outcome {
            Ok(Outcome::Skipped { .. }) => "skipped",
            Ok(_) => "completed",
            Err(failure) if failure.is_retryable() => "retryable",
            Err(_) => "permanent",
        };
        assert_eq!(found, expected, "{}: {outcome:?}", path.display());
    }
    Ok(())
}

#[test]
fn every_media_type_of_the_filter_is_a_video_or_a_subtitle() {
    let filter = Subtitle.manifest().filter.mime_types.unwrap_or_default();
    let videos: Vec<&String> = filter.iter().filter(|mime| is_video(mime)).collect();

    let expected = ["video/*", "mxf", "vnd.rn-realmedia", "vnd.rn-realmedia-vbr"];
    assert!(videos.iter().zip(expected).all(|(mime, end)| mime.ends_with(end)), "{videos:?}");
    assert_eq!(videos.len(), expected.len());
    assert!(filter.len() > videos.len());
}

#[test]
fn seconds_have_no_needless_zeros() {
    for (milliseconds, expected) in [(0, "0"), (500, "0.5"), (1000, "1"), (61_007, "61.007")] {
        assert_eq!(seconds(milliseconds), expected);
    }
}

async fn describe_video(path: &Path) -> Report {
    Bench::new(Subtitle).existing([("file/mime", "video/x-matroska")]).run(path).await
}

/// Lets ffmpeg write the subtitle in another format.
fn make(source: &Path, target: &Path) -> Result<()> {
    ffmpeg(
        Command::new("ffmpeg").args(["-nostdin", "-v", "error", "-y", "-i"]).args([source, target]),
    )
}

fn make_film(path: &Path, subtitle: &Path) -> Result<()> {
    ffmpeg(
        Command::new("ffmpeg")
            .args([
                "-nostdin",
                "-v",
                "error",
                "-y",
                "-f",
                "lavfi",
                "-i",
                "testsrc=size=64x36:duration=1",
            ])
            .arg("-i")
            .arg(subtitle)
            .args(["-c:v", "mpeg4"])
            .arg(path),
    )
}

fn ffmpeg(command: &mut Command) -> Result<()> {
    ensure!(command.status().context("start ffmpeg")?.success(), "{command:?}");
    Ok(())
}
