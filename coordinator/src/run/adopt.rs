//! Which version of each plugin a run has to do with, when it begins and when plugins change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use broker_config::wire::event::Outcome;
use broker_config::wire::task::TaskType;
use broker_config::{FileFacts, Lane, MetaMap, PluginId, Queue, RecordStatus, Task, TaskId};
use semver::Version;

use super::{KnownRecord, Left, MOST_FOREIGN, Part, Run, State};
use crate::fingerprint::{fingerprint, inputs};
use crate::graph::{Graph, Node, PluginSpec};
use crate::merge::layered;

/// A version that gets the same work as the current one, to be compared.
#[derive(Debug, Default)]
pub(super) enum Shadow {
    /// There is none.
    #[default]
    None,
    /// It has not had this file yet.
    Due(Arc<PluginSpec>),
    /// This one has.
    Had(Version),
}

impl Shadow {
    fn adopt(&mut self, shadow: Option<&Arc<PluginSpec>>) {
        *self = match (shadow, &*self) {
            (None, _) => Self::None,
            (Some(spec), Self::Had(version)) if spec.manifest.version == *version => return,
            (Some(spec), _) => Self::Due(spec.clone()),
        };
    }

    fn take(&mut self) -> Option<Arc<PluginSpec>> {
        match std::mem::take(self) {
            Self::Due(spec) => {
                *self = Self::Had(spec.manifest.version.clone());
                Some(spec)
            }
            other @ (Self::None | Self::Had(_)) => {
                *self = other;
                None
            }
        }
    }
}

impl Part {
    fn new(spec: Arc<PluginSpec>, lane: Lane) -> Self {
        Self {
            spec,
            lane,
            shadow: Shadow::None,
            inputs: Vec::new(),
            state: State::Waiting,
            foreign: 0,
            losses: 0,
            blocked: 0,
            unstored: false,
        }
    }

    /// Whether the version of this part wrote a record, as far as that can be told.
    pub(super) fn is_by_its_version(&self, record: &KnownRecord) -> bool {
        record.version.as_ref().is_none_or(|version| *version == self.spec.manifest.version)
    }

    /// Whether it was done with only because a plugin had left: this one, or one that it needs.
    fn is_done_without_plugin(&self) -> bool {
        match self.state {
            State::Settled { outcome: Outcome::Gone, .. }
            | State::Settled { outcome: Outcome::Skipped, failed: true } => true,
            State::Settled { .. }
            | State::Waiting
            | State::Wanted { .. }
            | State::Published { .. } => false,
        }
    }

    /// Goes over to the version that does the work on this file. A task that is out stays with its
    /// version as long as that serves; whose version is gone is published anew.
    fn adopt(&mut self, node: &Node, spec: &Arc<PluginSpec>, lane: Lane) {
        if self.is_done_without_plugin() {
            // It is back; where it is not, that is found anew.
            self.state = State::Waiting;
        }
        let is_out = matches!(self.state, State::Published { .. });
        let version = &self.spec.manifest.version;
        if is_out && !node.serves(version, self.lane) {
            self.state = State::Waiting;
        } else if is_out && (*version != spec.manifest.version || self.lane != lane) {
            return;
        }
        self.spec = spec.clone();
        self.lane = lane;
        if matches!(self.state, State::Wanted { .. }) {
            self.state = State::Waiting;
        }
    }
}

impl Run {
    /// Takes over a graph: plugins that left are done with, new ones take part, changed ones run
    /// as they are now unless their task is out already and somebody is still there to do it.
    pub fn adopt(&mut self, graph: &Graph) {
        for (id, part) in &mut self.parts {
            if !graph.nodes.contains_key(id) && !matches!(part.state, State::Settled { .. }) {
                part.state = State::Settled { outcome: Outcome::Gone, failed: true };
            }
        }
        let submission = &self.opening.submission;
        let in_scope = |id: &PluginId| {
            submission.only.is_empty()
                || submission.only.contains(id)
                || submission
                    .only
                    .iter()
                    .filter_map(|only| graph.nodes.get(only))
                    .any(|node| node.inputs.contains(id))
        };
        self.order.clear();
        self.has_shadows = false;
        for id in graph.order.iter().filter(|id| in_scope(id)) {
            let Some(node) = graph.nodes.get(id) else { continue };
            let (spec, lane) = node.side(submission);
            // A plugin that does not want the file counts as satisfied, so it has no part at all.
            if spec.manifest.filter.mismatch(&submission.file).is_some() {
                continue;
            }
            self.order.push(id.clone());
            let part =
                self.parts.entry(id.clone()).or_insert_with(|| Part::new(spec.clone(), lane));
            part.adopt(node, spec, lane);
            part.inputs.clone_from(&node.inputs);
            let wants =
                |spec: &&Arc<PluginSpec>| spec.manifest.filter.mismatch(&submission.file).is_none();
            part.shadow.adopt(node.shadow().filter(wants));
            self.has_shadows |= matches!(part.shadow, Shadow::Due(_));
        }
        // Nothing moves a part on that is not in the order, and nobody wants it any more: it is out of scope by now,
        // or the version that would do it does not want the file.
        let order: BTreeSet<&PluginId> = self.order.iter().collect();
        self.parts
            .retain(|id, part| matches!(part.state, State::Settled { .. }) || order.contains(id));
    }

