//! What a handler says, and what the fleet sees of it.

use std::time::Duration;

use async_nats::HeaderMap;
use broker_config::header::{ATTEMPTS_USED, TRACE_PARENT};
use broker_config::wire::signal::What;
use broker_config::{Queue, RecordStatus};
use worker_sdk::{Failure, Meta, Outcome};

use crate::harness::{Fleet, Script, completed, eventually, policy, task};

#[tokio::test]
async fn a_completed_task_leaves_its_record_and_is_gone() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let script = Script::completes();
    let worker = fleet.worker(script.clone(), |_| {}).await?;

    fleet.publish(Queue::Fast, &task("x")?).await?;
    let record = fleet.settled("x").await?;

    assert_eq!(record.status, RecordStatus::Completed);
    assert_eq!((record.attempt, record.plugin_version.as_str()), (1, "1.0.0"));
    assert_eq!(record.fingerprint, "print");
    assert_eq!(record.meta["a"].as_text(), Some("1"));
    fleet.all_done().await?;
    worker.stop().await
}

#[tokio::test]
async fn names_that_are_not_utf8_reach_the_handler_as_they_are() -> anyhow::Result<()> {
    use std::os::unix::ffi::OsStrExt as _;

    let fleet = Fleet::start().await?;
    let script = Script::completes();
    let worker = fleet.worker(script.clone(), |_| {}).await?;
    let path = std::path::Path::new(std::ffi::OsStr::from_bytes(b"/media/\xff\xfe.mkv"));
    let mut odd = task("odd: cid/with.dots")?;
    odd.path = broker_config::wire::file::FilePath::new(path);

    fleet.publish(Queue::Background, &odd).await?;
    fleet.settled("odd: cid/with.dots").await?;

    assert_eq!(crate::harness::lock(&script.calls)[0].0.path, path);
    worker.stop().await
}

#[tokio::test]
async fn skipped_and_forwarded_tasks_say_why() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let script = Script::new(|call| async move {
        Ok(match call.cid.as_str() {
            "skip" => Outcome::skipped("nothing to say"),
            _ => Outcome::Forward(worker_sdk::Forward::plugin("other".parse().unwrap())),
        })
    });
    let worker = fleet.worker(script, |_| {}).await?;

    fleet.publish(Queue::Fast, &task("skip")?).await?;
    fleet.publish(Queue::Fast, &task("forward")?).await?;

    let skipped = fleet.settled("skip").await?;
    assert_eq!(skipped.status, RecordStatus::Skipped);
    assert_eq!(skipped.reason.as_deref(), Some("nothing to say"));
    let forwarded = fleet.settled("forward").await?;
    assert_eq!(forwarded.reason.as_deref(), Some("forwarded to other"));
    let submitted = fleet.js.get_stream(fleet.names.submit_stream()).await?;
    let submitted = submitted.get_last_raw_message_by_subject("mf.submit.fast").await?;
    let submission: broker_config::Submission = serde_json::from_slice(&submitted.payload)?;
    assert_eq!(submission.cid.as_str(), "forward");
    assert_eq!(submission.only, ["other".parse()?]);
    assert_eq!((submission.origin, submission.depth), (Some("probe".parse()?), 1));
    worker.stop().await
}

#[tokio::test]
async fn a_handler_reports_progress_and_hands_files_in() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let mut script = Script::completes();
    script.reports = true;
    let worker = fleet.worker(script, |_| {}).await?;
    let home = tempfile::TempDir::new()?;
    let path = home.path().join("made.srt");
    std::fs::write(&path, "made by a plugin")?;
    let mut makes = task("x")?;
    makes.path = broker_config::wire::file::FilePath::new(&path);
    makes.depth = 2;

    fleet.publish(Queue::Fast, &makes).await?;
    fleet.settled("x").await?;

    let what = fleet.signal("progress", 0).await?.what;
    assert_eq!(what, What::Progress { fraction: 0.5, note: "half way".to_owned() });
    let submitted = fleet.js.get_stream(fleet.names.submit_stream()).await?;
    let submitted = submitted.get_last_raw_message_by_subject("mf.submit.fast").await?;
    let submission: broker_config::Submission = serde_json::from_slice(&submitted.payload)?;
    assert_eq!(submission.cid, broker_config::midhash::of_file(&path)?);
    assert_eq!((submission.path.to_path(), submission.depth), (path, 3));
    assert_eq!((submission.file.size, submission.file.extension.as_str()), (16, "srt"));
    assert_eq!(submission.file.mime, "application/x-subrip");

    makes.cid = "deep".parse()?;
    makes.depth = broker_config::wire::submission::MAX_DEPTH;
    fleet.publish(Queue::Fast, &makes).await?;
    let What::Retrying { error, .. } = fleet.signal("retrying", 0).await?.what else {
        anyhow::bail!("not refused");
    };
    assert!(error.contains("9 times"), "{error}");
    worker.stop().await
}

