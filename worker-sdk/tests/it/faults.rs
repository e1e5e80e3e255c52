//! What happens when something dies.

use std::time::Duration;

use async_nats::jetstream::{self, consumer::PullConsumer};
use broker_config::topology::Topology;
use broker_config::{Names, Queue, Task, apply};
use futures_util::StreamExt as _;
use tokio::time::{Instant, sleep};
use worker_sdk::{Classify as _, Forward, Outcome};

use crate::harness::{Fleet, LEASE, Script, completed, eventually, policy, task};

#[tokio::test]
async fn a_dropped_delivery_comes_again_when_the_lease_is_over() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    fleet.publish(Queue::Fast, &task("x")?).await?;
    let name = Names::consumer(&fleet.manifest.id, Queue::Fast);
    let consumer: PullConsumer =
        fleet.js.get_consumer_from_stream(name, fleet.names.task_stream()).await?;
    let mut batch = consumer.fetch().max_messages(1).messages().await?;
    drop(batch.next().await.ok_or_else(|| anyhow::anyhow!("no delivery"))?);

    let dropped = Instant::now();
    let worker = fleet.worker(Script::completes(), |_| {}).await?;
    let record = fleet.settled("x").await?;

    assert_eq!(record.attempt, 2);
    assert!(dropped.elapsed() < LEASE * 3, "{:?}", dropped.elapsed());
    worker.stop().await
}

#[tokio::test]
async fn the_lease_is_renewed_while_a_handler_blocks_its_thread() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let script = Script::new(|_| async {
        let (_sender, never) = std::sync::mpsc::channel::<()>();
        assert!(never.recv_timeout(LEASE * 3).is_err());
        Ok(completed())
    });
    let worker = fleet.worker(script.clone(), |_| {}).await?;
    let second = fleet.worker(script.clone(), |_| {}).await?;

    fleet.publish(Queue::Fast, &task("x")?).await?;
    let record = fleet.settled("x").await?;

    assert_eq!((record.attempt, script.attempts()), (1, 1));
    worker.stop().await?;
    second.stop().await
}

#[tokio::test]
async fn a_handler_that_hangs_for_ever_loses_its_task() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let script = Script::new(|call| async move {
        if call.attempt == 1 {
            let (_sender, never) = std::sync::mpsc::channel::<()>();
            assert!(never.recv_timeout(Duration::from_secs(8)).is_err());
        }
        Ok(completed())
    });
    let worker = fleet.worker(script.clone(), |_| {}).await?;
    let second = fleet.worker(script.clone(), |_| {}).await?;
    let mut hasty = task("x")?;
    hasty.deadline_ms = 300;

    fleet.publish(Queue::Fast, &hasty).await?;
    let begun = Instant::now();
    let record = fleet.settled("x").await?;

    assert_eq!(record.attempt, 2);
    assert!(begun.elapsed() < Duration::from_secs(7), "{:?}", begun.elapsed());
    worker.stop().await?;
    second.stop().await
}

#[tokio::test]
async fn a_task_is_not_acked_before_its_record_is_stored() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let script = Script::completes();
    fleet.js.delete_stream(fleet.names.record_stream()).await?;
    let worker = fleet.worker(script.clone(), |_| {}).await?;

    fleet.publish(Queue::Fast, &task("x")?).await?;
    script.begun(1).await?;
    sleep(LEASE).await;
    assert_eq!(fleet.open_tasks().await?, 1, "it waits, with its lease renewed");
    assert_eq!(script.attempts(), 1);

    apply(&fleet.js, &Topology::of(&fleet.names, 1)).await?;
    assert_eq!(fleet.settled("x").await?.attempt, 1);
    fleet.all_done().await?;
    worker.stop().await
}

#[tokio::test]
async fn a_worker_that_vanishes_leaves_its_tasks_to_others() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let hangs = Script::new(|_| std::future::pending());
    let vanishes = fleet.worker(hangs.clone(), |_| {}).await?;
    fleet.publish_many(Queue::Fast, "x", 4).await?;
    hangs.begun(4).await?;

    vanishes.abort().await;
    let worker = fleet.worker(Script::completes(), |_| {}).await?;

    fleet.all_done().await?;
    worker.stop().await
}

