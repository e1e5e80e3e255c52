//! Plugins that make files: stills and subtitles of a film, as artefacts and as files that are handed
//! in; and the command that prints what they have made.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use broker_config::{Artifact, Cid, Lane, RecordStatus};
use bytes::Bytes;
use integration_tests::cli::{Home, Look, Up, staged};
use integration_tests::terminal::on_terminal;
use integration_tests::{docker, heavy};
use serde_json::{Value, json};
use tokio::process::Command;

const FILM: &str = "Films/film.mkv";
/// The folder for subtitle files, in the library.
const MADE: &str = "Subtitles";
/// What makes files, and what it needs.
const PLUGINS: [(&str, &str); 5] = [
    ("file-info", "plugins"),
    ("ffmpeg", "plugins"),
    ("subtitle", "plugins"),
    ("still-extractor", "plugins"),
    ("subtitle-extractor", "other-plugins"),
];

/// A fleet of these plugins over a library with a film that has two subtitles.
async fn makers() -> Result<(Home, Up, Look)> {
    let home = Home::new()?;
    film(&home).await?;
    let (plugins, made) = (home.root().join("makers"), home.library().join(MADE));
    std::fs::create_dir_all(&plugins)?;
    std::fs::create_dir_all(&made)?;
    for (id, folder) in PLUGINS {
        std::os::unix::fs::symlink(staged(&format!("{folder}/{id}"))?, plugins.join(id))?;
    }
    let home = home.with_var("METAFLEET_PLUGIN_PATH", plugins.to_string_lossy());
    let entries = json!({"subtitle-extractor": {
        "config": {"outputFolder": made},
        "permissions": ["filesystem.write"],
        "mounts": [format!("{0}:{0}:rw", made.display())],
    }});
    let mut more = docker::plugins_file(&home, &entries)?;
    more.extend(["--library".to_owned(), format!("films={}", home.library().display())]);
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    let (up, look) = Up::fleet_with(&home, PLUGINS.len(), &more).await?;
    look.first_scan().await?;
    look.settled().await?;
    Ok((home, up, look))
}

async fn film(home: &Home) -> Result<()> {
    home.write(
        "in.srt",
        "1\n00:00:00,100 --> 00:00:00,900\nHallo\n\n2\n00:00:02,000 --> 00:00:03,000\nda\n",
    )?;
    let (text, path) = (home.library().join("in.srt"), home.library().join(FILM));
    std::fs::create_dir_all(path.parent().context("a folder")?)?;
    let mut ffmpeg = Command::new("ffmpeg");
    #[rustfmt::skip]
    ffmpeg.args(["-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=24:duration=6", "-i"])
        .arg(&text)
        .args(["-map", "0", "-map", "1", "-map", "1", "-c:v", "mpeg4", "-c:s:0", "srt", "-c:s:1", "ass"])
        .args(["-metadata:s:s:0", "language=eng", "-metadata:s:s:1", "language=ger", "-disposition:s:1", "forced"])
        .arg(&path);
    ensure!(ffmpeg.status().await?.success(), "make {}", path.display());
    Ok(std::fs::remove_file(text)?)
}

/// The bytes that the command prints.
async fn printed(home: &Home, arguments: &[&str]) -> Result<Vec<u8>> {
    let mut command = home.command(&[&["file", "artifact"], arguments].concat())?;
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}

/// What is in the folder for subtitle files, and when it was written.
fn made(home: &Home) -> Result<BTreeMap<PathBuf, SystemTime>> {
    let entries = std::fs::read_dir(home.library().join(MADE))?;
    entries
        .map(|entry| {
            let entry = entry?;
            Ok((entry.path(), entry.metadata()?.modified()?))
        })
        .collect()
}

async fn meta(home: &Home, file: &str) -> Result<BTreeMap<String, Value>> {
    home.json(&["meta", "get", file]).await
}

/// How a plugin ended on a file.
async fn status(look: &Look, cid: &str, plugin: &str) -> Result<Option<RecordStatus>> {
    let records = look.records().await?;
    let of = |record: &&broker_config::Record| {
        record.cid.as_str() == cid && record.plugin_id.as_str() == plugin
    };
    Ok(records.iter().find(of).map(|record| record.status))
}

async fn cid_of(home: &Home, path: &str) -> Result<String> {
    let shown: Value = home.json(&["file", "show", path]).await?;
    Ok(shown["cid"].as_str().with_context(|| shown.to_string())?.to_owned())
}

