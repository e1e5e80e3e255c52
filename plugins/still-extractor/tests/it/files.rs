//! What the plugin makes of files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use plugin_still_extractor::StillExtractor;
use plugin_still_extractor::frame::size_of;
use serde_json::{Value, json};
use tempfile::TempDir;
use worker_sdk::testing::{Bench, Report, pipe_in};
use worker_sdk::{MetaValue, Outcome};

use crate::guard;

#[tokio::test]
async fn a_video_has_stills_at_the_times_that_metadata_says() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = video(&folder, "film.mkv", "testsrc2=size=320x180:rate=24:duration=6")?;

    let report = run(&path, Some("6.0"), &json!({"count": 3, "width": 200})).await;

    assert_eq!(report.text("still/count"), Some("3"), "{:?}", report.outcome);
    assert_eq!(report.text("still/problem"), None);
    for (n, time) in [(0, 1.0), (1, 3.0), (2, 5.0)] {
        let told = still(&report, n)?;
        let (artifact, jpeg) = &report.artifacts[n];
        assert_eq!(told["artifact"], format!("still-{n}.jpg"));
        assert_eq!(told["artifact"], artifact.artifact.to_string());
        assert_eq!((&told["width"], &told["height"]), (&json!(200), &json!(112)), "{told}");
        assert_eq!((&told["dark"], &told["mediaType"]), (&json!(false), &json!("image/jpeg")));
        let seen = told["time"].as_f64().context("a time")?;
        assert!((seen - time).abs() < 0.1, "{told}");
        assert!(artifact.is_of(jpeg) && told["sha256"] == artifact.sha256, "{told}");
        assert_eq!(size_of(jpeg), Some((200, 112)));
    }
    assert_ne!(report.artifacts[0].1, report.artifacts[1].1, "another time, another picture");
    let again = run(&path, Some("6.0"), &json!({"count": 3, "width": 200})).await;
    assert_eq!(again.meta(), report.meta(), "the same each time");
    Ok(())
}

#[tokio::test]
async fn black_frames_are_left_out_where_others_are_near() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("intro.mkv");
    #[rustfmt::skip]
    ffmpeg(&path, &[
        "-f", "lavfi", "-i", "color=black:size=64x36:rate=10:duration=2",
        "-f", "lavfi", "-i", "testsrc2=size=64x36:rate=10:duration=2",
        "-filter_complex", "concat=n=2", "-c:v", "mpeg4",
    ])?;
    let black = video(&folder, "black.mkv", "color=black:size=64x36:rate=10:duration=4")?;

    let report = run(&path, Some("2"), &json!({"count": 1})).await;
    let dark = run(&black, Some("4"), &json!({"count": 1})).await;

    let told = still(&report, 0)?;
    let time = told["time"].as_f64().context("a time")?;
    assert!((1.9..2.2).contains(&time), "after the black: {told}");
    assert_eq!(told["dark"], false);
    assert_eq!((&still(&dark, 0)?["dark"], &still(&dark, 0)?["time"]), (&json!(true), &json!(2.0)));
    Ok(())
}

#[tokio::test]
async fn short_narrow_and_odd_videos_have_stills_that_fit() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let one = folder.path().join("one.mkv");
    ffmpeg(&one, &["-f", "lavfi", "-i", "testsrc2=size=64x36", "-frames:v", "1", "-c:v", "mpeg4"])?;
    let wide = folder.path().join("wide.mkv");
    #[rustfmt::skip]
    ffmpeg(&wide, &[
        "-f", "lavfi", "-i", "testsrc2=size=72x58:rate=10:duration=3", "-vf", "setsar=2/1", "-c:v", "mpeg4",
    ])?;
    let slow = video(&folder, "slow.mkv", "testsrc2=size=64x36:rate=1/5:duration=20")?;
    let odd = folder.path().join("odd.mkv");
    #[rustfmt::skip]
    ffmpeg(&odd, &[
        "-f", "lavfi", "-i", "testsrc2=size=33x35:rate=5:duration=2", "-c:v", "ffv1",
    ])?;
    for (path, length, stills, size) in [
        (&one, Some("0.04"), 1, (64, 36)),
        (&one, Some("3600"), 1, (64, 36)),
        (&one, None, 1, (64, 36)),
        (&one, Some("a while"), 1, (64, 36)),
        (&wide, Some("3"), 3, (144, 58)),
        (&slow, Some("20"), 2, (64, 36)),
        (&odd, Some("2"), 2, (32, 34)),
    ] {
        let report = run(path, length, &json!({})).await;

        let found = report.artifacts.len();
        assert_eq!(found, stills, "{}: {:?}", path.display(), report.outcome);
        let told = still(&report, 0)?;
        assert_eq!((told["width"].as_u64(), told["height"].as_u64()), (Some(size.0), Some(size.1)));
    }
    Ok(())
}

