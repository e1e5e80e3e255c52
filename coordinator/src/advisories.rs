//! Tasks that were delivered as often as they may be, or that a worker ended without a word.

use std::time::Duration;

use broker_config::header::ATTEMPTS_USED;
use broker_config::read::{Stored, message_at};
use broker_config::wire::dead::Cause;
use broker_config::{Chain, InstanceId, Names, Task, TaskId};
use serde::Deserialize;

use crate::broker::dead::GiveUp;
use crate::broker::{Broker, trace_of};
use crate::journal::Journal;
use crate::presence::PresenceHandle;

/// What the server says when it stops delivering a message.
#[derive(Debug, Deserialize)]
pub struct Advisory {
    /// Which kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// The message.
    pub stream_seq: u64,
    /// How often it was delivered.
    #[serde(default)]
    pub deliveries: u32,
}

impl Advisory {
    /// Whether deliveries ran out, as opposed to: a worker ended the task.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.kind.ends_with("max_deliver")
    }
}

/// What is known of tasks beside their messages.
#[derive(Clone, Debug)]
pub struct Witness {
    /// Who runs what.
    pub presence: PresenceHandle,
    /// Who failed with what.
    pub journal: Journal,
    /// The lease of tasks.
    pub lease: Duration,
}

impl Witness {
    /// Who had the task last, and what is to be said of its end.
    fn testify(&self, task: &TaskId, deliveries: u32) -> (Option<InstanceId>, String) {
        let mut error = format!(
            "delivered {deliveries} times; the last worker died, hung or lost its lease of {} s",
            self.lease.as_secs()
        );
        let failed = self.journal.last(task);
        if let Some((_, before)) = &failed {
            error = format!("{error}; before that: {before}");
        }
        (self.presence.holder(task).or_else(|| failed.map(|(instance, _)| instance)), error)
    }
}

/// Handles one advisory; `false` = something failed, do it again.
///
/// An ended task is gone from its stream, and whoever ended it has said why before (the signal
/// `failed`); if not, the reconciler finds it missing and it runs again.
pub async fn handle(broker: &Broker, witness: &Witness, payload: &[u8]) -> bool {
    let Ok(advisory) = serde_json::from_slice::<Advisory>(payload) else {
        tracing::warn!("an advisory cannot be read");
        return true;
    };
    if !advisory.is_exhausted() {
        return true;
    }
    let stream = broker.names.task_stream();
    match message_at(&broker.client, &stream, advisory.stream_seq).await {
        Ok(Some(stored)) => exhausted(broker, witness, &stored).await,
        Ok(None) => true,
        Err(error) => {
            tracing::debug!(error = %Chain(&error), "the task of an advisory cannot be read");
            false
        }
    }
}

/// Gives up on a task that is not delivered any more and takes it out of its stream; `false` =
/// something failed, do it again.
pub async fn exhausted(broker: &Broker, witness: &Witness, stored: &Stored) -> bool {
    let Some(address) = broker.names.parse_task(&stored.subject) else { return true };
    let used: u32 = stored
        .headers
        .get(ATTEMPTS_USED)
        .and_then(|value| value.as_str().parse().ok())
        .unwrap_or(0);
    if let Ok(mut task) = serde_json::from_slice::<Task>(&stored.payload) {
        // Identity is what the subject says.
        task.cid = address.cid.clone();
        task.plugin_id = address.plugin.clone();
        // The broker counts anew each time that a task is published; its attempts go on.
        let deliveries = task.retry.deliveries();
        let attempts = used.saturating_add(deliveries);
        let (instance, error) = witness.testify(&task.task_id, deliveries);
        let dead = GiveUp {
            task,
            queue: address.queue,
            cause: Cause::Exhausted,
            error,
            attempts,
            duration_ms: 0,
            instance,
            trace: trace_of(Some(&stored.headers)),
        };
        if let Err(error) = broker.give_up(dead).await {
            tracing::warn!(error = %Chain(&error), "could not give up on a task, trying again");
            return false;
        }
    } else {
        tracing::warn!(subject = stored.subject, "a task that cannot be read is taken out");
    }
    let stream = broker.names.task_stream();
    let consumer = Names::consumer_in(address.lane, &address.plugin, address.queue);
    tracing::warn!(plugin.id = %address.plugin, file.cid = %address.cid, consumer, "task exhausted");
    match broker.delete_message(&stream, stored.sequence).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(error = %Chain(&error), "a task is left in its stream, trying again");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use async_nats::HeaderMap;
    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::store::testing::TestBroker;

    #[tokio::test]
    async fn attempts_before_a_deferral_are_counted_where_deliveries_run_out() -> anyhow::Result<()>
    {
        let (server, store) = TestBroker::start().await?;
        let broker = Broker::open(server.client().await?, Names::default()).await?;
        let (presence, journal) = (PresenceHandle::default(), Journal::default());
        let witness = Witness { presence, journal, lease: Duration::from_secs(9) };
        let (plugin, cid) = ("p".parse()?, "film".parse()?);
        let task = json!({
            "type": "metafleet.task.v1", "taskId": TaskId::derive(&cid, &plugin, "f", 0), "runId": 1,
            "pluginId": "p", "cid": "film", "filePath": "/film", "fingerprint": "f", "deadlineMs": 1,
            "retry": {"maxAttempts": 3, "delaysMs": []},
        });
        let subject = broker.names.task(broker_config::Queue::Fast, &plugin, &cid);
        let mut headers = HeaderMap::new();
        headers.insert(ATTEMPTS_USED, "2");
        let body = Bytes::from(task.to_string());
        let sequence = broker.publisher.publish(subject, headers, body).await?;
        let stored = message_at(&broker.client, &broker.names.task_stream(), sequence).await?;

        assert!(exhausted(&broker, &witness, &stored.unwrap()).await);

        let letters = store.dead_letters(None).await?;
        assert_eq!(letters[0].letter.attempts, 8, "after two of them it was delivered six times");
        assert!(letters[0].letter.error.starts_with("delivered 6 times"));
        assert_eq!(broker.record(&cid, &plugin).await?.unwrap().record.unwrap().attempt, 8);
        Ok(())
    }

    #[test]
    fn the_two_kinds_are_told_apart() {
        for (kind, exhausted) in [
            ("io.nats.jetstream.advisory.v1.max_deliver", true),
            ("io.nats.jetstream.advisory.v1.terminated", false),
        ] {
            let json = format!(r#"{{"type":"{kind}","stream_seq":3,"deliveries":2,"id":"x"}}"#);
            let advisory: Advisory = serde_json::from_str(&json).unwrap();
            assert_eq!(advisory.is_exhausted(), exhausted, "{kind}");
        }
    }
}
