//! What no well-behaved program writes: told where it can be, fatal nowhere.

use anyhow::Context as _;
use broker_config::wire::dead::Cause;
use broker_config::wire::event::{Fact, Outcome};
use broker_config::wire::lease::LEASE_KEY;
use broker_config::{Names, Queue, Submission};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use integration_tests::{Fleet, Script, eventually, file, json_of, manifest, within};
use serde_json::json;
use std::time::Duration;

/// Bodies that are no message of ours.
fn bodies() -> Vec<Bytes> {
    let nested = format!("{}{}", "[".repeat(500), "]".repeat(500));
    [
        "",
        "{",
        "null",
        "42",
        "[]",
        "{}",
        r#"{"type":"metafleet.task.v1"}"#,
        r#"{"type":"metafleet.submission.v2","cid":"x"}"#,
        "\u{0}\u{1}",
        &nested,
    ]
    .iter()
    .map(|text| Bytes::from((*text).to_owned()))
    .chain([Bytes::from_static(b"\xff\xfe\x00")])
    .collect()
}

#[tokio::test]
async fn junk_on_every_subject_stops_nothing() -> anyhow::Result<()> {
    let (fleet, lead) = Fleet::start().await?;
    let script = Script::completes();
    let _worker = fleet.worker(&manifest("probe", &json!({}))?, &script).await?;
    let (names, probe) = (&fleet.names, "probe".parse()?);
    let key = Names::key_subject;
    let stored = [
        names.submit(Queue::Fast),
        names.submit(Queue::Background),
        names.signal(&probe, "failed"),
        names.signal(&probe, "retrying"),
        names.signal(&probe, "deferred"),
        key(&names.records_bucket(), "x.probe"),
        key(&names.records_bucket(), "no-such.shape.of.a.key"),
        key(&names.records_bucket(), "x.NOT-A-PLUGIN"),
        key(&names.plugins_bucket(), "ghost"),
        key(&names.plugins_bucket(), "NOT.A.PLUGIN"),
        key(&names.instances_bucket(), "probe.ghost"),
        key(&names.instances_bucket(), "ghost"),
        key(&names.config_bucket(), "ghost"),
        key(&names.paths_bucket(), "a.b.c"),
        names.event("file.settled"),
        names.dead(Queue::Fast, &probe),
    ];
    for body in bodies() {
        for subject in &stored {
            fleet.put(subject.clone(), Default::default(), body.clone()).await?;
        }
        let heard = [names.signal(&probe, "announce"), names.control(&probe)];
        for subject in heard {
            fleet.say(subject, body.clone()).await?;
        }
        let advisory =
            format!("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{}.x", names.task_stream());
        fleet.say(advisory, body).await?;
    }

    let run = fleet.hand_in(Queue::Fast, &file("film")?).await?;
    // The events hold junk as well, so the record is looked at.
    eventually("the good file to be done", async || {
        Ok(fleet.record("film", "probe").await?.map(drop))
    })
    .await?;
    fleet.quiet().await?;

    assert_eq!(script.calls().len(), 1, "nothing but the good file was run");
    assert!(run.0 > 0);
    lead.stop().await
}

#[tokio::test]
async fn a_submission_that_cannot_be_read_is_told_and_taken_out() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let deep = Submission { depth: 9, ..file("made-from-a-file-made-from-a-file")? };
    let deep = fleet.hand_in(Queue::Fast, &deep).await?;
    let run = fleet.put(fleet.names.submit(Queue::Fast), Default::default(), "{".into()).await?;

    let endless = fleet
        .fact("the endless chain to be told", |fact| match fact {
            Fact::SubmissionRejected { run_id, reason } if *run_id == deep => Some(reason.clone()),
            _ => None,
        })
        .await?;
    assert!(endless.contains("over 8 times"), "{endless}");
    let reason = fleet
        .fact("the rejection to be told", |fact| match fact {
            Fact::SubmissionRejected { run_id, reason } if run_id.0 == run => Some(reason.clone()),
            _ => None,
        })
        .await?;

    assert!(reason.contains("EOF"), "{reason}");
    fleet.quiet().await
}

