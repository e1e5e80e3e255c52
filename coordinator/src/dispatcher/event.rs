//! What the dispatcher is told and what it commands.

use std::collections::BTreeMap;
use std::sync::Arc;

use broker_config::wire::event::{Outcome, TaskCounts};
use broker_config::{Cid, Lane, PluginId, Queue, RunId, Task};
use semver::Version;

use crate::graph::Graph;
use crate::run::{KnownRecord, Opening};
use crate::transition::state::Tally;

/// Times, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How often published tasks are looked for.
    pub check_every: u64,
    /// How old a published task must be to be looked for.
    pub check_after: u64,
    /// How long nothing may move before that is an alarm.
    pub stall_after: u64,
    /// How long to wait before a publish that failed is tried again.
    pub retry_publish: u64,
    /// How long to wait while an older task of the same work is still in its stream; doubled each
    /// time, until the wait is long enough for the older task to be looked for.
    pub retry_blocked: u64,
}

impl Timing {
    /// How long to wait when a publish was blocked `before` times before.
    ///
    /// Over `check_after`, so that in the end the reconciler looks at what is in the way: it may be
    /// a task that nobody delivers any more.
    pub(super) fn blocked_for(&self, before: u32) -> u64 {
        let most = 2 * self.check_after;
        let doubled =
            1_u64.checked_shl(before).map(|times| self.retry_blocked.saturating_mul(times));
        doubled.map_or(most, |wait| wait.min(most))
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            check_every: 5_000,
            check_after: 10_000,
            stall_after: 120_000,
            retry_publish: 1_000,
            retry_blocked: 100,
        }
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A submission was read, and then what is recorded of its file.
    Opened { opening: Arc<Opening>, records: BTreeMap<PluginId, KnownRecord> },
    /// The records of these files are about to be read: what is written from here on counts.
    Opening { cids: Vec<Cid> },
    /// A record was written.
    Record { cid: Cid, plugin: PluginId, record: KnownRecord },
    /// A task could not be stored, or nobody knows.
    PublishFailed { run: RunId, plugin: PluginId },
    /// An older task of the same work is still in the stream.
    Blocked { run: RunId, plugin: PluginId },
    /// The plugin asked to be called later.
    Deferred { cid: Cid, plugin: PluginId },
    /// These tasks wait for a time that a plugin asked for, since before this dispatcher.
    Scheduled { tasks: BTreeMap<(PluginId, Cid), Lane> },
    /// An earlier leader has published these tasks; they count against their plugins' limits.
    Inherited { tasks: BTreeMap<(PluginId, Cid), Lane> },
    /// What is recorded of a published task that is not in the stream; told before it is missing.
    Reread { run: RunId, plugin: PluginId, since: u64, record: Option<KnownRecord> },
    /// A published task is neither in the stream nor answered by a record.
    Missing { run: RunId, plugin: PluginId, since: u64 },
    /// Plugins came, changed or left.
    GraphChanged(Arc<Graph>),
    /// An instance says that it is at work.
    Busy,
    /// Time goes on; milliseconds since some start.
    Tick { now: u64 },
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Publish a task; one that an earlier leader has published is looked for instead.
    Publish { opening: Arc<Opening>, queue: Queue, task: Box<Task>, inherited: bool },
    /// Publish the task of a version on trial, from which nothing follows.
    Trial { opening: Arc<Opening>, queue: Queue, task: Box<Task> },
    /// Give up on a task that goes missing whenever it is published.
    GiveUp { opening: Arc<Opening>, queue: Queue, task: Box<Task> },
    /// Tell subscribers that a file is settled, then acknowledge its submission.
    Settle {
        opening: Arc<Opening>,
        plugins: BTreeMap<PluginId, Outcome>,
        tasks: TaskCounts,
        duration_ms: u64,
    },
    /// Read the records of this submission's file and open it.
    Reopen { opening: Arc<Opening> },
    /// See whether these tasks still exist.
    Check { suspects: Vec<Suspect> },
    /// Tell subscribers that a lost task is published again.
    Repaired { cid: Cid, plugin: PluginId },
    /// Tell subscribers that nothing moves.
    Alarm { open_files: u64, for_ms: u64, waiting_for: BTreeMap<PluginId, u64> },
    /// Tell subscribers that it moves again.
    Recovered { for_ms: u64 },
}

/// A published task that should be in its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// Its run.
    pub run: RunId,
    /// Its file.
    pub cid: Cid,
    /// Its plugin.
    pub plugin: PluginId,
    /// Its queue.
    pub queue: Queue,
    /// Its lane.
    pub lane: Lane,
    /// When it was published, on the engine's clock.
    pub since: u64,
}

/// Settled tasks by plugin and version.
pub type Tallies = BTreeMap<(PluginId, Version), Tally>;

/// Files that only wait for a time, by queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parked {
    /// In the queue `fast`.
    pub fast: usize,
    /// In the queue `background`.
    pub background: usize,
}

impl Parked {
    /// Those of one queue.
    #[must_use]
    pub const fn of(self, queue: Queue) -> usize {
        match queue {
            Queue::Fast => self.fast,
            Queue::Background => self.background,
        }
    }

    /// All of them.
    #[must_use]
    pub const fn all(self) -> usize {
        self.fast + self.background
    }

    pub(super) const fn count(&mut self, queue: Queue) {
        match queue {
            Queue::Fast => self.fast += 1,
            Queue::Background => self.background += 1,
        }
    }
}

/// Numbers for status and admission.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Submissions in hand.
    pub open: usize,
    /// Those of them that only wait for a time.
    pub parked: Parked,
    /// Tasks published or wanted, by plugin.
    pub waiting_for: BTreeMap<PluginId, u64>,
    /// How tasks ended of plugins that have two versions at work.
    pub tallies: Tallies,
}
