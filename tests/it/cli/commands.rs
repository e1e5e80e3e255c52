//! Commands that look at a running fleet, and those that hold and remove plugins.

use anyhow::Context as _;
use integration_tests::cli::{Home, Up};
use integration_tests::{eventually, heavy};
use serde_json::{Value, json};

use super::odd_home;

const HARBOUR: &str = "Movies/The Quiet Harbour (2019)/The Quiet Harbour (2019).mkv";

#[tokio::test]
async fn every_command_that_prints_data_prints_json_lines_and_plain_tables() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let home = Home::with_demo_library().await?;
    let (up, _look) = Up::fleet(&home, 10).await?;
    home.scan(&[]).await?;
    let film = home.file(HARBOUR);
    for (arguments, in_table) in [
        (vec!["status"], "PLUGIN"),
        (vec!["plugin", "list"], "filename-parser"),
        (vec!["plugin", "show", "ffmpeg"], "INSTANCE"),
        (vec!["file", "list"], "CID"),
        (vec!["file", "list", "library/Music", "--limit", "2"], "First Light"),
        (vec!["file", "show", &film], "jellyfin-nfo"),
        (vec!["meta", "get", &film], "Harbour"),
        (vec!["meta", "get", &film, "--provenance"], "VERSION"),
        (vec!["meta", "get", &film, "--key", "title"], "The Quiet Harbour"),
        (vec!["dead", "list"], "moov atom not found"),
        (vec!["dead", "show", "1"], "permanent"),
        (vec!["dead", "requeue", "--plugin", "language"], "0 requeued"),
        (vec!["broker", "check"], "as it should be"),
        (vec!["broker", "apply"], "nothing"),
        (vec!["broker", "render"], "MF_TASKS"),
        (
            vec!["event", "tail", "--since", "1", "--no-follow", "--type", "scan.*"],
            "scan.completed",
        ),
    ] {
        let table = home.run(&arguments).await?.ok()?;
        assert!(table.out.contains(in_table), "{arguments:?}: {}", table.out);
        assert!(!table.out.contains('\u{1b}'), "{arguments:?} has colours");
        assert_eq!(table.err, "", "{arguments:?} has nothing to say");
        for format in ["json", "ndjson"] {
            let arguments = [&arguments[..], &["--output", format]].concat();
            let done = home.run(&arguments).await?.ok()?;
            assert_eq!(done.err, "", "{arguments:?}");
            let mut documents = 0;
            for document in serde_json::Deserializer::from_str(&done.out).into_iter::<Value>() {
                document.with_context(|| format!("{arguments:?}: {}", done.out))?;
                documents += 1;
            }
            assert!(documents > 0, "{arguments:?}");
        }
    }
    up.stop().await
}

#[tokio::test]
async fn status_and_plugin_commands_tell_what_runs() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let home = Home::with_demo_library().await?;
    let library = format!("films={}", home.library().display());
    let (up, look) = Up::fleet_with(&home, 10, &["--library", &library]).await?;
    up.says("scan ends").await?;
    look.settled().await?;

    let status: Value = home.json(&["status"]).await?;
    assert_eq!((&status["running"], &status["dead"]), (&json!(true), &json!(1)), "{status}");
    assert_eq!(status["plugins"].as_array().map(Vec::len), Some(10));
    let plugins: Vec<Value> = home.json(&["plugin", "list"]).await?;
    let ffmpeg = plugins.iter().find(|row| row["id"] == "ffmpeg").context("ffmpeg")?;
    assert_eq!(
        (&ffmpeg["instances"], &ffmpeg["dependencies"], &ffmpeg["queue"]),
        (&json!(1), &json!(["file-info"]), &json!("fast"))
    );
    let shown: Value = home.json(&["plugin", "show", "full-hash"]).await?;
    assert_eq!(shown["manifest"]["queue"], "background", "{shown}");
    assert_eq!(shown["instances"][0]["state"], "ready", "{shown}");
    let files: Vec<Value> = home.json(&["file", "list"]).await?;
    assert_eq!(files.len(), 26);
    let files: Vec<Value> = home.json(&["file", "list", "library/Music"]).await?;
    assert_eq!(files.len(), 3);

    for missing in [
        vec!["plugin", "show", "nobody"],
        vec!["plugin", "pause", "nobody"],
        vec!["plugin", "remove", "nobody"],
        vec!["file", "show", "/no/such/file"],
        vec!["meta", "get", "/no/such/file"],
        vec!["dead", "show", "999"],
        vec!["dead", "requeue", "999"],
        vec!["dead", "drop", "999"],
    ] {
        let done = home.run(&missing).await?.ended(3)?;
        assert!(done.err.starts_with("error: ") && done.out.is_empty(), "{missing:?}: {done:?}");
    }
    let records = look.records().await?.len();
    up.stop().await?;

    let status: Value = home.json(&["status"]).await?;
    assert_eq!((&status["running"], &status["records"]), (&json!(false), &json!(records)));
    Ok(())
}

