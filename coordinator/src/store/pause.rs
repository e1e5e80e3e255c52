//! The tasks of a plugin wait, in the whole fleet, until a person lets them go on.

use broker_config::PluginId;
use broker_config::wire::event::Fact;

use super::{Store, StoreError};

/// What became of a wish to pause a plugin, or to let it go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paused {
    /// It was otherwise before.
    Changed,
    /// It was so already.
    Same,
    /// There is no such plugin.
    Unknown,
}

impl Store {
    /// Lets the tasks of a plugin wait (`true`), or go on.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the broker does not do it; doing it again is harmless.
    pub async fn pause(&self, id: &PluginId, pause: bool) -> Result<Paused, StoreError> {
        let marked = self.mark(id, pause).await?;
        if marked == Paused::Unknown {
            return Ok(marked);
        }
        self.hold_tasks(id, pause).await?;
        if marked == Paused::Changed {
            let plugin_id = id.clone();
            let fact = if pause {
                Fact::PluginPaused { plugin_id }
            } else {
                Fact::PluginResumed { plugin_id }
            };
            self.tell(fact).await?;
        }
        Ok(marked)
    }

    /// Writes the mark into the registry, so that consumers made later are paused as well.
    async fn mark(&self, id: &PluginId, pause: bool) -> Result<Paused, StoreError> {
        loop {
            let Some(mut known) = self.plugin(id).await? else { return Ok(Paused::Unknown) };
            if known.entry.paused == pause {
                return Ok(Paused::Same);
            }
            known.entry.paused = pause;
            match self.put_plugin(&known).await {
                // The coordinator wrote it at the same time: read it again.
                Err(StoreError::Conflict { .. }) => {}
                done => return done.map(|()| Paused::Changed),
            }
        }
    }
}
