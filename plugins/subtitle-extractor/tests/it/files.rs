//! What the plugin makes of files.

use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use plugin_subtitle_extractor::SubtitleExtractor;
use serde_json::{Value, json};
use worker_sdk::testing::{Bench, Report, pipe_in};
use worker_sdk::{MetaValue, Outcome};

use crate::guard;

/// Streams of [`film`], as the plugin `ffmpeg` describes them.
const FILM: [&[(&str, &str)]; 4] = [
    &[("codec", "subrip"), ("language", "eng"), ("default", "true"), ("hearingImpaired", "true")],
    &[("codec", "ass"), ("language", "jpn"), ("default", "false"), ("forced", "true")],
    &[("codec", "webvtt"), ("default", "false")],
    &[("codec", "hdmv_pgs_subtitle"), ("language", "ger"), ("default", "false")],
];

#[tokio::test]
async fn text_is_taken_out_and_pictures_are_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = film(folder.path())?;

    let report = run(&path, &FILM, &json!({})).await;

    assert_eq!(report.text("subtitle/embeddedCount"), Some("4"), "{:?}", report.outcome);
    assert_eq!(report.text("subtitle/extractedCount"), Some("3"));
    let expected = [
        (
            "subtitle-0.srt",
            "application/x-subrip",
            "00:00:00,100 --> 00:00:00,900\nHallo <i>Welt</i>",
        ),
        ("subtitle-1.ass", "text/x-ssa", "Dialogue: 0,0:00:00.10,0:00:00.90,"),
        ("subtitle-2.vtt", "text/vtt", "00:00.100 --> 00:00.900\n"),
    ];
    assert_eq!(report.artifacts.len(), expected.len());
    for (n, (name, media_type, text)) in expected.into_iter().enumerate() {
        let (artifact, bytes) = &report.artifacts[n];
        assert_eq!((artifact.artifact.as_str(), artifact.media_type.as_str()), (name, media_type));
        assert!(std::str::from_utf8(bytes)?.contains(text), "{name}: {bytes:?}");
        let key = format!("subtitle/embedded/{n}/artifact");
        let told = report.meta().get(key.as_str());
        assert_eq!(told, Some(&MetaValue::Json(serde_json::to_value(artifact)?)));
    }
    for (key, value) in [
        ("0/codec", Some("subrip")),
        ("0/language", Some("eng")),
        ("0/format", Some("srt")),
        ("0/file", None),
        ("0/problem", None),
        ("1/format", Some("ass")),
        ("2/format", Some("vtt")),
        ("2/language", None),
        ("3/codec", Some("hdmv_pgs_subtitle")),
        ("3/language", Some("ger")),
        ("3/format", None),
        ("3/problem", Some("not extracted: it is pictures, not text")),
    ] {
        assert_eq!(report.text(&format!("subtitle/embedded/{key}")), value, "{key}");
    }
    assert!(report.submitted.is_empty(), "{:?}", report.submitted);
    Ok(())
}

#[tokio::test]
async fn files_are_written_and_handed_in_when_they_change() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = film(folder.path())?;
    let output = folder.path().join("made/subtitles");
    let settings = json!({"outputFolder": output});
    let names = ["test-bench.0.eng.sdh.srt", "test-bench.1.jpn.forced.ass", "test-bench.2.und.vtt"];
    let files = names.map(|name| output.join(name));

    let first = run(&path, &FILM, &settings).await;

    assert_eq!(first.submitted, files, "{:?}", first.outcome);
    for (n, file) in files.iter().enumerate() {
        assert_eq!(fs::read(file)?, first.artifacts[n].1, "{}", file.display());
        let key = format!("subtitle/embedded/{n}/file");
        assert_eq!(first.text(&key), file.to_str());
    }
    assert_eq!(fs::read_dir(&output)?.count(), 3, "nothing else is left");

    let second = run(&path, &FILM, &settings).await;
    assert!(second.submitted.is_empty(), "nothing has changed: {:?}", second.submitted);
    assert_eq!(second.meta(), first.meta());

    fs::write(&files[1], "changed by somebody")?;
    let third = run(&path, &FILM, &settings).await;
    assert_eq!(third.submitted, files[1..2]);
    assert_eq!(fs::read(&files[1])?, first.artifacts[1].1);

    // The attempt before may have died after writing.
    let second_attempt = NonZeroU32::MIN.saturating_add(1);
    let retried = bench(&FILM, &settings).attempt(second_attempt).run(&path).await;
    assert_eq!(retried.submitted, files);
    Ok(())
}

