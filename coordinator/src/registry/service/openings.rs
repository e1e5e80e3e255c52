//! The consumers of plugins are made beside everything else, and tried again until they are there.
//!
//! In a cluster each consumer has a leader of its own, and while one is chosen nobody answers. Tasks are
//! published meanwhile and wait in their stream; only who wants to pull them has to wait, and nobody
//! else does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use broker_config::apply::apply_consumer;
use broker_config::topology::TaskConsumerSpec;
use broker_config::{Chain, PluginId};
use futures_util::future::try_join_all;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use super::{Registry, State};
use crate::broker::Broker;
use crate::broker::api::DEPOSED;

/// How many are made at the same time.
const AT_ONCE: usize = 16;
/// How long one may take, with a connection that comes and goes, before it is tried again.
const LIMIT: Duration = Duration::from_secs(6);
/// Pause before the second attempt; each one is twice as long as the one before.
const PAUSE: Duration = Duration::from_millis(250);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(5);
/// How long a worker that announces itself waits for its consumers, and others for the answer to it.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is being made, by plugin.
#[derive(Debug)]
pub(super) struct Openings {
    running: JoinSet<(PluginId, u64)>,
    of: BTreeMap<PluginId, Opening>,
    begun: u64,
    /// Plugins with a worker that was not answered for it.
    unanswered: BTreeSet<PluginId>,
    at_once: Arc<Semaphore>,
}

#[derive(Debug)]
struct Opening {
    number: u64,
    specs: Vec<TaskConsumerSpec>,
    since: Instant,
    task: AbortHandle,
}

impl Default for Openings {
    fn default() -> Self {
        Self {
            running: JoinSet::new(),
            of: BTreeMap::new(),
            begun: 0,
            unanswered: BTreeSet::new(),
            at_once: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

impl Openings {
    /// Begins to make these, unless just they are being made already.
    pub(super) fn begin(&mut self, broker: &Broker, id: &PluginId, specs: Vec<TaskConsumerSpec>) {
        if self.of.get(id).is_some_and(|opening| opening.specs == specs) {
            return;
        }
        self.give_up(id);
        self.begun += 1;
        let (number, since) = (self.begun, Instant::now());
        let (broker, wanted) = (broker.clone(), specs.clone());
        let (at_once, plugin) = (self.at_once.clone(), id.clone());
        let task = self.running.spawn(async move {
            open(&broker, &plugin, &wanted, &at_once).await;
            (plugin, number)
        });
        self.of.insert(id.clone(), Opening { number, specs, since, task });
    }

    /// Does not go on making those of a plugin.
    pub(super) fn give_up(&mut self, id: &PluginId) {
        if let Some(opening) = self.of.remove(id) {
            opening.task.abort();
        }
    }

    /// Waits until all of some plugin are there, and says whether somebody was sent away meanwhile;
    /// `None` = nothing is being made.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when dropped.
    pub(super) async fn next(&mut self) -> Option<(PluginId, bool)> {
        loop {
            // Those that were given up, or begun anew, end here, too.
            let Ok((id, number)) = self.running.join_next().await? else { continue };
            if self.of.get(&id).is_some_and(|opening| opening.number == number) {
                self.of.remove(&id);
                let is_missed = self.unanswered.remove(&id);
                return Some((id, is_missed));
            }
        }
    }

    /// How long they are being made; `None` = they are not.
    fn age(&self, id: &PluginId) -> Option<Duration> {
        self.of.get(id).map(|opening| opening.since.elapsed())
    }
}

/// Makes consumers until they are there, or nobody leads in whose name.
async fn open(broker: &Broker, id: &PluginId, specs: &[TaskConsumerSpec], at_once: &Semaphore) {
    let (mut pause, mut told) = (PAUSE, String::new());
    loop {
        let all = specs.iter().map(async |spec| {
            let _permit = at_once.acquire().await.map_err(|error| error.to_string())?;
            make(broker, spec).await
        });
        let Err(reason) = try_join_all(all).await else { return };
        if reason != told {
            tracing::warn!(reason, plugin.id = %id, "no tasks yet: its consumers cannot be made, trying again");
            told = reason;
        }
        if !broker.may_write().await {
            return std::future::pending().await;
        }
        sleep(pause).await;
        pause = LONGEST.min(pause * 2);
    }
}

/// Makes a consumer; one that is there stays, with all that it holds.
pub(super) async fn make(broker: &Broker, spec: &TaskConsumerSpec) -> Result<(), String> {
    if !broker.may_write().await {
        return Err(DEPOSED.to_owned());
    }
    let apply = || apply_consumer(&broker.js, &broker.names, spec);
    match timeout(LIMIT, broker.through(apply)).await {
        Ok(made) => made.map_err(|error| Chain(&error).to_string()),
        Err(_) => Err(format!("{}: no answer within {LIMIT:?}", spec.name)),
    }
}

impl Registry {
    /// Some consumers are there that were not before.
    pub(super) async fn on_opened(&self, state: &mut State, (id, is_missed): (PluginId, bool)) {
        state.ready.insert(id.clone());
        if is_missed {
            // Its workers would try again by themselves, but only in a while.
            self.ask_all(&id).await;
        }
    }

    /// Waits a little for the consumers of a plugin; false if they are not there yet.
    pub(super) async fn is_open(&self, state: &mut State, id: &PluginId) -> bool {
        let waited = state.openings.age(id).unwrap_or_default();
        let open = async {
            while !state.ready.contains(id) {
                let Some(opened) = state.openings.next().await else { return false };
                self.on_opened(state, opened).await;
            }
            true
        };
        let is_open = timeout(PATIENCE.saturating_sub(waited), open).await.unwrap_or(false);
        if !is_open {
            state.openings.unanswered.insert(id.clone());
        }
        is_open
    }
}
