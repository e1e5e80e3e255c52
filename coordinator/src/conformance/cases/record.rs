//! Records, for every plugin that makes one.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use async_nats::HeaderMap;
use broker_config::header::{EXPECTED_LAST_SUBJECT_SEQUENCE as FENCE, TRACE_PARENT, TRACE_STATE};
use serde_json::{Value, json};

use super::check;
use crate::conformance::case::{Case, table};
use crate::conformance::judge;
use crate::conformance::seen::{Said, Seen};
use crate::conformance::stage::{LEASE, Sent, Stage};

pub(super) const CASES: &[Case] = table! { Any;
    "record-is-right" 11 right:
        "A record says task, file, version and attempt, and the fingerprint of the task unchanged.";
    "fence" 11 fence:
        "A record is published with the header Nats-Expected-Last-Subject-Sequence: the task's recordRevision.";
    "record-before-ack" 10 before_ack:
        "A task is acknowledged when its record is stored and not before; meanwhile its lease is renewed.";
    "second-writer" 11 second:
        "Who comes second writes nothing, and acknowledges the task.";
    "new-record-replaces" 11 replaces:
        "The record of a task with a recordRevision takes the place of the one before.";
    "copies-trace" 17 trace:
        "The headers traceparent and tracestate of a task go on in its record.";
};

/// The record as it was published.
async fn published(stage: &Stage, sent: &Sent) -> anyhow::Result<Seen> {
    stage.recorded(sent).await?;
    let of = |seen: &Seen| seen.is_record_of(sent.cid.as_str());
    stage.tape.first("the record to pass", Duration::from_secs(5), of).await
}

async fn right(stage: &mut Stage) -> anyhow::Result<()> {
    let worker = stage.serve().await?;
    let sent = stage.send_sample("one").await?;
    let seen = published(stage, &sent).await?;
    let record = seen.json();
    check(judge::record(&record, &sent.body, sent.cid.as_str(), 1))?;
    check(judge::fields(
        &record,
        &[
            ("pluginId", stage.plugin().as_str().into()),
            ("instance", worker.instance.as_str().into()),
        ],
    ))?;
    ensure!(seen.subject == stage.record_subject(&sent), "its key is {}", seen.subject);
    let rollup = seen.header("Nats-Rollup");
    ensure!(rollup.is_none(), "it carries the header Nats-Rollup");
    ensure!(
        !seen.reply.is_empty(),
        "it has no reply subject, so nobody knows whether it is stored"
    );
    let end = stage.end(&sent).await?;
    ensure!(end.said == Said::Ack, "it was answered with {}", end.said);
    Ok(())
}

async fn fence(stage: &mut Stage) -> anyhow::Result<()> {
    let _worker = stage.serve().await?;
    let sent = stage.send_sample("first").await?;
    let seen = published(stage, &sent).await?;
    let found = seen.header(FENCE);
    ensure!(found == Some("0"), "without a recordRevision the header {FENCE} is {found:?}, not 0");
    Ok(())
}

/// A record as another instance writes it; its sequence.
async fn write(stage: &Stage, sent: &Value, cid: &str, print: &str) -> anyhow::Result<u64> {
    let plugin = stage.plugin();
    let record = json!({
        "type": "metafleet.record.v1", "taskId": sent.get("taskId"), "pluginId": plugin,
        "cid": cid, "status": "completed", "fingerprint": print, "instance": "another",
    });
    let mut headers = HeaderMap::new();
    headers.insert(FENCE, "0");
    let subject = stage.names.record(&cid.parse()?, plugin);
    stage.put(subject, headers, record.to_string().into_bytes()).await
}

