//! The coordinator as a service: waits for the lease, leads while it has it, stops on drain.
//!
//! Leading means: answer announcements, follow records, signals, advisories and signs of life,
//! and, once the plugins it was told to expect have been heard, open files. Stopping needs no
//! goodbye: everything that is not finished is still in a stream, and whoever leads next finds it
//! there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use broker_config::topology::Topology;
use broker_config::wire::event::Fact;
use broker_config::{Chain, PluginId, Queue, Record};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::advisories::Witness;
use crate::broker::Broker;
use crate::broker::records::{from_record, known};
use crate::broker::tail::Tail;
use crate::dispatcher::{Event as Happened, Numbers};
use crate::engine::{Engine, EngineHandle, Input};
use crate::feeder::Feeder;
use crate::journal::Journal;
use crate::lease;
use crate::metrics::Metrics;
use crate::presence::{self, PresenceHandle};
use crate::quarantine::{Notes, Warden};
use crate::registry::service::Registry;
use crate::registry::{Roster, Word};
use crate::slots::Slots;
use crate::strays;

mod options;
mod prepare;
mod streams;
mod told;

pub use self::options::{CoordinatorError, CoordinatorOptions, Phase};
use self::streams::{
    backlog, keep_lease, keep_streams, records_until, subjects_of_tasks, telling, watch_advisories,
    watch_signals,
};
use self::told::Telling;

/// How long files wait for what workers have reported while nobody led.
const CATCH_UP: Duration = Duration::from_secs(1);
/// Pause before leading is begun anew when a part of it has failed.
const RESTART: Duration = Duration::from_secs(1);

/// A coordinator that is to run.
#[derive(Debug)]
pub struct Coordinator {
    client: Client,
    options: CoordinatorOptions,
    phase: watch::Sender<Phase>,
    numbers: watch::Sender<Numbers>,
    word: watch::Sender<Arc<Word>>,
    metrics: Arc<Metrics>,
}

/// Looks at a running coordinator; cheap to clone.
#[derive(Clone, Debug)]
pub struct CoordinatorHandle {
    phase: watch::Receiver<Phase>,
    numbers: watch::Receiver<Numbers>,
    word: watch::Sender<Arc<Word>>,
    metrics: Arc<Metrics>,
}

impl CoordinatorHandle {
    /// What it is doing.
    #[must_use]
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.clone()
    }

    /// Files and tasks in hand, counted twice a second.
    #[must_use]
    pub fn numbers(&self) -> Numbers {
        self.numbers.borrow().clone()
    }

    /// Replaces the operator's word on plugins; it takes effect at once, or when it leads.
    pub fn say(&self, word: Word) {
        self.word.send_if_modified(|said| {
            let is_new = **said != word;
            if is_new {
                *said = Arc::new(word);
            }
            is_new
        });
    }

    /// All it counts.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }
}

impl Coordinator {
    /// A coordinator on this connection.
    #[must_use]
    pub fn new(client: Client, options: CoordinatorOptions) -> (Self, CoordinatorHandle) {
        let (phase, phase_seen) = watch::channel(Phase::Waiting);
        let (numbers, numbers_seen) = watch::channel(Numbers::default());
        let (word, _) = watch::channel(Arc::new(options.word.clone()));
        let metrics = Arc::new(Metrics::default());
        let handle = CoordinatorHandle {
            phase: phase_seen,
            numbers: numbers_seen,
            word: word.clone(),
            metrics: metrics.clone(),
        };
        (Self { client, options, phase, numbers, word, metrics }, handle)
    }

    /// Runs until `drain`.
    ///
    /// # Errors
    ///
    /// [`CoordinatorError`] when the server cannot carry the fleet at all; whatever may pass is
    /// waited for.
    pub async fn run(self, drain: CancellationToken) -> Result<(), CoordinatorError> {
        let broker = Broker::open(self.client.clone(), self.options.names.clone()).await?;
        let prepared = prepare::prepare(&broker, self.options.replicas);
        let prepared = drain.run_until_cancelled(Box::pin(prepared)).await;
        prepared.unwrap_or(Ok(())).map_err(CoordinatorError::Broker)?;
        while !drain.is_cancelled() {
            self.phase.send_replace(Phase::Waiting);
            let topology = Topology::of(&self.options.names, self.options.replicas);
            let taken = drain.run_until_cancelled(async {
                tokio::select! {
                    held = lease::acquire(&broker, &self.options.node) => held,
                    never = keep_lease(&broker, topology) => match never {},
                }
            });
            let Some(mut held) = taken.await else { break };
            let epoch = held.epoch();
            tracing::info!(node = self.options.node, epoch, "leading");
            let stop = drain.child_token();
            let (led, has_failed) = {
                // What it does as the leader, it does only as long as it surely is.
                let leader = broker.under(held.warrant());
                let mut leading = Box::pin(self.lead(leader, epoch, stop.clone()));
                let lost = tokio::select! {
                    led = &mut leading => Some(led),
                    () = held.keep() => None,
                };
                match lost {
                    Some(led) => (led, true),
                    None => {
                        tracing::warn!("leadership lost");
                        stop.cancel();
                        (leading.await, false)
                    }
                }
            };
            led?;
            if drain.is_cancelled() {
                held.release().await;
            } else if has_failed {
                // What made a part fail may still be there.
                drain.run_until_cancelled(sleep(RESTART)).await;
            }
        }
        broker.publisher.close().await;
        Ok(())
    }

