//! Two queues, one set of permits.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use async_nats::HeaderMap;
use broker_config::Queue;
use tokio::time::{Instant, sleep};

use crate::harness::{Fleet, LEASE, Script, completed, lock, tally, task};

#[tokio::test]
async fn no_more_is_held_than_can_run() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let (go, gate) = tokio::sync::watch::channel(false);
    let script = Script::new(move |_| {
        let mut gate = gate.clone();
        async move {
            drop(gate.wait_for(|open| *open).await);
            Ok(completed())
        }
    });
    let worker =
        fleet.worker(script.clone(), |options| options.concurrency = 8.try_into().ok()).await?;

    // One by one, so that requests that still wait are answered in part.
    fleet.publish_many(Queue::Fast, "f", 30).await?;
    fleet.publish_many(Queue::Background, "b", 30).await?;
    script.begun(8).await?;
    sleep(LEASE).await;
    assert_eq!(fleet.held().await?, 8, "deliveries held by eight permits");
    go.send_replace(true);
    fleet.all_done().await?;

    assert_eq!(script.most.load(SeqCst), 8);
    assert!(tally(&script.order()).values().all(|&attempts| attempts == 1));
    worker.stop().await
}

#[tokio::test]
async fn fast_goes_first_and_background_gets_its_turn() -> anyhow::Result<()> {
    for permits in [1, 2, 4] {
        let fleet = Fleet::start().await?;
        let script = Script::new(|_| async {
            sleep(Duration::from_millis(2)).await;
            Ok(completed())
        });
        fleet.publish_many(Queue::Background, "b", 40).await?;
        fleet.publish_many(Queue::Fast, "f", 80).await?;
        let worker = fleet
            .worker(script.clone(), |options| options.concurrency = permits.try_into().ok())
            .await?;
        fleet.all_done().await?;

        let order = script.order();
        let background = order[..60].iter().filter(|name| name.starts_with('b')).count();
        assert!(
            (10..=22).contains(&background),
            "{permits} permits: {background} of 60: {order:?}"
        );
        worker.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn one_queue_alone_gets_every_permit() -> anyhow::Result<()> {
    for queue in Queue::ALL {
        let fleet = Fleet::start().await?;
        let script = Script::new(|_| async {
            sleep(Duration::from_millis(40)).await;
            Ok(completed())
        });
        let worker = fleet.worker(script.clone(), |_| {}).await?;
        fleet.publish_many(queue, "x", 300).await?;
        fleet.all_done().await?;
        assert_eq!(script.most.load(SeqCst), 4, "{queue}");
        worker.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_idle_worker_begins_at_once() -> anyhow::Result<()> {
    for permits in [1, 4] {
        let fleet = Fleet::start().await?;
        let script = Script::completes();
        let worker = fleet
            .worker(script.clone(), |options| options.concurrency = permits.try_into().ok())
            .await?;
        fleet.publish(Queue::Fast, &task("first")?).await?;
        fleet.settled("first").await?;

        let mut waits = Vec::new();
        for n in 0..30 {
            let cid = format!("x-{n}");
            let sent = Instant::now();
            fleet.publish(Queue::Fast, &task(&cid)?).await?;
            script.begun(n + 2).await?;
            waits.push(lock(&script.calls)[n + 1].1.saturating_duration_since(sent));
            sleep(Duration::from_millis(3)).await;
        }

        waits.sort();
        let median = waits[waits.len() / 2];
        assert!(median < Duration::from_millis(10), "{permits} permits: {waits:?}");
        worker.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_broker_that_stands_still_for_a_while_gives_nobody_more_than_it_can_run()
-> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let script = Script::new(|_| async {
        sleep(Duration::from_millis(200)).await;
        Ok(completed())
    });
    let alone = 1.try_into().ok();
    let worker = fleet.worker(script.clone(), |options| options.concurrency = alone).await?;
    fleet.publish(Queue::Fast, &task("first")?).await?;
    fleet.settled("first").await?;

    fleet.server.hang()?;
    // Several times as long as it takes until a request is late. All that was asked meanwhile is read
    // when the broker goes on, as are these tasks.
    sleep(Duration::from_secs(9)).await;
    for n in 0..20 {
        let task = task(&format!("x-{n}"))?;
        let subject = fleet.names.task(Queue::Fast, &fleet.manifest.id, &task.cid);
        let body = serde_json::to_vec(&task)?.into();
        fleet.client.publish_with_headers(subject, HeaderMap::new(), body).await?;
    }
    fleet.server.go_on()?;
    script.begun(2).await?;
    let mut most = 0;
    while fleet.open_tasks().await? > 0 {
        most = most.max(fleet.held().await?);
    }

    assert_eq!(script.most.load(SeqCst), 1, "tasks at once");
    // The answer to one may still be on its way when the next one is delivered.
    assert!(most <= 2, "{most} deliveries held by one permit");
    worker.stop().await
}
