//! What follows from what workers report besides records.

mod inputs;

use async_nats::{HeaderMap, Message};
use broker_config::header::{ATTEMPTS_USED, SCHEDULE, SCHEDULE_TARGET};
use broker_config::planted::{Bug, planted};
use broker_config::publish::PublishError;
use broker_config::wire::dead::Cause;
use broker_config::wire::event::Fact;
use broker_config::wire::signal::{MAX_TEXT_BYTES, Signal, What};
use broker_config::{Chain, PluginId, Queue, Task};

use crate::broker::dead::GiveUp;
use crate::broker::deliver::place_of;
use crate::broker::{Broker, json, trace_headers, trace_of};
use crate::dispatcher::Event;
use crate::engine::{EngineHandle, Input};
use crate::journal::Journal;
use crate::metrics::Metrics;
use crate::run::Trace;

/// Who reports what; `None` for what cannot be read.
#[must_use]
pub fn read(broker: &Broker, message: &Message) -> Option<(PluginId, Signal)> {
    let (plugin, _) = broker.names.parse_signal(&message.subject)?;
    Some((plugin, serde_json::from_slice(&message.payload).ok()?))
}

/// Handles one signal; `false` = something failed, do it again.
pub async fn handle(
    broker: &Broker,
    engine: &EngineHandle,
    metrics: &Metrics,
    journal: &Journal,
    message: &Message,
) -> bool {
    let Some((plugin, _)) = broker.names.parse_signal(&message.subject) else { return true };
    let Ok(signal) = serde_json::from_slice::<Signal>(&message.payload) else {
        tracing::warn!(subject = %message.subject, "a signal cannot be read");
        return true;
    };
    let Signal { task_id, cid, queue, attempt, instance, at, what, .. } = signal;
    let trace = trace_of(message.headers.as_ref());
    match what {
        What::Failed { error, permanent, duration_ms, task } => {
            metrics.duration(&plugin, duration_ms);
            let mut task = *task;
            // Identity is what the subject says; a plugin can speak of its own tasks only.
            if !planted(Bug::IdentityFromBody) {
                task.plugin_id = plugin.clone();
            }
            let dead = GiveUp {
                task,
                queue,
                cause: if permanent { Cause::Permanent } else { Cause::Attempts },
                error,
                attempts: attempt,
                duration_ms,
                instance: Some(instance),
                trace,
            };
            broker.give_up(dead).await.map_or_else(
                |error| {
                    tracing::warn!(error = %Chain(&error), plugin.id = %plugin, "could not give up");
                    false
                },
                |_| true,
            )
        }
        What::Retrying { mut error, delay_ms, duration_ms } => {
            cut(&mut error);
            metrics.retried(&plugin);
            metrics.duration(&plugin, duration_ms);
            metrics.erred(&plugin, &cid, &error, &at);
            journal.note(task_id.clone(), instance, error.clone());
            let id = format!("retrying.{plugin}.{task_id}.{attempt}");
            let plugin_id = plugin;
            let fact = Fact::TaskRetrying { cid, plugin_id, task_id, attempt, delay_ms, error };
            broker.tell(fact, Some(id)).await.is_ok()
        }
        What::Deferred { mut reason, delay_ms, attempts_used, mut task } => {
            cut(&mut reason);
            metrics.deferred(&plugin);
            // Identity is what the subject says here, too: what it reads is what the task gets.
            task.plugin_id = plugin.clone();
            if let Err(error) = inputs::put_back(broker, engine, &mut task).await {
                tracing::warn!(error = %Chain(&error), plugin.id = %plugin, "cannot read inputs");
                return false;
            }
            let deferred = Deferred { plugin, queue, delay_ms, attempts_used, task: *task, trace };
            match schedule(broker, &deferred).await {
                Ok(_) => {}
                // It fits as a task and not with its time: the reconciler publishes it anew.
                Err(PublishError::TooLarge { .. }) => return true,
                Err(_) => return false,
            }
            let Deferred { plugin, task, .. } = deferred;
            // Nobody waits for what is only compared.
            if task.trial {
                return true;
            }
            let event = Event::Deferred { cid: cid.clone(), plugin: plugin.clone() };
            engine.tell(Input::Event(event)).await;
            let fact = Fact::TaskDeferred { cid, plugin_id: plugin, task_id, delay_ms, reason };
            // A task may be deferred any number of times; each time is a signal of its own.
            let id = place_of(message).map(|place| format!("deferred.{}", place.stream_sequence));
            broker.tell(fact, id).await.is_ok()
        }
        What::Progress { .. } => true,
    }
}

/// Senders cut their texts themselves; what one says that does not is kept for thousands of tasks.
fn cut(text: &mut String) {
    text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
    text.shrink_to_fit();
}

struct Deferred {
    plugin: PluginId,
    queue: Queue,
    delay_ms: u64,
    attempts_used: u32,
    task: Task,
    trace: Trace,
}

/// Has the broker publish the task again when its time has come. Publishing the schedule twice
/// replaces it, so doing this again is safe.
async fn schedule(broker: &Broker, deferred: &Deferred) -> Result<u64, PublishError> {
    let Deferred { plugin, queue, delay_ms, attempts_used, task, trace } = deferred;
    let headers = schedule_headers(
        &broker.names.task_in(task.lane, *queue, plugin, &task.cid),
        jiff::Timestamp::now(),
        *delay_ms,
        *attempts_used,
        trace,
    );
    let subject = broker.names.later_in(task.lane, plugin, &task.cid);
    broker.publisher.publish(subject, headers, json(task)).await.inspect_err(|error| {
        tracing::warn!(error = %Chain(error), plugin.id = %plugin, "could not schedule a task");
    })
}

