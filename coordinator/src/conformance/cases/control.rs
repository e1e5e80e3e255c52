//! Control requests.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::json;

use super::check;
use crate::conformance::case::{Case, table};
use crate::conformance::judge;
use crate::conformance::seen::{Said, Seen, What, text};
use crate::conformance::stage::{SOON, Stage};
use crate::conformance::worker::Worker;

pub(super) const CASES: &[Case] = table! { Any;
    "answers-ping" 15 ping:
        "A request to an instance, or to all of a plugin, is answered with `success` and the instance.";
    "refuses-unknown-action" 15 unknown:
        "A request whose action is not known is answered with `success: false`.";
    "refuses-unreadable-request" 15 unreadable:
        "A request that cannot be read is answered with `success: false`.";
    "ignores-unknown-fields-in-requests" 22 more_fields:
        "Fields of a control request that nobody has heard of are ignored.";
    "takes-settings" 15 configure:
        "New settings by `configure` are taken, and the request is answered.";
    "announces-when-told" 15 announce:
        "On the request `announce` a worker announces itself again.";
    "pauses-and-resumes" 15 pause:
        "On `pause` a worker pulls nothing new and shows it; on `resume` it goes on.";
};

async fn succeeds(stage: &Stage, worker: &Worker, request: &str) -> anyhow::Result<()> {
    let said = stage.control(Some(worker), request).await?;
    let expected = [("success", true.into()), ("instance", worker.instance.as_str().into())];
    check(judge::fields(&said, &expected)).with_context(|| format!("the answer to {request}"))
}

async fn fails(stage: &Stage, worker: &Worker, request: &str) -> anyhow::Result<()> {
    let said = stage.control(Some(worker), request).await?;
    let expected = [("success", false.into()), ("instance", worker.instance.as_str().into())];
    check(judge::fields(&said, &expected)).with_context(|| format!("the answer to {request}"))?;
    ensure!(!text(&said, "error").is_empty(), "the answer to {request} says no `error`: {said}");
    Ok(())
}

async fn ping(stage: &mut Stage) -> anyhow::Result<()> {
    let worker = stage.serve().await?;
    succeeds(stage, &worker, r#"{"action": "ping"}"#).await?;
    let said = stage.control(None, r#"{"action": "ping"}"#).await?;
    check(judge::fields(&said, &[("success", true.into())]))
}

async fn unknown(stage: &mut Stage) -> anyhow::Result<()> {
    let worker = stage.serve().await?;
    fails(stage, &worker, r#"{"action": "dance"}"#).await?;
    succeeds(stage, &worker, r#"{"action": "ping"}"#).await
}

async fn unreadable(stage: &mut Stage) -> anyhow::Result<()> {
    let worker = stage.serve().await?;
    for request in ["ping", "[]", r#"{"do": "ping"}"#] {
        fails(stage, &worker, request).await?;
    }
    succeeds(stage, &worker, r#"{"action": "ping"}"#).await
}

async fn more_fields(stage: &mut Stage) -> anyhow::Result<()> {
    let worker = stage.serve().await?;
    succeeds(stage, &worker, r#"{"action": "ping", "unheard": {"of": [1, null]}}"#).await
}

async fn configure(stage: &mut Stage) -> anyhow::Result<()> {
    let worker = stage.serve().await?;
    let request = json!({"action": "configure", "settings": stage.settings()});
    succeeds(stage, &worker, &request.to_string()).await?;
    let sent = stage.send_sample("one").await?;
    stage.settled(&sent).await.map(drop)
}

async fn announce(stage: &mut Stage) -> anyhow::Result<()> {
    let worker = stage.serve().await?;
    let since = stage.tape.now();
    succeeds(stage, &worker, r#"{"action": "announce"}"#).await?;
    let announces = |seen: &Seen| seen.what == What::Announce;
    let again = stage.tape.after(since, "another announcement", SOON, announces).await?;
    check(judge::announcement(&again, stage.plugin().as_str(), &worker.instance))
}

async fn pause(stage: &mut Stage) -> anyhow::Result<()> {
    const MOST: Duration = Duration::from_secs(4);
    let worker = stage.serve().await?;
    let since = stage.tape.now();
    succeeds(stage, &worker, r#"{"action": "pause"}"#).await?;
    stage.shows_after(&worker, "paused", since).await?;
    // What is on its way may still arrive; a request that waits may still be answered.
    tokio::time::sleep(Duration::from_millis(700)).await;
    let quiet = stage.tape.now();
    let open = |stage: &Stage| judge::open_requests(&stage.requests(), stage.tape.now());
    while open(stage) > 0 && stage.tape.now() < quiet + MOST {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let answerable = open(stage) > 0;
    let sent = stage.send_sample("in-a-pause").await?;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let asked = stage.requests().iter().filter(|(at, _)| *at > quiet).count();
    ensure!(asked == 0, "it asked for tasks {asked} times while it was paused");
    if let Some(end) = stage.ended(&sent).filter(|_| !answerable) {
        anyhow::bail!("a task was answered with {} in a pause", end.said);
    }
    succeeds(stage, &worker, r#"{"action": "resume"}"#).await?;
    stage.shows_after(&worker, "ready", quiet).await?;
    // A late one may have been given back.
    let what = "the task to be settled after `resume`";
    let sequence = sent.sequence;
    stage
        .tape
        .wait(what, SOON, |all| {
            all.iter().find_map(|seen| {
                let (_, said) = seen.answer_to(sequence)?;
                let settled = said.is_final() && !matches!(said, Said::Nak(_));
                settled.then_some(())
            })
        })
        .await
}
