//! Tasks that are on their way into their stream: nobody may miss them yet.
//!
//! A publish may wait for long, because many wait for acknowledgements or the broker is away. What
//! is looked for meanwhile is not there, and yet not lost.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use broker_config::{PluginId, RunId};

type Of = (RunId, PluginId);

/// Which tasks are on their way; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Underway(Arc<Mutex<BTreeSet<Of>>>);

/// A task is on its way until this is dropped.
#[derive(Debug)]
pub(super) struct OnItsWay {
    of: Of,
    all: Underway,
}

impl Underway {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<Of>> {
        // The set is whole after every single operation, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note that a task sets out.
    pub(super) fn begin(&self, run: RunId, plugin: &PluginId) -> OnItsWay {
        let of = (run, plugin.clone());
        self.lock().insert(of.clone());
        OnItsWay { of, all: self.clone() }
    }

    /// Whether a task is on its way.
    pub(super) fn has(&self, run: RunId, plugin: &PluginId) -> bool {
        self.lock().contains(&(run, plugin.clone()))
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.all.lock().remove(&self.of);
    }
}