    async fn lead(
        &self,
        broker: Broker,
        epoch: u64,
        stop: CancellationToken,
    ) -> Result<(), CoordinatorError> {
        let (options, broker) = (&self.options, &broker);
        let slots = Arc::new(Slots::new(options.max_files_in_flight, options.strict_priority));
        let presence = PresenceHandle::default();
        let witness = Witness {
            presence: presence.clone(),
            journal: Journal::default(),
            lease: options.lease,
        };
        let (engine, handle) = Engine::new(
            broker.clone(),
            slots.clone(),
            self.metrics.clone(),
            witness.clone(),
            options.timing,
        );
        let announcements = broker.client.subscribe(options.names.signals("announce")).await?;
        let taken_up = Warden::take_up(broker, presence.clone(), options.quarantine);
        let Some((warden, notes)) = stop.run_until_cancelled(taken_up).await else { return Ok(()) };
        let (heard, mut heard_seen) = watch::channel(BTreeSet::new());
        let (loaded, mut loaded_seen) = watch::channel(false);
        let (roster, roster_seen) = watch::channel(Roster::default());
        let registry = Registry {
            broker: broker.clone(),
            engine: handle.clone(),
            presence: presence.clone(),
            word: self.word.subscribe(),
            lease: options.lease,
            heard,
            loaded,
            roster,
            announcements,
            quarantine: notes.clone(),
            drop_unexpected: options.drop_unexpected,
            files: options.files.clone(),
        };
        let mut services = JoinSet::new();
        services.spawn(engine.run(stop.clone()));
        services.spawn(registry.run(stop.clone()));
        services.spawn(warden.run(stop.clone()));
        services.spawn(presence::follow(broker.clone(), presence, handle.clone(), stop.clone()));
        let records = stop.run_until_cancelled(self.follow_records(broker)).await;
        if let Some((tail, told)) = records {
            services.spawn(self.watch_records(tail, told, (&handle, &notes), stop.clone()));
        }
        let signals = backlog(broker, options.names.signal_stream(), epoch);
        let (signals, mut caught_up) = signals;
        services.spawn(watch_signals(
            signals,
            &handle,
            &self.metrics,
            (&witness.journal, &notes),
            stop.clone(),
        ));
        let (advisories, _) = backlog(broker, options.names.advisory_stream(), epoch);
        services.spawn(watch_advisories(advisories, witness, stop.clone()));
        let every = Duration::from_millis(options.timing.check_every);
        let topology = Topology::of(&options.names, options.replicas);
        services.spawn(keep_streams(broker.clone(), topology, every, stop.clone()));
        let fact = Fact::CoordinatorLeading { holder: options.node.clone(), epoch };
        if let Err(error) = broker.tell(fact, None).await {
            tracing::debug!(error = %Chain(&error), "event not stored");
        }
        // An error says that the registry has ended, and so will we.
        stop.run_until_cancelled(loaded_seen.wait_for(|loaded| *loaded)).await.map(Result::ok);
        let every = Duration::from_millis(options.timing.check_every) * strays::CHECKS;
        services.spawn(strays::watch(broker.clone(), roster_seen, every, stop.clone()));
        self.wait_for_plugins(&mut heard_seen, &stop).await;
        // What was reported while nobody led says of some tasks why they are gone; without it, they
        // would be published again.
        let caught_up = timeout(CATCH_UP, caught_up.wait_for(|caught| *caught));
        if !matches!(stop.run_until_cancelled(caught_up).await, Some(Ok(Ok(_)))) {
            tracing::debug!("what was reported before is still being worked through");
        }
        // What nobody would be given is not out.
        stop.run_until_cancelled(strays::take_out_passed_over(broker)).await;
        // Before any record is read: what is in neither of the two is not out.
        let tasks = stop.run_until_cancelled(subjects_of_tasks(broker)).await;
        let (scheduled, inherited) = tasks.unwrap_or_default();
        handle.tell(Input::Event(Happened::Scheduled { tasks: scheduled })).await;
        handle.tell(Input::Event(Happened::Inherited { tasks: inherited })).await;
        for queue in Queue::ALL {
            let feeder = Feeder {
                broker: broker.clone(),
                engine: handle.clone(),
                slots: slots.clone(),
                queue,
                epoch,
            };
            services.spawn(feeder.run(stop.clone()));
        }
        self.phase.send_replace(Phase::Leading);
        let mut count = tokio::time::interval(Duration::from_millis(500));
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                _ = count.tick() => drop(self.numbers.send_replace(handle.numbers())),
                Some(ended) = services.join_next() => {
                    // Each ends with `stop` or with the connection; either way nothing is lost.
                    if let Err(error) = ended {
                        tracing::error!(%error, "a part of the coordinator failed, starting over");
                    }
                    stop.cancel();
                }
            }
        }
        while let Some(ended) = services.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a part of the coordinator failed");
            }
        }
        Ok(())
    }

    /// Waits until all expected plugins have been heard, or for as long as that may take.
    async fn wait_for_plugins(
        &self,
        heard: &mut watch::Receiver<BTreeSet<PluginId>>,
        stop: &CancellationToken,
    ) {
        let word = self.word.borrow().clone();
        let expected = &word.expected;
        let all = async {
            loop {
                let waiting_for: BTreeSet<PluginId> =
                    expected.difference(&heard.borrow_and_update()).cloned().collect();
                if waiting_for.is_empty() {
                    return;
                }
                self.phase.send_replace(Phase::Starting { waiting_for });
                if heard.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = all => {}
            () = sleep(self.options.expected_timeout) => {
                let phase = self.phase.borrow().clone();
                if let Phase::Starting { waiting_for } = phase {
                    tracing::warn!(?waiting_for, "opening files without plugins that do not answer");
                }
            }
        }
    }

    /// Begins to follow the records, from the first one that subscribers may not have been told of.
    async fn follow_records(&self, broker: &Broker) -> (Tail, Option<Telling>) {
        let last = records_until(broker).await;
        let told = telling(broker, self.options.task_events, last).await;
        let from = told.map_or(last + 1, |told| told.follow_from(last));
        let mut tail = Tail::new(broker.clone(), broker.names.record_stream(), Vec::new(), from);
        tail.start().await;
        (tail, told)
    }

    /// Hands the records on to the engine.
    fn watch_records(
        &self,
        mut tail: Tail,
        told: Option<Telling>,
        (engine, notes): (&EngineHandle, &Notes),
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (names, engine) = (self.options.names.clone(), engine.clone());
        let (metrics, notes) = (self.metrics.clone(), notes.clone());
        async move {
            while let Some(Some((message, place))) = stop.run_until_cancelled(tail.next()).await {
                let Some(address) = names.parse_record(&message.subject) else { continue };
                let deleted = broker_config::read::is_deletion(message.headers.as_ref());
                let (revision, stored_at) = (place.stream_sequence, place.stored_at);
                let record = serde_json::from_slice::<Record>(&message.payload).ok();
                let (cid, plugin) = (address.cid, address.plugin);
                let input = match record.filter(|_| !deleted) {
                    Some(record) => {
                        let is_new = told.is_none_or(|told| told.is_due(revision, stored_at));
                        let counts = is_new && !plugin.is_user();
                        if counts {
                            metrics.record(&plugin, record.status);
                            metrics.duration(&plugin, record.duration_ms);
                            metrics.ended(&plugin, &record);
                            notes.record(&plugin, &cid, &record);
                        }
                        let fact = Fact::TaskSettled {
                            cid: cid.clone(),
                            plugin_id: plugin.clone(),
                            task_id: record.task_id.clone(),
                            status: record.status,
                            attempt: record.attempt,
                            duration_ms: record.duration_ms,
                            revision,
                        };
                        let tell = (told.is_some() && counts)
                            .then(|| (fact, format!("record.{revision}.{stored_at}")));
                        let record = from_record(record, revision, stored_at);
                        Input::Record { cid, plugin, record, tell }
                    }
                    None => {
                        let record = known(&message.payload, deleted, revision, stored_at);
                        Input::Record { cid, plugin, record, tell: None }
                    }
                };
                engine.tell(input).await;
            }
        }
    }
}
