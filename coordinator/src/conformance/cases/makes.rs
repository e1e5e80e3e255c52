//! Files that handlers hand in, settings that they refuse, places that they fill, limits.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use broker_config::wire::signal::MAX_TEXT_BYTES;
use broker_config::{Queue, midhash};
use serde_json::{Value, json};

use super::{SOON, check};
use crate::conformance::case::{Case, table};
use crate::conformance::files::Sample;
use crate::conformance::judge;
use crate::conformance::seen::{Seen, What, text};
use crate::conformance::stage::{Outcome, Sent, Stage};

pub(super) const CASES: &[Case] = table! { Scripted;
    "forwards" 16 forwards:
        "Forward: the submission is stored before the record, which says `forwarded to …`.";
    "submits" 16 submits:
        "A file that a plugin made is handed in with `origin`, the task's `scanId` and one more `depth`.";
    "shows-refused-settings" 5 bad_settings:
        "A plugin that cannot serve with its settings pulls nothing, shows the state `failed` with the error, and waits for others.";
    "answers-refused-settings" 15 refused_settings:
        "`configure` with settings that are refused is answered with `success: false` and the error.";
    "fills-its-places-only" 7 places:
        "Never more tasks are held than there are places, and every place is used.";
    "background-share" 7 share:
        "While both queues have tasks, about every fourth task is a background task.";
    "cuts-long-errors" 23 long_error:
        "Error texts have 4096 bytes at most, and end between two characters.";
    "large-record" 23 large:
        "A record just under `maxPayload` is stored.";
    "too-large-record" 24 too_large:
        "A record over `maxPayload` fails the task permanently.";
    "too-large-signal" 24 large_signal:
        "Where the task makes a signal larger than `maxPayload`, it goes without `existingMeta`.";
};

fn submits_file(seen: &Seen) -> bool {
    seen.what == What::Submission
}

/// A task whose handler hands a file in.
async fn maker(stage: &Stage, verb: &str) -> anyhow::Result<(Sent, Sample)> {
    let made = stage.script("made – 日本.txt", "made by a plugin")?;
    let script = stage.script("maker", &format!("{verb} {}", made.path.display()))?;
    let draft = stage.task("conformance:maker", &script)?.with(json!({"depth": 2}));
    Ok((stage.send(draft).await?, made))
}

/// Waits for a submission besides those before; it must be of this file.
async fn handed_in(stage: &Stage, before: usize, made: &Sample) -> anyhow::Result<()> {
    let nth = |all: &[Seen]| all.iter().filter(|seen| submits_file(seen)).nth(before).cloned();
    let body = stage.tape.wait("a submission", SOON, nth).await?.json();
    let cid = midhash::of_file(&made.path)?;
    check(judge::fields(
        &body,
        &[
            ("type", "metafleet.submission.v1".into()),
            ("cid", cid.as_str().into()),
            ("filePath", made.path.to_string_lossy().into()),
            ("origin", stage.plugin().as_str().into()),
            ("depth", 3.into()),
            ("scanId", "01JD7".into()),
        ],
    ))?;
    serde_json::from_value::<broker_config::Submission>(body.clone())
        .with_context(|| format!("the submission does not fit its schema: {body}"))?;
    Ok(())
}

async fn forwards(stage: &mut Stage) -> anyhow::Result<()> {
    let _worker = stage.serve().await?;
    let filler = stage.names.submit(Queue::Background);
    let refusing = stage.refuse(&stage.names.submit_stream(), filler).await?;
    // The filler is one, too.
    stage.tape.first("the kit's own submission", SOON, submits_file).await?;
    let (sent, made) = maker(stage, "forward").await?;
    handed_in(stage, 1, &made).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    if let Some(end) = stage.ended(&sent) {
        bail!("{} was said before the submission was stored", end.said);
    }
    let records = stage.tape.count(|seen| seen.is_record_of(sent.cid.as_str()));
    ensure!(records == 0, "the record was written before the submission was stored");
    stage.take_again(refusing).await?;
    let record = stage.recorded(&sent).await?;
    check(judge::fields(&record, &[("status", "skipped".into())]))?;
    let reason = text(&record, "reason");
    ensure!(reason.starts_with("forwarded to "), "the reason is `{reason}`");
    Ok(())
}

async fn submits(stage: &mut Stage) -> anyhow::Result<()> {
    let _worker = stage.serve().await?;
    let (sent, made) = maker(stage, "submit").await?;
    handed_in(stage, 0, &made).await?;
    stage.completed(&sent).await.map(drop)
}

fn pulls(stage: &Stage) -> usize {
    stage.tape.count(|seen| seen.pull().is_some())
}

async fn bad_settings(stage: &mut Stage) -> anyhow::Result<()> {
    stage.accept_with(&json!({"settings": {"mode": "bad"}}));
    let worker = stage.start(&[]).await?;
    let life = stage.shows(&worker, "failed").await?.json();
    let error = text(&life, "error");
    ensure!(error.contains("mode bad is not served"), "its sign of life says the error `{error}`");
    let sent = stage.send_script("waits", "complete").await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    ensure!(pulls(stage) == 0, "it pulls although it cannot serve");
    stage.accept_with(&json!({}));
    let good = r#"{"action": "configure", "settings": {"mode": "good"}}"#;
    let said = stage.control(Some(&worker), good).await?;
    check(judge::fields(&said, &[("success", true.into())]))?;
    let life = stage.shows(&worker, "ready").await?.json();
    ensure!(text(&life, "error").is_empty(), "its sign of life still says an error");
    stage.completed(&sent).await.map(drop)
}

