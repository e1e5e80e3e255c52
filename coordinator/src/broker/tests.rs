//! What a coordinator that leads no more can still write: nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use broker_config::wire::dead::Cause;
use broker_config::{Queue, Task, TaskId};
use futures_util::StreamExt as _;
use tokio::time::{Instant, timeout};

use super::api::{ApiError, DEPOSED};
use super::dead::GiveUp;
use super::*;
use crate::store::testing::TestBroker;

/// What a stream holds: its messages, the last sequence that it ever gave, its consumers.
type Streams = BTreeMap<String, (u64, u64, usize)>;

async fn streams(broker: &Broker) -> anyhow::Result<Streams> {
    let mut found = Streams::new();
    let mut all = broker.js.streams();
    while let Some(info) = all.next().await {
        let info = info?;
        let state = &info.state;
        let held = (state.messages, state.last_sequence, state.consumer_count);
        found.insert(info.config.name.clone(), held);
    }
    Ok(found)
}

fn task(cid: &str) -> anyhow::Result<Task> {
    Ok(serde_json::from_value(serde_json::json!({
        "type": "metafleet.task.v1", "taskId": TaskId::derive(&cid.parse()?, &"p".parse()?, "f", 0),
        "runId": 1, "pluginId": "p",
        "cid": cid, "filePath": "/film", "fingerprint": "f", "deadlineMs": 1,
        "retry": {"maxAttempts": 1, "delaysMs": []},
    }))?)
}

/// Tries to write one of everything that a leader writes; says which were refused.
async fn write_all(broker: &Broker, cid: &str) -> anyhow::Result<Vec<&'static str>> {
    let names = &broker.names;
    let (plugin, task) = ("p".parse()?, task(cid)?);
    let mut refused = Vec::new();
    for (what, subject) in [
        ("task", names.task(Queue::Fast, &plugin, &task.cid)),
        ("config", Names::key_subject(&names.config_bucket(), cid)),
        ("registration", Names::key_subject(&names.plugins_bucket(), cid)),
        ("quarantine", Names::key_subject(&names.lease_bucket(), cid)),
    ] {
        let sent = broker.publisher.publish_after(subject, 0, HeaderMap::new(), json(&task));
        if matches!(sent.await, Err(PublishError::Closed)) {
            refused.push(what);
        }
    }
    let fact = Fact::PluginRemoved { plugin_id: plugin.clone() };
    if matches!(broker.tell(fact, None).await, Err(PublishError::Closed)) {
        refused.push("event");
    }
    let dead = GiveUp::new(task, Queue::Fast, Cause::Permanent, "no".to_owned());
    if broker.give_up(dead).await.is_err() {
        refused.push("dead letter and failed record");
    }
    let is_refused = |done: Result<(), ApiError>| match done {
        Err(ApiError::Refused { description, .. }) => description == DEPOSED,
        Ok(()) | Err(ApiError::Away { .. }) => false,
    };
    let stream = names.task_stream();
    let consumer = serde_json::json!({
        "stream_name": stream,
        "config": {"durable_name": cid, "name": cid, "ack_policy": "explicit", "filter_subject": names.submit(Queue::Fast)},
    });
    let create = format!("CONSUMER.CREATE.{stream}.{cid}");
    if is_refused(broker.api(create, &consumer).await.map(drop)) {
        refused.push("consumer");
    }
    if is_refused(broker.delete_message(&names.event_stream(), 1).await) {
        refused.push("delete");
    }
    if is_refused(broker.clear_tasks(&plugin).await) {
        refused.push("purge");
    }
    Ok(refused)
}

#[tokio::test]
async fn who_leads_no_more_changes_nothing_of_any_kind() -> anyhow::Result<()> {
    let (server, _store) = TestBroker::start().await?;
    let broker = Broker::open(server.client().await?, Names::default()).await?;
    let warrant = Warrant::until(Instant::now() + Duration::from_secs(3_600));
    let leader = broker.under(warrant.clone());

    assert_eq!(write_all(&leader, "leads").await?, Vec::<&str>::new());
    let before = streams(&broker).await?;
    let names = &broker.names;
    for stream in [
        names.record_stream(),
        names.dead_stream(),
        names.event_stream(),
        names.task_stream(),
        Names::bucket_stream(&names.config_bucket()),
        Names::bucket_stream(&names.plugins_bucket()),
        Names::bucket_stream(&names.lease_bucket()),
    ] {
        assert!(before.get(&stream).is_some_and(|(_, last, _)| *last > 0), "{stream}: {before:?}");
    }

    warrant.end();
    assert_eq!(
        write_all(&leader, "deposed").await?,
        [
            "task",
            "config",
            "registration",
            "quarantine",
            "event",
            "dead letter and failed record",
            "consumer",
            "delete",
            "purge"
        ]
    );
    assert_eq!(streams(&broker).await?, before);
    assert!(broker.task_subjects(&names.all_tasks()).await.is_ok(), "it may look");
    Ok(())
}

#[tokio::test]
async fn while_nobody_knows_whether_it_leads_a_write_waits() -> anyhow::Result<()> {
    let (server, _store) = TestBroker::start().await?;
    let broker = Broker::open(server.client().await?, Names::default()).await?;
    let warrant = Warrant::until(Instant::now());
    let leader = broker.under(warrant.clone());
    let fact = Fact::PluginRemoved { plugin_id: "p".parse()? };

    let told = leader.tell(fact, None);
    tokio::pin!(told);
    assert!(timeout(Duration::from_millis(300), told.as_mut()).await.is_err(), "it is written");
    let events = broker.js.get_stream(broker.names.event_stream()).await?;
    assert_eq!(events.cached_info().state.messages, 0);

    warrant.extend(Instant::now() + Duration::from_secs(60));
    told.await?;
    Ok(())
}
