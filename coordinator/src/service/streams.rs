//! What a new leader looks up before it opens files, and the streams it works through.
//!
//! Each look-up is made until it succeeds: what is overlooked would be told or published a second
//! time.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use broker_config::apply::restore;
use broker_config::read::last_messages;
use broker_config::topology::Topology;
use broker_config::wire::event::{Event, Fact};
use broker_config::{Chain, Cid, Lane, Names, PluginId};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::told::{Mark, Telling, Told};
use crate::advisories::Witness;
use crate::broker::records::stored_at;
use crate::broker::{Broker, json};
use crate::durable::Backlog;
use crate::engine::EngineHandle;
use crate::journal::Journal;
use crate::metrics::Metrics;
use crate::quarantine::Notes;
use crate::{advisories, durable, signals};

/// Pause before the broker is asked again.
const PAUSE: Duration = Duration::from_millis(300);

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

/// Looks whether every stream is there, and makes anew what somebody has deleted, until `stop`. Tasks
/// that were in it are missed and published again; workers that are refused ask for their consumers.
pub(super) async fn keep_streams(
    broker: Broker,
    topology: Topology,
    every: Duration,
    stop: CancellationToken,
) {
    let look = async {
        let mut pace = interval(every);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            pace.tick().await;
            if !broker.may_write().await {
                return;
            }
            match broker.through(|| restore(&broker.js, &topology)).await {
                Ok(made) if made.is_empty() => {}
                Ok(made) => tracing::warn!(streams = ?made, "streams were gone and are made anew"),
                Err(error) => tracing::debug!(error = %Chain(&error), "streams cannot be read"),
            }
        }
    };
    stop.run_until_cancelled(look).await;
}

/// How often a candidate looks whether there is anything to wait for.
const LEASE_LOOK: Duration = Duration::from_secs(3);

/// Makes the bucket of the lease anew when it is gone: nobody can lead without, and who leads makes the others.
pub(super) async fn keep_lease(broker: &Broker, topology: Topology) -> Infallible {
    let bucket = Names::bucket_stream(&broker.names.lease_bucket());
    let streams = topology.streams.into_iter().filter(|spec| spec.name == bucket).collect();
    let only = Topology { streams };
    loop {
        sleep(LEASE_LOOK).await;
        match broker.through(|| restore(&broker.js, &only)).await {
            Ok(made) if made.is_empty() => {}
            Ok(_) => tracing::warn!("the bucket of the lease was gone and is made anew"),
            Err(error) => tracing::debug!(error = %Chain(&error), "the lease cannot be looked at"),
        }
    }
}

/// The key in the bucket of the lease that says which outcomes are not told.
const TOLD: &str = "told";

/// Of which outcomes this leader tells subscribers, if it is to tell of any; keeps what the next one
/// must know of that. The last record has revision `last`.
pub(super) async fn telling(broker: &Broker, tells: bool, last: u64) -> Option<Telling> {
    let bucket = broker.names.lease_bucket();
    let (stream, key) = (Names::bucket_stream(&bucket), [Names::key_subject(&bucket, TOLD)]);
    let read = || last_messages(&broker.client, &stream, &key);
    let mark = loop {
        let found = patiently(broker, "which outcomes are not told", read).await.into_iter().next();
        let revision = found.as_ref().map_or(0, |stored| stored.sequence);
        let kept = found.and_then(|stored| serde_json::from_slice::<Mark>(&stored.payload).ok());
        let (kept, [subject]) = (kept.unwrap_or_default(), key.clone());
        let mark = kept.next(tells, last);
        if mark == kept {
            break mark;
        }
        let put = broker.publisher.publish_after(subject, revision, HeaderMap::new(), json(&mark));
        match put.await {
            Ok(_) => break mark,
            Err(error) => tracing::debug!(error = %Chain(&error), "not kept, trying again"),
        }
        tokio::time::sleep(PAUSE).await;
    };
    if tells { Some(Telling { told: told(broker).await, mark }) } else { None }
}

/// Of which records subscribers have been told.
async fn told(broker: &Broker) -> Told {
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

/// What a leader works through besides submissions.
pub(super) fn backlog(broker: &Broker, stream: String, epoch: u64) -> (Backlog, Caught) {
    let (caught_up, caught) = watch::channel(false);
    (Backlog { broker: broker.clone(), stream, epoch, caught_up }, caught)
}

/// Whether all is handled that waited at the beginning.
pub(super) type Caught = watch::Receiver<bool>;

pub(super) fn watch_signals(
    backlog: Backlog,
    engine: &EngineHandle,
    metrics: &Arc<Metrics>,
    (journal, notes): (&Journal, &Notes),
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send + 'static {
    let (broker, engine) = (backlog.broker.clone(), engine.clone());
    let (metrics, journal, notes) = (metrics.clone(), journal.clone(), notes.clone());
    durable::work(backlog, stop, move |message| {
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
    backlog: Backlog,
    witness: Witness,
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send + 'static {
    let broker = backlog.broker.clone();
    durable::work(backlog, stop, move |message| {
        let (broker, witness) = (broker.clone(), witness.clone());
        async move { advisories::handle(&broker, &witness, &message.payload).await }
    })
}