#[tokio::test]
async fn a_task_outlives_a_broker_that_is_killed_and_comes_back() -> anyhow::Result<()> {
    let mut fleet = Fleet::start().await?;
    let (go, gate) = tokio::sync::watch::channel(false);
    let script = Script::new(move |call| {
        let mut gate = gate.clone();
        async move {
            if call.cid == "x" {
                drop(gate.wait_for(|open| *open).await);
            }
            Ok(completed())
        }
    });
    let worker = fleet.worker(script.clone(), |_| {}).await?;
    fleet.publish(Queue::Fast, &task("x")?).await?;
    script.begun(1).await?;

    fleet.server.kill()?;
    sleep(LEASE).await;
    fleet.server.restart()?;
    eventually("the broker to come back", async || fleet.open_tasks().await.is_ok()).await?;
    // Long enough for the broker to deliver the task a second time.
    sleep(LEASE * 2).await;
    go.send_replace(true);

    fleet.settled("x").await?;
    assert_eq!(script.attempts(), 1, "the attempt that ran took the new delivery over");
    fleet.publish_many(Queue::Background, "y", 10).await?;
    fleet.all_done().await?;
    worker.stop().await
}

#[tokio::test]
async fn a_record_that_is_due_while_the_broker_is_away_is_put_when_it_is_back() -> anyhow::Result<()>
{
    let mut fleet = Fleet::start().await?;
    let (go, gate) = tokio::sync::watch::channel(false);
    let script = Script::new(move |_| {
        let mut gate = gate.clone();
        async move {
            drop(gate.wait_for(|open| *open).await);
            Ok(completed())
        }
    });
    let worker = fleet.worker(script.clone(), |_| {}).await?;
    fleet.publish_many(Queue::Fast, "x", 4).await?;
    script.begun(4).await?;

    fleet.server.kill()?;
    go.send_replace(true);
    sleep(LEASE * 2).await;
    fleet.server.restart()?;

    for n in 0..4 {
        fleet.settled(&format!("x-{n}")).await?;
    }
    fleet.all_done().await?;
    assert_eq!(script.attempts(), 4);
    worker.stop().await
}

#[tokio::test]
async fn a_record_that_went_down_with_the_broker_is_put_again() -> anyhow::Result<()> {
    let mut fleet = Fleet::start().await?;
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

    // It reads nothing of what is sent to it from now on.
    fleet.server.hang()?;
    go.send_replace(true);
    sleep(LEASE / 2).await;
    fleet.server.kill()?;
    fleet.server.restart()?;

    fleet.settled("x").await?;
    fleet.all_done().await?;
    assert_eq!(script.attempts(), 1);
    worker.stop().await
}

#[tokio::test]
async fn a_forward_that_nobody_stores_is_no_failure() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let stream = fleet.js.get_stream(fleet.names.submit_stream()).await?;
    let open = stream.cached_info().config.clone();
    let full = jetstream::stream::Config { max_message_size: 1, ..open.clone() };
    fleet.js.update_stream(full).await?;
    let script = Script::new(|_| async {
        let other = "other".parse().permanent()?;
        Ok(Outcome::Forward(Forward::plugin(other)))
    });
    let worker = fleet.worker(script.clone(), |_| {}).await?;
    let single = Task { retry: policy(1, &[]), ..task("x")? };

    fleet.publish(Queue::Fast, &single).await?;
    // It is tried again for half a minute.
    let begun = Instant::now();
    while script.attempts() < 2 && begun.elapsed() < Duration::from_secs(90) {
        assert_eq!(fleet.count_signals("failed"), 0);
        sleep(Duration::from_millis(50)).await;
    }
    fleet.js.update_stream(open).await?;

    let record = fleet.settled("x").await?;
    assert_eq!(record.reason.as_deref(), Some("forwarded to other"));
    assert_eq!(fleet.count_signals("failed"), 0);
    worker.stop().await
}
