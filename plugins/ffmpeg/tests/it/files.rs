//! What the plugin says about files.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use plugin_ffmpeg::Ffmpeg;
use serde_json::json;
use worker_sdk::MetaValue;
use worker_sdk::testing::{Bench, Report, pipe_in};

use crate::guard;

#[tokio::test]
async fn a_film_with_every_kind_of_stream_is_described() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("film.mkv");
    make_film(folder.path(), &path)?;

    let report = probe(&path, "video/x-matroska").await;

    texts(
        &report,
        "fileinfo",
        &[
            ("formatName", "matroska"),
            ("streamCount", "5"),
            ("attachments", "1"),
            ("attachedPictures", "0"),
            ("chapterCount", "2"),
            ("tags/title", "The Film"),
            ("tags/date_released", "2019"),
        ],
    );
    texts(
        &report,
        "fileinfo/streamdetails/video/0",
        &[
            ("codec", "h264"),
            ("width", "64"),
            ("height", "36"),
            ("aspect", "16:9"),
            ("frameRate", "23.976"),
            ("pixelFormat", "yuv420p10le"),
            ("bitDepth", "10"),
            ("hdrType", "hlg"),
        ],
    );
    texts(
        &report,
        "fileinfo/streamdetails/audio",
        &[
            ("0/codec", "aac"),
            ("0/profile", "LC"),
            ("0/channels", "1"),
            ("0/channelLayout", "mono"),
            ("0/sampleRate", "44100"),
            ("0/language", "eng"),
            ("0/title", "Main"),
            ("0/default", "true"),
            ("1/codec", "flac"),
            ("1/bitDepth", "16"),
            ("1/language", "jpn"),
            ("1/default", "false"),
            ("1/commentary", "true"),
        ],
    );
    texts(
        &report,
        "fileinfo/streamdetails/subtitle",
        &[
            ("0/codec", "subrip"),
            ("0/language", "ger"),
            ("0/title", "Deutsch"),
            ("0/forced", "true"),
            ("0/hearingImpaired", "true"),
        ],
    );
    let set = |items: &[&str]| MetaValue::Set(items.iter().map(|&item| item.to_owned()).collect());
    assert_eq!(report.meta()["fileinfo/audioLanguages"], set(&["eng", "jpn"]));
    assert_eq!(report.meta()["fileinfo/subtitleLanguages"], set(&["ger"]));
    let chapters = json!([
        {"start": 0.0, "end": 0.4, "title": "One"},
        {"start": 0.4, "end": 1.0, "title": null},
    ]);
    assert_eq!(report.meta()["fileinfo/chapters"], MetaValue::Json(chapters));
    let duration: f64 = report.text("fileinfo/duration").context("duration")?.parse()?;
    assert!((1.0..1.3).contains(&duration), "{duration}");
    Ok(())
}

#[tokio::test]
async fn a_song_with_tags_and_a_cover_is_described() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("song.mp3");
    #[rustfmt::skip]
    ffmpeg(&path, &[
        "-f", "lavfi", "-i", "sine=duration=1", "-f", "lavfi", "-i", "testsrc=size=32x32:duration=1",
        "-map", "0", "-map", "1", "-frames:v", "1", "-c:v", "png", "-disposition:v", "attached_pic",
        "-c:a", "libmp3lame", "-b:a", "64k", "-metadata", "ARTIST=Somebody", "-metadata", "title=Été",
    ])?;

    let report = probe(&path, "audio/mpeg").await;

    texts(
        &report,
        "fileinfo",
        &[
            ("formatName", "mp3"),
            ("attachedPictures", "1"),
            ("tags/artist", "Somebody"),
            ("tags/title", "Été"),
            ("streamdetails/audio/0/codec", "mp3"),
            ("streamdetails/audio/0/bitRate", "64000"),
        ],
    );
    assert_eq!(report.text("fileinfo/streamdetails/video/0/codec"), None);
    Ok(())
}

#[tokio::test]
async fn any_name_is_only_a_name() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let good = folder.path().join("a.mkv");
    video(&good)?;
    for name in [
        b"-i".as_slice(),
        b"http:x.mkv",
        b"concat:a|b",
        b"%03d.mkv",
        b"caf\xe9\n.mkv",
        b"a 'b\".mkv",
    ] {
        let path = folder.path().join(OsStr::from_bytes(name));
        fs::copy(&good, &path)?;

        let report = probe(&path, "video/x-matroska").await;

        let codec = report.text("fileinfo/streamdetails/video/0/codec");
        assert_eq!(codec, Some("mpeg4"), "{}: {:?}", path.display(), report.outcome);
    }
    Ok(())
}

#[tokio::test]
async fn a_file_cut_short_is_described_as_far_as_possible_or_fails_for_good() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let matroska = folder.path().join("cut.mkv");
    video(&matroska)?;
    shorten(&matroska)?;
    let mp4 = folder.path().join("cut.mp4");
    video(&mp4)?;
    shorten(&mp4)?;

    let found = probe(&matroska, "video/x-matroska").await;
    let failed = probe(&mp4, "video/mp4").await;

    texts(&found, "fileinfo/streamdetails/video/0", &[("width", "64")]);
    let failure = failed.outcome.err().context("it was described")?;
    assert!(!failure.is_retryable());
    let words = "ffprobe: [mov,mp4,m4a,3gp,3g2,mj2] moov atom not found; \
        Invalid data found when processing input";
    assert_eq!(failure.to_string(), words);
    Ok(())
}

