//! What a handler says, and what follows.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use broker_config::meta::MAX_JSON_DEPTH;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::check;
use crate::conformance::case::{Case, table};
use crate::conformance::judge;
use crate::conformance::seen::{Said, number, text};
use crate::conformance::stage::{Outcome, Refusing, Sent, Stage};

pub(super) const CASES: &[Case] = table! { Scripted;
    "completes-with-metadata" 18 completes:
        "Texts, sets and JSON in any script are written as they are.";
    "sees-existing-metadata" 9 existing:
        "The handler sees the metadata that the task brings.";
    "reads-the-bytes" 9 reads:
        "The handler reads the bytes of the file.";
    "skips" 10 skips:
        "Nothing to say: the record `skipped` with the reason, then +ACK.";
    "retries" 10 retries:
        "A failure with attempts left: the signal `retrying`, then -NAK with the delay of the task.";
    "last-attempt" 10 last_attempt:
        "A failure without a further attempt: the signal `failed` is stored before +TERM.";
    "fails-permanently" 10 permanent:
        "A permanent failure: the signal `failed`, then +TERM at once.";
    "retries-later" 12 later:
        "Retry later: the signal `deferred` is stored before +ACK; it costs no attempt.";
    "defers-long-delays" 10 long_delay:
        "A delay over 60 s becomes the signal `deferred`, and the attempt counts.";
    "counts-attempts-on" 13 counts_on:
        "The number of an attempt is that of the delivery plus the header Mf-Attempts-Used.";
    "beyond-max-attempts" 13 beyond:
        "An attempt over `maxAttempts` is run like any other, and a failure of it is the last.";
    "crashes" 10 crashes:
        "A crash of the handler is a failure that is tried again, and the worker goes on.";
    "refuses-unknown-key" 18 wrong_key:
        "A key that the dataSchema does not have fails the task permanently, with the key in the error.";
    "refuses-wrong-kind" 18 wrong_kind:
        "A value of another kind than its field fails the task permanently, with the key in the error.";
    "refuses-deep-value" 18 too_deep:
        "A value that nests deeper than 64 fails the task permanently, with the key in the error.";
};

async fn completes(stage: &mut Stage) -> anyhow::Result<()> {
    let _worker = stage.serve().await?;
    let meta = json!({
        "script/text/0/naïve/κ": "“漢字” 😀\n\t\u{7f} \\ \"", "script/text/1/empty": "",
        "script/set": ["é", "e\u{301}", "x y"],
        "script/existing": {"deep": {"ключ": [1, null, 2.5, true]}},
    });
    let sent = stage.send_script("all", &format!("complete {meta}")).await?;
    let record = stage.completed(&sent).await?;
    let found = record.get("meta").context("the record has no `meta`")?;
    for (key, value) in meta.as_object().into_iter().flatten() {
        let there = found.get(key).unwrap_or(&Value::Null);
        ensure!(sorted(there) == sorted(value), "`{key}` is {there}, not {value}");
    }
    let expected = [("script/cid", "conformance:all".into()), ("script/attempt", Value::from("1"))];
    check(judge::fields(found, &expected))
}

/// Sets have no order.
fn sorted(value: &Value) -> Value {
    match value.as_array() {
        Some(members) if members.iter().all(Value::is_string) => {
            let mut members: Vec<String> = members.iter().map(ToString::to_string).collect();
            members.sort();
            members.into()
        }
        Some(_) | None => value.clone(),
    }
}

async fn existing(stage: &mut Stage) -> anyhow::Result<()> {
    let _worker = stage.serve().await?;
    let meta = json!({
        "título": "Größe 😀", "tags": ["α", "β"], "deep/1": {"ключ": [1, null, 2.5]}, "none": "",
    });
    let draft = stage.task("existing", &stage.script("existing", "complete")?)?;
    let sent = stage.send(draft.with(json!({"existingMeta": meta}))).await?;
    let record = stage.completed(&sent).await?;
    let found = record.pointer("/meta/script~1existing").unwrap_or(&Value::Null);
    ensure!(*found == meta, "the handler saw {found}, not {meta}");
    Ok(())
}

async fn reads(stage: &mut Stage) -> anyhow::Result<()> {
    let _worker = stage.serve().await?;
    let content = format!("read\n{}", "Ein Absatz – mit Umlauten: äöü.\n".repeat(9_000));
    let sent = stage.send_script("bytes", &content).await?;
    let record = stage.completed(&sent).await?;
    let found = record.get("meta").context("the record has no `meta`")?;
    let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(content.as_bytes()));
    let size = content.len().to_string();
    let expected =
        [("script/text/0/sha256", hash.into()), ("script/text/0/size", Value::from(size))];
    check(judge::fields(found, &expected))
}