#[tokio::test]
async fn a_video_that_is_cut_off_has_the_stills_that_are_left() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = video(&folder, "cut.mkv", "testsrc2=size=320x180:rate=24:duration=8")?;
    let length = fs::metadata(&path)?.len();
    fs::File::options().write(true).open(&path)?.set_len(length / 2)?;

    let report = run(&path, Some("8"), &json!({"count": 4})).await;

    let made = report.artifacts.len();
    assert!((1..4).contains(&made), "{:?}", report.outcome);
    let problem = report.text("still/problem").context("a problem")?;
    assert!(problem.starts_with(&format!("{} of 4 are missing", 4 - made)), "{problem}");
    Ok(())
}

#[tokio::test]
async fn what_has_no_video_is_skipped_and_what_is_broken_fails() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let text = folder.path().join("text.mkv");
    fs::write(&text, "this is no video")?;
    let empty = folder.path().join("empty.mkv");
    fs::write(&empty, "")?;
    let cover = folder.path().join("cover.mp3");
    #[rustfmt::skip]
    ffmpeg(&cover, &[
        "-f", "lavfi", "-i", "sine=duration=1", "-f", "lavfi", "-i", "testsrc=size=32x32:duration=1",
        "-map", "0", "-map", "1", "-frames:v", "1", "-c:v", "png", "-disposition:v", "attached_pic",
    ])?;

    let skipped = Bench::new(StillExtractor::guarded_by(guard())).run(&cover).await;
    let Ok(Outcome::Skipped { reason }) = &skipped.outcome else { panic!("{skipped:?}") };
    assert_eq!(reason, "no video in it");
    for (path, retryable, words) in [
        (text, false, "ffmpeg: "),
        (empty, false, "ffmpeg: "),
        (cover, false, "matches no streams"),
        (folder.path().join("gone.mkv"), true, "No such file"),
        (pipe_in(folder.path())?, false, "not a regular file"),
    ] {
        let report = run(&path, Some("6"), &json!({})).await;
        report.assert_failed(retryable, words);
        assert!(report.artifacts.is_empty());
    }
    Ok(())
}

#[tokio::test]
async fn ffmpeg_that_hangs_or_is_missing_is_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("film.mkv");
    fs::write(&path, "anything")?;
    let script = |name: &str, text: &str| -> Result<PathBuf> {
        let (source, program) = (folder.path().join("text"), folder.path().join(name));
        fs::write(&source, format!("#!/bin/sh\n{text}\n"))?;
        let done = Command::new("install").arg("-m755").args([&source, &program]).status()?;
        ensure!(done.success(), "install");
        Ok(program)
    };
    let version = "[ \"$1\" = -version ] && exit 0";
    for (program, retryable, words) in [
        (PathBuf::from("/nowhere/ffmpeg"), false, "could not start /nowhere/ffmpeg: No such file"),
        (script("crashes", &format!("{version}; kill -SEGV $$"))?, true, "ended by signal 11"),
        (script("silent", &format!("{version}; exit 0"))?, false, "found no frame in it"),
        (
            script("endless", &format!("{version}; exec cat /dev/zero"))?,
            false,
            "wrote more than 4194304 bytes",
        ),
        (
            script("mount", &format!("{version}; echo file:/a: Input/output error >&2; exit 1"))?,
            true,
            "Input/output error",
        ),
    ] {
        let settings = json!({"ffmpeg": program.to_string_lossy()});
        run(&path, Some("1"), &settings).await.assert_failed(retryable, words);
    }
    let refused = run(&path, Some("1"), &json!({"width": 5000})).await;
    refused.assert_failed(false, "`width` must be a whole number from 64 to 1920");
    Ok(())
}

/// As after the plugin `ffmpeg` has found a video of this length.
async fn run(path: &Path, length: Option<&str>, settings: &Value) -> Report {
    let codec = ("fileinfo/streamdetails/video/0/codec", "mpeg4");
    let length = length.map(|length| ("fileinfo/duration", length));
    Bench::new(StillExtractor::guarded_by(guard()))
        .settings(settings.clone())
        .existing([Some(codec), length].into_iter().flatten())
        .run(path)
        .await
}

fn still(report: &Report, n: usize) -> Result<Value> {
    let found = report.meta().get(format!("still/{n}").as_str());
    match found.with_context(|| format!("still {n}: {:?}", report.outcome))? {
        MetaValue::Json(value) => Ok(value.clone()),
        other @ (MetaValue::Text(_) | MetaValue::Set(_)) => anyhow::bail!("{other:?}"),
    }
}

fn video(folder: &TempDir, name: &str, source: &str) -> Result<PathBuf> {
    let path = folder.path().join(name);
    ffmpeg(&path, &["-f", "lavfi", "-i", source, "-c:v", "mpeg4", "-g", "6"])?;
    Ok(path)
}

fn ffmpeg(path: &Path, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-y"]).args(arguments).arg(path);
    ensure!(command.status().context("start ffmpeg")?.success(), "make {}", path.display());
    Ok(())
}
