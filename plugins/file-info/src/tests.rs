use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use worker_sdk::testing::{Bench, pipe_in};

use super::*;

#[tokio::test]
async fn real_files_are_known_by_their_content_whatever_their_name() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for (name, format, input, mime, kind) in [
        ("film.txt", "matroska", VIDEO, "video/x-matroska", "video"),
        ("film.mkv", "webm", WEBM, "video/webm", "video"),
        ("clip.avi", "mp4", VIDEO, "video/mp4", "video"),
        ("stream.bin", "mpegts", VIDEO, "video/mp2t", "video"),
        ("song.mkv", "flac", AUDIO, "audio/flac", "audio"),
        ("song", "wav", AUDIO, "audio/wav", "audio"),
        ("picture.mp3", "image2", PICTURE, "image/png", "image"),
    ] {
        let path = folder.path().join(name);
        make(&path, format, input)?;

        let report = Bench::new(FileInfo).run(&path).await;

        let size = fs::metadata(&path)?.len().to_string();
        assert_eq!(report.text("file/mime"), Some(mime), "{name}: {:?}", report.outcome);
        assert_eq!(report.text("file/type"), Some(kind), "{name}");
        assert_eq!(report.text("file/size"), Some(size.as_str()), "{name}");
        assert_eq!(report.text("file/name"), Some(name));
    }
    Ok(())
}

#[tokio::test]
async fn an_empty_file_and_one_without_extension_are_described_too() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("nothing at all");
    fs::write(&path, "")?;
    let file = File::options().write(true).open(&path)?;
    let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_704_067_200);
    file.set_modified(time)?;

    let report = Bench::new(FileInfo).run(&path).await;

    assert_eq!(report.text("file/mime"), Some(mime::EMPTY), "{:?}", report.outcome);
    assert_eq!(report.text("file/type"), Some("other"));
    assert_eq!(report.text("file/size"), Some("0"));
    assert_eq!(report.text("file/extension"), None);
    assert_eq!(report.text("file/modified"), Some("2024-01-01T00:00:00Z"));
    Ok(())
}

#[tokio::test]
async fn a_name_that_is_not_utf8_leads_to_its_file() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join(OsStr::from_bytes(b"caf\xe9.TXT"));
    fs::write(&path, "words")?;

    let report = Bench::new(FileInfo).run(&path).await;

    assert_eq!(report.text("file/size"), Some("5"), "{:?}", report.outcome);
    assert_eq!(report.text("file/name"), Some("caf\u{fffd}.TXT"));
    assert_eq!(report.text("file/extension"), Some("txt"));
    Ok(())
}

#[tokio::test]
async fn the_finder_is_believed_where_the_content_says_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("thing");
    for (content, expected) in
        [(b"\x00\x01\x02".as_slice(), "video/x-custom"), (b"plain words", "text/plain")]
    {
        fs::write(&path, content)?;

        let report =
            Bench::new(FileInfo).existing([("file/mime", "video/x-custom")]).run(&path).await;

        assert_eq!(report.text("file/mime"), Some(expected), "{content:?}: {:?}", report.outcome);
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_read_is_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for (path, retryable, words) in [
        (folder.path().join("gone"), true, "gone: No such file"),
        (folder.path().to_owned(), false, "is not a regular file"),
        (pipe_in(folder.path())?, false, "pipe is not a regular file"),
    ] {
        Bench::new(FileInfo).run(&path).await.assert_failed(retryable, words);
    }
    Ok(())
}

const VIDEO: &[&str] = &["testsrc=size=64x36:rate=10:duration=1", "-c:v", "mpeg4"];
const WEBM: &[&str] =
    &["testsrc=size=64x36:rate=10:duration=1", "-c:v", "libvpx", "-deadline", "realtime"];
const AUDIO: &[&str] = &["sine=duration=1"];
const PICTURE: &[&str] = &["testsrc=size=64x36", "-frames:v", "1", "-update", "1", "-c:v", "png"];

fn make(path: &Path, format: &str, input: &[&str]) -> Result<()> {
    let status = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i"])
        .args(input)
        .args(["-f", format])
        .arg(path)
        .status()
        .context("start ffmpeg")?;
    ensure!(status.success(), "ffmpeg could not make {}", path.display());
    Ok(())
}