    /// Where a task of the plugin goes.
    #[must_use]
    pub fn lane(&self, id: &PluginId) -> Lane {
        self.parts.get(id).map_or(Lane::Main, |part| part.lane)
    }

    /// Leaves a task in the lane in which it is already; `false` if nobody would do it there.
    pub fn stay(&mut self, id: &PluginId, lane: Lane, graph: &Graph) -> bool {
        let (Some(part), Some(node)) = (self.parts.get_mut(id), graph.nodes.get(id)) else {
            return false;
        };
        let is_served = node.serves(&part.spec.manifest.version, lane);
        if is_served {
            part.lane = lane;
        }
        is_served
    }

    /// The tasks of versions on trial, each once: what the current version gets to see, they see.
    #[must_use]
    pub fn trials(&mut self) -> Vec<(Queue, Task)> {
        let mut due = Vec::new();
        if !self.has_shadows {
            return Vec::new();
        }
        for id in &self.order {
            let is_ready = self.parts.get(id).is_some_and(|part| match part.state {
                State::Wanted { .. } | State::Published { .. } => true,
                State::Settled { outcome, .. } => match outcome {
                    Outcome::Completed | Outcome::Cached => true,
                    Outcome::Skipped | Outcome::Failed | Outcome::Gone => false,
                },
                State::Waiting => false,
            });
            let Some(part) = self.parts.get_mut(id).filter(|_| is_ready) else { continue };
            if let Some(spec) = part.shadow.take() {
                due.push((id.clone(), spec));
            }
        }
        let mut trials = Vec::new();
        for (id, spec) in due {
            let Some(part) = self.parts.get(&id) else { continue };
            let (seen, fingerprint) = self.input_of(&spec, &part.inputs);
            let task = self.task(&spec, fingerprint, seen, 0);
            trials.push((self.queue_of(part), Task { lane: Lane::Next, trial: true, ..task }));
        }
        trials
    }

    /// What a plugin would get to see, and its fingerprint.
    pub(super) fn input_of(&self, spec: &PluginSpec, authors: &[PluginId]) -> (MetaMap, String) {
        let submission = &self.opening.submission;
        let path = &submission.path.file_path;
        let seen = seen(spec, authors, &self.records, &submission.file, path);
        let fingerprint = fingerprint(spec, &seen);
        (seen, fingerprint)
    }

    /// The task of a plugin in the main lane.
    pub(super) fn task(
        &self,
        spec: &PluginSpec,
        fingerprint: String,
        existing_meta: MetaMap,
        record_revision: u64,
    ) -> Task {
        let submission = &self.opening.submission;
        let id = &spec.manifest.id;
        Task {
            kind: TaskType::V1,
            task_id: TaskId::derive(&submission.cid, id, &fingerprint, record_revision),
            run_id: self.opening.id,
            plugin_id: id.clone(),
            cid: submission.cid.clone(),
            path: submission.path.clone(),
            file: submission.file.clone(),
            existing_meta,
            record_revision,
            fingerprint,
            deadline_ms: spec.timeout_ms,
            progress_timeout_ms: spec.progress_timeout_ms,
            retry: spec.retry.clone(),
            plugin_version: Some(spec.manifest.version.to_string()),
            lane: Lane::Main,
            trial: false,
            depth: submission.depth,
            scan_id: submission.scan_id.clone(),
        }
    }

    /// Whether a record is the outcome of the task that is out: made of the same, by the version
    /// that the task is for.
    pub(super) fn is_answered_by(&self, id: &PluginId, record: &KnownRecord) -> bool {
        let Some(part) = self.parts.get(id) else { return false };
        let State::Published { fingerprint, .. } = &part.state else { return false };
        let is_its = part.is_by_its_version(record) || part.foreign >= MOST_FOREIGN;
        *fingerprint == record.fingerprint && is_its
    }

    /// Which version a record is an outcome of, and whether it has failed; `None` for a record that
    /// settles nothing here.
    #[must_use]
    pub fn outcome_by(&self, id: &PluginId, record: &KnownRecord) -> Option<(Version, bool)> {
        let known = self.records.get(id).is_some_and(|known| known.revision >= record.revision);
        if known || !self.is_answered_by(id, record) {
            return None;
        }
        let version = self.parts.get(id)?.spec.manifest.version.clone();
        Some((version, record.status == RecordStatus::Failed))
    }

    /// Takes a task for lost, or its publish for failed: it may be published again.
    pub fn on_lost(&mut self, id: &PluginId) -> Left {
        let Some(part) = self.parts.get_mut(id) else { return Left::No };
        let left = part.state.left();
        if left != Left::No {
            part.state = State::Waiting;
        }
        left
    }
}

/// What a plugin gets to see of a file by what is recorded: what `authors` wrote, and people.
#[must_use]
pub fn seen(
    spec: &PluginSpec,
    authors: &[PluginId],
    records: &BTreeMap<PluginId, KnownRecord>,
    file: &FileFacts,
    path: &str,
) -> MetaMap {
    let user = PluginId::user();
    let layers = authors
        .iter()
        .chain(std::iter::once(&user))
        .filter_map(|id| records.get(id))
        .map(|record| (record.meta.as_ref(), record.hidden.as_ref()));
    inputs(spec, layered(layers), file, path)
}
