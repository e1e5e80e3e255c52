//! Announcement, lanes and routes.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use broker_config::{Lane, Manifest};
use serde_json::json;

use super::check;
use crate::conformance::case::{Case, table};
use crate::conformance::judge;
use crate::conformance::seen::{Seen, What, consumers, record_subject, text};
use crate::conformance::stage::{NotApplicable, SOON, Stage, Word};

pub(super) const CASES: &[Case] = table! { Any;
    "announces-in-time" 4 in_time:
        "Once connected, a worker sends its announcement as a request, with all that is required.";
    "manifest-valid" 4 manifest_valid:
        "The manifest keeps the rules of its table.";
    "waits-to-be-accepted" 4 waits:
        "A worker that gets no answer asks again with pauses, and pulls nothing before it is accepted.";
    "rejected-ends" 4 rejected:
        "A rejected worker pulls nothing, and ends with exit code 5.";
    "wrong-plugin-ends" 2 wrong_plugin:
        "A worker that is not the plugin which METAFLEET_PLUGIN names ends with an error.";
    "paused-in-answer" 4 paused_in_answer:
        "A worker whose answer says `paused` pulls nothing until it is told otherwise.";
    "obeys-lane" 4 lane:
        "A worker that says `lanes` pulls from the lane of the answer; the outcome of a trial goes under a key of its own.";
    "serves-route" 4 route:
        "A worker with METAFLEET_ROUTE says so, and pulls only the tasks of that route.";
    "reconnects" 4 reconnects:
        "After every reconnect a worker announces itself again, and goes on.";
};

fn announces(seen: &Seen) -> bool {
    seen.what == What::Announce
}

fn pulls(seen: &Seen) -> bool {
    seen.pull().is_some()
}

async fn in_time(stage: &mut Stage) -> anyhow::Result<()> {
    let worker = stage.start(&[]).await?;
    let seen = stage.tape.first("an announcement", SOON, announces).await?;
    let own = stage.names.signal(stage.plugin(), "announce");
    ensure!(seen.subject == own, "the announcement went to {}, not to {own}", seen.subject);
    check(judge::announcement(&seen, stage.plugin().as_str(), &worker.instance))
}

async fn manifest_valid(stage: &mut Stage) -> anyhow::Result<()> {
    let _worker = stage.start(&[]).await?;
    let seen = stage.tape.first("an announcement", SOON, announces).await?.json();
    let manifest = seen.get("manifest").context("the announcement has no manifest")?;
    Manifest::from_json(&manifest.to_string())?;
    ensure!(
        manifest.get("dataSchema").is_some_and(serde_json::Value::is_object),
        "the manifest has no dataSchema"
    );
    Ok(())
}

async fn waits(stage: &mut Stage) -> anyhow::Result<()> {
    const MOST: usize = 40;
    stage.say(Word::Silence);
    let mut worker = stage.start(&[]).await?;
    let sent = stage.send_sample("early").await?;
    let what = "a second announcement, as the first one was not answered";
    stage
        .tape
        .wait(what, SOON, |all| all.iter().filter(|seen| announces(seen)).nth(1).map(drop))
        .await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    worker.lives()?;
    let asked = stage.tape.count(announces);
    ensure!(asked < MOST, "{asked} announcements in some seconds: there are no pauses");
    ensure!(stage.tape.count(pulls) == 0, "it pulled before it was accepted");
    stage.accept_with(&json!({}));
    stage.settled(&sent).await.map(drop)
}

async fn rejected(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say(Word::Rejected(vec!["conformance: it is to see what follows".to_owned()]));
    let mut worker = stage.start(&[]).await?;
    let status = worker.ended(SOON).await?;
    ensure!(status.code() == Some(5), "it ended with {status}, not with exit code 5");
    ensure!(stage.tape.count(pulls) == 0, "it pulled although it was rejected");
    Ok(())
}

async fn wrong_plugin(stage: &mut Stage) -> anyhow::Result<()> {
    let mut worker = stage.start(&[("METAFLEET_PLUGIN", "quite-another")]).await?;
    let status = worker.ended(SOON).await?;
    ensure!(!status.success(), "it ended with {status}, which is no error");
    ensure!(stage.tape.count(pulls) == 0, "it pulled all the same");
    Ok(())
}