#[tokio::test]
async fn a_retryable_failure_comes_again_after_the_delays_of_the_task() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let script = Script::new(|call| async move {
        if call.attempt < 4 { Err(Failure::retryable("busy")) } else { Ok(completed()) }
    });
    let worker = fleet.worker(script.clone(), |_| {}).await?;
    let mut patient = task("x")?;
    patient.retry = policy(5, &[100, 300]);

    fleet.publish(Queue::Fast, &patient).await?;
    let record = fleet.settled("x").await?;

    assert_eq!(record.attempt, 4);
    let times = script.times();
    for (n, least) in [(1, 100), (2, 300), (3, 300)] {
        let waited = times[n] - times[n - 1];
        let (least, most) = (Duration::from_millis(least), Duration::from_millis(least + 250));
        assert!(waited >= least && waited < most, "before attempt {}: {waited:?}", n + 1);
    }
    let signal = fleet.signal("retrying", 1).await?;
    assert_eq!(signal.attempt, 2);
    assert!(matches!(signal.what, What::Retrying { delay_ms: 300, .. }), "{signal:?}");
    worker.stop().await
}

#[tokio::test]
async fn what_fails_for_good_is_reported_with_the_task_and_then_gone() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let script = Script::new(|call| async move {
        match call.cid.as_str() {
            "broken" => Err(Failure::permanent("no such codec")),
            "flaky" => Err(Failure::retryable("busy")),
            "panics" => panic!("at the disco"),
            "undeclared" => {
                let mut meta = Meta::new();
                meta.text("b/c", 1);
                Ok(Outcome::Completed(meta))
            }
            _ => {
                let mut meta = Meta::new();
                meta.text("a", "x".repeat(2 << 20));
                Ok(Outcome::Completed(meta))
            }
        }
    });
    let worker = fleet.worker(script, |_| {}).await?;

    // name, attempts, permanent, words
    for (n, (cid, attempts, permanent, words)) in [
        ("broken", 1, true, "no such codec"),
        ("flaky", 4, false, "busy"),
        ("panics", 4, false, "panicked: at the disco"),
        ("undeclared", 1, true, "`b/c` is not in the dataSchema"),
        ("huge", 1, true, "the server takes 1048576"),
    ]
    .into_iter()
    .enumerate()
    {
        fleet.publish(Queue::Fast, &task(cid)?).await?;
        let signal = fleet.signal("failed", n).await?;
        assert_eq!(signal.attempt, attempts, "{cid}");
        assert_eq!(signal.instance.as_str(), "w0", "{cid}");
        let What::Failed { error, permanent: found, task, .. } = signal.what else {
            anyhow::bail!("{cid}: not a failure");
        };
        assert!(error.contains(words), "{cid}: {error}");
        assert_eq!(found, permanent, "{cid}");
        assert_eq!(task.cid.as_str(), cid);
        fleet.all_done().await?;
        assert!(fleet.record(cid).await?.is_none(), "{cid}: the coordinator writes the record");
    }
    worker.stop().await
}

#[tokio::test]
async fn retry_later_costs_no_attempt_and_leaves_the_queue() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let script = Script::new(|_| async {
        Ok(Outcome::retry_later(Duration::from_millis(1500), "429 from the service"))
    });
    let worker = fleet.worker(script, |_| {}).await?;
    let mut headers = HeaderMap::new();
    headers.insert(ATTEMPTS_USED, "2");

    let task = task("x")?;
    let body = serde_json::to_vec(&task)?;
    fleet.publish_raw(Queue::Background, &task.cid, headers, body).await?;

    let signal = fleet.signal("deferred", 0).await?;
    assert_eq!((signal.attempt, signal.queue), (3, Queue::Background));
    let What::Deferred { delay_ms, attempts_used, reason, task: sent } = signal.what else {
        anyhow::bail!("not deferred");
    };
    assert_eq!((delay_ms, attempts_used, reason.as_str()), (1500, 2, "429 from the service"));
    assert_eq!(*sent, task);
    fleet.all_done().await?;
    worker.stop().await
}

#[tokio::test]
async fn a_task_that_is_put_off_again_is_no_repetition() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let script =
        Script::new(|_| async { Ok(Outcome::retry_later(Duration::from_secs(60), "not yet")) });
    let worker = fleet.worker(script, |_| {}).await?;

    for n in 0..2 {
        // As it is when its time has come.
        fleet.publish(Queue::Fast, &task("x")?).await?;
        fleet.signal("deferred", n).await?;
        fleet.all_done().await?;
    }

    // A repetition would not have been stored.
    let mut signals = fleet.js.get_stream(fleet.names.signal_stream()).await?;
    assert_eq!(signals.info().await?.state.messages, 2);
    worker.stop().await
}

