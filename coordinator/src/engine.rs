//! The actor that owns the dispatcher: feeds it events, carries out its commands.
//!
//! One task owns all state and never waits for the broker. Commands become effects that run
//! beside it, bounded by the number of open files, and report back as events. A submission is
//! acknowledged only after its `file.settled` event is stored; until then its delivery is renewed.

mod check;
mod effect;
pub mod judge;
mod replies;
#[cfg(test)]
mod tests;
mod trial;
mod underway;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker_config::wire::event::Fact;
use broker_config::{Cid, PluginId, RunId};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

pub use self::replies::{Again, Replies};
use self::underway::Underway;
use crate::advisories::Witness;
use crate::broker::Broker;
use crate::broker::deliver::{Answer, answer};
use crate::dispatcher::{Command, Dispatcher, Event, Numbers, Timing};
use crate::graph::Graph;
use crate::metrics::Metrics;
use crate::run::{KnownRecord, Opening};
use crate::slots::Slots;

/// Events that may wait; a full inbox slows those who read from the broker, on purpose.
const INBOX: usize = 4096;
/// Events handled before the clock and the effects get a look.
const BURST: usize = 256;
/// How often the dispatcher hears the time.
const TICK: Duration = Duration::from_millis(50);
/// How often deliveries of open submissions are renewed.
const RENEW: Duration = Duration::from_secs(8);
/// How long a submission's delivery lasts without renewal.
pub const SUBMISSION_LEASE: Duration = Duration::from_secs(30);
/// How often the numbers for status are counted.
const COUNT: Duration = Duration::from_millis(500);
/// How long somebody who needs the plugins waits for those that are known.
const GRAPH: Duration = Duration::from_secs(5);
/// How long effects may take to end when the engine stops.
const LAST_EFFECTS: Duration = Duration::from_secs(5);

/// What the engine is told.
#[derive(Debug)]
pub enum Input {
    /// Something for the dispatcher.
    Event(Event),
    /// A submission with the reply subject of its delivery.
    Opened { opening: Arc<Opening>, records: BTreeMap<PluginId, KnownRecord>, reply: String },
    /// A submission whose turn has come after another one of the same file.
    Reopened { opening: Arc<Opening>, records: BTreeMap<PluginId, KnownRecord> },
    /// A record, with the event that tells subscribers of it, if they are to be told.
    Record { cid: Cid, plugin: PluginId, record: KnownRecord, tell: Option<(Fact, String)> },
    /// A submission is acknowledged.
    Closed(RunId),
}

/// What effects need; shared by all of them.
#[derive(Debug)]
struct Shared {
    broker: Broker,
    inputs: mpsc::Sender<Input>,
    witness: Witness,
    metrics: Arc<Metrics>,
    underway: Underway,
}

/// Owns all runs.
#[derive(Debug)]
pub struct Engine {
    dispatcher: Dispatcher,
    inbox: mpsc::Receiver<Input>,
    shared: Arc<Shared>,
    effects: JoinSet<()>,
    replies: Replies<String>,
    slots: Arc<Slots>,
    numbers: watch::Sender<Numbers>,
    graph: watch::Sender<Arc<Graph>>,
    started: Instant,
}

/// Speaks to the engine; cheap to clone.
#[derive(Clone, Debug)]
pub struct EngineHandle {
    inputs: mpsc::Sender<Input>,
    numbers: watch::Receiver<Numbers>,
    graph: watch::Receiver<Arc<Graph>>,
}

impl EngineHandle {
    /// Tells the engine something; waits while it has much to do. An engine that has stopped
    /// hears nothing, which is harmless: the next one rebuilds everything from the broker.
    pub async fn tell(&self, input: Input) {
        if self.inputs.send(input).await.is_err() {
            tracing::trace!("engine has stopped");
        }
    }

    /// The latest numbers.
    #[must_use]
    pub fn numbers(&self) -> Numbers {
        self.numbers.borrow().clone()
    }

    /// The plugins; of an engine that has just begun, as soon as it knows them.
    pub async fn graph(&self) -> Arc<Graph> {
        let mut graph = self.graph.clone();
        let known = tokio::time::timeout(GRAPH, graph.wait_for(|graph| !graph.nodes.is_empty()));
        match known.await {
            Ok(Ok(known)) => Arc::clone(&known),
            Ok(Err(_)) | Err(_) => Arc::default(),
        }
    }
}

impl Engine {
    /// An engine without runs.
    #[must_use]
    pub fn new(
        broker: Broker,
        slots: Arc<Slots>,
        metrics: Arc<Metrics>,
        witness: Witness,
        timing: Timing,
    ) -> (Self, EngineHandle) {
        let (inputs, inbox) = mpsc::channel(INBOX);
        let (numbers, watched) = watch::channel(Numbers::default());
        let (graph, known) = watch::channel(Arc::default());
        let underway = Underway::default();
        let shared =
            Arc::new(Shared { broker, inputs: inputs.clone(), witness, metrics, underway });
        let engine = Self {
            dispatcher: Dispatcher::new(Arc::new(Graph::default()), timing),
            inbox,
            shared,
            effects: JoinSet::new(),
            replies: Replies::default(),
            slots,
            numbers,
            graph,
            started: Instant::now(),
        };
        (engine, EngineHandle { inputs, numbers: watched, graph: known })
    }

