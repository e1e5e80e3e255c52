//! What is not to be seen in what plugins print: the secrets that their settings hold, or held.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use broker_config::mask::Mask;
use broker_config::{Manifest, PluginId};

use crate::config::PluginEntry;

type Table = BTreeMap<PluginId, Arc<Mask>>;

/// The mask of each plugin; clones are the same.
#[derive(Clone, Default)]
pub struct Masks(Arc<Mutex<Table>>);

impl fmt::Debug for Masks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Masks")
    }
}

impl Masks {
    /// Knows these settings from now on, before plugins do. What was known stays: an attempt goes on with
    /// the settings with which it began.
    pub fn learn(
        &self,
        entries: &BTreeMap<PluginId, PluginEntry>,
        manifests: &BTreeMap<PluginId, Manifest>,
    ) {
        let mut masks = self.lock();
        for (id, entry) in entries {
            let mask = Mask::of(manifests.get(id), &entry.config.0);
            let known = masks.entry(id.clone()).or_default();
            *known = Arc::new(known.with(&mask));
        }
    }

    /// What is not to be seen of one plugin.
    #[must_use]
    pub fn of(&self, plugin: &PluginId) -> Arc<Mask> {
        self.lock().get(plugin).cloned().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // The table is whole after every single operation.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
