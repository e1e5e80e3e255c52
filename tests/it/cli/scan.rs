//! Scans without a fleet.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use anyhow::Context as _;
use broker_config::wire::event::{Fact, TaskCounts};
use integration_tests::cli::Home;
use integration_tests::heavy;
use serde_json::{Value, json};

use super::{counts_of_scan, file_events, ran};

#[tokio::test]
async fn a_scan_without_a_fleet_settles_every_file_and_the_same_again_does_nothing()
-> anyhow::Result<()> {
    let _place = heavy().await?;
    let home = Home::with_demo_library().await?;

    let (code, first) = home.scan(&[]).await?;

    assert_eq!(code, 6, "one video is broken: {first}");
    let keys = |value: &Value| value.as_object().map(|map| map.keys().cloned().collect());
    let expected = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    let top: Option<BTreeSet<String>> = keys(&first);
    assert_eq!(top, expected(&["dead", "files", "seconds", "settled", "tasks"]));
    let tasks: Option<BTreeSet<String>> = keys(&first["tasks"]);
    assert_eq!(tasks, expected(&["cached", "completed", "failed", "skipped"]));
    assert_eq!(
        (&first["files"], &first["settled"], &first["dead"]),
        (&json!(26), &json!(26), &json!(1))
    );
    let facts = home.events(1).await?;
    let mut told = TaskCounts::default();
    for (_, fact) in &facts {
        if let Fact::FileSettled { tasks, .. } = fact {
            told.add(*tasks);
        }
    }
    assert_eq!(first["tasks"], serde_json::to_value(told)?);
    assert_eq!(told.failed, 1);
    assert!(told.completed > 90, "{told:?}");
    let counts = counts_of_scan(&facts)?;
    assert_eq!((counts.files, counts.submitted, counts.hashed), (26, 26, 26));
    assert_eq!(file_events(&facts).len(), 26);
    assert_eq!(ran(&facts).len(), 25, "two files are the same");

    let since = home.next_event().await?;
    let (code, second) = home.scan(&[]).await?;

    assert_eq!(code, 0, "{second}");
    assert_eq!(second["tasks"], json!({"completed": 0, "skipped": 0, "failed": 0, "cached": 26}));
    assert_eq!((&second["settled"], &second["dead"]), (&json!(26), &json!(0)));
    let facts = home.events(since).await?;
    assert!(!facts.iter().any(|(_, fact)| fact.name().starts_with("task.")), "{facts:?}");
    let counts = counts_of_scan(&facts)?;
    assert_eq!((counts.unchanged, counts.submitted, counts.hashed_bytes), (26, 0, 0));

    let (code, forced) = home.scan(&["--force"]).await?;
    assert_eq!((code, &forced["tasks"]["cached"]), (6, &json!(0)), "all ran again: {forced}");
    Ok(())
}