#[tokio::test]
async fn nothing_is_taken_out_of_what_was_made() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = film(folder.path())?;
    let settings = json!({"outputFolder": folder.path()});

    let report = run(&path, &FILM, &settings).await;

    let Ok(Outcome::Skipped { reason }) = &report.outcome else { panic!("{report:?}") };
    assert_eq!(reason, "it lies in `outputFolder`, from which nothing is taken");
    assert!(report.submitted.is_empty() && report.artifacts.is_empty());
    Ok(())
}

#[tokio::test]
async fn text_that_only_its_container_has_becomes_subrip() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let text = subtitle(folder.path())?;
    let path = folder.path().join("film.mp4");
    #[rustfmt::skip]
    ffmpeg(&path, &[
        "-f", "lavfi", "-i", "color=size=64x36:rate=10:duration=2", "-i", utf8(&text)?,
        "-c:v", "mpeg4", "-c:s", "mov_text",
    ])?;

    let streams: [&[(&str, &str)]; 1] = [&[("codec", "mov_text"), ("default", "true")]];
    let report = run(&path, &streams, &json!({})).await;

    let (artifact, bytes) = report.artifacts.first().context("an artefact")?;
    assert_eq!(artifact.artifact.as_str(), "subtitle-0.srt");
    let expected = "1\n00:00:00,100 --> 00:00:00,900\nHallo <i>Welt</i>\n\n";
    assert_eq!(std::str::from_utf8(bytes)?, expected);
    Ok(())
}

#[tokio::test]
async fn what_the_broker_does_not_take_is_a_file_or_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = film(folder.path())?;
    let output = folder.path().join("made");

    let kept_nowhere = bench(&FILM, &json!({})).largest_artifact(100).run(&path).await;
    let settings = json!({"outputFolder": output});
    let kept_as_file = bench(&FILM, &settings).largest_artifact(100).run(&path).await;

    let problem = kept_nowhere.text("subtitle/embedded/1/problem").context("a problem")?;
    assert!(problem.contains("more than the broker takes; set `outputFolder`"), "{problem}");
    assert_eq!(kept_nowhere.text("subtitle/extractedCount"), Some("2"), "the small ones");
    assert_eq!(kept_as_file.text("subtitle/extractedCount"), Some("3"));
    assert_eq!(kept_as_file.text("subtitle/embedded/1/problem"), None);
    assert!(kept_as_file.meta().get("subtitle/embedded/1/artifact").is_none());
    assert_eq!(kept_as_file.submitted.len(), 3);
    Ok(())
}

