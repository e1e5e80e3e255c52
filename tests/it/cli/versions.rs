//! Two versions of a plugin as real processes, and the commands that put one in the other's place.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use broker_config::wire::event::Fact;
use coordinator::transition::share::takes;
use integration_tests::cli::{Home, Up, processes};
use integration_tests::{LIMIT, eventually, heavy, within};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::add;

const OLD: &str = "1.0.0";
const NEW: &str = "2.0.0";

/// A home whose plugin `odd` is there in its old version.
fn home(behaviour: &[&str]) -> anyhow::Result<Home> {
    let mut home = Home::new()?;
    add(&mut home, "odd", behaviour, &json!({ "version": OLD }))?;
    Ok(home)
}

fn add_new(home: &mut Home, behaviour: &[&str]) -> anyhow::Result<()> {
    add(home, "odd", behaviour, &json!({ "version": NEW }))
}

/// The files that a version has begun, by content id, and how often.
fn calls(home: &Home, version: &str) -> BTreeMap<String, usize> {
    let path = home.plugin_dir("odd", version).join("calls");
    let mut calls = BTreeMap::new();
    for line in std::fs::read_to_string(path).unwrap_or_default().lines() {
        let cid = line.split(' ').next().unwrap_or_default().to_owned();
        *calls.entry(cid).or_default() += 1;
    }
    calls
}

async fn shown(home: &Home) -> anyhow::Result<Value> {
    home.json(&["plugin", "show", "odd"]).await
}

/// Waits until no transition goes on; returns what is decided.
async fn ended(home: &Home) -> anyhow::Result<Value> {
    within(LIMIT * 2, "the transition to end", async || {
        let versions = shown(home).await?["versions"].clone();
        Ok((versions["transition"].is_null() && !versions["last"].is_null()).then_some(versions))
    })
    .await
}

/// Waits until the new version has announced itself.
async fn is_tried(home: &Home) -> anyhow::Result<()> {
    within(LIMIT * 2, "the new version to be there", async || {
        let transition = shown(home).await?["versions"]["transition"].clone();
        Ok((!transition["candidate"].is_null()).then_some(()))
    })
    .await
}

async fn transition(home: &Home, how: &str, more: &[&str]) -> anyhow::Result<()> {
    let arguments = ["plugin", "transition", "odd", "--to", NEW, "--how", how];
    home.run(&[&arguments[..], more].concat()).await?.ok().map(drop)
}

/// The version that wrote the record of each file.
async fn written_by(home: &Home, files: usize) -> anyhow::Result<BTreeMap<String, String>> {
    let mut by = BTreeMap::new();
    for n in 0..files {
        let path = home.file(&format!("{}/{n:04}.txt", n % 7));
        let file: Value = home.json(&["file", "show", &path]).await?;
        let record = &file["plugins"]["odd"];
        let cid = file["cid"].as_str().context("a content id")?.to_owned();
        let version = record["version"].as_str().with_context(|| format!("{file}"))?;
        by.insert(cid, version.to_owned());
    }
    Ok(by)
}

#[tokio::test]
async fn a_share_of_the_files_goes_to_a_process_of_the_new_version_and_kill_9_changes_nothing()
-> anyhow::Result<()> {
    const FILES: usize = 40;
    let _place = heavy().await?;
    let mut home = home(&["completes"])?;
    home.write("first.txt", "before")?;
    let (mut up, _look) = Up::fleet(&home, 1).await?;
    home.scan(&[]).await?;
    add_new(&mut home, &["completes"])?;
    transition(&home, "gradual", &["--steps", "30,100", "--min-tasks", "500"]).await?;
    is_tried(&home).await?;

    home.write_many(FILES / 2)?;
    let (code, summary) = home.scan(&[]).await?;
    assert_eq!(code, 0, "{summary}");
    let before: Vec<_> = processes::children(up.pid()?)?;
    up.signal(Signal::KILL)?;
    up.ended().await?;
    for process in before {
        process.gone().await?;
    }
    home.write_many(FILES)?;
    let (up, _look) = Up::fleet(&home, 1).await?;
    is_tried(&home).await?;
    let (code, summary) = home.scan(&[]).await?;

    assert_eq!(code, 0, "{summary}");
    let by = written_by(&home, FILES).await?;
    for (cid, version) in &by {
        let expected = if takes(30, &cid.parse()?) { NEW } else { OLD };
        assert_eq!(version, expected, "{cid}");
    }
    let (old, new) = (calls(&home, OLD), calls(&home, NEW));
    let both: BTreeSet<_> = old.keys().filter(|cid| new.contains_key(*cid)).collect();
    assert!(both.len() <= 1, "only the first file may have been done by both: {both:?}");

    home.run(&["plugin", "switch", "odd"]).await?.ok()?;
    let versions = ended(&home).await?;
    assert_eq!(versions["current"], NEW);
    let (code, summary) = home.scan(&[]).await?;
    assert_eq!(code, 0, "{summary}");
    assert!(written_by(&home, FILES).await?.values().all(|version| version == NEW));

    home.run(&["plugin", "rollback", "odd"]).await?.ok()?;
    let back = eventually("the version before to be back", async || {
        Ok((shown(&home).await?["manifest"]["version"] == OLD).then_some(()))
    });
    back.await?;
    let (code, summary) = home.scan(&[]).await?;
    assert_eq!(code, 0, "{summary}");
    assert!(written_by(&home, FILES).await?.values().all(|version| version == OLD));
    up.stop().await
}

