//! What follows from a failed attempt.

use std::time::Duration;

use broker_config::wire::dead::Cause;
use broker_config::wire::event::{Fact, Outcome};
use broker_config::{Queue, RecordStatus, Submission};
use coordinator::store::Store;
use integration_tests::{Call, Fleet, Script, eventually, file, manifest};
use serde_json::json;
use worker_sdk::Failure;

/// Fails until attempt `good`, in a way that another attempt may mend.
fn fails_until(good: u32) -> Script {
    Script::new(move |call: Call| async move {
        if call.attempt < good { Err(Failure::retryable("busy")) } else { Ok(call.done()) }
    })
}

#[tokio::test]
async fn a_retryable_failure_is_tried_again_after_the_delays_of_the_manifest() -> anyhow::Result<()>
{
    let (fleet, _lead) = Fleet::start().await?;
    let script = fails_until(3);
    let delays = [300, 900];
    let retry = json!({ "retry": {"maxAttempts": 4, "delaysMs": delays} });
    let _worker = fleet.worker(&manifest("shaky", &retry)?, &script).await?;

    let settled = fleet.run("film").await?;

    assert_eq!(settled.of("shaky"), Some(Outcome::Completed));
    assert_eq!(fleet.recorded("film", "shaky").await?.attempt, 3);
    let calls = script.calls();
    assert_eq!(calls.iter().map(|call| call.attempt).collect::<Vec<_>>(), [1, 2, 3]);
    for (pair, delay) in calls.windows(2).zip(delays) {
        let waited = pair[1].at - pair[0].at;
        let delay = Duration::from_millis(delay);
        assert!(waited >= delay && waited < delay + Duration::from_millis(800), "{waited:?}");
    }
    for (number, wait) in (1..).zip(delays) {
        let told = fleet
            .fact("a failed attempt to be told", |fact| match fact {
                Fact::TaskRetrying { attempt, delay_ms, error, .. } if *attempt == number => {
                    Some((*delay_ms, error.clone()))
                }
                _ => None,
            })
            .await?;
        assert_eq!(told, (wait, "busy".to_owned()));
    }
    assert_eq!(fleet.dead_letters().await?, []);
    Ok(())
}

#[tokio::test]
async fn used_up_attempts_leave_a_dead_letter_and_a_failed_record_that_keeps_earlier_metadata()
-> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let good = manifest("shaky", &json!({}))?;
    let worker = fleet.worker(&good, &Script::completes()).await?;
    fleet.run("film").await?;
    worker.stop().await?;
    let script = Script::fails("disk on fire");
    let bad = json!({ "version": "2.0.0", "retry": {"maxAttempts": 2, "delaysMs": [50]} });
    let worker = fleet.worker(&manifest("shaky", &bad)?, &script).await?;

    let settled = fleet.run("film").await?;

    assert_eq!((settled.of("shaky"), settled.tasks.failed), (Some(Outcome::Failed), 1));
    assert_eq!(script.calls().len(), 2);
    let record = fleet.recorded("film", "shaky").await?;
    assert_eq!((record.status, record.attempt), (RecordStatus::Failed, 2));
    assert_eq!(record.error.as_deref(), Some("disk on fire"));
    assert_eq!(record.meta["shaky/done"].as_text(), Some("1.0.0"), "of the earlier success");
    let letter = fleet.dead_letter("shaky").await?;
    assert_eq!((letter.cause, letter.attempts), (Cause::Attempts, 2));
    assert_eq!((letter.error.as_str(), letter.cid.as_str()), ("disk on fire", "film"));
    assert_eq!(letter.instance.map(|id| id.to_string()), Some(worker.instance.clone()));
    assert_eq!(letter.task.task_id, record.task_id);
    let told = fleet
        .fact("the dead task to be told", |fact| match fact {
            Fact::TaskDead { task_id, attempts, error, .. } => {
                Some((task_id.clone(), *attempts, error.clone()))
            }
            _ => None,
        })
        .await?;
    assert_eq!(told, (record.task_id, 2, "disk on fire".to_owned()));
    fleet.quiet().await
}

#[tokio::test]
async fn a_permanent_failure_is_not_tried_again() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let script = Script::new(|_| async { Err(Failure::permanent("not a video")) });
    let _worker = fleet.worker(&manifest("strict", &json!({}))?, &script).await?;

    let settled = fleet.run("film").await?;

    assert_eq!(settled.of("strict"), Some(Outcome::Failed));
    assert_eq!(script.calls().len(), 1);
    let letter = fleet.dead_letter("strict").await?;
    assert_eq!((letter.cause, letter.attempts), (Cause::Permanent, 1));
    fleet.quiet().await
}

