//! What a coordinator is told at its start, what it is doing, and why it cannot.

use std::collections::BTreeSet;
use std::time::Duration;

use broker_config::apply::ApplyError;
use broker_config::topology::LEASE;
use broker_config::{Names, PluginId};

use crate::dispatcher::Timing;
use crate::files::Offers;
use crate::quarantine::Rules;
use crate::registry::Word;

/// What a coordinator is told at its start.
#[derive(Clone, Debug)]
pub struct CoordinatorOptions {
    /// How the fleet's things are called.
    pub names: Names,
    /// Stable id of this node; the same node takes its own lease back at once.
    pub node: String,
    /// The lease of tasks.
    pub lease: Duration,
    /// Files in hand at once.
    pub max_files_in_flight: usize,
    /// Whether background files wait while a fast one is in hand.
    pub strict_priority: bool,
    /// Whether every settled task is an event.
    pub task_events: bool,
    /// Copies of every message in a cluster.
    pub replicas: usize,
    /// Times of checks and alarms.
    pub timing: Timing,
    /// The operator's word on plugins, until [`CoordinatorHandle::say`](super::CoordinatorHandle::say)
    /// changes it; files are opened when all that are expected have been heard.
    pub word: Word,
    /// How long to wait for them.
    pub expected_timeout: Duration,
    /// Whether plugins that an earlier fleet started, and this one does not, leave the graph.
    pub drop_unexpected: bool,
    /// When an instance that fails everything is taken out of work.
    pub quarantine: Rules,
    /// Where workers get files that they do not see, if anybody offers them.
    pub files: Option<Offers>,
}

impl Default for CoordinatorOptions {
    fn default() -> Self {
        Self {
            names: Names::default(),
            node: "coordinator".to_owned(),
            lease: LEASE,
            max_files_in_flight: 1024,
            strict_priority: false,
            task_events: true,
            replicas: 1,
            timing: Timing::default(),
            word: Word::default(),
            expected_timeout: Duration::from_secs(30),
            drop_unexpected: false,
            quarantine: Rules::default(),
            files: None,
        }
    }
}

/// What a coordinator is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Another one leads, or the broker is away.
    Waiting,
    /// It leads, and waits for these plugins before it opens files.
    Starting {
        /// Plugins not heard yet.
        waiting_for: BTreeSet<PluginId>,
    },
    /// It leads and opens files.
    Leading,
}

/// Why a coordinator cannot run.
#[derive(Debug, thiserror::Error)]
pub enum CoordinatorError {
    /// The server cannot carry the fleet, or carries it in another shape.
    #[error("the broker is not fit for the fleet")]
    Broker(#[source] ApplyError),
    /// The connection is closed.
    #[error("the connection to the broker is closed")]
    Closed(#[from] async_nats::SubscribeError),
}
