//! One file's way through the graph: a state machine without clock, connection or channel.
//!
//! ```text
//!            needs settled          admitted            record with the task's fingerprint
//!  Waiting ───────────────▶ Wanted ──────────▶ Published ───────────────────────▶ Settled
//!     │                       ▲ ▲                 │ │                                ▲
//!     │                       │ └── lost ─────────┘ │                                │
//!     │                       └── record of older ──┘                                │
//!     └── up to date, or a need failed and the plugin then skips ────────────────────┘
//! ```
//!
//! The records are authoritative: what a run knows can be thrown away at any moment and rebuilt
//! from the submission and the file's records. Events may come repeatedly, late and in any order.

use std::collections::BTreeMap;
use std::sync::Arc;

use broker_config::manifest::OnDependencyFailure;
use broker_config::planted::{Bug, planted};
use broker_config::wire::event::{Outcome, TaskCounts};
use broker_config::{Lane, MetaMap, PluginId, Queue, RecordStatus, Task};

use crate::graph::{Graph, PluginSpec};

/// So often a run has its task done anew because somebody of another version was quicker; then it
/// takes what there is.
const MOST_FOREIGN: u32 = 3;
/// A task is not given up on as missing before it was missing this often, however few attempts its
/// plugin allows.
const LEAST_LOSSES: u32 = 3;

mod adopt;
mod parts;
#[cfg(test)]
mod tests;

use self::adopt::Shadow;
pub use self::adopt::seen;
pub use self::parts::{InFlight, KnownRecord, Left, Opening, Trace};

/// Where a plugin stands in a run.
#[derive(Debug)]
enum State {
    /// Something it needs is not settled.
    Waiting,
    /// Its task may be published, with this input.
    Wanted { seen: MetaMap, fingerprint: String },
    /// Its task is in the broker's hands.
    Published { fingerprint: String, since: u64, deferred: bool },
    /// Done with. `failed` is what dependents go by.
    Settled { outcome: Outcome, failed: bool },
}

impl State {
    const fn left(&self) -> Left {
        match self {
            Self::Published { deferred: false, .. } => Left::Held,
            Self::Published { deferred: true, .. } => Left::Deferred,
            Self::Waiting | Self::Wanted { .. } | Self::Settled { .. } => Left::No,
        }
    }
}

#[derive(Debug)]
struct Part {
    spec: Arc<PluginSpec>,
    /// Where the tasks of that version go.
    lane: Lane,
    /// Another version, which gets the same to do, to be compared.
    shadow: Shadow,
    inputs: Vec<PluginId>,
    state: State,
    /// How often a record of another version was in the place of its own.
    foreign: u32,
    /// How often its task was found missing in this run.
    losses: u32,
    /// How often in a row an older task was in the way of its own.
    blocked: u32,
    /// Whether its task is known not to have reached its stream.
    unstored: bool,
}

/// One pass of one file through the graph.
#[derive(Debug)]
pub struct Run {
    opening: Arc<Opening>,
    opened_at: u64,
    /// In the graph's order: each after all it needs.
    order: Vec<PluginId>,
    parts: BTreeMap<PluginId, Part>,
    records: BTreeMap<PluginId, KnownRecord>,
    /// Whether a version on trial may have to see this file.
    has_shadows: bool,
}

impl Run {
    /// Begins a run at time `now` with what is recorded of the file.
    #[must_use]
    pub fn open(
        opening: Arc<Opening>,
        records: BTreeMap<PluginId, KnownRecord>,
        graph: &Graph,
        now: u64,
    ) -> Self {
        let (order, parts) = (Vec::new(), BTreeMap::new());
        let mut run = Self { opening, opened_at: now, order, parts, records, has_shadows: false };
        run.adopt(graph);
        run
    }

    /// The submission it serves.
    #[must_use]
    pub fn opening(&self) -> &Arc<Opening> {
        &self.opening
    }

    /// When it began, on the engine's clock.
    #[must_use]
    pub const fn opened_at(&self) -> u64 {
        self.opened_at
    }

    /// Moves everything that can move; returns the plugins whose tasks may now be published.
    #[must_use]
    pub fn advance(&mut self) -> Vec<PluginId> {
        let mut wanted = Vec::new();
        for id in &self.order {
            let Some(part) = self.parts.get(id) else { continue };
            if !matches!(part.state, State::Waiting) || !self.needs_settled(part) {
                continue;
            }
            let state = self.next_state(id, part);
            if matches!(state, State::Wanted { .. }) {
                wanted.push(id.clone());
            }
            if let Some(part) = self.parts.get_mut(id) {
                part.state = state;
            }
        }
        wanted
    }

