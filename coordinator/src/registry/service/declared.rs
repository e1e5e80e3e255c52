//! Plugins whose manifest is known although none of their instances runs: their tasks are published
//! and wait, and what waits has an instance started.

use std::collections::BTreeSet;

use broker_config::PluginId;
use broker_config::wire::event::Fact;

use super::{Registry, State};

impl Registry {
    /// Takes in what is declared of some plugins as if they had announced themselves. What cannot be
    /// taken in is told; the fleet then starts an instance, which hears why.
    pub(super) async fn declare(&self, state: &mut State, plugins: &BTreeSet<PluginId>) {
        for id in plugins {
            let Some(manifest) = state.word.declared.get(id).cloned() else { continue };
            if let Err(reasons) = self.take_in(state, id, &manifest).await {
                tracing::warn!(plugin.id = %id, ?reasons, "a plugin may not serve");
                self.tell(Fact::PluginRejected { plugin_id: id.clone(), reasons }).await;
            }
            self.heard.send_if_modified(|heard| heard.insert(id.clone()));
        }
    }
}
