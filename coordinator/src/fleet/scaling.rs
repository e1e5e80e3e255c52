//! Has as many instances run as there is work for, within what `plugins.yml` allows.
//!
//! Looks every second, as long as there is anything to decide; the decisions are in `mind` and
//! [`crate::scale`]. Only the fleet whose coordinator leads goes by what waits. While the broker does
//! not answer, everything stays as it is. An instance that is too many is told to pause and stopped
//! when it has nothing in hand; it goes on when it is needed before that.

mod mind;
pub(super) mod pools;
pub(super) mod selection;

use std::collections::BTreeMap;
use std::time::Duration;

use broker_config::wire::event::Fact;
use broker_config::{Chain, Names, PluginId, Queue};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::mind::{Decision, Facts, Mind};
pub use self::selection::ScaleError;
use self::selection::Selection;
use crate::broker::instruct::instruct;
use crate::scale::Pace;
use crate::service::{CoordinatorHandle, Phase};
use crate::store::scale::{REFRESH, Scaled};
use crate::store::{Store, StoreError};

/// How often is looked.
const LOOK: Duration = Duration::from_secs(1);
/// How long the broker may take to answer all that is asked in one look.
const ANSWER: Duration = Duration::from_secs(10);

/// Decides for a fleet.
#[derive(Debug)]
pub(super) struct Scaling {
    pub(super) store: Store,
    /// Whose numbers they are.
    pub(super) node: String,
    pub(super) coordinator: CoordinatorHandle,
    pub(super) selection: Selection,
    pub(super) pace: Pace,
}

/// Shows how many instances there are, and lets a person set the number; cheap to clone.
#[derive(Clone, Debug)]
pub struct ScaleHandle(Selection);

impl ScaleHandle {
    pub(super) fn new(selection: Selection) -> Self {
        Self(selection)
    }

    /// Sets how many instances of a plugin run, until its numbers in `plugins.yml` change or the
    /// fleet ends; `None` = as many as the file and the work ask for. It takes effect within
    /// seconds, and not beyond the cap of the fleet. Those that are too many drain.
    ///
    /// # Errors
    ///
    /// [`ScaleError`] when this fleet does not start the plugin, or may not start so many.
    pub fn set(&self, plugin: &PluginId, number: Option<u32>) -> Result<(), ScaleError> {
        self.0.set_by_hand(plugin, number)
    }

    /// The plugins whose number may change or is not what was asked for.
    #[must_use]
    pub fn list(&self) -> BTreeMap<PluginId, Scaled> {
        self.0.shown()
    }
}

impl Scaling {
    /// Decides until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        let begun = Instant::now();
        let mut mind = Mind::default();
        let mut told: Option<(BTreeMap<PluginId, Scaled>, Instant)> = None;
        let mut changes = self.selection.changes();
        let mut due = interval(LOOK);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            changes.mark_unchanged();
            let round = Box::pin(self.round(&mut mind, begun, &mut told));
            match stop.run_until_cancelled(round).await {
                None => return,
                Some(Ok(())) => {}
                Some(Err(error)) => debug!(error = %Chain(&error), "numbers of instances are kept"),
            }
            let is_at_rest = mind.is_at_rest(&self.selection.now());
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                // An error cannot be: the sender is ours.
                Ok(()) = changes.changed() => {}
                _ = due.tick(), if !is_at_rest => {}
            }
        }
    }

    async fn round(
        &self,
        mind: &mut Mind,
        begun: Instant,
        told: &mut Option<(BTreeMap<PluginId, Scaled>, Instant)>,
    ) -> Result<(), StoreError> {
        let now = self.selection.now();
        if mind.is_at_rest(&now) && told.is_none() {
            mind.rest(&now, begun.elapsed());
            return Ok(());
        }
        let facts = timeout(ANSWER, self.facts()).await.map_err(|late| StoreError::Away {
            what: "what the plugins do".to_owned(),
            cause: late.into(),
        })??;
        let leads = *self.coordinator.phase().borrow() == Phase::Leading;
        let pace = leads.then_some(&self.pace);
        let decision = mind.decide(&now, &facts, pace, begun.elapsed());
        self.selection.run(&now, &decision.numbers);
        self.carry_out(&decision).await;
        self.selection.show(decision.shown.clone());
        let is_told = told.as_ref().is_some_and(|(shown, when)| {
            *shown == decision.shown && (shown.is_empty() || when.elapsed() < REFRESH)
        });
        if !is_told && (told.is_some() || !decision.shown.is_empty()) {
            self.store.tell_scaled(&self.node, &decision.shown).await?;
            *told = Some((decision.shown, Instant::now()));
        }
        Ok(())
    }

    /// All that is known of the plugins.
    async fn facts(&self) -> Result<BTreeMap<PluginId, Facts>, StoreError> {
        let stream = self.store.names().task_stream();
        let (signs, consumers, known) = tokio::try_join!(
            self.store.instances(),
            self.store.consumers(&stream),
            self.store.plugins(),
        )?;
        let mut facts: BTreeMap<PluginId, Facts> = BTreeMap::new();
        for (id, signs) in signs {
            facts.entry(id).or_default().signs = signs;
        }
        for (id, known) in known {
            let of = facts.entry(id.clone()).or_default();
            let manifest = &known.entry.manifest;
            of.version = known.entry.enabled.then(|| manifest.version.to_string());
            of.timeout = Some(manifest.deadline());
            of.is_paused = known.entry.paused;
            for queue in Queue::ALL {
                if let Some(consumer) = consumers.get(&Names::consumer(&id, queue)) {
                    of.waiting += consumer.num_pending;
                    of.held += consumer.num_ack_pending;
                    of.is_paused |= consumer.paused;
                }
            }
        }
        for (id, numbers) in self.coordinator.metrics().plugins() {
            let ended = numbers.completed + numbers.skipped + numbers.failed;
            facts.entry(id).or_default().ended = (ended, numbers.duration_sum);
        }
        Ok(facts)
    }

    async fn carry_out(&self, decision: &Decision) {
        for (plugin, instance, control) in &decision.tell {
            let ways = (self.store.client(), self.store.names());
            instruct(ways, plugin, instance, control).await;
        }
        for instance in &decision.overdue {
            warn!(instance.id = %instance, "it does not get done and is stopped");
        }
        for change in &decision.changes {
            let mind::Change { plugin, from, to, why } = change.clone();
            info!(plugin.id = %plugin, from, to, why, "another number of instances");
            let fact = Fact::PluginScaled { plugin_id: plugin, from, to, why };
            if let Err(error) = self.store.tell(fact).await {
                warn!(error = %Chain(&error), "event not stored");
            }
        }
    }
}