#[tokio::test]
async fn after_a_failure_dependents_run_without_its_metadata_or_are_skipped_as_they_say()
-> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let bad = Script::new(|_| async { Err(Failure::permanent("no")) });
    let script = Script::completes();
    let _bad = fleet.worker(&manifest("bad", &json!({}))?, &bad).await?;
    let mut workers = Vec::new();
    for (id, fields) in [
        ("runs", json!({ "dependencies": ["bad"] })),
        ("skips", json!({ "dependencies": ["bad"], "onDependencyFailure": "skip" })),
        ("behind", json!({ "dependencies": ["skips"], "onDependencyFailure": "skip" })),
        ("apart", json!({})),
    ] {
        workers.push(fleet.worker(&manifest(id, &fields)?, &script).await?);
    }

    let settled = fleet.run("film").await?;

    let outcomes = ["bad", "runs", "skips", "behind", "apart"].map(|id| settled.of(id).unwrap());
    let (done, skipped) = (Outcome::Completed, Outcome::Skipped);
    assert_eq!(outcomes, [Outcome::Failed, done, skipped, skipped, done]);
    let mut ran: Vec<String> = script.calls().iter().map(|c| c.plugin.to_string()).collect();
    ran.sort();
    assert_eq!(ran, ["apart", "runs"]);
    assert!(script.calls().iter().all(|call| call.existing.is_empty()));
    Ok(())
}

#[tokio::test]
async fn a_panic_and_a_handler_that_takes_too_long_are_failed_attempts() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let script = Script::new(|call: Call| async move {
        match call.attempt {
            1 => panic!("index out of bounds"),
            2 => std::future::pending().await,
            _ => Ok(call.done()),
        }
    });
    let fields = json!({ "timeout": 300, "retry": {"maxAttempts": 3, "delaysMs": [50]} });
    let _worker = fleet.worker(&manifest("wild", &fields)?, &script).await?;

    let settled = fleet.run("film").await?;

    assert_eq!(settled.of("wild"), Some(Outcome::Completed));
    for (number, expected) in [(1, "index out of bounds"), (2, "timed out after 300 ms")] {
        let error = fleet
            .fact("a failed attempt to be told", |fact| match fact {
                Fact::TaskRetrying { attempt, error, .. } if *attempt == number => {
                    Some(error.clone())
                }
                _ => None,
            })
            .await?;
        assert!(error.contains(expected), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn an_attempt_that_reports_no_progress_fails_long_before_its_deadline() -> anyhow::Result<()>
{
    let (fleet, _lead) = Fleet::start().await?;
    let script = Script::new(|call: Call| async move {
        if call.attempt == 1 {
            std::future::pending::<()>().await;
        }
        Ok(call.done())
    });
    let retry = json!({"maxAttempts": 2, "delaysMs": [50]});
    let fields = json!({ "timeout": 600_000, "progressTimeout": 300, "retry": retry });
    let _worker = fleet.worker(&manifest("hangs", &fields)?, &script).await?;

    let settled = fleet.run("film").await?;

    assert_eq!(settled.of("hangs"), Some(Outcome::Completed));
    let told = |fact: &Fact| match fact {
        Fact::TaskRetrying { error, .. } => Some(error.clone()),
        _ => None,
    };
    let error = fleet.fact("a failed attempt to be told", told).await?;
    assert_eq!(error, "timed out: no progress for 300 ms");
    Ok(())
}

#[tokio::test]
async fn a_dead_letter_can_be_driven_again_and_its_file_recovers() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let healed = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let script = Script::new({
        let healed = healed.clone();
        move |call: Call| {
            let healed = healed.load(std::sync::atomic::Ordering::SeqCst);
            async move { if healed { Ok(call.done()) } else { Err(Failure::permanent("no disk")) } }
        }
    });
    let _worker = fleet.worker(&manifest("sick", &json!({}))?, &script).await?;
    let after = manifest("after", &json!({ "dependencies": ["sick"] }))?;
    let _after = fleet.worker(&after, &Script::completes()).await?;
    fleet.run("film").await?;
    healed.store(true, std::sync::atomic::Ordering::SeqCst);

    let store = Store::open(fleet.client.clone(), fleet.names.clone()).await?;
    let letters = store.dead_letters(None).await?;
    assert_eq!(letters.len(), 1);
    store.requeue(&letters[0]).await?;

    eventually("the file to recover", async || {
        let record = fleet.recorded("film", "sick").await?;
        Ok((record.status == RecordStatus::Completed).then_some(()))
    })
    .await?;
    fleet.quiet().await?;
    assert_eq!(fleet.dead_letters().await?, []);
    let after = fleet.recorded("film", "after").await?;
    assert_eq!(after.status, RecordStatus::Completed);
    Ok(())
}

#[tokio::test]
async fn a_failed_record_is_up_to_date_until_somebody_asks_again() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let script = Script::new(|_| async { Err(Failure::permanent("no")) });
    let _worker = fleet.worker(&manifest("bad", &json!({}))?, &script).await?;
    fleet.run("film").await?;

    let again = fleet.run("film").await?;
    assert_eq!((again.of("bad"), script.calls().len()), (Some(Outcome::Cached), 1));
    let forced = Submission { force: true, ..file("film")? };
    let run = fleet.hand_in(Queue::Fast, &forced).await?;
    assert_eq!(fleet.settled(run).await?.of("bad"), Some(Outcome::Failed));
    assert_eq!(script.calls().len(), 2);
    let letters = fleet.dead_letters().await?;
    assert_eq!(letters.len(), 1, "the newer one took the place of the older");
    Ok(())
}

