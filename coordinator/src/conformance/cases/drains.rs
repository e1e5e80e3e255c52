//! Workers that are stopped while they have something in hand.

use std::time::Duration;

use anyhow::{bail, ensure};
use rustix::process::Signal;
use serde_json::json;

use super::{SOON, check};
use crate::conformance::case::{Case, table};
use crate::conformance::judge;
use crate::conformance::seen::Said;
use crate::conformance::stage::{Outcome, Stage};

pub(super) const CASES: &[Case] = table! { Scripted;
    "sigterm-finishes-what-runs" 14 finishes:
        "On SIGTERM what runs is finished, nothing new is begun, and the state `draining` is shown.";
    "grace-over-gives-back" 14 gives_back:
        "What runs when the grace period is over is given back with a -NAK of 0.1 s.";
    "grace-over-on-last-attempt" 14 gives_back_last:
        "On the last attempt giving back is the signal `deferred`, stored, and then +ACK.";
    "second-signal-ends" 14 second_signal:
        "A second signal ends the worker at once, with exit code 130.";
    "pause-leaves-running" 15 pause:
        "In a pause what runs goes on.";
};

async fn finishes(stage: &mut Stage) -> anyhow::Result<()> {
    let mut worker = stage.serve().await?;
    let running = stage.send_script("runs", &format!("wait {}", stage.gate().display())).await?;
    stage.called(&running, 1).await?;
    worker.signal(Signal::TERM).await?;
    stage.shows(&worker, "draining").await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let late = stage.send_script("late", "complete").await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    stage.open_gate()?;
    let status = worker.ended(SOON).await?;
    ensure!(status.code() == Some(0), "it ended with {status}, not with exit code 0");
    let record = stage.completed(&running).await?;
    check(judge::record(&record, &running.body, running.cid.as_str(), 1))?;
    ensure!(stage.calls(&late).is_empty(), "it began a task while it drained");
    if let Some(end) = stage.ended(&late) {
        let tenth = Said::Nak(Some(Duration::from_millis(100)));
        ensure!(end.said == tenth, "a late task was answered with {}", end.said);
    }
    let _other = stage.serve().await?;
    let what = "another worker to do what was not begun";
    stage
        .tape
        .first(what, SOON, |seen| {
            seen.answer_to(late.sequence).is_some_and(|(_, said)| *said == Said::Ack)
        })
        .await
        .map(drop)
}

async fn gives_back(stage: &mut Stage) -> anyhow::Result<()> {
    let mut worker = stage.serve_with(&[("METAFLEET_GRACE", "500ms")]).await?;
    let sent = stage.send_script("runs", &format!("wait {}", stage.gate().display())).await?;
    stage.called(&sent, 1).await?;
    worker.signal(Signal::TERM).await?;
    let status = worker.ended(SOON).await?;
    ensure!(status.code() == Some(0), "it ended with {status}, not with exit code 0");
    let end = stage.end(&sent).await?;
    let tenth = Said::Nak(Some(Duration::from_millis(100)));
    ensure!(end.said == tenth, "it was answered with {}", end.said);
    Ok(())
}

async fn gives_back_last(stage: &mut Stage) -> anyhow::Result<()> {
    let mut worker = stage.serve_with(&[("METAFLEET_GRACE", "500ms")]).await?;
    let script = format!("wait {}", stage.gate().display());
    let draft = stage.task("runs", &stage.script("runs", &script)?)?;
    let sent =
        stage.send(draft.with(json!({"retry": {"maxAttempts": 1, "delaysMs": [50]}}))).await?;
    stage.called(&sent, 1).await?;
    worker.signal(Signal::TERM).await?;
    let status = worker.ended(SOON).await?;
    ensure!(status.code() == Some(0), "it ended with {status}, not with exit code 0");
    let outcome = stage.outcome(&sent).await?;
    let Outcome::Deferred(signal) = outcome else { bail!("it ended as {}", outcome.word()) };
    check(judge::signal(&signal, "deferred", &sent.body, 1))?;
    check(judge::fields(&signal, &[("delayMs", 100.into()), ("attemptsUsed", 0.into())]))
}

async fn second_signal(stage: &mut Stage) -> anyhow::Result<()> {
    let mut worker = stage.serve_with(&[("METAFLEET_GRACE", "60")]).await?;
    let sent = stage.send_script("runs", &format!("wait {}", stage.gate().display())).await?;
    stage.called(&sent, 1).await?;
    worker.signal(Signal::TERM).await?;
    stage.shows(&worker, "draining").await?;
    worker.signal(Signal::TERM).await?;
    let status = worker.ended(SOON).await?;
    ensure!(status.code() == Some(130), "it ended with {status}, not with exit code 130");
    Ok(())
}

async fn pause(stage: &mut Stage) -> anyhow::Result<()> {
    let worker = stage.serve().await?;
    let sent = stage.send_script("runs", &format!("wait {}", stage.gate().display())).await?;
    stage.called(&sent, 1).await?;
    let since = stage.tape.now();
    stage.control(Some(&worker), r#"{"action": "pause"}"#).await?;
    stage.shows_after(&worker, "paused", since).await?;
    stage.open_gate()?;
    let record = stage.completed(&sent).await?;
    check(judge::record(&record, &sent.body, sent.cid.as_str(), 1))
}
