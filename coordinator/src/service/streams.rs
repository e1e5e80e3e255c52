//! What a new leader looks up before it opens files, and the streams it works through.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use broker_config::read::last_messages;
use broker_config::wire::event::{Event as Told, Fact};
use broker_config::{Cid, PluginId};
use tokio_util::sync::CancellationToken;

use crate::advisories::Witness;
use crate::broker::Broker;
use crate::engine::EngineHandle;
use crate::journal::Journal;
use crate::metrics::Metrics;
use crate::{advisories, durable, signals};

/// Pause before the broker is asked again.
const PAUSE: Duration = Duration::from_millis(300);

/// The last record that subscribers were told of.
pub(super) async fn told_until(broker: &Broker) -> u64 {
    let subject = broker.names.event("task.settled");
    let found = last_messages(&broker.client, &broker.names.event_stream(), &[subject]).await;
    let last = found.unwrap_or_default().into_iter().next();
    match last.and_then(|stored| serde_json::from_slice::<Told>(&stored.payload).ok()) {
        Some(Told { what: Fact::TaskSettled { revision, .. }, .. }) => revision,
        _ => 0,
    }
}

/// Tasks by plugin and file.
pub(super) type Tasks = BTreeSet<(PluginId, Cid)>;

/// The tasks that wait for a time that a plugin asked for, and those that wait or run.
pub(super) async fn subjects_of_tasks(broker: &Broker) -> (Tasks, Tasks) {
    let names = &broker.names;
    let of_task = |subject: &str| names.parse_task(subject).map(|of| (of.plugin, of.cid));
    let scheduled = subjects(broker, names.all_later(), |subject| names.parse_later(subject)).await;
    (scheduled, subjects(broker, names.all_tasks(), of_task).await)
}

/// The tasks on all subjects of the task stream that match a filter; tried again until they can be
/// read, because what is overlooked is published a second time.
async fn subjects(
    broker: &Broker,
    filter: String,
    parse: impl Fn(&str) -> Option<(PluginId, Cid)>,
) -> Tasks {
    let mut found = Tasks::new();
    let mut seen = 0;
    let stream = broker.names.task_stream();
    loop {
        let request = serde_json::json!({ "subjects_filter": filter, "offset": seen });
        let ask = || broker.js.request(format!("STREAM.INFO.{stream}"), &request);
        let info: Result<serde_json::Value, _> = broker.through(ask).await;
        let Some(info) = info.ok().filter(|info| info.get("error").is_none()) else {
            tracing::debug!(filter, "tasks cannot be read, trying again");
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let page = info.pointer("/state/subjects").and_then(|subjects| subjects.as_object());
        let Some(page) = page.filter(|page| !page.is_empty()) else { return found };
        seen += page.len();
        found.extend(page.keys().filter_map(|subject| parse(subject)));
        let total = info.get("total").and_then(serde_json::Value::as_u64).unwrap_or(0);
        if seen as u64 >= total {
            return found;
        }
    }
}

/// The last sequence in the stream of records.
pub(super) async fn records_until(broker: &Broker) -> u64 {
    match broker.js.get_stream(broker.names.record_stream()).await {
        Ok(stream) => stream.cached_info().state.last_sequence,
        Err(_) => 0,
    }
}

pub(super) fn watch_signals(
    broker: &Broker,
    engine: &EngineHandle,
    metrics: &Arc<Metrics>,
    journal: &Journal,
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send + 'static {
    let (broker, engine, metrics) = (broker.clone(), engine.clone(), metrics.clone());
    let journal = journal.clone();
    let stream = broker.names.signal_stream();
    durable::work(broker.clone(), stream, stop, move |message| {
        let (broker, engine, metrics) = (broker.clone(), engine.clone(), metrics.clone());
        let journal = journal.clone();
        async move { signals::handle(&broker, &engine, &metrics, &journal, &message).await }
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
