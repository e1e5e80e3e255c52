//! What a new leader looks up before it opens files, and the streams it works through.
//!
//! Each look-up is made until it succeeds: what is overlooked would be told or published a second
//! time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use broker_config::read::last_messages;
use broker_config::wire::event::{Event, Fact};
use broker_config::{Cid, Lane, PluginId};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::told::Told;
use crate::advisories::Witness;
use crate::broker::Broker;
use crate::broker::records::stored_at;
use crate::engine::EngineHandle;
use crate::journal::Journal;
use crate::metrics::Metrics;
use crate::quarantine::Notes;
use crate::{advisories, durable, signals};

/// Pause before the broker is asked again.
const PAUSE: Duration = Duration::from_millis(300);

/// How long signals of before are waited for.
const SIGNALS: Duration = Duration::from_secs(2);
/// How long those that are in somebody's hands are.
const IN_HAND: Duration = Duration::from_millis(300);
/// How often is looked whether they are worked off.
const LOOK: Duration = Duration::from_millis(20);

/// Asks the broker until it answers.
async fn patiently<T, E, F>(broker: &Broker, what: &str, ask: impl Fn() -> F) -> T
where
    E: std::fmt::Display,
    F: Future<Output = Result<T, E>>,
{
    loop {
        match broker.through(&ask).await {
            Ok(answer) => return answer,
            Err(error) => tracing::debug!(%error, what, "cannot be read, trying again"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Of which records subscribers have been told.
pub(super) async fn told(broker: &Broker) -> Told {
    let (stream, subject) = (broker.names.event_stream(), [broker.names.event("task.settled")]);
    let read = || last_messages(&broker.client, &stream, &subject);
    let last = patiently(broker, "the last outcome that was told", read).await.into_iter().next();
    if let Some(stored) = last
        && let Ok(event) = serde_json::from_slice::<Event>(&stored.payload)
        && let Fact::TaskSettled { revision, .. } = event.what
    {
        return Told::Until { revision, at: stored_at(&stored) };
    }
    let read = || broker.js.get_stream(&stream);
    let kept = patiently(broker, "the stream of events", read).await.cached_info().config.max_age;
    let kept = i64::try_from(kept.as_nanos()).unwrap_or(i64::MAX);
    let now = i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
    Told::Nothing { kept_since: if kept == 0 { 0 } else { now.saturating_sub(kept) } }
}

/// The last sequence in the stream of records.
pub(super) async fn records_until(broker: &Broker) -> u64 {
    let read = || broker.js.get_stream(broker.names.record_stream());
    patiently(broker, "the stream of records", read).await.cached_info().state.last_sequence
}

/// The lanes of tasks, by plugin and file.
pub(super) type Tasks = BTreeMap<(PluginId, Cid), Lane>;

/// The tasks that wait for a time that a plugin asked for, and those that wait or run.
pub(super) async fn subjects_of_tasks(broker: &Broker) -> (Tasks, Tasks) {
    let names = &broker.names;
    let (later, tasks) = (names.all_later(), names.all_tasks());
    let scheduled = patiently(broker, "scheduled tasks", || broker.task_subjects(&later)).await;
    let waiting = patiently(broker, "tasks", || broker.task_subjects(&tasks)).await;
    let of_task =
        |subject: &String| names.parse_task(subject).map(|of| ((of.plugin, of.cid), of.lane));
    let of_later = |subject: &String| {
        names.parse_later(subject).map(|(plugin, lane, cid)| ((plugin, cid), lane))
    };
    (scheduled.iter().filter_map(of_later).collect(), waiting.iter().filter_map(of_task).collect())
}

/// Waits until what workers reported while nobody led is worked off: a task that was put off or has
/// failed for good would otherwise be published again. Not for longer than [`SIGNALS`]: one that
/// cannot be handled holds up nobody.
pub(super) async fn signals_worked_off(broker: &Broker) {
    let until = Instant::now() + SIGNALS;
    let mut delivered = None;
    while Instant::now() < until {
        match backlog(broker).await {
            Some((0, 0)) => return,
            // What the leader before was at comes to us only later.
            Some((0, _)) if delivered.is_some_and(|at: Instant| at.elapsed() > IN_HAND) => return,
            Some((0, _)) => drop(delivered.get_or_insert_with(Instant::now)),
            Some(_) | None => delivered = None,
        }
        tokio::time::sleep(LOOK).await;
    }
    tracing::warn!("opening files before all that workers have reported is worked off");
}

/// Signals that were not delivered, and those that were and are not acknowledged; `None` = nobody
/// knows.
async fn backlog(broker: &Broker) -> Option<(u64, usize)> {
    let stream = broker.names.signal_stream();
    let consumer = broker.js.get_consumer_from_stream::<pull::Config, _, _>(durable::NAME, stream);
    let consumer = timeout(SIGNALS, consumer).await.ok()?.ok()?;
    let info = consumer.cached_info();
    Some((info.num_pending, info.num_ack_pending))
}

pub(super) fn watch_signals(
    broker: &Broker,
    engine: &EngineHandle,
    metrics: &Arc<Metrics>,
    (journal, notes): (&Journal, &Notes),
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send + 'static {
    let (broker, engine, metrics) = (broker.clone(), engine.clone(), metrics.clone());
    let (journal, notes) = (journal.clone(), notes.clone());
    let stream = broker.names.signal_stream();
    durable::work(broker.clone(), stream, stop, move |message| {
        let (broker, engine, metrics) = (broker.clone(), engine.clone(), metrics.clone());
        let (journal, notes) = (journal.clone(), notes.clone());
        async move {
            let is_done = signals::handle(&broker, &engine, &metrics, &journal, &message).await;
            if is_done && let Some((plugin, signal)) = signals::read(&broker, &message) {
                notes.signal(&plugin, &signal);
            }
            is_done
        }
    })
}

pub(super) fn watch_advisories(
    broker: &Broker,
    witness: Witness,
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send + 'static {
    let broker = broker.clone();
    let stream = broker.names.advisory_stream();
    durable::work(broker.clone(), stream, stop, move |message| {
        let (broker, witness) = (broker.clone(), witness.clone());
        async move { advisories::handle(&broker, &witness, &message.payload).await }
    })
}

#[cfg(test)]
mod tests {
    use async_nats::HeaderMap;
    use async_nats::jetstream::consumer::AckPolicy;
    use broker_config::Names;
    use bytes::Bytes;

    use super::*;
    use crate::store::testing::TestBroker;

    #[tokio::test]
    async fn what_was_reported_while_nobody_led_is_worked_off_first() -> anyhow::Result<()> {
        let (server, store) = TestBroker::start().await?;
        let broker = Broker::open(server.client().await?, Names::default()).await?;
        let stream = broker.names.signal_stream();
        let config = pull::Config {
            durable_name: Some(durable::NAME.to_owned()),
            ack_policy: AckPolicy::Explicit,
            ..pull::Config::default()
        };
        broker.js.create_consumer_on_stream(config, stream.clone()).await?;
        let begun = Instant::now();
        signals_worked_off(&broker).await;
        assert!(begun.elapsed() < SIGNALS, "there is nothing");

        let signal = broker.names.signal(&"p".parse()?, "failed");
        let body = Bytes::from_static(b"{}");
        store.publisher().publish(signal, HeaderMap::new(), body).await?;
        let waiting = signals_worked_off(&broker);
        tokio::pin!(waiting);
        let early = timeout(SIGNALS / 4, waiting.as_mut()).await;
        assert!(early.is_err(), "nobody has handled it");

        let stop = CancellationToken::new();
        let work = durable::work(broker.clone(), stream, stop.clone(), |_| async { true });
        tokio::select! {
            () = work => anyhow::bail!("the stream is not followed any more"),
            () = waiting => {}
        }
        assert_eq!(backlog(&broker).await, Some((0, 0)));
        Ok(())
    }

    #[tokio::test]
    async fn a_signal_that_cannot_be_handled_holds_nobody_up() -> anyhow::Result<()> {
        let (server, store) = TestBroker::start().await?;
        let broker = Broker::open(server.client().await?, Names::default()).await?;
        let signal = broker.names.signal(&"p".parse()?, "failed");
        let body = Bytes::from_static(b"{}");
        store.publisher().publish(signal, HeaderMap::new(), body).await?;

        let waited = timeout(SIGNALS * 5, signals_worked_off(&broker)).await;

        assert!(waited.is_ok());
        assert_eq!(backlog(&broker).await, None, "there is no consumer yet");
        Ok(())
    }
}
