//! `metafleet plugin test`: a plugin on files, in a fleet that goes with the command.

use integration_tests::cli::Up;
use integration_tests::eventually;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::Bench;

#[tokio::test]
async fn the_record_of_each_file_is_printed_and_nothing_is_left() -> anyhow::Result<()> {
    let bench = Bench::new(&json!({})).await?;
    let (done, skipped) = (
        bench.file("done.txt", r#"complete {"script/text/0/a": "ü"}"#)?,
        bench.file("skipped.txt", "skip nothing in it")?,
    );

    let arguments = bench.arguments(&[&done, &skipped, "--output", "json"]);
    let ended = bench.home.run(&arguments).await?.ok()?;

    let report: Value = ended.json()?;
    assert_eq!((&report["plugin"], &report["version"]), (&json!("script"), &json!("2.1.0")));
    assert!(report["readyMs"].as_u64().is_some_and(|ms| ms > 0), "{report:#}");
    let [first, second] = [&report["files"][0], &report["files"][1]];
    assert_eq!((&first["status"], &first["file"]), (&json!("completed"), &json!(done)));
    let record = &first["record"];
    assert_eq!((&record["status"], &record["attempt"]), (&json!("completed"), &json!(1)));
    assert_eq!(record["meta"]["script/text/0/a"], "ü", "{record:#}");
    assert!(first["totalMs"].is_u64() && record["durationMs"].is_u64(), "{first:#}");
    assert_eq!(second["status"], "skipped");
    assert_eq!(second["record"]["reason"], "nothing in it");

    let table = bench.home.run(&bench.arguments(&[&done])).await?.ok()?;
    for words in
        ["script 2.1.0 was ready after", "done.txt: completed in", "script/text/0/a  \"ü\""]
    {
        assert!(table.out.contains(words), "{words}: {table:?}");
    }
    assert_eq!(bench.left()?, Vec::<std::path::PathBuf>::new());
    Ok(())
}

#[tokio::test]
async fn a_failure_ends_badly_with_every_attempt_and_the_log() -> anyhow::Result<()> {
    let retry = json!({"retry": {"maxAttempts": 2, "delaysMs": [50]}});
    let bench = Bench::new(&retry).await?;
    let busy = bench.file("busy.txt", "retry the disk is busy")?;
    let broken = bench.file("broken.txt", "fail no film")?;

    let arguments = bench.arguments(&[&busy, &broken, "--output", "json"]);
    let ended = bench.home.run(&arguments).await?.ended(1)?;

    let report: Value = ended.json()?;
    let [first, second] = [&report["files"][0], &report["files"][1]];
    assert_eq!((&first["status"], &second["status"]), (&json!("failed"), &json!("failed")));
    assert_eq!(first["failedAttempts"][0]["attempt"], 1, "{first:#}");
    assert_eq!(first["failedAttempts"][0]["error"], "OSError: the disk is busy");
    assert_eq!((&first["record"]["attempt"], &second["record"]["attempt"]), (&json!(2), &json!(1)));
    assert_eq!(second["record"]["error"], "no film");
    ended.says("attempt 1 failed: OSError: the disk is busy")?;
    ended.says("the plugin has printed")?;
    Ok(())
}

#[tokio::test]
async fn dependencies_count_as_done_and_what_they_said_is_seen() -> anyhow::Result<()> {
    let needs = json!({"dependencies": ["ffmpeg", "file-info"], "reads": ["fileinfo/*"]});
    let bench = Bench::new(&needs).await?;
    let file = bench.file("film.txt", "complete")?;
    let existing = r#"{"fileinfo/duration": "12", "title": "not read"}"#;

    let arguments = bench.arguments(&[&file, "--existing", existing, "--output", "json"]);
    let report: Value = bench.home.run(&arguments).await?.ok()?.json()?;

    let meta = &report["files"][0]["record"]["meta"];
    assert_eq!(meta["script/existing"], json!({"fileinfo/duration": "12"}), "{report:#}");
    Ok(())
}

#[tokio::test]
async fn a_file_that_the_filter_keeps_away_is_told_and_no_failure() -> anyhow::Result<()> {
    let bench = Bench::new(&json!({"filter": {"extensions": ["mkv"]}})).await?;
    let file = bench.file("a.txt", "complete")?;

    let arguments = bench.arguments(&[&file, "--output", "json"]);
    let report: Value = bench.home.run(&arguments).await?.ok()?.json()?;

    assert_eq!(report["files"][0]["status"], "notWanted");
    assert_eq!(report["files"][0]["reason"], "extension `txt` does not match filter");
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_run_says_why_and_what_to_do() -> anyhow::Result<()> {
    let bench = Bench::new(&json!({})).await?;
    let file = bench.file("a.txt", "complete")?;
    let manifest = bench.manifest();
    let none = bench.home.file("none.txt");
    let test = ["plugin", "test", "--manifest", &manifest];
    let with =
        |more: &[&str]| [&test[..], more].concat().iter().map(|it| (*it).to_owned()).collect();
    let cases: [(Vec<String>, i32, &str); 7] = [
        (
            with(&[&file, "--", "sh", "-c", "echo on my way >&2; exit 3"]),
            1,
            "ended with exit code 3",
        ),
        (with(&[&file, "--", "/none/program"]), 1, "could not"),
        (with(&[&file]), 2, "no entryPoint, and no command follows `--`"),
        (with(&[&none, "--", "true"]), 3, "there is no file"),
        (with(&[&file, "--config", "speed=9", "--", "true"]), 2, "no such setting"),
        (with(&[&file, "--settings", "{", "--", "true"]), 2, "--settings:"),
        (bench.arguments(&[&file, "--config", "mode=bad"]), 1, "mode bad is not served"),
    ];
    for (arguments, code, words) in cases {
        let ended = bench.home.run(&arguments).await?.ended(code)?;
        ended.says(words)?;
        if words.contains("exit code 3") {
            ended.says("| on my way")?;
        }
    }
    bench.write_manifest(&json!({"priority": 5}))?;
    let ended = bench.home.run(&bench.arguments(&[&file])).await?.ended(2)?;
    ended.says("priority: 5 must be")?;
    ended.says("metafleet plugin check")?;
    assert_eq!(bench.left()?, Vec::<std::path::PathBuf>::new());
    Ok(())
}

#[tokio::test]
async fn a_change_starts_the_plugin_anew_and_ctrl_c_ends_all() -> anyhow::Result<()> {
    let bench = Bench::new(&json!({})).await?;
    let script = "complete {\"script/text/0/a\": \"one\"}\ncomplete {\"script/text/0/a\": \"two\"}";
    let file = bench.file("a.txt", script)?;
    let arguments = bench.arguments(&[&file, "--watch", "--output", "ndjson"]);
    let mut up = Up::start(&bench.home, &arguments)?;
    let reports = |up: &Up| -> Vec<Value> {
        let printed = up.printed();
        printed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    eventually("the first round", async || Ok((reports(&up).len() == 1).then_some(()))).await?;
    up.says("waiting for changes").await?;

    bench.write_manifest(&json!({"version": "2.2.0"}))?;

    eventually("the second round", async || Ok((reports(&up).len() == 2).then_some(()))).await?;
    let seen: Vec<_> = reports(&up)
        .iter()
        .map(|report| {
            let record = &report["files"][0]["record"];
            let instance = record["instance"].as_str().unwrap_or_default().to_owned();
            (record["pluginVersion"].clone(), record["meta"]["script/text/0/a"].clone(), instance)
        })
        .collect();
    assert_eq!(
        seen,
        [
            (json!("2.1.0"), json!("one"), "test-script-1".to_owned()),
            (json!("2.2.0"), json!("two"), "test-script-2".to_owned()),
        ]
    );
    up.says("manifest.json changed, starting anew").await?;
    up.signal(Signal::INT)?;
    assert_eq!(up.ended().await?, Some(130), "{}", up.said());
    assert_eq!(bench.left()?, Vec::<std::path::PathBuf>::new());
    Ok(())
}