#[tokio::test]
async fn long_delays_go_through_the_coordinator() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let script = Script::new(|_| async { Err(Failure::retryable("busy")) });
    let worker = fleet.worker(script, |_| {}).await?;
    let mut patient = task("x")?;
    patient.retry = policy(3, &[61_000]);

    fleet.publish(Queue::Fast, &patient).await?;

    let signal = fleet.signal("deferred", 0).await?;
    let what = &signal.what;
    assert!(matches!(what, What::Deferred { delay_ms: 61_000, attempts_used: 1, .. }), "{what:?}");
    fleet.all_done().await?;
    worker.stop().await
}

#[tokio::test]
async fn the_deadline_cancels_and_fails_the_attempt() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let (told, mut was_told) = tokio::sync::mpsc::unbounded_channel();
    let script = Script::new(move |call| {
        let told = told.clone();
        async move {
            if call.attempt == 1 {
                call.cancelled.cancelled().await;
                assert!(told.send(()).is_ok());
                std::future::pending::<()>().await;
            }
            Ok(completed())
        }
    });
    let worker = fleet.worker(script, |_| {}).await?;
    let mut hasty = task("x")?;
    hasty.deadline_ms = 300;

    fleet.publish(Queue::Fast, &hasty).await?;

    let signal = fleet.signal("retrying", 0).await?;
    let What::Retrying { error, .. } = signal.what else { anyhow::bail!("not retried") };
    assert_eq!(error, "timed out after 300 ms");
    assert!(was_told.try_recv().is_ok());
    assert_eq!(fleet.settled("x").await?.attempt, 2);
    worker.stop().await
}

#[tokio::test]
async fn junk_is_reported_and_dropped() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let script = Script::completes();
    let worker = fleet.worker(script.clone(), |_| {}).await?;
    let mut other_type = serde_json::to_value(task("z")?)?;
    other_type["type"] = "metafleet.task.v9".into();

    for (n, (cid, body)) in [
        ("x", b"\xff\x00".to_vec()),
        ("y", b"{}".to_vec()),
        ("z", serde_json::to_vec(&other_type)?),
    ]
    .into_iter()
    .enumerate()
    {
        fleet.publish_raw(Queue::Fast, &cid.parse()?, HeaderMap::new(), body).await?;
        let signal = fleet.signal("failed", n).await?;
        assert_eq!(signal.cid.as_str(), cid);
        let What::Failed { error, permanent: true, .. } = signal.what else {
            anyhow::bail!("{cid}: not a permanent failure");
        };
        assert!(error.contains("the task cannot be read"), "{error}");
    }
    fleet.all_done().await?;
    assert_eq!(script.attempts(), 0);
    worker.stop().await
}

#[tokio::test]
async fn identity_comes_from_the_subject() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let worker = fleet.worker(Script::completes(), |_| {}).await?;
    let mut liar = task("liar")?;
    liar.plugin_id = "other".parse()?;

    fleet
        .publish_raw(Queue::Fast, &"honest".parse()?, HeaderMap::new(), serde_json::to_vec(&liar)?)
        .await?;
    let record = fleet.settled("honest").await?;

    assert_eq!((record.cid.as_str(), record.plugin_id.as_str()), ("honest", "probe"));
    assert!(fleet.record("liar").await?.is_none());
    worker.stop().await
}

#[tokio::test]
async fn the_trace_goes_on_in_the_record() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let worker = fleet.worker(Script::completes(), |_| {}).await?;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut headers = HeaderMap::new();
    headers.insert(TRACE_PARENT, parent);

    let task = task("x")?;
    fleet.publish_raw(Queue::Fast, &task.cid, headers, serde_json::to_vec(&task)?).await?;
    fleet.settled("x").await?;

    let (_, _, headers) = fleet.record("x").await?.ok_or_else(|| anyhow::anyhow!("no record"))?;
    assert_eq!(headers.get(TRACE_PARENT).map(async_nats::HeaderValue::as_str), Some(parent));
    worker.stop().await
}

#[tokio::test]
async fn whoever_comes_second_changes_nothing() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let (go, gate) = tokio::sync::watch::channel(false);
    let script = Script::new(move |_| {
        let mut gate = gate.clone();
        async move {
            drop(gate.wait_for(|open| *open).await);
            Ok(completed())
        }
    });
    let worker = fleet.worker(script.clone(), |_| {}).await?;
    fleet.publish(Queue::Fast, &task("x")?).await?;
    script.begun(1).await?;

    let subject = fleet.names.record(&"x".parse()?, &"probe".parse()?);
    let first = serde_json::json!({"type": "metafleet.record.v1", "status": "skipped", "cid": "x",
        "pluginId": "probe", "taskId": task("x")?.task_id, "reason": "was here first"});
    fleet.js.publish(subject, first.to_string().into()).await?.await?;
    go.send_replace(true);

    fleet.all_done().await?;
    let record = fleet.settled("x").await?;
    assert_eq!(record.reason.as_deref(), Some("was here first"));
    eventually(
        "the totals to say so",
        async || matches!(fleet.presence().await, Ok(Some(entry)) if entry.totals.superseded == 1),
    )
    .await?;
    worker.stop().await
}