#[tokio::test]
async fn a_paused_plugin_holds_its_tasks_until_it_is_resumed() -> anyhow::Result<()> {
    let home = odd_home(&["completes"], 3)?;
    let (up, look) = Up::fleet(&home, 1).await?;

    home.run(&["plugin", "pause", "odd"]).await?.ok()?.says("odd is paused")?;
    home.run(&["plugin", "pause", "odd"]).await?.ok()?.says("was paused already")?;
    let library = home.file("");
    let late = home.run(&["scan", &library, "--wait", "--timeout", "1s"]).await?.ended(124)?;
    late.says("3 files not settled yet")?;
    let status: Value = home.json(&["status"]).await?;
    assert_eq!(status["plugins"][0]["paused"], true);
    assert_eq!((status["tasks"]["pending"].as_u64(), home.calls("odd")?.len()), (Some(3), 0));

    home.run(&["plugin", "resume", "odd"]).await?.ok()?.says("odd goes on")?;
    look.settled().await?;

    assert_eq!(home.calls("odd")?.len(), 3);
    let events = home.run(&["event", "tail", "--since", "1", "--no-follow", "--type", "plugin.*"]);
    let events = events.await?.ok()?.out;
    assert!(events.contains("plugin.paused") && events.contains("plugin.resumed"), "{events}");
    up.stop().await
}

#[tokio::test]
async fn a_removed_plugin_takes_no_part_until_it_announces_itself_again() -> anyhow::Result<()> {
    let mut home = odd_home(&["completes"], 2)?;
    super::add(&mut home, "other", &["completes"], &json!({}))?;
    home.scan(&[]).await?;
    std::fs::remove_dir_all(home.root().join("plugins/odd"))?;

    home.run(&["plugin", "remove", "odd"]).await?.ok()?.says("its records stay")?;

    let plugins: Vec<Value> = home.json(&["plugin", "list"]).await?;
    assert_eq!((plugins.len(), &plugins[0]["id"]), (1, &json!("other")));
    home.write("new.txt", "one more")?;
    let (code, summary) = home.scan(&[]).await?;
    assert_eq!((code, &summary["tasks"]["completed"]), (0, &json!(1)), "{summary}");
    let cid: Vec<Value> = home.json(&["file", "list", "--limit", "1"]).await?;
    let cid = cid[0]["cid"].as_str().context("a cid")?;
    let shown: Value = home.json(&["file", "show", cid]).await?;
    assert_eq!(shown["plugins"]["odd"]["status"], "completed", "{shown}");

    super::add(&mut home, "odd", &["completes"], &json!({}))?;
    let (code, summary) = home.scan(&[]).await?;
    assert_eq!((code, &summary["tasks"]["completed"]), (0, &json!(1)), "the new file: {summary}");
    Ok(())
}

#[tokio::test]
async fn events_are_followed_live_from_any_point_and_by_name() -> anyhow::Result<()> {
    let home = odd_home(&["completes"], 4)?;
    let (up, _look) = Up::fleet(&home, 1).await?;
    let tail = ["event", "tail", "--type", "file.settled", "--count", "4", "--output", "json"];
    let mut live = Up::start(&home, &[&tail[..], &["--since", "1"]].concat())?;

    home.scan(&[]).await?;

    assert_eq!(live.ended().await?, Some(0), "it ends after four: {}", live.said());
    let lines = |text: &str| -> anyhow::Result<Vec<Value>> {
        text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    };
    let settled = lines(&live.printed())?;
    assert_eq!(settled.len(), 4);
    assert!(settled.iter().all(|event| event["event"] == "file.settled"), "{settled:?}");
    let third = settled[2]["seq"].to_string();
    let at = settled[2]["at"].as_str().context("a time")?.to_owned();
    for (since, expected) in [(third.as_str(), 2), (at.as_str(), 1), ("10m", 4), ("0s", 0)] {
        let arguments = ["event", "tail", "--no-follow", "--since", since, "--output", "ndjson"];
        let done = home.run(&[&arguments[..], &["--type", "file.s*"]].concat()).await?.ok()?;
        let found = lines(&done.out)?.len();
        assert!(found >= expected && (since == at || found == expected), "{since}: {found}");
    }
    home.run(&["event", "tail", "--since", "yesterday"]).await?.ended(2)?.says("no sequence")?;

    let now = Up::start(&home, &["event", "tail", "--output", "json"])?;
    home.write("late.txt", "a late one")?;
    eventually("an event as it happens", async || {
        home.scan(&["--force"]).await?;
        Ok(now.printed().contains("file.settled").then_some(()))
    })
    .await?;
    up.stop().await
}