#[tokio::test]
async fn a_file_that_leads_elsewhere_is_not_followed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("list.ts");
    let list =
        "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n";
    fs::write(&path, list)?;

    let report = probe(&path, "video/mp2t").await;

    let failure = report.outcome.err().context("it was described")?;
    assert!(failure.to_string().contains("not on whitelist"), "{failure}");

    // Nor to another file of this machine, whatever its own name says.
    let other = folder.path().join("private.ts");
    video(&other)?;
    for (list, words) in [
        (
            "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nfile:private.ts\n#EXT-X-ENDLIST\n",
            "a list of other files (hls)",
        ),
        ("ffconcat version 1.0\nfile private.ts\n", "a list of other files (concat)"),
    ] {
        let path = folder.path().join("film.mkv");
        fs::write(&path, list.replace("file:private.ts", &format!("file:{}", text(&other)?)))?;
        probe(&path, "video/x-matroska").await.assert_failed(false, words);
    }
    Ok(())
}

#[tokio::test]
async fn ffprobe_that_is_missing_keeps_the_plugin_from_serving() {
    for (program, words) in [
        ("/nowhere/ffprobe", "could not start /nowhere/ffprobe: No such file"),
        ("/bin/false", "/bin/false does not work"),
    ] {
        let report = Bench::new(Ffmpeg::guarded_by(guard()))
            .settings(json!({"ffprobe": program}))
            .run("/x")
            .await;

        let failure = report.outcome.unwrap_err().to_string();
        assert!(failure.contains(words), "{failure}");
    }
}

#[tokio::test]
async fn what_is_not_a_file_is_refused_at_once() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for (path, retryable, words) in [
        (folder.path().join("gone.mkv"), true, "No such file"),
        (pipe_in(folder.path())?, false, "not a regular file"),
    ] {
        probe(&path, "video/x-matroska").await.assert_failed(retryable, words);
    }
    Ok(())
}

async fn probe(path: &Path, mime: &str) -> Report {
    Bench::new(Ffmpeg::guarded_by(guard())).existing([("file/mime", mime)]).run(path).await
}

fn texts(report: &Report, prefix: &str, expected: &[(&str, &str)]) {
    for (key, value) in expected {
        let key = format!("{prefix}/{key}");
        assert_eq!(report.text(&key), Some(*value), "{key}: {:?}", report.outcome);
    }
}

fn video(path: &Path) -> Result<()> {
    ffmpeg(path, &["-f", "lavfi", "-i", "testsrc=size=64x36:rate=10:duration=2", "-c:v", "mpeg4"])
}

fn shorten(path: &Path) -> Result<()> {
    let length = fs::metadata(path)?.len();
    Ok(fs::File::options().write(true).open(path)?.set_len(length * 6 / 10)?)
}

#[rustfmt::skip]
fn make_film(folder: &Path, path: &Path) -> Result<()> {
    let subtitle = folder.join("in.srt");
    fs::write(&subtitle, "1\n00:00:00,100 --> 00:00:00,900\nHallo\n")?;
    let chapters = folder.join("chapters.txt");
    fs::write(&chapters, ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=400\ntitle=One\n\
        [CHAPTER]\nTIMEBASE=1/1000\nSTART=400\nEND=1000\n")?;
    let font = folder.join("font.ttf");
    fs::write(&font, "not really a font")?;
    let (subtitle, chapters, font) = (text(&subtitle)?, text(&chapters)?, text(&font)?);
    ffmpeg(path, &[
        "-f", "lavfi", "-i", "testsrc2=size=64x36:rate=24000/1001:duration=1",
        "-f", "lavfi", "-i", "sine=duration=1",
        "-i", subtitle, "-i", chapters,
        "-map", "0", "-map", "1", "-map", "1", "-map", "2", "-map_chapters", "3",
        "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p10le",
        "-color_trc", "arib-std-b67", "-colorspace", "bt2020nc", "-color_primaries", "bt2020",
        "-c:a:0", "aac", "-c:a:1", "flac", "-c:s", "srt",
        "-metadata:s:a:0", "language=eng", "-metadata:s:a:0", "title=Main", "-disposition:a:0", "default",
        "-metadata:s:a:1", "language=jpn", "-disposition:a:1", "comment",
        "-metadata:s:s:0", "language=ger", "-metadata:s:s:0", "title=Deutsch",
        "-disposition:s:0", "forced+hearing_impaired",
        "-metadata", "title=The Film", "-metadata", "DATE_RELEASED=2019",
        "-attach", font, "-metadata:s:t:0", "mimetype=application/x-truetype-font",
    ])
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a temporary folder is UTF-8")
}

fn ffmpeg(path: &Path, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-y"]).args(arguments).arg(path);
    ensure!(command.status().context("start ffmpeg")?.success(), "make {}", path.display());
    Ok(())
}