#[tokio::test]
async fn stills_and_subtitles_are_kept_handed_in_and_never_made_again() -> Result<()> {
    let _place = heavy().await?;
    let (home, up, look) = makers().await?;
    let film = home.file(FILM);

    let found = meta(&home, &film).await?;
    assert_eq!(found.get("still/count"), Some(&json!("3")), "{found:?}");
    assert_eq!(found.get("subtitle/extractedCount"), Some(&json!("2")), "{found:?}");
    for (key, plugin) in [
        ("still/0", "still-extractor"),
        ("still/2", "still-extractor"),
        ("subtitle/embedded/0/artifact", "subtitle-extractor"),
        ("subtitle/embedded/1/artifact", "subtitle-extractor"),
    ] {
        let told: Artifact = serde_json::from_value(found[key].clone())?;
        let bytes = printed(&home, &[&film, plugin, told.artifact.as_str()]).await?;
        assert!(told.is_of(&bytes), "{key}: {told:?} is not {} bytes", bytes.len());
    }

    let cid = cid_of(&home, &film).await?;
    let files = made(&home)?;
    let names = ["0.eng.srt", "1.ger.forced.ass"].map(|name| format!("{cid}.{name}"));
    let paths: Vec<PathBuf> =
        names.iter().map(|name| home.library().join(MADE).join(name)).collect();
    assert_eq!(files.keys().collect::<Vec<_>>(), paths.iter().collect::<Vec<_>>());
    for (path, language, forced) in [(&paths[0], "en", "false"), (&paths[1], "de", "true")] {
        // By its content: no scan has seen it yet.
        let derived = broker_config::midhash::of_file(path)?.to_string();
        assert_ne!(derived, cid);
        let found = meta(&home, &derived).await?;
        assert_eq!(found.get("subtitle/language"), Some(&json!(language)), "{found:?}");
        assert_eq!(found.get("subtitle/forced"), Some(&json!(forced)), "{found:?}");
        assert_eq!(found.get("subtitle/cues"), Some(&json!("2")), "{found:?}");
        let again = status(&look, &derived, "subtitle-extractor").await?;
        assert_ne!(again, Some(RecordStatus::Completed), "{}", path.display());
    }

    // What was handed in is found by the scan as well, and is known.
    let tasks = look.tasks_published().await?;
    let (code, summary) = home.scan(&[]).await?;
    assert_eq!((code, &summary["tasks"]["completed"]), (0, &json!(0)), "{summary}");
    look.settled().await?;
    assert_eq!(look.tasks_published().await?, tasks, "nothing ran again");
    // Nor is anything written or handed in where the plugin does run again.
    home.scan(&["--force"]).await?;
    look.settled().await?;
    assert!(look.tasks_published().await? > tasks, "all of it ran again");
    assert_eq!(made(&home)?, files, "nothing was written again");

    // Even a film is left alone there.
    let copy = home.file(&format!("{MADE}/copy.mkv"));
    let mut bytes = std::fs::read(&film)?;
    bytes.extend(b"other content");
    std::fs::write(&copy, bytes)?;
    home.scan(&[]).await?;
    look.settled().await?;
    let copy = cid_of(&home, &copy).await?;
    assert_eq!(status(&look, &copy, "subtitle-extractor").await?, Some(RecordStatus::Skipped));
    assert_eq!(status(&look, &copy, "still-extractor").await?, Some(RecordStatus::Completed));
    assert_eq!(made(&home)?.len(), files.len() + 1, "only the copy came");
    drop(look);
    up.stop().await
}

#[tokio::test]
async fn an_artefact_is_printed_whole_or_it_is_said_why_not() -> Result<()> {
    let _place = heavy().await?;
    let (home, up, look) = makers().await?;
    let film = home.file(FILM);
    let cid = cid_of(&home, &film).await?;
    let still = [film.as_str(), "still-extractor", "still-0.jpg"];

    // To a file, by path and by content id.
    let bytes = printed(&home, &still).await?;
    assert_eq!(bytes, printed(&home, &[&cid, "still-extractor", "still-0.jpg"]).await?);
    let target = home.root().join("still.jpg");
    let mut command = home.command(&[&["file", "artifact"], &still[..]].concat())?;
    let done = command.stdout(std::fs::File::create(&target)?).status().await?;
    assert!(done.success() && std::fs::read(&target)? == bytes);

    // On a terminal, text and no pictures.
    let words = [&["file", "artifact"], &still[..]].concat();
    let (status, said) = on_terminal(home.command(&words)?).await?;
    assert_eq!(status.code(), Some(2), "{said}");
    assert!(said.contains("`still-0.jpg` is not plain text") && said.contains("> FILE"), "{said}");
    let words = ["file", "artifact", &film, "subtitle-extractor", "subtitle-0.srt"];
    let (status, shown) = on_terminal(home.command(&words)?).await?;
    assert!(status.success() && shown.contains("Hallo"), "{status}: {shown}");

    for (arguments, code, words) in [
        (
            [still[0], "still-extractor", "still-9.jpg"],
            3,
            "still-extractor has made no `still-9.jpg`",
        ),
        ([still[0], "subtitle-extractor", "still-0.jpg"], 3, "subtitle-extractor has made no"),
        ([still[0], "nobody", "still-0.jpg"], 3, "nobody has made no `still-0.jpg`"),
        (["/no/such/file", "still-extractor", "still-0.jpg"], 3, "no file `/no/such"),
        ([still[0], "Not A Plugin", "still-0.jpg"], 2, "Not A Plugin"),
        ([still[0], "still-extractor", ""], 2, "NAME"),
    ] {
        let done = home.run(&[&["file", "artifact"], &arguments[..]].concat()).await?;
        done.says(words)?;
        assert_eq!((done.code, done.out.as_str()), (Some(code), ""), "{arguments:?}");
    }

    // Somebody else's bytes under the name are not passed off as the plugin's.
    let (of, plugin) = (cid.parse::<Cid>()?, "still-extractor".parse()?);
    let subject = look.store.names().artifact(&of, &plugin, Lane::Main, &"still-0.jpg".parse()?);
    let other = Bytes::from_static(b"\xff\xd8 late");
    look.store.publisher().publish(subject, Default::default(), other).await?;
    let late = home.run(&[&["file", "artifact"], &still[..]].concat()).await?;
    late.says("these are not the bytes that still-extractor tells of as `still-0.jpg`")?;
    assert_eq!((late.code, late.out.as_str()), (Some(1), ""));
    drop(look);
    up.stop().await
}