#[tokio::test]
async fn two_scans_of_one_library_lose_nothing_and_run_nothing_twice() -> anyhow::Result<()> {
    let _place = heavy().await?;
    // From side by side to one that comes when the other is about to end.
    for apart in [0, 150, 400, 800] {
        let home = super::odd_home(&["completes"], 20)?;
        let library = home.file("");
        let arguments = ["scan", &library, "--wait", "--output", "json"];
        let second = async {
            tokio::time::sleep(Duration::from_millis(apart)).await;
            home.run(&arguments).await
        };

        let (first, second) = tokio::join!(home.run(&arguments), second);

        // The fleet of the first may end while the second speaks to it: that goes on by itself.
        for (which, scan) in [("first", first?), ("second", second?)] {
            assert_eq!(scan.code, Some(0), "{which}, {apart} ms apart: {scan:?}");
            let summary: Value = serde_json::from_str(scan.out.trim())?;
            assert_eq!(summary["settled"], 20, "{which}, {apart} ms apart: {scan:?}");
        }
        let calls = home.calls("odd")?;
        assert_eq!(calls.len(), 20, "{apart} ms apart");
        assert!(calls.values().all(|calls| *calls == 1), "run twice: {calls:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_scan_of_some_plugins_runs_those_and_what_they_need() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let home = Home::with_demo_library().await?;

    let (_, summary) = home.scan(&["--only", "ffmpeg", "--queue", "background"]).await?;

    assert_eq!(summary["settled"], 26);
    let plugins: BTreeSet<String> = ran(&home.events(1).await?).into_values().flatten().collect();
    assert_eq!(plugins, ["ffmpeg", "file-info"].map(str::to_owned).into());
    Ok(())
}

#[tokio::test]
async fn broken_files_and_odd_names_are_all_handled() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let home = Home::with_demo_library().await?;
    let raw = home.library().join(OsStr::from_bytes(b"caf\xe9 \xff.txt"));
    std::fs::write(&raw, "the name is not UTF-8")?;
    home.write("new\nline \u{1b}[31m.txt", "a name to steer a terminal with")?;

    let (_, summary) = home.scan(&[]).await?;
    assert_eq!(summary["settled"], 28, "{summary}");

    // What each plugin made of them: the text is no film whatever its name says.
    for (name, plugin, status) in [
        ("Odd/download interrupted.mp4", "ffmpeg", "failed"),
        ("Odd/download interrupted.mp4", "full-hash", "completed"),
        ("Odd/nothing at all.mkv", "file-info", "completed"),
        ("Odd/nothing at all.mkv", "full-hash", "completed"),
        ("Odd/not really a film.mp4", "file-info", "completed"),
        ("Anime/夜の信号 第04話.mkv", "ffmpeg", "completed"),
        ("Anime/夜の信号 第04話.mkv", "filename-parser", "completed"),
        ("Movies/Été à la mer (2020)/Été à la mer (2020).mp4", "ffmpeg", "completed"),
        ("new\nline \u{1b}[31m.txt", "full-hash", "completed"),
    ] {
        let shown: Value = home.json(&["file", "show", &home.file(name)]).await?;
        assert_eq!(shown["plugins"][plugin]["status"], status, "{plugin} on {name}: {shown}");
    }
    let text: Value = home.json(&["file", "show", &home.file("Odd/not really a film.mp4")]).await?;
    assert_eq!(text["mime"], "text/plain", "{text}");
    assert!(text["plugins"].get("ffmpeg").is_none(), "{text}");

    let files: Vec<Value> = home.json(&["file", "list"]).await?;
    let shown = raw.to_string_lossy().into_owned();
    let odd = files.iter().find(|file| file["path"] == shown.as_str()).context("it is listed")?;
    let cid = odd["cid"].as_str().context("a cid")?;
    let crc = home.run(&["meta", "get", cid, "--key", "crc32"]).await?;
    let hash = home.run(&["meta", "get", cid]).await?.ok()?;
    assert!(hash.out.contains("sha2-256") || hash.out.contains("sha256"), "{hash:?} {crc:?}");

    let table = home.run(&["file", "list"]).await?.ok()?;
    assert!(!table.out.contains('\u{1b}') && table.out.contains("new\\nline"), "{}", table.out);
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_read_is_reported_and_the_rest_goes_on() -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let home = super::odd_home(&["completes"], 5)?;
    home.write("closed.txt", "nobody may read this")?;
    home.write("closed/inside.txt", "nor that")?;
    for name in ["closed.txt", "closed"] {
        let none = std::fs::Permissions::from_mode(0o000);
        std::fs::set_permissions(home.library().join(name), none)?;
    }
    let drop = "--bounding-set=-dac_override,-dac_read_search";
    // Root may read everything unless it gives that up.
    let wrapper: &[&str] =
        if rustix::process::geteuid().is_root() { &["setpriv", drop] } else { &[] };
    let library = home.file("");
    let arguments = ["scan", &library, "--wait", "--output", "json"];

    let done =
        integration_tests::cli::home::finish(home.command_under(wrapper, &arguments)?).await?;

    for name in ["closed.txt", "closed"] {
        std::fs::set_permissions(
            home.library().join(name),
            std::fs::Permissions::from_mode(0o700),
        )?;
    }
    assert_eq!(done.code, Some(6), "{done:?}");
    done.says("library/closed cannot be read")?;
    done.says("library/closed.txt cannot be read")?;
    done.says("Permission denied")?;
    assert_eq!(done.json::<Value>()?["settled"], 5);
    assert_eq!(home.scan(&[]).await?.0, 0, "now that they can be read");
    assert_eq!(home.calls("odd")?.len(), 7);
    Ok(())
}
