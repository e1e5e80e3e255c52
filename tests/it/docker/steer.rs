//! Containers, steered through the API and from the command line.

use std::time::Duration;

use integration_tests::api::Api;
use integration_tests::cli::{Home, Up};
use integration_tests::docker::{Docker, add_odd, boxed};
use integration_tests::{eventually, heavy, within};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::fleet;

/// Stopping and making containers takes the engine some time.
const LONG: Duration = Duration::from_secs(120);

/// The containers of instances that run and take tasks.
fn containers(plugin: &Value) -> Vec<String> {
    let all = plugin["containers"].as_array().cloned().unwrap_or_default();
    let runs = |one: &&Value| one["status"] == "running" && one["healthy"] == true;
    let ids = all.iter().filter(runs).filter_map(|one| one["containerId"].as_str());
    ids.map(str::to_owned).collect()
}

async fn until(
    api: &Api,
    what: &str,
    is_so: impl Fn(&[String]) -> bool,
) -> anyhow::Result<Vec<String>> {
    within(LONG, what, async || {
        let plugin = api.get("/api/plugins/odd").await?;
        let all = containers(&plugin);
        let is_all = plugin["containers"].as_array().map(Vec::len) == Some(all.len());
        Ok(Some(all).filter(|all| is_all && is_so(all)))
    })
    .await
}

#[tokio::test]
async fn containers_are_scaled_restarted_and_read_from_outside() -> anyhow::Result<()> {
    let Some(docker) = Docker::get("steered").await? else { return Ok(()) };
    let _place = heavy().await?;
    let mut home = boxed(Home::new()?);
    let entry = add_odd(&mut home, "odd", &["tells", "key"]).await?;
    let (up, _look) = fleet(&home, &json!({"odd": entry}), 1, &[]).await?;
    let api = Api::of(&home)?;

    // One more comes, the first one stays.
    let first = until(&api, "one container", |all| all.len() == 1).await?;
    home.run(&["plugin", "scale", "odd", "2"]).await?.ok()?.says("2 instances of odd run")?;
    let two = until(&api, "two containers", |all| all.len() == 2).await?;
    assert!(two.contains(&first[0]), "the first one was touched");
    home.run(&["plugin", "scale", "odd", "1"]).await?.ok()?;
    let one = until(&api, "one container again", |all| all.len() == 1).await?;
    assert_eq!(one, first);
    within(LONG, "the other one to be removed", async || {
        Ok((docker.containers().await?.len() == 1).then_some(()))
    })
    .await?;

    // What it prints, in every form.
    let path = "/api/plugins/odd/instances/plugin-odd-1/logs";
    let mut events = api.log(&format!("{path}?follow&tail=0"), "text/event-stream").await?;
    events.says("\r\n\r\n").await?;
    let follow = Up::start(&home, &["plugin", "logs", "odd", "-f", "--tail", "50"])?;
    home.write("first.txt", "first")?;
    home.scan(&[]).await?;
    timeout(LONG, events.says("data: its key is not set\n\n")).await??;
    events.read.clear();
    let followed = async |count: usize| {
        let lines = || follow.printed().matches("its key is not set").count();
        eventually("the log to be followed", async || Ok((lines() >= count).then_some(()))).await
    };
    followed(1).await?;
    let read = home.run(&["plugin", "logs", "odd", "--instance", "plugin-odd-1"]).await?.ok()?;
    assert!(read.out.contains("its key is not set"), "{}", read.out);
    let ndjson = ["plugin", "logs", "odd", "--tail", "1", "--output", "ndjson"];
    let line: Value = home.run(&ndjson).await?.ok()?.json()?;
    assert_eq!(line["instance"], "plugin-odd-1");
    let none = api.send("GET", "/api/plugins/odd/instances/plugin-odd-2/logs", "").await?;
    assert_eq!(none.status, 404);

    // Started anew it is another container, and whoever follows it reads on.
    home.run(&["plugin", "restart", "odd"]).await?.ok()?;
    let anew = until(&api, "another container", |all| all.len() == 1 && all[0] != one[0]).await?;
    assert_eq!(anew.len(), 1);
    home.write("again.txt", "again")?;
    home.scan(&[]).await?;
    followed(2).await?;
    // A stream of events says now and then that it is there, so it alone would never give up.
    timeout(LONG, events.says("data: its key is not set\n\n")).await??;

    home.run(&["plugin", "disable", "odd"]).await?.ok()?;
    within(LONG, "no container", async || Ok(docker.containers().await?.is_empty().then_some(())))
        .await?;
    home.run(&["plugin", "enable", "odd"]).await?.ok()?;
    until(&api, "one container at last", |all| all.len() == 1).await?;
    up.stop().await?;
    docker.nothing_is_left().await
}

#[tokio::test]
async fn containers_that_have_done_their_tasks_are_replaced_and_nothing_runs_twice()
-> anyhow::Result<()> {
    const FILES: usize = 60;
    let Some(docker) = Docker::get("recycled").await? else { return Ok(()) };
    let _place = heavy().await?;
    let mut home = boxed(Home::new()?);
    home.write_many(FILES)?;
    let mut entry = add_odd(&mut home, "odd", &["slow", "300"]).await?;
    entry["instances"] = json!(2);
    entry["concurrency"] = json!(1);
    entry["recycle"] = json!({"afterTasks": 10});
    let (up, look) = fleet(&home, &json!({"odd": entry}), 1, &[]).await?;
    // The same container that is started again, or another one: both are fresh.
    let life = async |name: &str| {
        let found = docker.inspect(name).await?.unwrap_or_default();
        anyhow::Ok(found["State"]["StartedAt"].as_str().map(str::to_owned))
    };
    let first = within(LONG, "both containers", async || {
        let both = [life("plugin-odd-1").await?, life("plugin-odd-2").await?];
        Ok(both.iter().all(Option::is_some).then_some(both))
    })
    .await?;

    within(LONG, "both to be replaced", async || {
        let now = [life("plugin-odd-1").await?, life("plugin-odd-2").await?];
        let are_other = now.iter().zip(&first).all(|(now, first)| now.is_some() && now != first);
        Ok(are_other.then_some(()))
    })
    .await?;

    within(LONG, "all files", async || Ok((look.records().await?.len() == FILES).then_some(())))
        .await?;
    look.settled().await?;
    let calls = home.calls("odd")?;
    assert_eq!(calls.len(), FILES);
    assert!(calls.values().all(|times| *times == 1), "executed twice: {calls:?}");
    let records = look.records().await?;
    assert!(records.iter().all(|record| record.attempt == 1), "something was given back");
    up.stop().await?;
    docker.nothing_is_left().await
}
