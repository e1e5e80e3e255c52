//! Stopping without losing anything.

use std::time::Duration;

use broker_config::Queue;
use tokio::time::Instant;

use crate::harness::{Fleet, LEASE, Script, completed, policy, task};

/// A script whose handlers wait until the test lets them go on.
fn gated() -> (Script, tokio::sync::watch::Sender<bool>) {
    let (go, gate) = tokio::sync::watch::channel(false);
    let script = Script::new(move |_| {
        let mut gate = gate.clone();
        async move {
            drop(gate.wait_for(|open| *open).await);
            Ok(completed())
        }
    });
    (script, go)
}

#[tokio::test]
async fn a_drain_finishes_what_runs_and_leaves_the_rest_to_others() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let (script, go) = gated();
    let worker =
        fleet.worker(script.clone(), |options| options.concurrency = 2.try_into().ok()).await?;
    fleet.publish_many(Queue::Fast, "x", 6).await?;
    script.begun(2).await?;

    worker.drain.cancel();
    let stopped = worker.stop();
    go.send_replace(true);
    stopped.await?;

    assert_eq!(script.attempts(), 2, "it began nothing more");
    assert_eq!(fleet.open_tasks().await?, 4);
    let other = Script::completes();
    let worker = fleet.worker(other.clone(), |_| {}).await?;
    fleet.all_done().await?;
    assert_eq!(other.attempts(), 4);
    for n in 0..6 {
        assert_eq!(fleet.settled(&format!("x-{n}")).await?.attempt, 1, "x-{n}");
    }
    worker.stop().await
}

#[tokio::test]
async fn what_outlasts_the_grace_period_is_given_back_at_once() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let (script, _go) = gated();
    let worker =
        fleet.worker(script.clone(), |options| options.grace = Duration::from_millis(100)).await?;
    fleet.publish(Queue::Fast, &task("x")?).await?;
    script.begun(1).await?;

    worker.stop().await?;
    let given_back = Instant::now();
    let other = fleet.worker(Script::completes(), |_| {}).await?;
    let record = fleet.settled("x").await?;

    assert!(given_back.elapsed() < LEASE, "it was not left to its lease");
    assert_eq!(record.attempt, 2);
    other.stop().await
}

#[tokio::test]
async fn giving_back_the_last_attempt_does_not_kill_the_task() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let (script, _go) = gated();
    let worker =
        fleet.worker(script.clone(), |options| options.grace = Duration::from_millis(100)).await?;
    let mut single = task("x")?;
    single.retry = policy(1, &[50]);
    fleet.publish(Queue::Fast, &single).await?;
    script.begun(1).await?;

    worker.stop().await?;

    let signal = fleet.signal("deferred", 0).await?;
    assert!(
        matches!(signal.what, broker_config::wire::signal::What::Deferred { attempts_used: 0, .. }),
        "{signal:?}"
    );
    assert_eq!(fleet.count_signals("failed"), 0);
    Ok(())
}
