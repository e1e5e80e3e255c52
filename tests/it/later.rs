//! Tasks that wait for a time.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use broker_config::header::{ATTEMPTS_USED, SCHEDULE, SCHEDULE_TARGET};
use broker_config::read::Stored;
use broker_config::wire::event::{Fact, Outcome};
use broker_config::wire::signal::MAX_TEXT_BYTES;
use broker_config::{Queue, RecordStatus};
use integration_tests::{Call, Fleet, Script, done, eventually, manifest};
use serde_json::json;
use worker_sdk::{Failure, Outcome as Said};

/// Asks to be called again after `wait`, once per file whose name begins with `asks`.
fn asks_to_wait(wait: Duration) -> Script {
    let asked = std::sync::Mutex::new(std::collections::BTreeSet::new());
    Script::new(move |call: Call| {
        let first = asked.lock().unwrap_or_else(PoisonError::into_inner).insert(call.cid.clone());
        async move {
            if first && call.cid.starts_with("asks") {
                Ok(Said::retry_later(wait, "too many requests"))
            } else {
                Ok(call.done())
            }
        }
    })
}

/// Waits until a task waits for its time.
async fn scheduled(fleet: &Fleet, plugin: &str, cid: &str) -> anyhow::Result<Stored> {
    let subject = fleet.names.later(&plugin.parse()?, &cid.parse()?);
    eventually(&format!("a message on {subject}"), async || {
        fleet.last(&fleet.names.task_stream(), &subject).await
    })
    .await
}

fn header(stored: &Stored, name: &str) -> String {
    stored.headers.get(name).map(|value| value.as_str().to_owned()).unwrap_or_default()
}

#[tokio::test]
async fn retry_later_costs_no_attempt_and_the_broker_brings_the_task_back_in_time()
-> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let wait = Duration::from_millis(1_500);
    let script = asks_to_wait(wait);
    let once = json!({ "retry": {"maxAttempts": 1} });
    let _worker = fleet.worker(&manifest("tmdb", &once)?, &script).await?;

    let run = fleet.submit("asks").await?;
    let waiting = scheduled(&fleet, "tmdb", "asks").await?;
    assert!(header(&waiting, SCHEDULE).starts_with("@at "), "{}", header(&waiting, SCHEDULE));
    let settled = fleet.settled(run).await?;

    assert_eq!(settled.of("tmdb"), Some(Outcome::Completed));
    let calls = script.calls();
    assert_eq!(calls.iter().map(|call| call.attempt).collect::<Vec<_>>(), [1, 1]);
    let waited = calls[1].at - calls[0].at;
    assert!(waited >= wait && waited < wait + Duration::from_secs(1), "{waited:?}");
    assert_eq!(fleet.recorded("asks", "tmdb").await?.attempt, 1);
    let told = fleet
        .fact("the deferral to be told", |fact| match fact {
            Fact::TaskDeferred { delay_ms, reason, .. } => Some((*delay_ms, reason.clone())),
            _ => None,
        })
        .await?;
    assert_eq!(told, (1_500, "too many requests".to_owned()));
    assert_eq!(fleet.dead_letters().await?, []);
    fleet.quiet().await
}

#[tokio::test]
async fn a_file_that_only_waits_for_a_time_leaves_its_place_to_others() -> anyhow::Result<()> {
    // One place for fast files, one for background files.
    let (fleet, _lead) = Fleet::start_with(|options| options.max_files_in_flight = 2).await?;
    let script = asks_to_wait(Duration::from_secs(20));
    let _worker = fleet.worker(&manifest("tmdb", &json!({}))?, &script).await?;
    fleet.submit("asks").await?;
    scheduled(&fleet, "tmdb", "asks").await?;

    let settled = fleet.run("other").await?;

    assert_eq!(settled.of("tmdb"), Some(Outcome::Completed));
    assert!(fleet.record("asks", "tmdb").await?.is_none(), "it still waits");
    Ok(())
}

