//! How much is in hand at once, and who goes first.

use std::num::NonZeroUsize;
use std::time::Duration;

use broker_config::{Queue, Submission};
use integration_tests::{Call, Fleet, Script, eventually, file, heavy, manifest};
use serde_json::json;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn max_in_flight_of_a_plugin_holds_over_all_its_workers() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let script = Script::new(|call: Call| async move {
        sleep(Duration::from_millis(20)).await;
        Ok(call.done())
    });
    let limited = manifest("limited", &json!({ "maxInFlight": 3 }))?;
    let mut workers = Vec::new();
    for _ in 0..3 {
        workers.push(fleet.worker(&limited, &script).await?);
    }

    for run in fleet.submit_many("film", 30).await? {
        fleet.settled(run).await?;
    }

    assert_eq!(script.calls().len(), 30);
    assert_eq!(script.most(), 3, "never more, and all of it used");
    Ok(())
}

#[tokio::test]
async fn no_more_files_are_in_hand_than_allowed() -> anyhow::Result<()> {
    // Six fast, two background.
    let (fleet, lead) = Fleet::start_with(|options| options.max_files_in_flight = 8).await?;
    let gate = CancellationToken::new();
    let script = Script::waits_for(&gate);
    let probe = manifest("probe", &json!({}))?;
    let _worker = fleet
        .worker_with(&probe, &script, |options| options.concurrency = NonZeroUsize::new(30))
        .await?;

    let mut runs = fleet.submit_many("fast", 20).await?;
    runs.extend(fleet.hand_in_many(Queue::Background, "background", 10).await?);
    script.begun(8).await?;
    eventually("the files in hand to be counted", async || {
        Ok((lead.handle.numbers().open == 8).then_some(()))
    })
    .await?;

    assert_eq!(fleet.tasks_published().await?, 8);
    let of = |stem: &str| script.calls().iter().filter(|c| c.cid.starts_with(stem)).count();
    assert_eq!((of("fast"), of("background")), (6, 2), "neither takes the other's places");
    gate.cancel();
    for run in runs {
        fleet.settled(run).await?;
    }
    assert!(script.most() <= 8, "{}", script.most());
    Ok(())
}

/// Hands in files whose tasks go into the queue they are handed in by.
async fn backlog(fleet: &Fleet, queue: Queue, count: usize) -> anyhow::Result<()> {
    for number in 0..count {
        let submission = Submission { override_queue: true, ..file(&format!("{queue}-{number}"))? };
        fleet.hand_in(queue, &submission).await?;
    }
    Ok(())
}

#[tokio::test]
async fn fast_goes_first_and_background_gets_its_share() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let (fleet, _lead) = Fleet::start().await?;
    let script = Script::completes();
    let probe = manifest("probe", &json!({}))?;
    fleet.announce(&probe).await?;
    backlog(&fleet, Queue::Background, 12).await?;
    backlog(&fleet, Queue::Fast, 24).await?;
    eventually("all tasks to wait", async || {
        Ok((fleet.state(&fleet.names.task_stream()).await?.0 == 36).then_some(()))
    })
    .await?;

    let one = |options: &mut worker_sdk::WorkerOptions| options.concurrency = NonZeroUsize::new(1);
    let _worker = fleet.worker_with(&probe, &script, one).await?;
    fleet.quiet().await?;

    let order: String =
        script.calls().iter().map(|c| if c.cid.starts_with("fast") { 'f' } else { 'b' }).collect();
    let background = order.chars().take(20).filter(|&queue| queue == 'b').count();
    assert!((3..=7).contains(&background), "about one in four: {order}");
    Ok(())
}

#[tokio::test]
async fn with_strict_priority_background_files_wait_for_fast_ones() -> anyhow::Result<()> {
    let (fleet, lead) = Fleet::start_with(|options| options.strict_priority = true).await?;
    let gate = CancellationToken::new();
    let script = Script::waits_for(&gate);
    let _worker = fleet.worker(&manifest("probe", &json!({}))?, &script).await?;
    fleet.submit("fast").await?;
    script.begun(1).await?;

    let background = fleet.hand_in(Queue::Background, &file("background")?).await?;
    // What is handed in later by the fast queue overtakes it.
    fleet.submit("fast-too").await?;
    script.begun(2).await?;
    eventually("the files in hand to be counted", async || {
        Ok((lead.handle.numbers().open == 2).then_some(()))
    })
    .await?;
    assert!(fleet.task("probe", "background").await?.is_none());

    gate.cancel();
    fleet.settled(background).await?;
    Ok(())
}

#[tokio::test]
async fn submissions_of_one_file_run_one_after_the_other_and_share_what_is_new_enough()
-> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let gate = CancellationToken::new();
    let script = Script::waits_for(&gate);
    let _worker = fleet.worker(&manifest("probe", &json!({}))?, &script).await?;
    let forced = Submission { force: true, ..file("film")? };
    let first = fleet.submit("film").await?;
    script.begun(1).await?;
    let second = fleet.hand_in(Queue::Background, &forced).await?;

    gate.cancel();
    let (first, second) = (fleet.settled(first).await?, fleet.settled(second).await?);
    let third = fleet.hand_in(Queue::Fast, &forced).await?;
    let third = fleet.settled(third).await?;

    // The record of the first is newer than the second, which asks for no older one.
    assert_eq!((first.tasks.completed, second.tasks.completed), (1, 1));
    assert_eq!(third.tasks.completed, 1);
    assert_eq!((script.calls().len(), script.most()), (2, 1), "{script:?}");
    fleet.quiet().await
}