#[tokio::test]
async fn a_task_that_cannot_be_read_fails_for_good_and_is_told() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let script = Script::completes();
    let _worker = fleet.worker(&manifest("probe", &json!({}))?, &script).await?;
    let subject = fleet.names.task(Queue::Fast, &"probe".parse()?, &"film".parse()?);

    fleet.put(subject, Default::default(), "no task".into()).await?;
    let letter = fleet.dead_letter("probe").await?;

    assert_eq!((letter.cause, letter.cid.as_str()), (Cause::Permanent, "film"));
    assert!(letter.error.contains("cannot be read"), "{}", letter.error);
    assert_eq!(script.calls().len(), 0);
    fleet.quiet().await?;
    assert_eq!(fleet.run("film").await?.of("probe"), Some(Outcome::Completed), "afterwards");
    Ok(())
}

#[tokio::test]
async fn a_task_for_a_plugin_that_nobody_knows_disturbs_nobody() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let _worker = fleet.worker(&manifest("probe", &json!({}))?, &Script::completes()).await?;
    let subject = fleet.names.task(Queue::Fast, &"nobody".parse()?, &"film".parse()?);
    fleet.put(subject, Default::default(), "{}".into()).await?;

    let settled = fleet.run("film").await?;

    assert_eq!(settled.plugins.len(), 1);
    let letter = fleet.dead_letter("nobody").await?;
    assert_eq!((letter.cid.as_str(), letter.attempts), ("film", 0));
    assert_eq!(letter.error, "no plugin `nobody` is registered");
    fleet.quiet().await?;
    assert!(fleet.record("film", "nobody").await?.is_none(), "nobody waits for a record");
    Ok(())
}

#[tokio::test]
async fn a_failure_reported_in_the_name_of_another_plugin_does_not_touch_that_plugin()
-> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let _victim = fleet.worker(&manifest("victim", &json!({}))?, &Script::completes()).await?;
    let liar = manifest("liar", &json!({}))?;
    fleet.announce(&liar).await?;
    fleet.submit("film").await?;
    let (mut task, _) = fleet.task_waits("liar", "film").await?;
    eventually("the victim's record", async || Ok(fleet.record("film", "victim").await?.map(drop)))
        .await?;
    let (before, revision, _) = fleet.record("film", "victim").await?.unwrap();
    // As if it were the victim's task, at the revision of the victim's record.
    task.plugin_id = "victim".parse()?;
    task.record_revision = revision;
    let signal = json!({
        "type": "metafleet.signal.v1", "taskId": task.task_id, "cid": "film", "queue": "fast",
        "attempt": 1, "instance": "liar-1", "at": "2026-01-01T00:00:00Z", "kind": "failed",
        "error": "forged", "permanent": true, "durationMs": 1, "task": task,
    });
    let subject = fleet.names.signal(&liar.id, "failed");
    let sequence = fleet.put(subject, Default::default(), json_of(&signal)?).await?;

    let signals = fleet.js.get_stream(fleet.names.signal_stream()).await?;
    eventually("the signal to be handled", async || {
        // Only the leader works through them.
        let consumer = signals.consumers().try_next().await?.context("a consumer")?;
        Ok((consumer.ack_floor.stream_sequence >= sequence).then_some(()))
    })
    .await?;

    let (after, kept, _) = fleet.record("film", "victim").await?.unwrap();
    assert_eq!((after, kept), (before, revision));
    let letters = fleet.dead_letters().await?;
    assert!(letters.iter().all(|letter| letter.plugin_id == liar.id), "{letters:?}");
    Ok(())
}

#[tokio::test]
async fn a_lease_that_is_overwritten_or_deleted_is_taken_again() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let _worker = fleet.worker(&manifest("probe", &json!({}))?, &Script::completes()).await?;
    let subject = Names::key_subject(&fleet.names.lease_bucket(), LEASE_KEY);

    for (number, spoil) in ["overwritten", "deleted"].into_iter().enumerate() {
        match spoil {
            "overwritten" => {
                fleet.put(subject.clone(), Default::default(), "junk".into()).await?;
            }
            _ => drop(fleet.delete_key(subject.clone()).await?),
        }
        let again = 2 + number;
        within(Duration::from_secs(15), &format!("leader number {again}"), async || {
            let facts = fleet.facts().await?;
            let leaders = facts.iter().filter(|f| matches!(f, Fact::CoordinatorLeading { .. }));
            Ok((leaders.count() >= again).then_some(()))
        })
        .await?;
        let settled = fleet.run(&format!("film-{number}")).await?;
        assert_eq!(settled.of("probe"), Some(Outcome::Completed), "{spoil}");
    }
    Ok(())
}