#[tokio::test]
async fn a_retry_after_more_than_a_minute_waits_in_the_broker_with_its_attempts_counted()
-> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let script = Script::fails("service is down");
    let slow = json!({ "retry": {"maxAttempts": 3, "delaysMs": [61_000]} });
    let _worker = fleet.worker(&manifest("slow", &slow)?, &script).await?;
    let before = jiff::Timestamp::now();

    fleet.submit("film").await?;
    let waiting = scheduled(&fleet, "slow", "film").await?;

    assert_eq!(header(&waiting, ATTEMPTS_USED), "1");
    let target = fleet.names.task(Queue::Fast, &"slow".parse()?, &"film".parse()?);
    assert_eq!(header(&waiting, SCHEDULE_TARGET), target);
    let at: jiff::Timestamp = header(&waiting, SCHEDULE).trim_start_matches("@at ").parse()?;
    let wait = at.duration_since(before).as_secs();
    assert!((61..=70).contains(&wait), "{wait}");
    eventually("the delivery to be given back", async || {
        Ok(fleet.task("slow", "film").await?.is_none().then_some(()))
    })
    .await
}

#[tokio::test]
async fn attempts_used_before_a_wait_count_after_it() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let script = Script::new(|call: Call| async move {
        if call.attempt == 2 {
            Ok(Said::retry_later(Duration::from_millis(300), "later"))
        } else {
            Err(Failure::retryable("busy"))
        }
    });
    let retry = json!({ "retry": {"maxAttempts": 3, "delaysMs": [50]} });
    let _worker = fleet.worker(&manifest("mixed", &retry)?, &script).await?;

    fleet.submit("film").await?;
    eventually("four attempts", async || Ok((script.calls().len() >= 4).then_some(()))).await?;

    let attempts: Vec<u32> = script.calls().iter().map(|call| call.attempt).take(4).collect();
    assert_eq!(attempts, [1, 2, 2, 2], "a wait at attempt 2 is followed by attempt 2");
    Ok(())
}

#[tokio::test]
async fn a_task_that_waits_keeps_its_time_when_another_coordinator_takes_over() -> anyhow::Result<()>
{
    let (fleet, lead) = Fleet::start().await?;
    let wait = Duration::from_secs(4);
    let script = asks_to_wait(wait);
    let _worker = fleet.worker(&manifest("tmdb", &json!({}))?, &script).await?;
    let run = fleet.submit("asks").await?;
    scheduled(&fleet, "tmdb", "asks").await?;

    lead.kill();
    let lead = fleet.coordinator(|_| {}).await?;
    lead.leading().await?;

    assert_eq!(fleet.settled(run).await?.of("tmdb"), Some(Outcome::Completed));
    let calls = script.calls();
    let waited = calls[1].at - calls[0].at;
    assert!(waited >= wait, "called again after {waited:?}, asked for {wait:?}");
    assert_eq!(calls.len(), 2);
    assert_eq!(fleet.recorded("asks", "tmdb").await?.status, RecordStatus::Completed);
    fleet.quiet().await
}

#[tokio::test]
async fn a_task_that_is_too_large_for_its_signal_comes_back_with_its_inputs() -> anyhow::Result<()>
{
    // The task fits into a message, and not together with so long a reason.
    const LEFT_FOR_THE_REST: usize = 3 * 1024;
    let (fleet, _lead) = Fleet::start().await?;
    let text = "x".repeat(fleet.client.max_payload() - LEFT_FOR_THE_REST);
    let wrote = text.clone();
    let author = Script::new(move |call: Call| {
        let wrote = wrote.clone();
        async move { Ok(done(&call.plugin, &wrote)) }
    });
    let asked = AtomicBool::new(false);
    let reader = Script::new(move |call: Call| {
        let first = !asked.swap(true, Ordering::SeqCst);
        async move {
            if first {
                Ok(Said::retry_later(Duration::from_millis(100), "r".repeat(MAX_TEXT_BYTES)))
            } else {
                Ok(call.done())
            }
        }
    });
    let _author = fleet.worker(&manifest("author", &json!({}))?, &author).await?;
    let needs = json!({ "dependencies": ["author"] });
    let _reader = fleet.worker(&manifest("reader", &needs)?, &reader).await?;

    fleet.run("film").await?;

    let signals = fleet.names.signal(&"reader".parse()?, "deferred");
    let stored = fleet.last(&fleet.names.signal_stream(), &signals).await?;
    let bytes = stored.map(|stored| stored.payload.len());
    assert!(bytes.is_some_and(|bytes| bytes < 2 * MAX_TEXT_BYTES), "{bytes:?}: not left out");
    let calls = reader.calls();
    assert_eq!(calls.len(), 2);
    for call in calls {
        let seen: Vec<_> =
            call.existing.iter().map(|(key, it)| (key.as_str(), it.as_text())).collect();
        assert!(seen == [("author/done", Some(text.as_str()))], "{} keys", seen.len());
    }
    fleet.quiet().await
}