#[tokio::test]
async fn metadata_over_the_size_limit_fails_at_once_and_says_the_sizes() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let script = Script::new(|call: Call| async move {
        Ok(integration_tests::done(&call.plugin, &"x".repeat(2 << 20)))
    });
    let _worker = fleet.worker(&manifest("verbose", &json!({}))?, &script).await?;

    let settled = fleet.run("film").await?;

    assert_eq!((settled.of("verbose"), script.calls().len()), (Some(Outcome::Failed), 1));
    let error = fleet.recorded("film", "verbose").await?.error.unwrap_or_default();
    assert!(error.contains("the server takes 1048576") && error.contains("2097"), "{error}");
    assert_eq!(fleet.dead_letter("verbose").await?.cause, Cause::Permanent);
    Ok(())
}

#[tokio::test]
async fn metadata_that_together_is_too_large_for_a_task_fails_it_and_the_rest_goes_on()
-> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let half = Script::new(|call: Call| async move {
        Ok(integration_tests::done(&call.plugin, &"x".repeat(700 << 10)))
    });
    let both = Script::completes();
    let _one = fleet.worker(&manifest("one", &json!({}))?, &half).await?;
    let _two = fleet.worker(&manifest("two", &json!({}))?, &half).await?;
    let reads_all = manifest("both", &json!({ "dependencies": ["one", "two"] }))?;
    let _both = fleet.worker(&reads_all, &both).await?;
    let reads_less = json!({ "dependencies": ["one", "two"], "reads": ["one/*"] });
    let _less = fleet.worker(&manifest("less", &reads_less)?, &both).await?;

    let settled = fleet.run("film").await?;

    let outcomes = ["both", "less"].map(|id| settled.of(id).unwrap());
    assert_eq!(outcomes, [Outcome::Failed, Outcome::Completed]);
    let letter = fleet.dead_letter("both").await?;
    assert!(letter.error.contains("the server takes 1048576"), "{}", letter.error);
    assert_eq!(both.calls().len(), 1, "no worker got it");
    fleet.quiet().await
}

#[tokio::test]
async fn a_key_that_the_data_schema_does_not_declare_fails_at_once_and_is_named()
-> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let script = Script::new(|_| async {
        let mut meta = worker_sdk::Meta::new();
        meta.text("liar/done", "x").text("others/title", "mine now");
        Ok(worker_sdk::Outcome::Completed(meta))
    });
    let _worker = fleet.worker(&manifest("liar", &json!({}))?, &script).await?;

    let settled = fleet.run("film").await?;

    assert_eq!((settled.of("liar"), script.calls().len()), (Some(Outcome::Failed), 1));
    let record = fleet.recorded("film", "liar").await?;
    assert!(record.error.unwrap_or_default().contains("others/title"));
    assert!(record.meta.is_empty(), "nothing of it is kept");
    Ok(())
}