async fn skips(stage: &mut Stage) -> anyhow::Result<()> {
    let _worker = stage.serve().await?;
    let sent = stage.send_script("nothing", "skip the file is empty – ∅").await?;
    let record = stage.recorded(&sent).await?;
    check(judge::record(&record, &sent.body, sent.cid.as_str(), 1))?;
    let expected = [("status", "skipped".into()), ("reason", "the file is empty – ∅".into())];
    check(judge::fields(&record, &expected))
}

async fn retries(stage: &mut Stage) -> anyhow::Result<()> {
    let _worker = stage.serve().await?;
    let draft =
        stage.task("retries", &stage.script("retries", "retry one\nretry two\ncomplete")?)?;
    let retry = json!({"retry": {"maxAttempts": 3, "delaysMs": [300, 700]}});
    let sent = stage.send(draft.with(retry)).await?;
    for (delivery, delay, why) in [(1, 300, "one"), (2, 700, "two")] {
        let end = stage.end_of(&sent, delivery).await?;
        let expected = Said::Nak(Some(Duration::from_millis(delay)));
        ensure!(end.said == expected, "attempt {delivery} was answered with {}", end.said);
        let all = stage.tape.all(|seen| seen.is_signal("retrying", sent.cid.as_str()));
        let mine = all.iter().map(|seen| seen.json());
        let mine = mine.into_iter().find(|it| number(it, "attempt") == Some(delivery.into()));
        let signal = mine.with_context(|| format!("no signal `retrying` of attempt {delivery}"))?;
        check(judge::signal(&signal, "retrying", &sent.body, delivery.into()))?;
        check(judge::fields(&signal, &[("delayMs", delay.into())]))?;
        let error = text(&signal, "error");
        ensure!(error.contains(why), "the error is `{error}`, without `{why}`");
    }
    let end = stage.end_of(&sent, 3).await?;
    ensure!(end.said == Said::Ack, "attempt 3 was answered with {}", end.said);
    let record = stage.record(&sent).await?.context("there is no record")?;
    check(judge::record(&record, &sent.body, sent.cid.as_str(), 3))
}

/// Waits for a signal that the stream does not take, looks whether the task is answered all the
/// same, and lets the stream take it then.
async fn stored_first(
    stage: &Stage,
    kind: &str,
    sent: &Sent,
    refusing: Refusing,
) -> anyhow::Result<Outcome> {
    stage.signal(kind, sent).await?;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    if let Some(end) = stage.ended(sent) {
        bail!("{} was said before the signal `{kind}` was stored", end.said);
    }
    stage.take_again(refusing).await?;
    stage.outcome(sent).await
}

async fn last_attempt(stage: &mut Stage) -> anyhow::Result<()> {
    let _worker = stage.serve().await?;
    let refusing = stage.refuse_signals().await?;
    let draft = stage.task("last", &stage.script("last", "retry the share is away")?)?;
    let sent = stage.send(draft.with(json!({"retry": {"maxAttempts": 1, "delaysMs": []}}))).await?;
    let outcome = stored_first(stage, "failed", &sent, refusing).await?;
    let Outcome::Failed(signal) = outcome else { bail!("it ended as {}", outcome.word()) };
    check(judge::signal(&signal, "failed", &sent.body, 1))?;
    check(judge::fields(&signal, &[("permanent", false.into())]))?;
    came_along(&signal, &sent)?;
    let error = text(&signal, "error");
    ensure!(error.contains("the share is away"), "the error is `{error}`");
    Ok(())
}

/// The signal brings the task as it came.
fn came_along(signal: &Value, sent: &Sent) -> anyhow::Result<()> {
    let task = signal.get("task").context("the signal brings no `task`")?;
    for field in ["taskId", "filePath", "fingerprint", "runId", "retry"] {
        ensure!(
            task.get(field) == sent.body.get(field),
            "`{field}` of the task in the signal is {:?}, not {:?}",
            task.get(field),
            sent.body.get(field)
        );
    }
    Ok(())
}

async fn permanent(stage: &mut Stage) -> anyhow::Result<()> {
    let _worker = stage.serve().await?;
    let sent = stage.send_script("never", "fail no film: Größe 0").await?;
    let outcome = stage.outcome(&sent).await?;
    let Outcome::Failed(signal) = outcome else { bail!("it ended as {}", outcome.word()) };
    check(judge::signal(&signal, "failed", &sent.body, 1))?;
    check(judge::fields(&signal, &[("permanent", true.into())]))?;
    came_along(&signal, &sent)?;
    let error = text(&signal, "error");
    ensure!(error.contains("no film: Größe 0"), "the error is `{error}`");
    Ok(())
}

