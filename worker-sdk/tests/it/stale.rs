//! What comes too late: answers when somebody else has the task, tasks for requests that were given up.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Subscriber;
use broker_config::{Names, Queue, Task};
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::watch;
use tokio::time::sleep;
use worker_sdk::Failure;

use crate::harness::{
    Fleet, LEASE, PATIENCE, Script, completed, eventually, manifest, policy, task,
};
use crate::proxy::Proxy;

/// A fleet whose tasks are delivered twice, and who hears of those that were delivered so often.
async fn of_two_attempts(deadline_ms: u64) -> anyhow::Result<(Fleet, Subscriber, Task)> {
    let retry = serde_json::json!({"retry": {"maxAttempts": 2, "delaysMs": [50]}});
    let fleet = Fleet::with(manifest(&retry)?).await?;
    let given_up = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>";
    let given_up = fleet.client.subscribe(given_up).await?;
    fleet.client.flush().await?;
    let task = Task { retry: policy(2, &[50]), deadline_ms, ..task("x")? };
    Ok((fleet, given_up, task))
}

/// A script that completes when it is let go, for the second attempt.
fn second(go: &watch::Sender<bool>) -> Script {
    let gate = go.subscribe();
    Script::new(move |_| {
        let mut gate = gate.clone();
        async move {
            drop(gate.wait_for(|open| *open).await);
            Ok(completed())
        }
    })
}

/// The second attempt, which ran when the first one had failed, is the outcome.
async fn the_second_counts(fleet: &Fleet, given_up: &mut Subscriber) -> anyhow::Result<()> {
    assert_eq!(fleet.settled("x").await?.attempt, 2);
    fleet.all_done().await?;
    let advisory = given_up.next().now_or_never();
    assert!(advisory.is_none(), "the broker gave it up while it ran: {advisory:?}");
    Ok(())
}

#[tokio::test]
async fn a_handler_that_fails_when_its_lease_is_over_takes_the_task_from_nobody()
-> anyhow::Result<()> {
    let (fleet, mut given_up, task) = of_two_attempts(3_000).await?;
    let (fail, failing) = std::sync::mpsc::channel::<()>();
    let failing = Arc::new(std::sync::Mutex::new(failing));
    let first = Script::new(move |_| {
        let failing = failing.clone();
        async move {
            // It blocks its thread, so that nothing ends it in time.
            drop(failing.lock().map(|failing| failing.recv_timeout(PATIENCE)));
            Err(Failure::retryable("too late"))
        }
    });
    let (go, _) = watch::channel(false);
    let other = second(&go);
    let alone = 1.try_into().ok();
    let slow = fleet.worker(first.clone(), |options| options.concurrency = alone).await?;
    fleet.publish(Queue::Fast, &task).await?;
    first.begun(1).await?;
    let worker = fleet.worker(other.clone(), |_| {}).await?;
    other.begun(1).await?;

    fail.send(())?;
    fleet.signal("retrying", 0).await?;
    // For longer than the delay of a nak.
    sleep(LEASE).await;
    go.send_replace(true);

    the_second_counts(&fleet, &mut given_up).await?;
    worker.stop().await?;
    slow.stop().await
}

#[tokio::test]
async fn what_is_said_of_a_task_while_the_broker_is_away_takes_it_from_nobody() -> anyhow::Result<()>
{
    let (fleet, mut given_up, task) = of_two_attempts(10_000).await?;
    let proxy = Proxy::start(&fleet.server.url()).await?;
    let (fail, failing) = watch::channel(false);
    let first = Script::new(move |_| {
        let mut failing = failing.clone();
        async move {
            drop(failing.wait_for(|fail| *fail).await);
            Err(Failure::retryable("too late"))
        }
    });
    let (go, _) = watch::channel(false);
    let other = second(&go);
    let far = fleet.worker(first.clone(), |options| options.url = proxy.url()).await?;
    fleet.publish(Queue::Fast, &task).await?;
    first.begun(1).await?;

    proxy.cut();
    let worker = fleet.worker(other.clone(), |_| {}).await?;
    other.begun(1).await?;
    fail.send_replace(true);
    // Time to say so, to nobody.
    sleep(Duration::from_millis(100)).await;
    let announced = fleet.announced.load(std::sync::atomic::Ordering::SeqCst);
    proxy.mend();
    eventually("the worker to be back", async || {
        fleet.announced.load(std::sync::atomic::Ordering::SeqCst) > announced
    })
    .await?;
    fleet.signal("retrying", 0).await?;
    sleep(LEASE).await;
    go.send_replace(true);

    the_second_counts(&fleet, &mut given_up).await?;
    worker.stop().await?;
    far.stop().await
}

#[tokio::test]
async fn a_task_on_its_way_to_an_inbox_that_was_given_up_is_run() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let proxy = Proxy::start(&fleet.server.url()).await?;
    let consumer = Names::consumer(&fleet.manifest.id, Queue::Fast);
    let next = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{consumer}", fleet.names.task_stream());
    let mut requests = fleet.client.subscribe(next.clone()).await?;
    fleet.client.flush().await?;
    let script = Script::completes();
    let worker = fleet.worker(script.clone(), |options| options.url = proxy.url()).await?;
    // It takes a new one when it has noticed that it is connected.
    let (mut inbox, mut same) = (String::new(), false);
    while !same {
        let reply = requests.next().await.and_then(|request| request.reply);
        let reply = reply.ok_or_else(|| anyhow::anyhow!("no request"))?;
        let (latest, _) = reply.rsplit_once('.').ok_or_else(|| anyhow::anyhow!("{reply}"))?;
        same = inbox == latest;
        latest.clone_into(&mut inbox);
    }

    // It listens there again, and has not said yet that it does not any more.
    proxy.cut();
    proxy.hold_behind(format!("SUB {inbox}.* "));
    proxy.mend();
    proxy.held().await?;
    let ask = async || {
        let ask = r#"{"batch":1,"expires":10000000000}"#;
        fleet.client.publish_with_reply(next.clone(), format!("{inbox}.0"), ask.into()).await
    };
    fleet.publish(Queue::Fast, &task("x")?).await?;
    // Requests of somebody of whom the server has not heard yet are dropped.
    eventually("the task to be sent there", async || {
        matches!(fleet.held().await, Ok(1)) || ask().await.is_err()
    })
    .await?;
    // A dropped one would come again on time.
    sleep(LEASE / 3).await;
    proxy.let_go();

    assert_eq!(fleet.settled("x").await?.attempt, 1);
    worker.stop().await
}
