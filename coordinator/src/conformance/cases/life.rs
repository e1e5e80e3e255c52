//! Signs of life, and how a worker ends.

use std::time::Duration;

use anyhow::ensure;
use rustix::process::Signal;
use serde_json::json;

use super::check;
use crate::conformance::case::{Case, table};
use crate::conformance::judge;
use crate::conformance::seen::{Seen, What};
use crate::conformance::stage::{HEARTBEAT, SOON, Stage};

pub(super) const CASES: &[Case] = table! { Any;
    "sign-of-life" 6 sign_of_life:
        "At every `heartbeatMs` an instance publishes its sign of life, with all that is required.";
    "says-goodbye" 6 goodbye:
        "An instance that leaves takes its sign of life down.";
    "sigterm-when-idle" 14 sigterm:
        "On SIGTERM a worker drains and ends with exit code 0.";
    "drains-when-told" 15 drain:
        "On the request `drain` a worker drains and ends with exit code 0.";
    "places-of-the-operator" 4 places:
        "A worker runs as many tasks at once as the answer allows, and says so in its sign of life.";
    "places-of-the-environment" 2 own_places:
        "METAFLEET_CONCURRENCY goes before what the answer and the manifest say.";
    "keeps-to-its-permissions" 2 permissions:
        "A worker needs no other permissions than those that are listed.";
};

async fn sign_of_life(stage: &mut Stage) -> anyhow::Result<()> {
    let worker = stage.serve().await?;
    let first = stage.shows(&worker, "ready").await?;
    let manifest = &stage.about.manifest;
    let (plugin, version) = (manifest.id.as_str(), manifest.version.to_string());
    check(judge::sign_of_life(&first.json(), plugin, &worker.instance, &version))?;
    tokio::time::sleep(HEARTBEAT * 5).await;
    let life = stage.life(&worker)?;
    let at: Vec<Duration> = stage
        .tape
        .all(|seen| seen.subject == life && seen.at >= first.at)
        .iter()
        .map(|seen| seen.at)
        .collect();
    check(judge::period(&at, stage.tape.now(), HEARTBEAT * 3))
}

async fn goodbye(stage: &mut Stage) -> anyhow::Result<()> {
    let mut worker = stage.serve().await?;
    worker.signal(Signal::TERM).await?;
    worker.ended(SOON).await?;
    let life = stage.life(&worker)?;
    let gone = |seen: &Seen| seen.subject == life && seen.what == What::Life { gone: true };
    let what = format!("an empty message with the header `KV-Operation: DEL` on {life}");
    let seen = stage.tape.first(&what, Duration::from_secs(3), gone).await?;
    ensure!(seen.body.is_empty(), "the last sign of life is not empty");
    ensure!(
        seen.header("KV-Operation") == Some("DEL"),
        "its header KV-Operation is {:?}",
        seen.header("KV-Operation")
    );
    ensure!(last_is_gone(stage, &life), "it came back after its goodbye");
    Ok(())
}

fn last_is_gone(stage: &Stage, life: &str) -> bool {
    let all = stage.tape.all(|seen| seen.subject == life);
    all.last().is_none_or(|seen| seen.what == What::Life { gone: true })
}

async fn sigterm(stage: &mut Stage) -> anyhow::Result<()> {
    let mut worker = stage.serve().await?;
    let sent = stage.send_sample("one").await?;
    stage.settled(&sent).await?;
    worker.signal(Signal::TERM).await?;
    let status = worker.ended(SOON).await?;
    ensure!(status.code() == Some(0), "it ended with {status}, not with exit code 0");
    Ok(())
}

async fn drain(stage: &mut Stage) -> anyhow::Result<()> {
    let mut worker = stage.serve().await?;
    let said = stage.control(Some(&worker), r#"{"action": "drain"}"#).await?;
    check(judge::fields(&said, &[("success", true.into())]))?;
    let status = worker.ended(SOON).await?;
    ensure!(status.code() == Some(0), "it ended with {status}, not with exit code 0");
    Ok(())
}

async fn places(stage: &mut Stage) -> anyhow::Result<()> {
    stage.accept_with(&json!({"concurrency": 3}));
    let worker = stage.serve().await?;
    let life = stage.shows(&worker, "ready").await?;
    check(judge::fields(&life.json(), &[("concurrency", 3.into())]))
}

async fn own_places(stage: &mut Stage) -> anyhow::Result<()> {
    stage.accept_with(&json!({"concurrency": 3}));
    let worker = stage.serve_with(&[("METAFLEET_CONCURRENCY", "2")]).await?;
    let life = stage.shows(&worker, "ready").await?;
    check(judge::fields(&life.json(), &[("concurrency", 2.into())]))
}

async fn permissions(stage: &mut Stage) -> anyhow::Result<()> {
    let before = violations(stage);
    let mut worker = stage.serve().await?;
    let sent = stage.send_sample("one").await?;
    stage.settled(&sent).await?;
    worker.signal(Signal::TERM).await?;
    worker.ended(SOON).await?;
    let all = violations(stage);
    ensure!(
        all.len() == before.len(),
        "the broker refused it something: {}",
        all.last().map(String::as_str).unwrap_or_default()
    );
    Ok(())
}

/// What the broker has written about what it does not let anybody do.
fn violations(stage: &Stage) -> Vec<String> {
    let log = std::fs::read_to_string(&stage.lane.log).unwrap_or_default();
    // `Publish Violation - …` or `Subscription Violation - …`; only the client is told of permissions.
    log.lines().filter(|line| line.contains(" Violation - ")).map(str::to_owned).collect()
}