async fn refused_settings(stage: &mut Stage) -> anyhow::Result<()> {
    let worker = stage.serve().await?;
    let bad = r#"{"action": "configure", "settings": {"mode": "bad"}}"#;
    let said = stage.control(Some(&worker), bad).await?;
    check(judge::fields(&said, &[("success", false.into())]))?;
    let error = text(&said, "error");
    ensure!(error.contains("mode bad is not served"), "the answer says the error `{error}`");
    stage.shows(&worker, "failed").await?;
    let since = stage.tape.now();
    let good = r#"{"action": "configure", "settings": {"mode": "good"}}"#;
    let said = stage.control(Some(&worker), good).await?;
    check(judge::fields(&said, &[("success", true.into())]))?;
    stage.shows_after(&worker, "ready", since).await.map(drop)
}

async fn places(stage: &mut Stage) -> anyhow::Result<()> {
    const PLACES: usize = 2;
    stage.accept_with(&json!({"concurrency": PLACES}));
    let _worker = stage.serve().await?;
    let script = format!("wait {}", stage.gate().display());
    let mut all = Vec::new();
    for number in 0..6 {
        all.push(stage.send_script(&format!("many-{number}"), &script).await?);
    }
    let calls = |stage: &Stage| all.iter().map(|sent| stage.calls(sent).len()).sum::<usize>();
    let begun = stage.tape.now();
    while calls(stage) < PLACES {
        ensure!(stage.tape.now() < begun + SOON, "{} of {PLACES} places are used", calls(stage));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let held = stage.held(stage.plugin()).await?;
    ensure!(held <= PLACES, "it holds {held} tasks and has {PLACES} places");
    ensure!(calls(stage) == PLACES, "{} handlers run at once, not {PLACES}", calls(stage));
    stage.open_gate()?;
    for sent in &all {
        stage.completed(sent).await?;
    }
    Ok(())
}

async fn share(stage: &mut Stage) -> anyhow::Result<()> {
    const EACH: usize = 16;
    stage.accept_with(&json!({"concurrency": 1}));
    let mut background = Vec::new();
    let mut all = Vec::new();
    for number in 0..EACH {
        for queue in [Queue::Fast, Queue::Background] {
            let name = format!("{queue}-{number}");
            let draft = stage.task(&name, &stage.script(&name, "complete")?)?;
            let sent = stage.send(draft.queue(queue)).await?;
            if queue == Queue::Background {
                background.push(sent.sequence);
            }
            all.push(sent);
        }
    }
    let _worker = stage.serve().await?;
    for sent in &all {
        stage.completed(sent).await?;
    }
    let ends = stage.tape.all(|seen| {
        let of = |sequence: u64| seen.answer_to(sequence).is_some_and(|(_, said)| said.is_final());
        all.iter().any(|sent| of(sent.sequence))
    });
    let early = ends
        .iter()
        .take(EACH)
        .filter(|seen| background.iter().any(|sequence| seen.answer_to(*sequence).is_some()));
    let early = early.count();
    ensure!(
        (3..=6).contains(&early),
        "{early} of the first {EACH} tasks came from the background queue, about {} should",
        EACH / 4
    );
    Ok(())
}

async fn long_error(stage: &mut Stage) -> anyhow::Result<()> {
    let _worker = stage.serve().await?;
    let sent = stage.send_script("talks", "error 9000").await?;
    let outcome = stage.outcome(&sent).await?;
    let Outcome::Failed(signal) = outcome else { bail!("it ended as {}", outcome.word()) };
    check(judge::cut(&text(&signal, "error"), &"é".repeat(4_500), MAX_TEXT_BYTES))
}

/// The largest message that the kit's answer allows in these cases.
const MOST: usize = 200_000;

async fn large(stage: &mut Stage) -> anyhow::Result<()> {
    stage.accept_with(&json!({"maxPayload": MOST}));
    let _worker = stage.serve().await?;
    let sent = stage.send_script("large", &format!("large {}", MOST - 8_000)).await?;
    let record = stage.completed(&sent).await?;
    let found = record.pointer("/meta/script~1text~10~1large").and_then(Value::as_str);
    let length = found.map(str::len);
    ensure!(length == Some(MOST - 8_000), "{length:?} bytes of the text are in the record");
    Ok(())
}

async fn too_large(stage: &mut Stage) -> anyhow::Result<()> {
    stage.accept_with(&json!({"maxPayload": MOST}));
    let mut worker = stage.serve().await?;
    let sent = stage.send_script("larger", &format!("large {}", MOST + 1_000)).await?;
    let outcome = stage.outcome(&sent).await?;
    let Outcome::Failed(signal) = outcome else { bail!("it ended as {}", outcome.word()) };
    check(judge::fields(&signal, &[("permanent", true.into())]))?;
    worker.lives()
}

async fn large_signal(stage: &mut Stage) -> anyhow::Result<()> {
    stage.accept_with(&json!({"maxPayload": MOST}));
    let _worker = stage.serve().await?;
    let draft = stage.task("burdened", &stage.script("burdened", "fail no")?)?;
    let sent = stage.send(draft.with(json!({"existingMeta": {"a": "x".repeat(MOST)}}))).await?;
    let outcome = stage.outcome(&sent).await?;
    let Outcome::Failed(signal) = outcome else { bail!("it ended as {}", outcome.word()) };
    let task = signal.get("task").context("the signal brings no `task`")?;
    let left = task.pointer("/existingMeta/a");
    ensure!(left.is_none(), "it brings `existingMeta`");
    check(judge::fields(task, &[("taskId", sent.body.get("taskId").cloned().unwrap_or_default())]))
}