#[tokio::test]
async fn immediate_stops_the_old_process_at_once_and_graceful_lets_it_finish() -> anyhow::Result<()>
{
    let _place = heavy().await?;
    for (how, done_by) in [("immediate", NEW), ("graceful", OLD)] {
        let mut home = home(&["slow", "6000"])?;
        home.write("film.txt", how)?;
        let (up, _look) = Up::fleet(&home, 1).await?;
        home.run(&["scan", &home.library().to_string_lossy()]).await?.ok()?;
        eventually("the old version to begin", async || {
            Ok((!calls(&home, OLD).is_empty()).then_some(()))
        })
        .await?;

        add_new(&mut home, &["completes"])?;
        transition(&home, how, &[]).await?;
        assert_eq!(ended(&home).await?["current"], NEW, "{how}");

        let path = home.file("film.txt");
        let version = eventually("the file to be done", async || {
            let file: Value = home.json(&["file", "show", &path]).await?;
            Ok(file["plugins"]["odd"]["version"].as_str().map(str::to_owned))
        });
        assert_eq!(version.await?, done_by, "{how}");
        let (code, summary) = home.scan(&[]).await?;
        assert_eq!(code, 0, "{how}: {summary}");
        let file: Value = home.json(&["file", "show", &path]).await?;
        assert_eq!(file["plugins"]["odd"]["version"], NEW, "{how}");
        up.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn blue_green_compares_known_files_and_the_operators_file_begins_it() -> anyhow::Result<()> {
    const FILES: usize = 6;
    let _place = heavy().await?;
    let mut home = home(&["completes"])?;
    home.write_many(FILES)?;
    let (up, _look) = Up::fleet(&home, 1).await?;
    home.scan(&[]).await?;
    add_new(&mut home, &["completes"])?;
    transition(&home, "blue-green", &["--sample", "4"]).await?;

    let diff = within(LIMIT, "four files to be compared", async || {
        let done = home.run(&["plugin", "diff", "odd", "--output", "json"]).await?;
        let diff: Option<Value> =
            done.json().ok().filter(|diff: &Value| diff["summary"]["compared"] == 4);
        Ok(diff)
    })
    .await?;
    assert_eq!(diff["summary"]["different"], 4, "{diff}");
    assert_eq!(diff["summary"]["keys"], json!({"odd/done": [0, 0, 4]}), "{diff}");
    let table = home.run(&["plugin", "diff", "odd"]).await?.ok()?.out;
    assert!(table.contains("~ odd/done = 1.0.0 → 2.0.0"), "{table}");
    assert!(written_by(&home, FILES).await?.values().all(|version| version == OLD));

    home.run(&["plugin", "rollback", "odd"]).await?.ok()?;
    assert_eq!(ended(&home).await?["current"], OLD);
    eventually("the new version to be gone", async || {
        let instances = shown(&home).await?["instances"].clone();
        Ok((instances.as_array().is_some_and(|all| all.len() == 1)).then_some(()))
    })
    .await?;
    home.run(&["plugin", "diff", "odd"]).await?.ended(3)?;

    // A third version is found, and the file says how it is to come.
    add(&mut home, "odd", &["completes"], &json!({ "version": "3.0.0" }))?;
    let text = "plugins: {odd: {transition: blue-green}}";
    std::fs::write(home.data().join("plugins.yml"), text)?;
    let begun = eventually("the transition to begin", async || {
        let to = shown(&home).await?["versions"]["transition"]["to"].clone();
        Ok((to == "3.0.0").then_some(()))
    });
    begun.await?;
    is_tried(&home).await?;
    let told = home.events(1).await?.into_iter().any(|(_, fact)| {
        matches!(fact, Fact::TransitionStarted { how, to, .. } if how == "blue-green" && to == "3.0.0")
    });
    assert!(told);
    up.stop().await
}
