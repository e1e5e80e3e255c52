//! Tasks that are settled and yet in their stream, or that nobody will be given.
//!
//! A broker that is killed may keep an acknowledgement and lose the removal that follows from it
//! (seen with nats-server 2.15.1): the message is back when the server is, its consumer never
//! delivers it again, and no other task for the same work can be published in its place. The same
//! is so where the record was lost besides, or the consumer remembers more than its stream.

use async_nats::jetstream::consumer::Info;
use broker_config::read::{Stored, last_messages, next_message};
use broker_config::{Chain, Names, Task};

use crate::broker::Broker;
use crate::broker::api::ApiError;
use crate::broker::dead::GiveUpError;

use super::{Fate, LEAVING, MOST, Standing};

/// The sequence up to which a consumer delivers nothing any more, from its numbers: how many
/// deliveries are held, the last one, the floor.
///
/// Its acknowledgement floor says so only once something behind it was acknowledged; where nothing
/// is held at all, its last delivery does.
#[must_use]
pub const fn done_up_to(held: usize, delivered: u64, floor: u64) -> u64 {
    if held == 0 { delivered } else { floor }
}

/// Whether there is another record, of this revision, than the one that the task would replace:
/// then it is settled, and a record that it would lead to is refused.
#[must_use]
pub const fn is_outdone(task: &Task, revision: u64) -> bool {
    revision != task.record_revision
}

/// Takes out what is settled and will not be delivered again, and what was passed over: if a file waits
/// for that, it is missed and published again. What ran out of deliveries stays, for the look at open
/// runs.
pub(super) async fn sweep(broker: &Broker) -> Result<(), GiveUpError> {
    let stream = broker.names.task_stream();
    let mut open = Vec::new();
    for consumer in consumers(broker).await? {
        let standing = Standing::from(&consumer);
        let filter = consumer.config.filter_subject;
        let (mut from, mut stuck) = (1, Vec::new());
        for _ in 0..MOST {
            let next = next_message(&broker.client, &stream, &filter, from).await?;
            let Some(stored) = next.filter(|stored| stored.sequence <= standing.behind()) else {
                break;
            };
            from = stored.sequence + 1;
            if is_settled(broker, &stored).await? {
                tracing::info!(subject = stored.subject, "a settled task was left over");
                broker.delete_message(&stream, stored.sequence).await?;
            } else {
                stuck.push(stored.sequence);
            }
        }
        if !stuck.is_empty() {
            open.push((consumer.name, standing, filter, stuck));
        }
    }
    if open.is_empty() {
        return Ok(());
    }
    // One that was acknowledged a moment ago is leaving its stream.
    tokio::time::sleep(LEAVING).await;
    for (consumer, standing, filter, stuck) in open {
        for (stored, fate) in broker.fates(&consumer, (standing, &filter), &stuck).await? {
            if fate == Fate::PassedOver {
                tracing::warn!(subject = stored.subject, "nobody would be given a task");
                broker.delete_message(&stream, stored.sequence).await?;
            }
        }
    }
    Ok(())
}

async fn consumers(broker: &Broker) -> Result<Vec<Info>, ApiError> {
    let what = format!("CONSUMER.LIST.{}", broker.names.task_stream());
    let found = broker.all(&what, "consumers").await?;
    let read = found.into_iter().filter_map(|consumer| {
        let read = serde_json::from_value(consumer);
        read.inspect_err(|error| tracing::warn!(error = %Chain(error), "an unreadable consumer"))
            .ok()
    });
    // The one of tasks that wait for their time delivers nothing.
    Ok(read.filter(|info: &Info| Names::parse_consumer(&info.name).is_some()).collect())
}

async fn is_settled(broker: &Broker, stored: &Stored) -> Result<bool, GiveUpError> {
    let Ok(task) = serde_json::from_slice::<Task>(&stored.payload) else { return Ok(false) };
    let names = &broker.names;
    let Some(address) = names.parse_task(&stored.subject) else { return Ok(false) };
    let subject_of = if task.trial { Names::trial } else { Names::record };
    let record = subject_of(names, &address.cid, &address.plugin);
    let found = last_messages(&broker.client, &names.record_stream(), &[record]).await?;
    let revision = found.first().map_or(0, |record| record.sequence);
    Ok(is_outdone(&task, revision))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use async_nats::HeaderMap;
    use async_nats::jetstream::consumer::pull::Config;
    use broker_config::{Cid, PluginId, Queue};
    use bytes::Bytes;
    use futures_util::StreamExt as _;
    use tokio::time::timeout;

    use super::*;
    use crate::broker::json;
    use crate::store::testing::TestBroker;
    use crate::strays::task_of;

    /// A task that is published, over a record with this revision.
    async fn publish(broker: &Broker, cid: &str, record_revision: u64) -> anyhow::Result<()> {
        let (cid, plugin): (Cid, PluginId) = (cid.parse()?, "here".parse()?);
        let subject = broker.names.task(Queue::Fast, &plugin, &cid);
        let nothing = Stored {
            subject: subject.clone(),
            sequence: 0,
            headers: HeaderMap::new(),
            payload: Bytes::new(),
        };
        let task = Task { record_revision, ..task_of(&nothing, plugin, cid) };
        broker.publisher.publish(subject, HeaderMap::new(), json(&task)).await?;
        Ok(())
    }

    async fn record(broker: &Broker, cid: &str) -> anyhow::Result<u64> {
        let subject = broker.names.record(&cid.parse()?, &"here".parse()?);
        let stored = broker.publisher.publish(subject, HeaderMap::new(), Bytes::from_static(b"{}"));
        Ok(stored.await?)
    }

    #[tokio::test]
    async fn only_what_is_settled_and_will_not_be_delivered_again_goes() -> anyhow::Result<()> {
        let (server, _store) = TestBroker::start().await?;
        let broker = Broker::open(server.client().await?, Names::default()).await?;
        let config = Config {
            durable_name: Some("here_fast".to_owned()),
            filter_subject: "mf.task.fast.here.*".to_owned(),
            max_deliver: 1,
            ack_wait: Duration::from_millis(200),
            ..Config::default()
        };
        let stream = broker.js.get_stream(broker.names.task_stream()).await?;
        let mut consumer = stream.create_consumer(config).await?;
        let (again, open) =
            (record(&broker, "settled-again").await?, record(&broker, "open-again").await?);
        for (cid, over) in
            [("settled", 0), ("open", 0), ("settled-again", again), ("open-again", open)]
        {
            publish(&broker, cid, over).await?;
        }
        // Delivered for the only time and never acknowledged: the broker is done with them.
        let mut messages = consumer.messages().await?;
        for _ in 0..4 {
            timeout(Duration::from_secs(10), messages.next()).await?;
        }
        drop(messages);
        let held = async {
            while consumer.info().await?.num_ack_pending > 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            anyhow::Ok(())
        };
        timeout(Duration::from_secs(10), held).await??;
        publish(&broker, "waiting", 0).await?;
        for cid in ["settled", "settled-again", "waiting"] {
            record(&broker, cid).await?;
        }

        sweep(&broker).await?;
        sweep(&broker).await?;

        let mut left = broker.task_subjects(&broker.names.all_tasks()).await?;
        left.sort();
        let expected =
            ["open", "open-again", "waiting"].map(|cid| format!("mf.task.fast.here.{cid}"));
        assert_eq!(left, expected);
        Ok(())
    }
}