#[tokio::test]
async fn what_has_no_text_needs_no_ffmpeg_and_what_is_broken_fails() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let text = folder.path().join("text.mkv");
    fs::write(&text, "this is no video")?;
    let empty = folder.path().join("empty.mkv");
    fs::write(&empty, "")?;
    let pictures: [&[(&str, &str)]; 1] = [&[("codec", "dvd_subtitle"), ("default", "false")]];
    let subrip: [&[(&str, &str)]; 1] = [&[("codec", "subrip"), ("default", "false")]];

    let none = run(&text, &[], &json!({})).await;
    let Ok(Outcome::Skipped { reason }) = &none.outcome else { panic!("{none:?}") };
    assert_eq!(reason, "no subtitles in it");
    let unread = run(&text, &pictures, &json!({})).await;
    assert_eq!(unread.text("subtitle/extractedCount"), Some("0"), "{:?}", unread.outcome);
    for (path, retryable, words) in [
        (text, false, "ffmpeg: "),
        (empty, false, "ffmpeg: "),
        (folder.path().join("gone.mkv"), true, "No such file"),
        (pipe_in(folder.path())?, false, "not a regular file"),
    ] {
        run(&path, &subrip, &json!({})).await.assert_failed(retryable, words);
    }
    Ok(())
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("file");
    fs::write(&file, "")?;
    for (settings, words) in [
        (json!({"outputFolder": "here"}), "`outputFolder` must be an absolute path"),
        (json!({"outputFolder": file}), "grant the plugin `filesystem.write`"),
        (json!({"outputFolder": "/proc/made"}), "cannot write into `outputFolder` /proc/made"),
        (json!({"ffmpeg": "/nowhere/ffmpeg"}), "could not start /nowhere/ffmpeg: No such file"),
    ] {
        run(&file, &FILM, &settings).await.assert_failed(false, words);
    }
    Ok(())
}

fn bench(streams: &[&[(&str, &str)]], settings: &Value) -> Bench<SubtitleExtractor> {
    let mut bench = Bench::new(SubtitleExtractor::guarded_by(guard())).settings(settings.clone());
    for (n, properties) in streams.iter().enumerate() {
        let key = |name| format!("fileinfo/streamdetails/subtitle/{n}/{name}");
        bench = bench.existing(properties.iter().map(|(name, value)| (key(name), *value)));
    }
    bench
}

/// As after the plugin `ffmpeg` has found these streams.
async fn run(path: &Path, streams: &[&[(&str, &str)]], settings: &Value) -> Report {
    bench(streams, settings).run(path).await
}

fn subtitle(folder: &Path) -> Result<PathBuf> {
    let path = folder.join("in.srt");
    fs::write(&path, "1\n00:00:00,100 --> 00:00:00,900\nHallo <i>Welt</i>\n")?;
    Ok(path)
}

/// One display set of a Blu-ray subtitle that shows nothing, which is enough to be one.
fn pictures(folder: &Path) -> Result<PathBuf> {
    let segment = |kind: u8, body: &[u8]| -> Vec<u8> {
        let times = [0, 0, 0x23, 0x28, 0, 0, 0, 0];
        let length = u16::try_from(body.len()).unwrap_or_default().to_be_bytes();
        [b"PG".as_slice(), &times, &[kind], &length, body].concat()
    };
    let composition = [0, 64, 0, 36, 0x10, 0, 0, 0x80, 0, 0, 0];
    let path = folder.join("in.sup");
    fs::write(&path, [segment(0x16, &composition), segment(0x80, &[])].concat())?;
    Ok(path)
}

/// A film with four subtitles, see [`FILM`].
fn film(folder: &Path) -> Result<PathBuf> {
    let path = folder.join("film.mkv");
    let (text, pictures) = (subtitle(folder)?, pictures(folder)?);
    #[rustfmt::skip]
    ffmpeg(&path, &[
        "-f", "lavfi", "-i", "color=size=64x36:rate=10:duration=2", "-i", utf8(&text)?,
        "-i", utf8(&pictures)?, "-map", "0", "-map", "1", "-map", "1", "-map", "1", "-map", "2",
        "-c:v", "mpeg4", "-c:s:0", "srt", "-c:s:1", "ass", "-c:s:2", "webvtt", "-c:s:3", "copy",
    ])?;
    Ok(path)
}

fn utf8(path: &Path) -> Result<&str> {
    path.to_str().context("a temporary folder is UTF-8")
}

fn ffmpeg(path: &Path, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-y"]).args(arguments).arg(path);
    ensure!(command.status().context("start ffmpeg")?.success(), "make {}", path.display());
    Ok(())
}
