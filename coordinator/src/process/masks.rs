//! What is not to be seen in what plugins print: the secrets among the settings in force.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use broker_config::PluginId;
use broker_config::mask::Mask;
use tokio::sync::watch;

use crate::fleet::plugins::Known;

/// The mask of each plugin; clones are the same, and follow the settings.
#[derive(Clone, Default)]
pub struct Masks(Arc<Inner>);

#[derive(Default)]
struct Inner {
    known: OnceLock<watch::Receiver<Arc<Known>>>,
    made: Mutex<Made>,
}

/// The masks that were made of what was known.
#[derive(Default)]
struct Made {
    of: Option<Arc<Known>>,
    masks: BTreeMap<PluginId, Arc<Mask>>,
}

impl fmt::Debug for Masks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Masks")
    }
}

impl Masks {
    /// Says where the settings in force are found; before, and the second time, nothing happens.
    pub fn follow(&self, known: watch::Receiver<Arc<Known>>) {
        // Only the start of a fleet says so.
        drop(self.0.known.set(known));
    }

    /// What is not to be seen of one plugin.
    #[must_use]
    pub fn of(&self, plugin: &PluginId) -> Arc<Mask> {
        let Some(known) = self.0.known.get() else { return Arc::default() };
        let now = known.borrow().clone();
        let mut made = self.0.made.lock().unwrap_or_else(PoisonError::into_inner);
        if !made.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, &now)) {
            made.masks.clear();
            made.of = Some(now.clone());
        }
        let mask = made.masks.entry(plugin.clone()).or_insert_with(|| {
            let settings = &now.entry(plugin).config.0;
            Arc::new(Mask::of(now.manifests.get(plugin), settings))
        });
        mask.clone()
    }
}
