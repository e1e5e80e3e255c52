//! Tasks as they may come, for every plugin.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{bail, ensure};
use serde_json::{Value, json};

use super::check;
use crate::conformance::case::{Case, table};
use crate::conformance::files::Sample;
use crate::conformance::judge;
use crate::conformance::seen::{Said, Seen};
use crate::conformance::stage::{Outcome, Sent, Stage};
use crate::conformance::worker::Worker;

pub(super) const CASES: &[Case] = table! { Any;
    "ignores-unknown-fields" 22 unknown_fields:
        "Fields of a task that nobody has heard of are ignored.";
    "reads-the-least-task" 9 least:
        "A task with nothing but what is required is done.";
    "identity-from-subject" 3 identity:
        "Which plugin, file and queue a task is about is read from its subject, whatever its body says.";
    "survives-missing-file" 10 missing:
        "A file that is not there is a failure or nothing to say, not the end of the worker.";
    "unicode-names" 9 unicode:
        "Content ids and paths in any script are found.";
    "paths-that-are-not-utf-8" 9 bytes:
        "Where the task says `filePathBytes`, the file is found by those bytes.";
    "unknown-task-type" 22 unknown_type:
        "A task of an unknown `type` is not guessed at: it fails.";
    "unreadable-task" 9 garbage:
        "A body that is no task gets the signal `failed`, or at least +TERM with a reason; the worker goes on.";
    "other-version" 4 other_version:
        "A task for another version is given back with a delay of a second; +ACK where there is no further attempt.";
};

/// The worker still does tasks.
async fn goes_on(stage: &Stage, worker: &mut Worker) -> anyhow::Result<()> {
    let next = stage.send_sample("the-next-one").await?;
    let settled = stage.settled(&next).await;
    worker.lives()?;
    settled.map(drop)
}

async fn unknown_fields(stage: &mut Stage) -> anyhow::Result<()> {
    let _worker = stage.serve().await?;
    let plain = stage.send_sample("plain").await?;
    let usual = stage.settled(&plain).await?;
    let file = stage.sample("more")?;
    let mut facts = serde_json::to_value(&file.facts)?;
    let mut retry = serde_json::to_value(stage.about.manifest.retry_policy())?;
    for part in [&mut facts, &mut retry] {
        if let Some(part) = part.as_object_mut() {
            part.insert("unheard".to_owned(), json!([null, {"of": 1}]));
        }
    }
    let more = json!({"file": facts, "retry": retry, "unheard": {"of": [1, 2]}, "meta": null});
    let sent = stage.send(stage.task("more", &file)?.with(more)).await?;
    same(&usual, &stage.settled(&sent).await?)
}

/// Two files that are the same come to the same end.
fn same(usual: &Outcome, found: &Outcome) -> anyhow::Result<()> {
    ensure!(
        usual.word() == found.word(),
        "the task ended as {}, the same one in its usual form as {}: {found:?}",
        found.word(),
        usual.word()
    );
    Ok(())
}

async fn least(stage: &mut Stage) -> anyhow::Result<()> {
    let _worker = stage.serve().await?;
    let draft = stage.task("least", &stage.sample("least")?)?;
    let optional = ["file", "pluginVersion", "scanId", "depth"];
    let sent = stage.send(draft.without(&optional)).await?;
    stage.settled(&sent).await.map(drop)
}

async fn identity(stage: &mut Stage) -> anyhow::Result<()> {
    let _worker = stage.serve().await?;
    let draft = stage.task("conformance:true", &stage.sample("true")?)?;
    let sent = stage.send(draft.with(json!({"cid": "a-lie", "pluginId": "liar"}))).await?;
    let record = stage.recorded(&sent).await?;
    let cid = ("cid", Value::from("conformance:true"));
    let plugin = ("pluginId", Value::from(stage.plugin().as_str()));
    check(judge::fields(&record, &[cid, plugin]))?;
    let lie = stage.tape.count(|seen| seen.is_record_of("a-lie"));
    ensure!(lie == 0, "there is a record under the content id of the body");
    Ok(())
}

async fn missing(stage: &mut Stage) -> anyhow::Result<()> {
    let mut worker = stage.serve().await?;
    let file = stage.sample("gone")?;
    std::fs::remove_file(&file.path)?;
    let sent = stage.send(stage.task("gone", &file)?).await?;
    stage.settled(&sent).await?;
    goes_on(stage, &mut worker).await
}

async fn unicode(stage: &mut Stage) -> anyhow::Result<()> {
    let _worker = stage.serve().await?;
    let plain = stage.send_sample("plain").await?;
    let usual = stage.settled(&plain).await?;
    let file = stage.sample("Größe – 日本 😀 “x” *>='")?;
    let cid = "conformance:ünï.cödé/日本 *>=😀";
    let sent = stage.send(stage.task(cid, &file)?).await?;
    let outcome = stage.settled(&sent).await?;
    if let Outcome::Recorded(record) = &outcome {
        check(judge::fields(record, &[("cid", cid.into())]))?;
    }
    same(&usual, &outcome)
}

