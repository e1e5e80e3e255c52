//! What must never happen, checked with everything that happens in the broker.
//!
//! The auditor sees only what the broker stores, removes and delivers, and keeps books of its own: it
//! asks nobody what he thinks he did. A plugin among whose workers there is a liar vouches for
//! nothing; everybody else's work is checked whatever the liar does.

mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use broker_config::wire::signal::What;
use broker_config::{Cid, Names, PluginId, RecordStatus, Submission, Task, TaskId};

use super::broker::{Body, Gone, Happening, Message, Stream};
use super::plan::{Noise, PluginPlan, World};

/// A submission as the broker took it.
#[derive(Debug)]
struct Accepted {
    submission: Arc<Submission>,
    stored_at: i64,
    /// Its end was told: it is settled, or was refused.
    has_ended: bool,
}

/// A record as it was written once.
#[derive(Debug)]
struct Written {
    stored_at: i64,
    status: RecordStatus,
}

/// The books.
#[derive(Debug, Default)]
pub(super) struct Audit {
    names: Names,
    plugins: BTreeMap<PluginId, PluginPlan>,
    /// The contents that somebody tried to hand in.
    handed_in: BTreeSet<Cid>,
    accepted: BTreeMap<u64, Accepted>,
    records: BTreeMap<(Cid, PluginId), Vec<Written>>,
    /// The last one of each, whether or not it can be read.
    revisions: BTreeMap<(Cid, PluginId), u64>,
    outcomes: BTreeSet<TaskId>,
    tasks: BTreeMap<u64, (String, Arc<Task>)>,
    published: BTreeMap<TaskId, u32>,
    exhausted: BTreeSet<TaskId>,
    /// Failures that were reported, by the plugin under whose subject.
    failed: BTreeSet<(PluginId, TaskId)>,
    deferred: BTreeSet<TaskId>,
    /// Tasks that were there again after they had been acknowledged.
    back: BTreeSet<TaskId>,
    scheduled: BTreeMap<TaskId, i64>,
    /// Whether nothing can make a coordinator forget what it has published.
    is_calm: bool,
}

type Checked = Result<(), String>;

impl Audit {
    pub(super) fn new(world: &World, names: Names) -> Self {
        let plugins = world.plugins.iter().map(|plan| (plan.id(), plan.clone())).collect();
        let lossy = [Noise::LostRequest, Noise::LostReply];
        let is_lossy = lossy.iter().any(|noise| world.noise.contains_key(noise));
        let is_calm = world.faults.is_empty() && world.coordinators == 1 && !is_lossy;
        Self { names, plugins, is_calm, ..Self::default() }
    }

    /// Somebody is about to hand in a file.
    pub(super) fn hands_in(&mut self, cid: Cid) {
        self.handed_in.insert(cid);
    }

    /// How many accepted submissions have not ended.
    pub(super) fn open(&self) -> usize {
        self.accepted.values().filter(|accepted| !accepted.has_ended).count()
    }

    pub(super) fn can_lie(&self, plugin: &PluginId) -> bool {
        self.plugins.get(plugin).is_none_or(PluginPlan::can_lie)
    }

    fn revision(&self, cid: &Cid, plugin: &PluginId) -> u64 {
        self.revisions.get(&(cid.clone(), plugin.clone())).copied().unwrap_or(0)
    }

    /// Checks one thing that happened.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(super) fn hear(&mut self, happening: Happening) -> Checked {
        self.note(&happening);
        match happening {
            Happening::Stored { stream, message, scheduled } => match stream {
                Stream::Tasks => self.on_task(&message, scheduled),
                Stream::Records => self.on_record(&message),
                Stream::Events => self.on_event(&message),
                Stream::Submit
                | Stream::Signals
                | Stream::Dead
                | Stream::Advisories
                | Stream::Lease => Ok(()),
            },
            Happening::Removed { stream, message, why } => match stream {
                Stream::Submit => self.on_submission_gone(&message),
                Stream::Tasks => self.on_task_gone(&message, why),
                Stream::Records
                | Stream::Signals
                | Stream::Events
                | Stream::Dead
                | Stream::Advisories
                | Stream::Lease => Ok(()),
            },
            Happening::Delivered { stream, message, delivered, most } => {
                if stream == Stream::Tasks {
                    return self.on_delivered(&message, delivered, most);
                }
                Ok(())
            }
            Happening::Acknowledged { stream, message } => self.on_acknowledged(stream, &message),
            Happening::CameBack { .. } => Ok(()),
        }
    }

    /// What is true whether or not it is right.
    fn note(&mut self, happening: &Happening) {
        match happening {
            Happening::Stored { stream: Stream::Submit, message, .. } => {
                self.on_submission(message);
            }
            Happening::Stored { stream: Stream::Signals, message, .. } => self.on_signal(message),
            Happening::CameBack { message, .. } => {
                if let Body::Task(task) = &message.body {
                    self.back.insert(task.task_id.clone());
                    let entry = (message.subject.clone(), task.clone());
                    self.tasks.insert(message.sequence, entry);
                }
            }
            Happening::Stored { .. }
            | Happening::Removed { .. }
            | Happening::Delivered { .. }
            | Happening::Acknowledged { .. } => {}
        }
    }

    fn on_submission(&mut self, message: &Message) {
        if let Body::Submission(submission) = &message.body {
            let (submission, stored_at) = (submission.clone(), message.stored_at);
            let accepted = Accepted { submission, stored_at, has_ended: false };
            self.accepted.insert(message.sequence, accepted);
        }
    }

    fn on_signal(&mut self, message: &Message) {
        let Body::Signal(signal) = &message.body else { return };
        let Some((plugin, _)) = self.names.parse_signal(&message.subject) else { return };
        match &signal.what {
            What::Failed { task, .. } => {
                self.failed.insert((plugin, task.task_id.clone()));
            }
            What::Deferred { task, .. } => {
                self.deferred.insert(task.task_id.clone());
            }
            What::Retrying { .. } | What::Progress { .. } => {}
        }
    }

    /// Whether a task has an outcome, or somebody has reported what is to become of it.
    fn is_done(&self, task: &Task, cid: &Cid, plugin: &PluginId) -> bool {
        self.revision(cid, plugin) != task.record_revision
            || self.deferred.contains(&task.task_id)
            || self.failed.contains(&(plugin.clone(), task.task_id.clone()))
    }

    fn on_task_gone(&mut self, message: &Message, why: Gone) -> Checked {
        let Some((_, task)) = self.tasks.remove(&message.sequence) else { return Ok(()) };
        let Some(address) = self.names.parse_task(&message.subject) else { return Ok(()) };
        let (cid, plugin) = (&address.cid, &address.plugin);
        let is_done = self.is_done(&task, cid, plugin);
        if why == Gone::Purged || is_done || self.can_lie(plugin) {
            return Ok(());
        }
        Err(format!("a task of {plugin} on {cid} has gone ({why:?}) without any outcome"))
    }
}