    fn needs_settled(&self, part: &Part) -> bool {
        part.spec.manifest.dependencies.iter().all(|needed| {
            self.parts.get(needed).is_none_or(|p| match p.state {
                State::Settled { .. } => true,
                State::Published { .. } => planted(Bug::ChildFirst),
                State::Waiting | State::Wanted { .. } => false,
            })
        })
    }

    fn next_state(&self, id: &PluginId, part: &Part) -> State {
        let need_failed = part.spec.manifest.dependencies.iter().any(|needed| {
            let state = self.parts.get(needed).map(|p| &p.state);
            matches!(state, Some(State::Settled { failed: true, .. }))
        });
        if need_failed && part.spec.on_dependency_failure == OnDependencyFailure::Skip {
            return State::Settled { outcome: Outcome::Skipped, failed: true };
        }
        let (seen, fingerprint) = self.input_of(&part.spec, &part.inputs);
        match self.records.get(id) {
            Some(record) if self.is_up_to_date(id, record, &fingerprint) => self.settled_by(record),
            _ => State::Wanted { seen, fingerprint },
        }
    }

    fn is_up_to_date(&self, id: &PluginId, record: &KnownRecord, fingerprint: &str) -> bool {
        let submission = &self.opening.submission;
        let forced = submission.rerun.contains(id)
            || submission.force && (submission.only.is_empty() || submission.only.contains(id));
        let is_its = self.parts.get(id).is_none_or(|part| part.is_by_its_version(record));
        record.fingerprint == fingerprint && is_its && (!forced || self.is_of_this_run(record))
    }

    fn is_of_this_run(&self, record: &KnownRecord) -> bool {
        record.stored_at > self.opening.submitted_at
    }

    fn settled_by(&self, record: &KnownRecord) -> State {
        let outcome = match record.status {
            _ if !self.is_of_this_run(record) => Outcome::Cached,
            RecordStatus::Completed => Outcome::Completed,
            RecordStatus::Skipped => Outcome::Skipped,
            RecordStatus::Failed => Outcome::Failed,
        };
        State::Settled { outcome, failed: record.status == RecordStatus::Failed }
    }

    /// Builds the task of a wanted plugin and takes it as published at time `now`.
    ///
    /// `None` if the plugin is not wanted (any more).
    #[must_use]
    pub fn publish(&mut self, id: &PluginId, now: u64) -> Option<(Queue, Task)> {
        let part = self.parts.get_mut(id)?;
        let State::Wanted { seen, fingerprint } = &mut part.state else { return None };
        let (existing_meta, fingerprint) = (std::mem::take(seen), std::mem::take(fingerprint));
        part.state =
            State::Published { fingerprint: fingerprint.clone(), since: now, deferred: false };
        part.unstored = false;
        let part = self.parts.get(id)?;
        let revision = self.records.get(id).map_or(0, |record| record.revision);
        let task = self.task(&part.spec, fingerprint, existing_meta, revision);
        Some((self.queue_of(part), Task { lane: part.lane, ..task }))
    }

    fn queue_of(&self, part: &Part) -> Queue {
        if self.opening.submission.override_queue { self.opening.queue } else { part.spec.queue }
    }

    /// Takes note that the plugin asked to be called later; says whether it counted until now.
    pub fn on_deferred(&mut self, id: &PluginId) -> bool {
        match self.parts.get_mut(id).map(|part| &mut part.state) {
            Some(State::Published { deferred, .. }) => !std::mem::replace(deferred, true),
            Some(State::Waiting | State::Wanted { .. } | State::Settled { .. }) | None => false,
        }
    }

    /// Takes note of a record.
    pub fn on_record(&mut self, id: &PluginId, record: KnownRecord) -> Left {
        if self.records.get(id).is_some_and(|known| known.revision >= record.revision) {
            return Left::No;
        }
        let next = match self.parts.get(id).map(|part| &part.state) {
            Some(State::Published { .. }) if self.is_answered_by(id, &record) => {
                Some(self.settled_by(&record))
            }
            // Written by somebody who worked on an older task, or is of another version: ours must
            // be published anew, because it was fenced against the record before this one.
            Some(State::Published { .. }) => Some(State::Waiting),
            // Perhaps it is up to date by this.
            Some(State::Wanted { .. }) => Some(State::Waiting),
            Some(State::Waiting | State::Settled { .. }) | None => None,
        };
        self.records.insert(id.clone(), record);
        let mut left = Left::No;
        if let (Some(part), Some(next)) = (self.parts.get_mut(id), next) {
            left = part.state.left();
            part.foreign += u32::from(matches!(next, State::Waiting) && left != Left::No);
            part.state = next;
            part.blocked = 0;
        }
        left
    }