async fn paused_in_answer(stage: &mut Stage) -> anyhow::Result<()> {
    stage.accept_with(&json!({"paused": true}));
    let worker = stage.start(&[]).await?;
    stage.shows(&worker, "paused").await?;
    let sent = stage.send_sample("waiting").await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    ensure!(stage.tape.count(pulls) == 0, "it pulled although the answer said `paused`");
    stage.accept_with(&json!({"paused": false}));
    let said = stage.control(Some(&worker), r#"{"action": "announce"}"#).await?;
    check(judge::fields(&said, &[("success", true.into())]))?;
    stage.shows(&worker, "ready").await?;
    stage.settled(&sent).await.map(drop)
}

/// The consumers that were asked for tasks.
fn asked(stage: &Stage) -> Vec<String> {
    let pulls = stage.tape.all(pulls);
    let mut names: Vec<String> =
        pulls.iter().filter_map(|seen| seen.pull()).map(|pull| pull.consumer.clone()).collect();
    names.sort();
    names.dedup();
    names
}

fn asked_only(stage: &Stage, lane: Lane) -> anyhow::Result<()> {
    let own = consumers(stage.plugin(), lane);
    match asked(stage).iter().find(|name| !own.contains(name)) {
        Some(other) => bail!("it pulled from {other}, and its own are {}", own.join(" and ")),
        None => Ok(()),
    }
}

async fn lane(stage: &mut Stage) -> anyhow::Result<()> {
    if !stage.about.lanes {
        return Err(NotApplicable("the worker does not say `lanes`".to_owned()).into());
    }
    stage.accept_with(&json!({"lane": "next"}));
    let _worker = stage.serve().await?;
    let file = stage.sample("tried")?;
    let draft = stage.task("conformance:tried", &file)?.lane(Lane::Next);
    let sent = stage.send(draft.with(json!({"trial": true, "lane": "next"}))).await?;
    stage.end(&sent).await?;
    asked_only(stage, Lane::Next)?;
    let own = stage.record_subject(&sent);
    let trial = record_subject(&stage.names, &sent.cid, &format!("{}_next", stage.plugin()));
    let written = stage.tape.all(|seen| matches!(seen.what, What::Record { .. }));
    if let Some(record) = written.first() {
        ensure!(record.subject == trial, "the outcome went to {}, not to {trial}", record.subject);
    }
    ensure!(written.iter().all(|seen| seen.subject != own), "the outcome became a record");
    Ok(())
}

async fn route(stage: &mut Stage) -> anyhow::Result<()> {
    let route = Lane::Route("gpu".parse()?);
    stage.accept_with(&json!({"lane": "gpu"}));
    let worker = stage.serve_with(&[("METAFLEET_ROUTE", "gpu")]).await?;
    let announced = stage.tape.first("an announcement", SOON, announces).await?;
    check(judge::fields(&announced.json(), &[("route", "gpu".into())]))?;
    let life = stage.shows(&worker, "ready").await?;
    check(judge::fields(&life.json(), &[("route", "gpu".into())]))?;
    let file = stage.sample("routed")?;
    let draft = stage.task("conformance:routed", &file)?.lane(route);
    let sent = stage.send(draft.with(json!({"lane": "gpu"}))).await?;
    stage.settled(&sent).await?;
    asked_only(stage, route)?;
    // There is no such route any more.
    stage.accept_with(&json!({}));
    let since = stage.tape.now();
    stage.control(Some(&worker), r#"{"action": "announce"}"#).await?;
    stage.tape.after(since, "another announcement", SOON, announces).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    asked_only(stage, route)
}

async fn reconnects(stage: &mut Stage) -> anyhow::Result<()> {
    let mut worker = stage.serve().await?;
    let first = stage.send_sample("before").await?;
    stage.settled(&first).await?;
    let since = stage.tape.now();
    stage.kill_broker().await?;
    stage.tape.after(since, "an announcement after the reconnect", SOON, announces).await?;
    worker.lives()?;
    let next = stage.send_sample("afterwards").await?;
    stage.settled(&next).await?;
    let life = stage.shows_after(&worker, "ready", since).await?;
    ensure!(text(&life.json(), "instance") == worker.instance, "it has another name now");
    Ok(())
}