async fn later(stage: &mut Stage) -> anyhow::Result<()> {
    let _worker = stage.serve().await?;
    let refusing = stage.refuse_signals().await?;
    let sent = stage.send_script("later", "later 90000").await?;
    let outcome = stored_first(stage, "deferred", &sent, refusing).await?;
    let Outcome::Deferred(signal) = outcome else { bail!("it ended as {}", outcome.word()) };
    check(judge::signal(&signal, "deferred", &sent.body, 1))?;
    let expected = [
        ("delayMs", 90_000.into()),
        ("attemptsUsed", 0.into()),
        ("reason", "told to wait".into()),
        ("queue", "fast".into()),
    ];
    check(judge::fields(&signal, &expected))?;
    came_along(&signal, &sent)
}

async fn long_delay(stage: &mut Stage) -> anyhow::Result<()> {
    let _worker = stage.serve().await?;
    let draft = stage.task("long", &stage.script("long", "retry busy")?)?;
    let retry = json!({"retry": {"maxAttempts": 3, "delaysMs": [60_001]}});
    let sent = stage.send(draft.with(retry)).await?;
    let outcome = stage.outcome(&sent).await?;
    let Outcome::Deferred(signal) = outcome else { bail!("it ended as {}", outcome.word()) };
    check(judge::signal(&signal, "deferred", &sent.body, 1))?;
    let expected = [("delayMs", 60_001.into()), ("attemptsUsed", 1.into())];
    check(judge::fields(&signal, &expected))
}

async fn counts_on(stage: &mut Stage) -> anyhow::Result<()> {
    let _worker = stage.serve().await?;
    let draft = stage.task("on", &stage.script("on", "complete")?)?;
    let sent = stage.send(draft.header("Mf-Attempts-Used", "1")).await?;
    let record = stage.completed(&sent).await?;
    check(judge::record(&record, &sent.body, sent.cid.as_str(), 2))?;
    let seen = record.pointer("/meta/script~1attempt");
    ensure!(seen == Some(&"2".into()), "the handler saw attempt {seen:?}, not 2");
    Ok(())
}

async fn beyond(stage: &mut Stage) -> anyhow::Result<()> {
    let _worker = stage.serve().await?;
    let draft = stage.task("beyond", &stage.script("beyond", "retry busy")?)?;
    let sent = stage.send(draft.header("Mf-Attempts-Used", "5")).await?;
    let outcome = stage.outcome(&sent).await?;
    let Outcome::Failed(signal) = outcome else { bail!("it ended as {}", outcome.word()) };
    check(judge::signal(&signal, "failed", &sent.body, 6))?;
    check(judge::fields(&signal, &[("permanent", false.into())]))?;
    let calls = stage.calls(&sent).len();
    ensure!(calls == 1, "the handler was called {calls} times");
    Ok(())
}

async fn crashes(stage: &mut Stage) -> anyhow::Result<()> {
    let mut worker = stage.serve().await?;
    let sent = stage.send_script("crash", "crash a bug\ncomplete").await?;
    let outcome = stage.outcome(&sent).await?;
    ensure!(matches!(outcome, Outcome::Again(_)), "it ended as {}", outcome.word());
    let signal = stage.signal("retrying", &sent).await?.json();
    check(judge::signal(&signal, "retrying", &sent.body, 1))?;
    let end = stage.end_of(&sent, 2).await?;
    ensure!(end.said == Said::Ack, "attempt 2 was answered with {}", end.said);
    worker.lives()
}

async fn wrong_key(stage: &mut Stage) -> anyhow::Result<()> {
    refused(stage, r#"complete {"script/other": "x"}"#, "script/other").await
}

async fn wrong_kind(stage: &mut Stage) -> anyhow::Result<()> {
    refused(stage, r#"complete {"script/set": "no set"}"#, "script/set").await?;
    refused(stage, r#"complete {"script/text/0/x": {"no": "text"}}"#, "script/text/0/x").await
}

async fn too_deep(stage: &mut Stage) -> anyhow::Result<()> {
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let script = |depth| format!(r#"complete {{"script/existing": {}}}"#, nested(depth));
    {
        let _worker = stage.serve().await?;
        let sent = stage.send_script("deep", &script(MAX_JSON_DEPTH)).await?;
        stage.completed(&sent).await?;
    }
    refused(stage, &script(MAX_JSON_DEPTH + 1), "script/existing").await
}

async fn refused(stage: &mut Stage, script: &str, key: &str) -> anyhow::Result<()> {
    let _worker = stage.serve().await?;
    let name = key.replace('/', "-");
    let sent = stage.send_script(&name, script).await?;
    let outcome = stage.outcome(&sent).await?;
    let Outcome::Failed(signal) = outcome else { bail!("it ended as {}", outcome.word()) };
    check(judge::fields(&signal, &[("permanent", true.into())]))?;
    let error = text(&signal, "error");
    ensure!(error.contains(key), "the error does not name the key `{key}`: {error}");
    Ok(())
}