    /// Runs until `stop`; effects that have begun may end.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut renew = interval(RENEW);
        let mut count = interval(COUNT);
        let mut commands = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = tick.tick() => {
                    let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
                    self.dispatcher.on_event(Event::Tick { now }, &mut commands);
                    self.reap();
                }
                // Before the inbox, which under load is never empty.
                _ = renew.tick() => self.renew(),
                _ = count.tick() => self.count(),
                Some(input) = self.inbox.recv() => {
                    self.on_input(input, &mut commands);
                    for _ in 0..BURST {
                        let Ok(input) = self.inbox.try_recv() else { break };
                        self.on_input(input, &mut commands);
                    }
                }
            }
            for command in commands.drain(..) {
                self.perform(command);
            }
        }
        let ends = async { while self.effects.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_EFFECTS, ends).await.is_err() {
            tracing::debug!("effects were cut short; they are done again at the next start");
        }
    }

    fn on_input(&mut self, input: Input, commands: &mut Vec<Command>) {
        match input {
            Input::Event(event) => {
                if let Event::GraphChanged(graph) = &event {
                    self.graph.send_replace(graph.clone());
                }
                self.dispatcher.on_event(event, commands);
            }
            Input::Opened { opening, records, reply } => {
                let holds = self.dispatcher.holds(opening.id);
                match self.replies.take(&opening, reply, holds) {
                    Again::New => {}
                    Again::Open { place } => self.slots.release(place),
                    Again::Closing { place } => {
                        self.slots.release(place);
                        self.dispatcher.pass_over(&opening.submission.cid);
                        return;
                    }
                }
                self.dispatcher.on_event(Event::Opened { opening, records }, commands);
            }
            Input::Reopened { opening, records } => {
                self.dispatcher.on_event(Event::Opened { opening, records }, commands);
            }
            Input::Record { cid, plugin, record, tell } => {
                if let Some((fact, id)) = tell {
                    self.tell(fact, Some(id));
                }
                self.dispatcher.on_event(Event::Record { cid, plugin, record }, commands);
            }
            Input::Closed(id) => {
                if let Some(opening) = self.replies.close(id) {
                    self.slots.release(opening.queue);
                }
            }
        }
    }

    fn perform(&mut self, command: Command) {
        let shared = self.shared.clone();
        match command {
            Command::Publish { opening, queue, task, inherited } => {
                self.shared.metrics.published(&task.plugin_id);
                let underway = shared.underway.begin(opening.id, &task.plugin_id);
                self.effects.spawn(async move {
                    let _underway = underway;
                    shared.publish(opening, queue, task, inherited).await;
                });
            }
            Command::Trial { opening, queue, task } => {
                self.effects
                    .spawn(async move { shared.publish_trial(opening, queue, *task).await });
            }
            Command::GiveUp { opening, queue, task } => {
                let underway = shared.underway.begin(opening.id, &task.plugin_id);
                self.effects.spawn(async move {
                    let _underway = underway;
                    shared.give_up_missing(opening, queue, *task).await;
                });
            }
            Command::Settle { opening, plugins, tasks, duration_ms } => {
                let reply = self.replies.of(opening.id).cloned();
                let fact = Fact::FileSettled {
                    cid: opening.submission.cid.clone(),
                    run_id: opening.id,
                    path: opening.submission.path.file_path.clone(),
                    scan_id: opening.submission.scan_id.clone(),
                    tasks,
                    plugins,
                    duration_ms,
                };
                // The number alone is given anew where a broker has lost its last moments.
                let id = format!("settled.{}.{}", opening.id, opening.submitted_at);
                let message = shared.broker.event(fact, Some(id));
                self.effects.spawn(async move { shared.settle(opening.id, message, reply).await });
            }
            Command::Reopen { opening } => {
                self.effects.spawn(async move { shared.reopen(opening).await });
            }
            Command::Check { suspects } => {
                self.effects.spawn(async move { shared.check(suspects).await });
            }
            Command::Repaired { cid, plugin } => {
                tracing::warn!(file.cid = %cid, plugin.id = %plugin, "a lost task is published again");
                self.shared.metrics.repaired(&plugin);
                let fact = Fact::TaskRepaired { cid, plugin_id: plugin };
                self.tell(fact, None);
            }
            Command::Alarm { open_files, for_ms, waiting_for } => {
                tracing::error!(open_files, for_ms, ?waiting_for, "files wait and nothing moves");
                let fact = Fact::FleetStalled { open_files, for_ms, waiting_for };
                self.tell(fact, None);
            }
            Command::Recovered { for_ms } => {
                tracing::info!(for_ms, "it moves again");
                let fact = Fact::FleetRecovered { for_ms };
                self.tell(fact, None);
            }
        }
    }

    /// Looks at effects that have ended; done by the clock, because being woken by each of them
    /// would cost more than it does.
    fn reap(&mut self) {
        while let Some(ended) = self.effects.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(%error, "an effect failed; what it was to do is found missing");
            }
        }
    }

    fn tell(&mut self, fact: Fact, id: Option<String>) {
        let (shared, message) = (self.shared.clone(), self.shared.broker.event(fact, id));
        self.effects.spawn(async move {
            shared.tell(message).await;
        });
    }

    fn count(&self) {
        let numbers = self.dispatcher.numbers();
        self.slots.set_parked(numbers.parked);
        self.shared.metrics.open_files(numbers.open, numbers.parked.all());
        self.numbers.send_replace(numbers);
    }

    fn renew(&mut self) {
        let replies: Vec<String> = self.replies.all().cloned().collect();
        let shared = self.shared.clone();
        self.effects.spawn(async move {
            for reply in replies {
                answer(&shared.broker.client, &reply, Answer::Progress).await;
            }
        });
    }
}
