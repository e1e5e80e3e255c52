//! Announcement, settings, control and signs of life.

use broker_config::Queue;
use broker_config::wire::instance::InstanceState;
use broker_config::wire::signal::{AnnounceReply, Control};
use worker_sdk::WorkerError;

use crate::harness::{Fleet, Script, completed, eventually, lock, task};

#[tokio::test]
async fn a_worker_that_is_not_accepted_says_why_and_ends() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    *lock(&fleet.reply) = AnnounceReply::Rejected { reasons: vec!["depends on itself".to_owned()] };

    let mut worker = fleet.worker(Script::completes(), |_| {}).await?;

    let error = worker.ended().await?.unwrap_err();
    assert!(matches!(error, WorkerError::Rejected { .. }));
    assert!(error.to_string().contains("depends on itself"), "{error}");
    Ok(())
}

#[tokio::test]
async fn another_plugin_than_expected_is_an_error() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let plugin = Some("ffmpeg".parse()?);
    let mut worker = fleet.spawn(Script::completes(), |options| options.plugin = plugin)?;
    let error = worker.ended().await?.unwrap_err();
    assert_eq!(error.to_string(), "this is the plugin probe, not ffmpeg");
    Ok(())
}

#[tokio::test]
async fn refused_settings_keep_it_from_serving_until_they_are_mended() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let mut script = Script::completes();
    script.refuses_settings = true;
    let worker = fleet.worker(script.clone(), |_| {}).await?;
    fleet.in_state(InstanceState::Failed).await?;
    let entry = fleet.presence().await?.ok_or_else(|| anyhow::anyhow!("no entry"))?;
    assert_eq!(entry.error.as_deref(), Some("key is required"));

    fleet.publish(Queue::Fast, &task("x")?).await?;
    let refused = fleet.control(&Control::Configure { settings: serde_json::Map::new() }).await?;
    assert!(!refused.success);
    assert_eq!(refused.error.as_deref(), Some("key is required"));
    assert_eq!(script.attempts(), 0);

    let settings = serde_json::Map::from_iter([("key".to_owned(), "k".into())]);
    assert!(fleet.control(&Control::Configure { settings }).await?.success);
    fleet.settled("x").await?;
    fleet.in_state(InstanceState::Ready).await?;
    worker.stop().await
}

#[tokio::test]
async fn it_pauses_resumes_and_drains_as_told() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let script = Script::completes();
    let mut worker = fleet.worker(script.clone(), |_| {}).await?;
    fleet.in_state(InstanceState::Ready).await?;
    assert!(fleet.control(&Control::Ping).await?.success);

    assert!(fleet.control(&Control::Pause).await?.success);
    fleet.in_state(InstanceState::Paused).await?;
    // Requests that wait are answered until they run out; after that nothing comes.
    fleet.publish_many(Queue::Fast, "x", 20).await?;
    tokio::time::sleep(crate::harness::LEASE).await;
    assert!(script.attempts() < 20, "{} of 20 ran in a pause", script.attempts());

    assert!(fleet.control(&Control::Resume).await?.success);
    fleet.all_done().await?;

    assert!(fleet.control(&Control::Drain).await?.success);
    worker.ended().await??;
    assert!(fleet.presence().await?.is_none(), "it took its sign of life down");
    Ok(())
}

#[tokio::test]
async fn the_sign_of_life_shows_what_runs_and_what_was_done() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let script = Script::new(|call| async move {
        if call.cid == "long" {
            call.cancelled.cancelled().await;
        }
        Ok(completed())
    });
    let worker = fleet
        .worker(script.clone(), |options| options.grace = std::time::Duration::from_millis(50))
        .await?;
    fleet.publish_many(Queue::Fast, "x", 3).await?;
    fleet.publish(Queue::Fast, &task("long")?).await?;

    eventually("the entry to show it", async || {
        matches!(fleet.presence().await, Ok(Some(entry)) if entry.totals.completed == 3
            && entry.running.len() == 1 && entry.running[0].cid.as_str() == "long"
            && entry.concurrency == 4 && entry.healthy && entry.version == "1.0.0")
    })
    .await?;
    worker.stop().await
}

#[tokio::test]
async fn it_announces_itself_again_when_asked() -> anyhow::Result<()> {
    use std::sync::atomic::Ordering::SeqCst;

    let fleet = Fleet::start().await?;
    let worker = fleet.worker(Script::completes(), |_| {}).await?;
    fleet.in_state(InstanceState::Ready).await?;

    fleet.control(&Control::Announce).await?;

    eventually("a second announcement", async || fleet.announced.load(SeqCst) == 2).await?;
    worker.stop().await
}