    /// Takes what the broker holds for the truth, also where it is older than what is known: one that
    /// lost its last moments lost records, too, and a task is fenced against the one that is there.
    pub fn on_reread(&mut self, id: &PluginId, record: Option<KnownRecord>) {
        let revision = |record: Option<&KnownRecord>| record.map_or(0, |record| record.revision);
        if revision(record.as_ref()) >= revision(self.records.get(id)) {
            return;
        }
        match record {
            Some(record) => drop(self.records.insert(id.clone(), record)),
            None => drop(self.records.remove(id)),
        }
    }

    /// Counts a publish that an older task of the same work was in the way of; says how often that
    /// was so before.
    pub fn on_blocked(&mut self, id: &PluginId) -> u32 {
        let Some(part) = self.parts.get_mut(id) else { return 0 };
        part.unstored = true;
        let before = part.blocked;
        part.blocked = before.saturating_add(1);
        before
    }

    /// Takes note that the task may not have been stored; it is published again in a moment.
    pub fn on_publish_failed(&mut self, id: &PluginId) {
        if let Some(part) = self.parts.get_mut(id) {
            part.unstored = true;
        }
    }

    /// Whether the task that was to be published is in its stream as far as is known. One that is not
    /// cannot be lost.
    #[must_use]
    pub fn is_stored(&self, id: &PluginId) -> bool {
        self.parts.get(id).is_some_and(|part| !part.unstored)
    }

    /// Counts a task that was found missing; says whether that was as often as it may be.
    ///
    /// A task is lost by accident once, perhaps twice, and that is no attempt of its plugin. One
    /// that goes missing every time is ended by its worker without a word, and must not come again
    /// for ever.
    pub fn on_missing(&mut self, id: &PluginId) -> bool {
        let Some(part) = self.parts.get_mut(id) else { return false };
        part.losses += 1;
        part.losses >= part.spec.retry.max_attempts.get().max(LEAST_LOSSES)
    }

    /// When the plugin's task was published, if it is in the broker's hands.
    #[must_use]
    pub fn published_since(&self, id: &PluginId) -> Option<u64> {
        match self.parts.get(id)?.state {
            State::Published { since, .. } => Some(since),
            State::Waiting | State::Wanted { .. } | State::Settled { .. } => None,
        }
    }

    /// The plugin as this run has it, with the queue its task goes to.
    #[must_use]
    pub fn part(&self, id: &PluginId) -> Option<(&Arc<PluginSpec>, Queue)> {
        self.parts.get(id).map(|part| (&part.spec, self.queue_of(part)))
    }

    /// Whether every plugin is done with the file.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.parts.values().all(|part| matches!(part.state, State::Settled { .. }))
    }

    /// Whether all that it waits for is a time that a plugin asked for.
    #[must_use]
    pub fn is_parked(&self) -> bool {
        let mut parked = false;
        for part in self.parts.values() {
            match part.state {
                State::Published { deferred: true, .. } => parked = true,
                State::Published { .. } | State::Wanted { .. } => return false,
                State::Waiting | State::Settled { .. } => {}
            }
        }
        parked
    }

    /// The tasks in the broker's hands.
    pub fn in_flight(&self) -> impl Iterator<Item = InFlight> + '_ {
        self.parts.iter().filter_map(|(id, part)| match part.state {
            State::Published { since, deferred, .. } => {
                let (plugin, queue, lane) = (id.clone(), self.queue_of(part), part.lane);
                Some(InFlight { plugin, queue, lane, since, deferred })
            }
            State::Waiting | State::Wanted { .. } | State::Settled { .. } => None,
        })
    }

    /// Plugins that the run waits for: published or wanted.
    pub fn waits_for(&self) -> impl Iterator<Item = &PluginId> {
        self.parts.iter().filter_map(|(id, part)| {
            matches!(part.state, State::Published { .. } | State::Wanted { .. }).then_some(id)
        })
    }

    /// How each plugin's part ended so far, and the numbers.
    #[must_use]
    pub fn outcomes(&self) -> (BTreeMap<PluginId, Outcome>, TaskCounts) {
        let mut counts = TaskCounts::default();
        let mut outcomes = BTreeMap::new();
        for (id, part) in &self.parts {
            if let State::Settled { outcome, .. } = part.state {
                counts.count(outcome);
                outcomes.insert(id.clone(), outcome);
            }
        }
        (outcomes, counts)
    }
}
