//! All open runs together: who may publish now, repeated files, lost tasks, stalls; pure.
//!
//! The dispatcher owns every [`Run`]. It is told what happened ([`Event`]) and says what is to be
//! done ([`Command`]), in order; it has no clock but the one in [`Event::Tick`]. At any moment it
//! can be thrown away: the submissions are still in their stream, and opening them again from the
//! records leads to the same place.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use broker_config::planted::{Bug, planted};
use broker_config::{Cid, Lane, PluginId, RunId};

use crate::graph::{Graph, Node};
use crate::limits::{Limits, Line, line};
use crate::run::{KnownRecord, Left, Opening, Run};

mod clock;
mod event;
#[cfg(test)]
mod tests;
mod turns;

pub use self::event::{Command, Event, Numbers, Parked, Suspect, Tallies, Timing};

/// The runs of one file, one at a time: two runs of the same content would fence each other off.
#[derive(Debug)]
struct PerFile {
    open: RunId,
    waiting: VecDeque<Arc<Opening>>,
}

/// All open runs.
#[derive(Debug)]
pub struct Dispatcher {
    graph: Arc<Graph>,
    timing: Timing,
    runs: BTreeMap<RunId, Run>,
    files: HashMap<Cid, PerFile>,
    /// Records that came while the records of their file were being read.
    opening: HashMap<Cid, Vec<(PluginId, KnownRecord)>>,
    waiting: usize,
    /// Tasks that the broker will publish by itself; they are not published a second time.
    scheduled: BTreeMap<(PluginId, Cid), Lane>,
    /// Since when inherited tasks hold places, until they are claimed or left.
    inherited: Option<u64>,
    limits: Limits,
    /// Outcomes of plugins that have two versions at work.
    tallies: Tallies,
    retries: BTreeSet<(u64, RunId, PluginId)>,
    now: u64,
    checked: u64,
    check_from: RunId,
    moved: u64,
    alarmed: bool,
}

impl Dispatcher {
    /// Begins with no run.
    #[must_use]
    pub fn new(graph: Arc<Graph>, timing: Timing) -> Self {
        Self {
            graph,
            timing,
            runs: BTreeMap::new(),
            files: HashMap::new(),
            opening: HashMap::new(),
            waiting: 0,
            scheduled: BTreeMap::new(),
            inherited: None,
            limits: Limits::default(),
            tallies: Tallies::new(),
            retries: BTreeSet::new(),
            now: 0,
            checked: 0,
            check_from: RunId(0),
            moved: 0,
            alarmed: false,
        }
    }

    /// Submissions in hand, whether open or waiting for one of the same file.
    #[must_use]
    pub fn open(&self) -> usize {
        self.runs.len() + self.waiting
    }

    /// Whether a run of this submission is open; one that waits for another of its file is not.
    #[must_use]
    pub fn holds(&self, id: RunId) -> bool {
        self.runs.contains_key(&id)
    }

    /// Numbers for status; costs a walk over all open runs.
    #[must_use]
    pub fn numbers(&self) -> Numbers {
        let tallies = self.tallies.clone();
        let mut numbers = Numbers { open: self.open(), tallies, ..Numbers::default() };
        for run in self.runs.values() {
            if run.is_parked() {
                numbers.parked.count(run.opening().queue);
            }
            for plugin in run.waits_for() {
                *numbers.waiting_for.entry(plugin.clone()).or_default() += 1;
            }
        }
        numbers
    }

