//! Handlers that take long, hang, or lose their process.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use async_nats::HeaderMap;
use serde_json::json;

use super::{SOON, check};
use crate::conformance::case::{Case, table};
use crate::conformance::judge;
use crate::conformance::seen::{Said, Seen, number, text};
use crate::conformance::stage::{LEASE, Sent, Stage};

pub(super) const CASES: &[Case] = table! { Scripted;
    "keeps-lease-while-waiting" 8 waiting:
        "From the delivery until the answer +WPI comes before each third of the lease has passed.";
    "keeps-lease-while-blocked" 8 blocked:
        "A handler that blocks its thread does not lose its task.";
    "deadline" 10 deadline:
        "A handler that is over its deadline failed; trying again can help.";
    "hang-loses-lease" 8 hang:
        "Some seconds after the deadline the lease of a handler that hangs is renewed no more.";
    "reports-progress" 12 progress:
        "Progress goes out as a signal, with fraction and note.";
    "progress-timeout" 12 progress_timeout:
        "A handler that reports no progress for as long as the task allows failed.";
    "delivered-again-while-running" 8 again:
        "A task that is delivered again while it runs is not run twice; the newest delivery is answered.";
    "process-dies" 8 dies:
        "The task of a worker whose process dies is done by another one.";
    "broker-dies-meanwhile" 10 broker_dies:
        "A finished task waits for the broker: it is not failed because that was restarted.";
};

/// When the lease of a task was renewed.
fn renewals(stage: &Stage, sent: &Sent) -> Vec<Duration> {
    let renewed =
        |seen: &Seen| seen.answer_to(sent.sequence).is_some_and(|(_, said)| *said == Said::Renew);
    stage.tape.all(renewed).iter().map(|seen| seen.at).collect()
}

async fn waiting(stage: &mut Stage) -> anyhow::Result<()> {
    kept(stage, "wait").await
}

async fn blocked(stage: &mut Stage) -> anyhow::Result<()> {
    kept(stage, "block").await
}

async fn kept(stage: &mut Stage, verb: &str) -> anyhow::Result<()> {
    let _worker = stage.serve().await?;
    let sent = stage.send_script("long", &format!("{verb} {}", stage.gate().display())).await?;
    stage.called(&sent, 1).await?;
    let begun = stage.tape.now();
    tokio::time::sleep(LEASE * 5 / 2).await;
    let renewed = renewals(stage, &sent);
    stage.open_gate()?;
    let mut at = vec![begun];
    at.extend(&renewed);
    // Before each third; a busy machine may be late, a lost lease is not.
    check(judge::period(&at, stage.tape.now(), LEASE * 3 / 4))
        .context("the lease: one +WPI is as good as one sign of life here")?;
    let record = stage.completed(&sent).await?;
    check(judge::record(&record, &sent.body, sent.cid.as_str(), 1))?;
    let calls = stage.calls(&sent).len();
    ensure!(calls == 1, "the handler was called {calls} times");
    Ok(())
}

async fn deadline(stage: &mut Stage) -> anyhow::Result<()> {
    let _worker = stage.serve().await?;
    let lines = format!("wait {}\ncomplete", stage.gate().display());
    let draft = stage.task("slow", &stage.script("slow", &lines)?)?;
    let sent = stage.send(draft.with(json!({"deadlineMs": 1_500}))).await?;
    stage.called(&sent, 1).await?;
    let begun = stage.tape.now();
    let end = stage.end(&sent).await?;
    ensure!(matches!(end.said, Said::Nak(Some(_))), "it was answered with {}", end.said);
    let took = end.at.saturating_sub(begun);
    ensure!(took > Duration::from_secs(1), "it was failed after {} ms", took.as_millis());
    let signal = stage.signal("retrying", &sent).await?.json();
    check(judge::signal(&signal, "retrying", &sent.body, 1))?;
    let end = stage.end_of(&sent, 2).await?;
    ensure!(end.said == Said::Ack, "attempt 2 was answered with {}", end.said);
    Ok(())
}

async fn hang(stage: &mut Stage) -> anyhow::Result<()> {
    const DEADLINE: Duration = Duration::from_millis(1_500);
    const SOME_SECONDS: Duration = Duration::from_secs(8);
    let _worker = stage.serve().await?;
    let lines = format!("block {}\ncomplete", stage.gate().display());
    let draft = stage.task("hangs", &stage.script("hangs", &lines)?)?;
    let sent = stage.send(draft.with(json!({"deadlineMs": 1_500}))).await?;
    stage.called(&sent, 1).await?;
    let begun = stage.tape.now();
    // Given back or lost, it is done by whoever gets it next.
    let what = "the task to be done in another attempt";
    let done = |all: &[Seen]| {
        all.iter().find_map(|seen| {
            let (place, said) = seen.answer_to(sent.sequence)?;
            (place.delivered > 1 && *said == Said::Ack).then_some(())
        })
    };
    stage.tape.wait(what, SOON * 2, done).await?;
    let first = |seen: &Seen| {
        let answer = seen.answer_to(sent.sequence);
        answer.is_some_and(|(place, said)| place.delivered == 1 && *said == Said::Renew)
    };
    let last = stage.tape.all(first).last().map(|seen| seen.at.saturating_sub(begun));
    let last = last.unwrap_or_default();
    ensure!(
        last < DEADLINE + SOME_SECONDS,
        "+WPI still came {} ms after its begin",
        last.as_millis()
    );
    Ok(())
}