async fn replaces(stage: &mut Stage) -> anyhow::Result<()> {
    let _worker = stage.serve().await?;
    let (cid, file) = ("conformance:again", stage.sample("again")?);
    let task = json!({"taskId": "0b6f8a52-6c1d-8e0f-9a53-1f2d7c3b4a59"});
    let revision = write(stage, &task, cid, "older").await?;
    let draft = stage.task(cid, &file)?.with(json!({"recordRevision": revision}));
    let sent = stage.send(draft).await?;
    let end = stage.end(&sent).await?;
    let record = stage.record(&sent).await?.context("the record is gone")?;
    if record.get("instance") == Some(&"another".into()) {
        ensure!(end.said != Said::Ack, "it was acknowledged, and the older record is still there");
        return stage.recorded(&sent).await.map(drop);
    }
    check(judge::record(&record, &sent.body, cid, 1))?;
    let own = |seen: &Seen| seen.is_record_of(cid) && seen.header(FENCE) != Some("0");
    let seen = stage.tape.first("the new record to pass", Duration::from_secs(5), own).await?;
    let found = seen.header(FENCE).map(str::to_owned);
    ensure!(found == Some(revision.to_string()), "the header {FENCE} is {found:?}, not {revision}");
    Ok(())
}

async fn before_ack(stage: &mut Stage) -> anyhow::Result<()> {
    let _worker = stage.serve().await?;
    let sample = stage.send_sample("sample").await?;
    stage.recorded(&sample).await?;
    let refusing = stage.refuse_records().await?;
    let sent = stage.send_sample("one").await?;
    let of = |seen: &Seen| seen.is_record_of(sent.cid.as_str());
    let first = stage.tape.first("a record", super::SOON, of).await?;
    tokio::time::sleep(LEASE + LEASE / 3).await;
    if let Some(end) = stage.ended(&sent) {
        anyhow::bail!("{} was said while the stream of records took nothing", end.said);
    }
    let renewed = stage.tape.count(|seen| {
        seen.at > first.at
            && seen.answer_to(sent.sequence).is_some_and(|(_, said)| *said == Said::Renew)
    });
    ensure!(renewed >= 2, "the lease was renewed {renewed} times meanwhile");
    stage.take_again(refusing).await?;
    stage.recorded(&sent).await?;
    let end = stage.end(&sent).await?;
    ensure!(end.place.delivered == 1, "the task had to be delivered again");
    Ok(())
}

async fn second(stage: &mut Stage) -> anyhow::Result<()> {
    let _worker = stage.serve().await?;
    let sample = stage.send_sample("sample").await?;
    stage.recorded(&sample).await?;
    let cid = "conformance:second";
    let draft = stage.task(cid, &stage.sample("second")?)?;
    let task = json!({"taskId": "0b6f8a52-6c1d-8e0f-9a53-1f2d7c3b4a59"});
    let revision = write(stage, &task, cid, "of-the-first").await?;
    let sent = stage.send(draft).await?;
    let end = stage.end(&sent).await?;
    ensure!(end.said == Said::Ack, "it was answered with {}", end.said);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let subject = stage.record_subject(&sent);
    let stored = stage.stored(&stage.names.record_stream(), &subject).await?;
    let (_, record, sequence) = stored.context("the record of the first one is gone")?;
    ensure!(sequence == revision, "the record of the first one was overwritten: {record}");
    let tries = stage.tape.count(|seen| seen.is_record_of(cid)) - 1;
    ensure!(tries <= 1, "it tried to write {tries} times");
    Ok(())
}

async fn trace(stage: &mut Stage) -> anyhow::Result<()> {
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const STATE: &str = "vendor=conformance";
    let _worker = stage.serve().await?;
    let draft = stage.task("conformance:traced", &stage.sample("traced")?)?;
    let sent = stage.send(draft.header(TRACE_PARENT, PARENT).header(TRACE_STATE, STATE)).await?;
    let seen = published(stage, &sent).await?;
    check(judge::trace(seen.header(TRACE_PARENT), PARENT))?;
    let state = seen.header(TRACE_STATE);
    ensure!(
        state.is_some_and(|state| state.contains("conformance")),
        "the header tracestate is {state:?}"
    );
    Ok(())
}