    /// Applies one event and appends what must now be done.
    ///
    /// Events come at least once and in any order: one that is repeated, late or about something
    /// unknown changes nothing and commands nothing.
    pub fn on_event(&mut self, event: Event, commands: &mut Vec<Command>) {
        match event {
            Event::Opened { opening, records } => self.on_opened(opening, records, commands),
            Event::Opening { cids } => {
                for cid in cids {
                    self.opening.entry(cid).or_default();
                }
            }
            Event::Record { cid, plugin, record } => {
                self.on_record(&cid, &plugin, record, commands);
            }
            Event::PublishFailed { run, plugin } => {
                if let Some(run) = self.runs.get_mut(&run) {
                    run.on_publish_failed(&plugin);
                }
                self.retries.insert((self.now + self.timing.retry_publish, run, plugin));
            }
            Event::Blocked { run: id, plugin } => {
                let Some(run) = self.runs.get_mut(&id) else { return };
                let wait = self.timing.blocked_for(run.on_blocked(&plugin));
                self.retries.insert((self.now + wait, id, plugin));
            }
            Event::Deferred { cid, plugin } => {
                self.progress(commands);
                let run = self.files.get(&cid).map(|file| file.open);
                if let Some(run) = run.and_then(|id| self.runs.get_mut(&id))
                    && run.on_deferred(&plugin)
                {
                    let line = line(&plugin, run.lane(&plugin));
                    self.release(&line, commands);
                }
            }
            Event::Scheduled { tasks } => self.scheduled = tasks,
            Event::Inherited { tasks } => {
                self.limits.inherit(tasks);
                self.inherited = Some(self.now);
            }
            Event::Reread { run, plugin, since, record } => {
                if let Some(run) = self.runs.get_mut(&run)
                    && run.published_since(&plugin) == Some(since)
                {
                    run.on_reread(&plugin, record);
                }
            }
            Event::Missing { run, plugin, since } => self.on_missing(run, &plugin, since, commands),
            Event::GraphChanged(graph) => self.on_graph(graph, commands),
            Event::Busy => self.progress(commands),
            Event::Tick { now } => self.on_tick(now, commands),
        }
    }

    fn on_record(
        &mut self,
        cid: &Cid,
        plugin: &PluginId,
        record: KnownRecord,
        commands: &mut Vec<Command>,
    ) {
        if let Some(since) = self.opening.get_mut(cid).filter(|_| !planted(Bug::MissedRecord)) {
            since.push((plugin.clone(), record.clone()));
        }
        if let Some(lane) = self.limits.claim(plugin, cid) {
            self.release(&line(plugin, lane), commands);
        }
        let Some(id) = self.files.get(cid).map(|file| file.open) else { return };
        let Some(run) = self.runs.get_mut(&id) else { return };
        let is_shared = self.graph.nodes.get(plugin).is_some_and(Node::is_shared);
        if let Some((version, failed)) =
            is_shared.then(|| run.outcome_by(plugin, &record)).flatten()
        {
            self.tallies.entry((plugin.clone(), version)).or_default().count(failed);
        }
        let left = run.on_record(plugin, record);
        let line = line(plugin, run.lane(plugin));
        self.progress(commands);
        if left == Left::Held {
            self.release(&line, commands);
        }
        self.advance(id, commands);
    }