async fn bytes(stage: &mut Stage) -> anyhow::Result<()> {
    let _worker = stage.serve().await?;
    let plain = stage.send_sample("plain").await?;
    let usual = stage.settled(&plain).await?;
    let file = stage.sample("ordinary")?;
    let mut name = b"\xe6\x97\xa5 bad \xff\xfe.".to_vec();
    name.extend(file.facts.extension.as_bytes());
    let path = stage.folder.join(Path::new(OsStr::from_bytes(&name)));
    std::fs::rename(&file.path, &path)?;
    let facts =
        broker_config::FileFacts { name: String::from_utf8_lossy(&name).into(), ..file.facts };
    let sent = stage.send(stage.task("bytes", &Sample { path, facts })?).await?;
    same(&usual, &stage.settled(&sent).await?)?;
    let called = stage.calls(&sent).len();
    ensure!(!stage.about.scripted || called == 1, "the file was not found by its exact bytes");
    Ok(())
}

/// What cannot be a task ends as failed, and the worker goes on.
async fn refused(stage: &Stage, worker: &mut Worker, sent: &Sent) -> anyhow::Result<()> {
    let end = stage.end(sent).await?;
    let Said::Term(reason) = &end.said else { bail!("it was answered with {}", end.said) };
    let cid = sent.cid.as_str();
    let told = stage.tape.all(|seen| seen.is_signal("failed", cid));
    ensure!(!told.is_empty() || !reason.is_empty(), "neither a signal nor +TERM says why");
    ensure!(reason.len() <= 256, "the reason in +TERM has {} bytes", reason.len());
    if let Some(signal) = told.first() {
        check(judge::fields(&signal.json(), &[("permanent", true.into())]))?;
    }
    let records = stage.tape.count(|seen| seen.is_record_of(cid));
    ensure!(records == 0, "there is a record of it");
    ensure!(stage.calls(sent).is_empty(), "the handler was called with it");
    goes_on(stage, worker).await
}

async fn unknown_type(stage: &mut Stage) -> anyhow::Result<()> {
    let mut worker = stage.serve().await?;
    let draft = stage.task("conformance:strange", &stage.sample("strange")?)?;
    let sent = stage.send(draft.with(json!({"type": "metafleet.task.v9"}))).await?;
    refused(stage, &mut worker, &sent).await
}

async fn garbage(stage: &mut Stage) -> anyhow::Result<()> {
    let mut worker = stage.serve().await?;
    for (number, body) in [
        b"no JSON".as_slice(),
        b"{}",
        b"[1]",
        b"\xff\xfe",
        b"",
        br#"{"type": "metafleet.task.v1"}"#,
    ]
    .iter()
    .enumerate()
    {
        let cid = format!("conformance:garbage-{number}");
        let draft = stage.task(&cid, &stage.sample(&format!("garbage-{number}"))?)?;
        let sent = stage.send_garbage(draft, body).await?;
        let what = String::from_utf8_lossy(body).into_owned();
        refused(stage, &mut worker, &sent)
            .await
            .map_err(|error| error.context(format!("a task whose body is `{what}`")))?;
    }
    Ok(())
}

async fn other_version(stage: &mut Stage) -> anyhow::Result<()> {
    let _worker = stage.serve().await?;
    let draft = stage.task("conformance:other", &stage.sample("other")?)?;
    let draft = draft.with(json!({"pluginVersion": "0.0.1-of-another"}));
    let first = draft.clone().with(json!({"retry": {"maxAttempts": 9, "delaysMs": [50]}}));
    let sent = stage.send(first).await?;
    let end = stage.end(&sent).await?;
    let Said::Nak(Some(delay)) = end.said else { bail!("it was answered with {}", end.said) };
    let second = Duration::from_millis(900)..Duration::from_millis(1_500);
    ensure!(second.contains(&delay), "it was given back with a delay of {delay:?}");

    let last = stage.task("conformance:last", &stage.sample("last")?)?;
    let last = last.with(json!({
        "pluginVersion": "0.0.1-of-another", "retry": {"maxAttempts": 1, "delaysMs": [50]},
    }));
    let last = stage.send(last).await?;
    let end = stage.end(&last).await?;
    ensure!(end.said == Said::Ack, "the last attempt was answered with {}", end.said);
    let written =
        |seen: &Seen| seen.is_record_of(sent.cid.as_str()) || seen.is_record_of("conformance:last");
    let what = "nothing";
    let record = stage.tape.first(what, Duration::from_millis(500), written).await;
    ensure!(record.is_err(), "there is a record of a task for another version");
    for sent in [&sent, &last] {
        ensure!(stage.calls(sent).is_empty(), "the handler was called with it");
    }
    Ok(())
}
