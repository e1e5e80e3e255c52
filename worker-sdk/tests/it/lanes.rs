//! Two versions of a plugin at once: whose tasks a worker takes, and where trials go.

use broker_config::topology::TaskConsumerSpec;
use broker_config::wire::signal::{AnnounceReply, Control};
use broker_config::{Cid, Lane, Names, Queue, Task};

use crate::harness::{Fleet, LEASE, Script, eventually, lock, task};

/// Makes the consumers of the second lane.
async fn open_lane(fleet: &Fleet) -> anyhow::Result<()> {
    for queue in Queue::ALL {
        let (names, id) = (&fleet.names, &fleet.manifest.id);
        let spec = TaskConsumerSpec::of(names, &fleet.manifest, queue, LEASE);
        let spec = spec.in_lane(names, Lane::Next, id, queue);
        broker_config::apply::apply_consumer(&fleet.js, names, &spec).await?;
    }
    Ok(())
}

fn answer(fleet: &Fleet, says: Lane) {
    if let AnnounceReply::Accepted { lane, .. } = &mut *lock(&fleet.reply) {
        *lane = says;
    }
}

async fn publish_next(fleet: &Fleet, task: &Task) -> anyhow::Result<()> {
    let id = &fleet.manifest.id;
    let subject = fleet.names.task_in(Lane::Next, Queue::Fast, id, &task.cid);
    fleet.js.publish(subject, serde_json::to_vec(task)?.into()).await?.await?;
    Ok(())
}

async fn is_recorded(fleet: &Fleet, cid: &str) -> anyhow::Result<()> {
    eventually(cid, async || fleet.record(cid).await.is_ok_and(|record| record.is_some())).await
}

#[tokio::test]
async fn a_worker_pulls_from_the_lane_it_is_told_and_goes_over_when_that_changes()
-> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    open_lane(&fleet).await?;
    answer(&fleet, Lane::Next);
    let script = Script::completes();
    let worker = fleet.worker(script.clone(), |_| {}).await?;
    publish_next(&fleet, &task("next")?).await?;
    fleet.publish(Queue::Fast, &task("main")?).await?;
    is_recorded(&fleet, "next").await?;
    assert!(fleet.record("main").await?.is_none(), "the other lane is not its business");

    answer(&fleet, Lane::Main);
    let control = serde_json::to_vec(&Control::Announce)?;
    let subject = fleet.names.control(&fleet.manifest.id);
    fleet.client.request(subject, control.into()).await?;

    is_recorded(&fleet, "main").await?;
    publish_next(&fleet, &task("left")?).await?;
    fleet.publish(Queue::Fast, &task("more")?).await?;
    is_recorded(&fleet, "more").await?;
    assert!(fleet.record("left").await?.is_none());
    worker.stop().await
}

#[tokio::test]
async fn a_task_of_another_version_is_given_back_and_ends_with_its_last_delivery()
-> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let script = Script::completes();
    let worker = fleet.worker(script.clone(), |_| {}).await?;
    let other = Task { plugin_version: Some("9.9.9".to_owned()), ..task("other")? };
    let own = fleet.manifest.version.to_string();
    fleet.publish(Queue::Fast, &other).await?;
    fleet.publish(Queue::Fast, &Task { plugin_version: Some(own), ..task("own")? }).await?;

    is_recorded(&fleet, "own").await?;
    let stream = fleet.names.task_stream();
    eventually("nothing to be left", async || {
        let stream = fleet.js.get_stream(&stream).await;
        stream.is_ok_and(|stream| stream.cached_info().state.messages == 0)
    })
    .await?;
    assert!(fleet.record("other").await?.is_none(), "it was never run");
    worker.stop().await
}

#[tokio::test]
async fn what_is_said_on_trial_is_no_record() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    open_lane(&fleet).await?;
    answer(&fleet, Lane::Next);
    let worker = fleet.worker(Script::completes(), |_| {}).await?;
    publish_next(&fleet, &Task { lane: Lane::Next, trial: true, ..task("film")? }).await?;

    let (cid, id): (Cid, _) = ("film".parse()?, &fleet.manifest.id);
    let subject = fleet.names.trial(&cid, id);
    let stream = Names::bucket_stream(&fleet.names.records_bucket());
    eventually("the trial", async || {
        let Ok(stream) = fleet.js.get_stream(&stream).await else { return false };
        stream.get_last_raw_message_by_subject(&subject).await.is_ok()
    })
    .await?;
    assert!(fleet.record("film").await?.is_none());
    worker.stop().await
}