    fn on_missing(
        &mut self,
        id: RunId,
        plugin: &PluginId,
        since: u64,
        commands: &mut Vec<Command>,
    ) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        // Published again meanwhile: the check was about the one before. Or about to be: what was
        // never stored is not lost.
        if run.published_since(plugin) != Some(since) || !run.is_stored(plugin) {
            return;
        }
        let hopeless = run.on_missing(plugin);
        let cid = run.opening().submission.cid.clone();
        if !hopeless {
            commands.push(Command::Repaired { cid, plugin: plugin.clone() });
            self.give_back(id, plugin, commands);
            return;
        }
        // Taken back and built anew, because the record it is fenced against may have changed.
        let left = run.on_lost(plugin);
        let (now, line) = (self.now, line(plugin, run.lane(plugin)));
        let again = run.advance().contains(plugin).then(|| run.publish(plugin, now)).flatten();
        if let Some((queue, task)) = again {
            // Until its record is there it holds a place as any other.
            if left == Left::Deferred {
                self.limits.count(&line);
            }
            let (opening, task) = (run.opening().clone(), Box::new(task));
            commands.push(Command::GiveUp { opening, queue, task });
        } else {
            if left == Left::Held {
                self.release(&line, commands);
            }
            self.advance(id, commands);
        }
    }

    /// Takes a task as not published and sees what follows.
    fn give_back(&mut self, id: RunId, plugin: &PluginId, commands: &mut Vec<Command>) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        if run.on_lost(plugin) == Left::Held {
            let line = line(plugin, run.lane(plugin));
            self.release(&line, commands);
        }
        self.advance(id, commands);
    }

    fn on_graph(&mut self, graph: Arc<Graph>, commands: &mut Vec<Command>) {
        self.graph = graph;
        self.limits.clear();
        let ids: Vec<RunId> = self.runs.keys().copied().collect();
        for id in &ids {
            if let Some(run) = self.runs.get_mut(id) {
                run.adopt(&self.graph);
                for task in run.in_flight().filter(|task| !task.deferred) {
                    self.limits.count(&line(&task.plugin, task.lane));
                }
            }
        }
        for id in ids {
            self.advance(id, commands);
        }
    }

    /// The runs of inherited tasks are open soon after the start; what is left by then has settled
    /// while nobody led.
    fn disinherit(&mut self, commands: &mut Vec<Command>) {
        if self.inherited.is_some_and(|since| self.now >= since + self.timing.check_after) {
            self.inherited = None;
            for line in self.limits.disinherit() {
                self.admit_waiting(&line, commands);
            }
        }
    }

    /// Moves one run on: publishes what it may, finishes it when it is settled.
    fn advance(&mut self, id: RunId, commands: &mut Vec<Command>) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let wanted = run.advance();
        for (queue, task) in run.trials() {
            let (opening, task) = (run.opening().clone(), Box::new(task));
            commands.push(Command::Trial { opening, queue, task });
        }
        let settled = wanted.is_empty() && run.is_settled();
        let opening = (!wanted.is_empty()).then(|| run.opening().clone());
        for plugin in wanted {
            let claims =
                |opening: &Arc<Opening>| self.limits.claim(&plugin, &opening.submission.cid);
            let claimed = opening.as_ref().and_then(claims);
            let Some(run) = self.runs.get_mut(&id) else { continue };
            // It stays where it is as long as somebody does it there; its place goes with it.
            let inherited = claimed.is_some_and(|lane| run.stay(&plugin, lane, &self.graph));
            let wanted = run
                .part(&plugin)
                .map(|(spec, queue)| (spec.max_in_flight, queue, line(&plugin, run.lane(&plugin))));
            if let Some(lane) = claimed.filter(|_| !inherited) {
                self.release(&line(&plugin, lane), commands);
            }
            let Some((most, queue, own)) = wanted else { continue };
            if inherited || self.limits.admit(&own, most) {
                if !self.publish(id, &plugin, inherited, commands) {
                    // Others may have waited for it since an earlier leader's task held it.
                    self.release(&own, commands);
                }
            } else {
                self.limits.wait(own, queue, id);
            }
        }
        if settled {
            self.finish(id, commands);
        }
    }

    /// Builds and commands a task that was admitted; says whether there was one.
    fn publish(
        &mut self,
        id: RunId,
        plugin: &PluginId,
        inherited: bool,
        commands: &mut Vec<Command>,
    ) -> bool {
        let now = self.now;
        let Some(run) = self.runs.get_mut(&id) else { return false };
        let scheduled = (!self.scheduled.is_empty()).then(|| {
            let key = (plugin.clone(), run.opening().submission.cid.clone());
            self.scheduled.remove(&key)
        });
        let waits = scheduled.flatten().is_some_and(|lane| run.stay(plugin, lane, &self.graph));
        let Some((queue, task)) = run.publish(plugin, now) else { return false };
        if waits {
            run.on_deferred(plugin);
            return false;
        }
        commands.push(Command::Publish {
            opening: run.opening().clone(),
            queue,
            task: Box::new(task),
            inherited,
        });
        true
    }

    /// A task of the plugin has left the broker's hands: another one may go.
    fn release(&mut self, line: &Line, commands: &mut Vec<Command>) {
        self.limits.release(line);
        self.admit_waiting(line, commands);
    }

    fn admit_waiting(&mut self, line: &Line, commands: &mut Vec<Command>) {
        let plugin = &line.0;
        let most = self.graph.nodes.get(plugin).and_then(|node| node.spec.max_in_flight);
        while let Some(id) = self.limits.next(line, most) {
            if !self.publish(id, plugin, false, commands) {
                self.limits.release(line);
            }
        }
    }

    fn finish(&mut self, id: RunId, commands: &mut Vec<Command>) {
        let Some(run) = self.runs.remove(&id) else { return };
        let opening = run.opening().clone();
        let cid = opening.submission.cid.clone();
        let (plugins, tasks) = run.outcomes();
        let duration_ms = self.now.saturating_sub(run.opened_at());
        commands.push(Command::Settle { opening, plugins, tasks, duration_ms });
        self.open_next(&cid, commands);
    }
}