fn schedule_headers(
    target: &str,
    now: jiff::Timestamp,
    delay_ms: u64,
    attempts_used: u32,
    trace: &Trace,
) -> HeaderMap {
    let delay = jiff::SignedDuration::from_millis(i64::try_from(delay_ms).unwrap_or(i64::MAX));
    let at = now.saturating_add(delay).unwrap_or(now);
    let mut headers = trace_headers(trace);
    headers.insert(SCHEDULE, format!("@at {at:.3}"));
    headers.insert(SCHEDULE_TARGET, target);
    headers.insert(ATTEMPTS_USED, attempts_used.to_string());
    headers
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use broker_config::{Names, TaskId};
    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::advisories::Witness;
    use crate::dispatcher::Timing;
    use crate::engine::Engine;
    use crate::presence::PresenceHandle;
    use crate::slots::Slots;
    use crate::store::testing::TestBroker;

    #[test]
    fn a_schedule_names_its_time_its_target_and_the_attempts_used() {
        let now: jiff::Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let headers = schedule_headers("mf.task.fast.p.c", now, 61_500, 2, &Trace::default());
        let text = |name: &str| headers.get(name).unwrap().as_str().to_owned();
        assert_eq!(text(SCHEDULE), "@at 2026-01-02T03:05:06.500Z");
        assert_eq!(text(SCHEDULE_TARGET), "mf.task.fast.p.c");
        assert_eq!(text(ATTEMPTS_USED), "2");
    }

    /// An engine that nobody runs: what it is told stays in its inbox.
    fn engine(
        broker: &Broker,
        metrics: &Arc<Metrics>,
        journal: &Journal,
    ) -> (Engine, EngineHandle) {
        let witness = Witness {
            presence: PresenceHandle::default(),
            journal: journal.clone(),
            lease: Duration::from_secs(9),
        };
        let slots = Arc::new(Slots::new(8, false));
        Engine::new(broker.clone(), slots, metrics.clone(), witness, Timing::default())
    }

    #[tokio::test]
    async fn an_error_that_its_sender_has_not_cut_is_kept_cut() -> anyhow::Result<()> {
        let (server, _store) = TestBroker::start().await?;
        let broker = Broker::open(server.client().await?, Names::default()).await?;
        let (metrics, journal) = (Arc::new(Metrics::default()), Journal::default());
        let (_engine, engine) = engine(&broker, &metrics, &journal);
        let id = TaskId::derive(&"film".parse()?, &"p".parse()?, "f", 0);
        let signal = json!({
            "type": "metafleet.signal.v1", "taskId": id, "cid": "film", "queue": "fast",
            "attempt": 1, "instance": "i", "at": "2026-01-01T00:00:00Z", "kind": "retrying",
            "error": "é".repeat(MAX_TEXT_BYTES), "delayMs": 1, "durationMs": 1,
        });
        let payload = Bytes::from(signal.to_string());
        let message = Message {
            subject: broker.names.signal(&"p".parse()?, "retrying").into(),
            reply: None,
            length: payload.len(),
            payload,
            headers: None,
            status: None,
            description: None,
        };

        assert!(handle(&broker, &engine, &metrics, &journal, &message).await);

        assert_eq!(journal.last(&id).map(|(_, error)| error.len()), Some(MAX_TEXT_BYTES));
        Ok(())
    }

    #[tokio::test]
    async fn a_deferral_that_is_handled_twice_is_told_once_and_a_second_one_again()
    -> anyhow::Result<()> {
        let (server, _store) = TestBroker::start().await?;
        let broker = Broker::open(server.client().await?, Names::default()).await?;
        let (metrics, journal) = (Arc::new(Metrics::default()), Journal::default());
        let (_engine, engine) = engine(&broker, &metrics, &journal);
        let id = TaskId::derive(&"film".parse()?, &"p".parse()?, "f", 0);
        let task = json!({
            "type": "metafleet.task.v1", "taskId": id, "runId": 1, "pluginId": "p",
            "cid": "film", "filePath": "/film", "fingerprint": "f", "deadlineMs": 1,
            "retry": {"maxAttempts": 1, "delaysMs": []},
        });
        let signal = json!({
            "type": "metafleet.signal.v1", "taskId": id, "cid": "film", "queue": "fast",
            "attempt": 1, "instance": "i", "at": "2026-01-01T00:00:00Z", "kind": "deferred",
            "reason": "later", "delayMs": 600_000, "attemptsUsed": 0, "task": task,
        });
        let payload = Bytes::from(signal.to_string());
        let message = |sequence: u64| Message {
            subject: broker.names.signal(&"p".parse().unwrap(), "deferred").into(),
            reply: Some(format!("$JS.ACK.S.coordinator.1.{sequence}.1.1700000000.0").into()),
            payload: payload.clone(),
            headers: None,
            status: None,
            description: None,
            length: payload.len(),
        };

        for sequence in [5, 5, 6] {
            let message = message(sequence);
            assert!(handle(&broker, &engine, &metrics, &journal, &message).await, "{sequence}");
        }

        let events = broker.js.get_stream(broker.names.event_stream()).await?;
        assert_eq!(events.cached_info().state.messages, 2);
        let tasks = broker.js.get_stream(broker.names.task_stream()).await?;
        assert_eq!(tasks.cached_info().state.messages, 1, "scheduled once, as the last one says");
        Ok(())
    }
}
