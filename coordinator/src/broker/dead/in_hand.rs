//! Tasks that are being given up: they are gone from their stream and have no record yet, and nobody may
//! take them for lost.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use broker_config::{Cid, PluginId};
use tokio::time::Instant;

/// How long somebody may look at what was there before: who reads records and then asks here.
const LINGER: Duration = Duration::from_secs(1);

type Key = (PluginId, Cid);

/// How many hands a task is in, and when the last one was done with it.
#[derive(Debug, Default)]
struct State {
    hands: usize,
    done: Option<Instant>,
}

impl State {
    fn counts(&self) -> bool {
        self.hands > 0 || self.done.is_some_and(|done| done.elapsed() < LINGER)
    }
}

/// Which tasks are; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct InHand(Arc<Mutex<HashMap<Key, State>>>);

/// A task is being given up until this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    key: Key,
    all: InHand,
}

impl InHand {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, State>> {
        // The map is whole after every single operation, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note that a task is about to be given up.
    pub(crate) fn begin(&self, plugin: &PluginId, cid: &Cid) -> Held {
        let key = (plugin.clone(), cid.clone());
        let mut all = self.lock();
        all.retain(|_, state| state.counts());
        all.entry(key.clone()).or_default().hands += 1;
        Held { key, all: self.clone() }
    }

    /// Whether a task is being given up, or was a moment ago.
    pub(crate) fn has(&self, plugin: &PluginId, cid: &Cid) -> bool {
        self.lock().get(&(plugin.clone(), cid.clone())).is_some_and(State::counts)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(state) = self.all.lock().get_mut(&self.key) {
            state.hands = state.hands.saturating_sub(1);
            state.done = Some(Instant::now());
        }
    }
}