async fn progress(stage: &mut Stage) -> anyhow::Result<()> {
    let _worker = stage.serve().await?;
    let sent = stage.send_script("on", &format!("wait {}", stage.gate().display())).await?;
    let signal = stage.signal("progress", &sent).await?.json();
    check(judge::signal(&signal, "progress", &sent.body, 1))?;
    let expected = [("fraction", 0.5.into()), ("note", "waiting".into()), ("queue", "fast".into())];
    check(judge::fields(&signal, &expected))?;
    stage.open_gate()?;
    stage.completed(&sent).await.map(drop)
}

async fn progress_timeout(stage: &mut Stage) -> anyhow::Result<()> {
    let _worker = stage.serve().await?;
    let lines = format!("wait {}\ncomplete", stage.gate().display());
    let draft = stage.task("stands", &stage.script("stands", &lines)?)?;
    let sent = stage.send(draft.with(json!({"progressTimeoutMs": 1_000}))).await?;
    let signal = stage.signal("retrying", &sent).await?.json();
    check(judge::signal(&signal, "retrying", &sent.body, 1))?;
    let error = text(&signal, "error");
    ensure!(error.to_lowercase().contains("progress"), "the error does not say why: {error}");
    stage.open_gate()?;
    let end = stage.end_of(&sent, 2).await?;
    ensure!(end.said == Said::Ack, "attempt 2 was answered with {}", end.said);
    Ok(())
}

async fn again(stage: &mut Stage) -> anyhow::Result<()> {
    let _worker = stage.serve().await?;
    let sent = stage.send_script("twice", &format!("wait {}", stage.gate().display())).await?;
    stage.called(&sent, 1).await?;
    let renews = |seen: &Seen, delivery: u32| {
        let answer = seen.answer_to(sent.sequence);
        answer.is_some_and(|(place, said)| place.delivered == delivery && *said == Said::Renew)
    };
    let first = stage.tape.first("+WPI", SOON, |seen| renews(seen, 1)).await?;
    // The broker takes it as the worker's own word, and delivers the task again.
    let body = r#"-NAK {"delay": 1000000}"#.into();
    stage.client.publish_with_headers(first.subject, HeaderMap::new(), body).await?;
    let what = "+WPI to the second delivery";
    stage.tape.first(what, SOON, |seen| renews(seen, 2)).await?;
    let calls = stage.calls(&sent).len();
    ensure!(calls == 1, "the handler was called {calls} times");
    stage.open_gate()?;
    let end = stage.end_of(&sent, 2).await?;
    ensure!(end.said == Said::Ack, "the newest delivery was answered with {}", end.said);
    ensure!(stage.record(&sent).await?.is_some(), "there is no record");
    Ok(())
}

async fn dies(stage: &mut Stage) -> anyhow::Result<()> {
    let mut first = stage.serve().await?;
    let sent = stage.send_script("dies", "exit 9\ncomplete").await?;
    let status = first.ended(SOON).await?;
    if status.code() != Some(9) {
        bail!("the script says `exit 9`, and the process ended with {status}");
    }
    let second = stage.serve().await?;
    let end = stage.end_of(&sent, 2).await?;
    ensure!(end.said == Said::Ack, "delivery 2 was answered with {}", end.said);
    let record = stage.record(&sent).await?.context("there is no record")?;
    check(judge::fields(&record, &[("instance", second.instance.as_str().into())]))?;
    ensure!(number(&record, "attempt") == Some(2), "the lost lease did not count as an attempt");
    Ok(())
}

async fn broker_dies(stage: &mut Stage) -> anyhow::Result<()> {
    let mut worker = stage.serve().await?;
    let sent = stage.send_script("patient", &format!("wait {}", stage.gate().display())).await?;
    stage.called(&sent, 1).await?;
    stage.kill_broker().await?;
    stage.open_gate()?;
    // The broker may deliver it again before the worker is back.
    let acknowledged = |all: &[Seen]| {
        all.iter().find_map(|seen| {
            let (_, said) = seen.answer_to(sent.sequence)?;
            (*said == Said::Ack).then_some(())
        })
    };
    stage.tape.wait("the task to be acknowledged", SOON * 2, acknowledged).await?;
    ensure!(stage.record(&sent).await?.is_some(), "it was acknowledged, and there is no record");
    let failed = stage.tape.count(|seen| seen.is_signal("failed", sent.cid.as_str()));
    ensure!(failed == 0, "it was failed because the broker was away");
    let calls = stage.calls(&sent).len();
    ensure!(calls == 1, "the handler was called {calls} times");
    worker.lives()
}
