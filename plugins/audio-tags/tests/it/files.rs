//! What the plugin says about files of each format.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use plugin_audio_tags::AudioTags;
use serde_json::{Value, json};
use worker_sdk::Outcome;
use worker_sdk::testing::{Bench, Report, pipe_in};

const TAGS: [&str; 12] = [
    "title=Der Mond ist aufgegangen",
    "artist=Anna Ö.",
    "album=Abendlieder",
    "album_artist=Chor & Orchester",
    "track=3/12",
    "disc=1/2",
    "date=2019-05-04",
    "genre=Folk",
    "composer=J. A. P. Schulz",
    "TBPM=96",
    "REPLAYGAIN_TRACK_GAIN=-6.20 dB",
    "lyrics=So legt euch denn, ihr Brüder",
];

fn ffmpeg(arguments: &[&str], to: &Path) -> anyhow::Result<()> {
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y"])
        .args(arguments)
        .arg(to)
        .output()
        .context("ffmpeg: deploy/tools/ffmpeg.sh gets it")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Makes a second of sound with tags; `more` are options of the output.
fn sound(to: &Path, more: &[&str]) -> anyhow::Result<()> {
    let mut arguments = vec!["-f", "lavfi", "-i", "sine=frequency=440:duration=1"];
    arguments.extend(more);
    for tag in &TAGS {
        arguments.extend(["-metadata", tag]);
    }
    ffmpeg(&arguments, to)
}

async fn tags(path: &Path) -> Report {
    Bench::new(AudioTags).run(path).await
}

fn told(report: &Report) -> Value {
    serde_json::to_value(report.meta()).unwrap_or_default()
}

#[tokio::test]
async fn tags_of_each_format_are_read() -> anyhow::Result<()> {
    let home = tempfile::tempdir()?;
    let all = &["title", "artist", "album", "genres", "track", "year"][..];
    let full = &[
        "title",
        "artist",
        "album",
        "genres",
        "track",
        "year",
        "albumArtist",
        "disc",
        "composers",
    ][..];
    for (name, options, keys) in [
        ("a.mp3", &["-id3v2_version", "4"][..], full),
        ("b.mp3", &["-id3v2_version", "3"], full),
        ("a.flac", &[], full),
        ("a.ogg", &["-c:a", "libvorbis"], full),
        ("a.opus", &["-c:a", "libopus"], full),
        ("a.m4a", &["-c:a", "aac"], all),
        ("a.aiff", &["-write_id3v2", "1"], full),
    ] {
        let path = home.path().join(name);
        sound(&path, options)?;

        let report = tags(&path).await;

        ensure!(
            matches!(report.outcome, Ok(Outcome::Completed(_))),
            "{name}: {:?}",
            report.outcome
        );
        let told = told(&report);
        for key in keys {
            let expected = match *key {
                "title" => json!("Der Mond ist aufgegangen"),
                "artist" => json!("Anna Ö."),
                "album" => json!("Abendlieder"),
                "albumArtist" => json!("Chor & Orchester"),
                "track" => json!("3"),
                "disc" => json!("1"),
                "year" => json!("2019"),
                "genres" => json!(["Folk"]),
                _ => json!(["J. A. P. Schulz"]),
            };
            assert_eq!(told[format!("audio/{key}")], expected, "{name} {key}: {told:#}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_mp3_tells_everything_that_is_known_of_it() -> anyhow::Result<()> {
    let home = tempfile::tempdir()?;
    let (plain, cover, path) =
        (home.path().join("plain.mp3"), home.path().join("cover.png"), home.path().join("a.mp3"));
    sound(&plain, &["-id3v2_version", "4", "-write_id3v1", "1"])?;
    ffmpeg(&["-f", "lavfi", "-i", "color=red:size=8x8", "-frames:v", "1"], &cover)?;
    let (plain, cover_path) = (plain.to_string_lossy(), cover.to_string_lossy());
    ffmpeg(
        &[
            "-i",
            &plain,
            "-i",
            &cover_path,
            "-map",
            "0:a",
            "-map",
            "1:v",
            "-c",
            "copy",
            "-write_id3v1",
            "1",
            "-metadata:s:v",
            "comment=Cover (front)",
        ],
        &path,
    )?;

    let told = told(&tags(&path).await);

    assert_eq!(told["audio/trackTotal"], "12", "{told:#}");
    assert_eq!(told["audio/discTotal"], "2");
    assert_eq!(told["audio/bpm"], "96");
    assert_eq!(told["audio/date"], "2019-05-04");
    assert_eq!(told["audio/replayGain/trackGain"], "-6.20 dB");
    assert_eq!(told["audio/artists"], json!(["Anna Ö."]));
    assert_eq!(told["audio/tagFormats"], json!(["id3v1", "id3v2"]));
    assert_eq!(told["audio/pictureCount"], "1");
    let size = std::fs::metadata(&cover)?.len();
    assert_eq!(
        told["audio/pictures"],
        json!([{"usage": "front", "type": "image/png", "size": size}])
    );
    assert!(!told.to_string().contains("So legt euch"), "the words are not told");
    Ok(())
}

#[tokio::test]
async fn several_values_are_a_set_and_a_file_without_tags_is_complete() -> anyhow::Result<()> {
    let home = tempfile::tempdir()?;
    let (plain, several) = (home.path().join("plain.wav"), home.path().join("several.flac"));
    ffmpeg(&["-f", "lavfi", "-i", "sine=duration=1", "-bitexact"], &plain)?;
    ffmpeg(&["-f", "lavfi", "-i", "sine=duration=1", "-metadata", "GENRE=Folk;Choir"], &several)?;

    let report = tags(&plain).await;
    assert!(matches!(report.outcome, Ok(Outcome::Completed(_))), "{:?}", report.outcome);
    assert!(report.text("audio/title").is_none());
    assert!(told(&tags(&several).await)["audio/genres"].is_array());
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_told() -> anyhow::Result<()> {
    let home = tempfile::tempdir()?;
    let file = |name: &str, content: &[u8]| {
        let path = home.path().join(name);
        std::fs::write(&path, content).map(|()| path)
    };

    for (name, content) in [
        ("empty.mp3", b"".as_slice()),
        ("text.flac", b"this is only text"),
        ("zeros.wav", &[0; 70_000]),
    ] {
        let report = tags(&file(name, content)?).await;
        match report.outcome {
            Ok(Outcome::Skipped { .. }) => {}
            Err(failure) => assert!(!failure.is_retryable(), "{name}: {failure}"),
            Ok(other) => panic!("{name}: {other:?}"),
        }
    }
    let path = home.path().join("a.flac");
    sound(&path, &[])?;
    let whole = std::fs::read(&path)?;
    let cut = file("cut.flac", &whole[..60])?;
    tags(&cut).await.assert_failed(false, "broken");
    tags(&home.path().join("gone.mp3")).await.assert_failed(true, "could not read");
    Ok(())
}

#[tokio::test]
async fn a_pipe_is_not_waited_for() -> anyhow::Result<()> {
    let home = tempfile::tempdir()?;
    let pipe = pipe_in(home.path())?;
    let path = home.path().join("pipe.mp3");
    std::fs::rename(pipe, &path)?;
    tags(&path).await.assert_failed(false, "is not a regular file");
    Ok(())
}

#[tokio::test]
async fn no_broken_byte_makes_it_fall() -> anyhow::Result<()> {
    let home = tempfile::tempdir()?;
    for name in ["a.mp3", "a.flac", "a.ogg", "a.m4a", "a.wav", "a.aiff"] {
        let path = home.path().join(name);
        sound(&path, if name == "a.ogg" { &["-c:a", "libvorbis"] } else { &[] })?;
        let whole = std::fs::read(&path)?;
        for n in 0..60 {
            let mut broken = whole.clone();
            let length = broken.len().min(2000);
            // The same places each time: a prime step through the beginning, where the tags are.
            broken[(n * 131) % length] ^= 0xff;
            broken[(n * 37 + 5) % length] = 0xff;
            std::fs::write(&path, broken)?;
            if let Err(failure) = tags(&path).await.outcome {
                assert!(!failure.to_string().contains("panic"), "{name} {n}: {failure}");
            }
        }
    }
    Ok(())
}
