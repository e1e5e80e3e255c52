//! The operator says something else about plugins while the fleet runs.

use std::collections::BTreeSet;
use std::sync::Arc;

use broker_config::wire::plugin::PluginEntry;
use broker_config::{PluginId, RouteName};

use super::{Registry, State};
use crate::registry::{PluginPolicy, Word, spec};
use crate::route::Route;

/// Who serves which of them does not depend on their order, or on what they are for.
fn names(routes: &[Route]) -> BTreeSet<RouteName> {
    routes.iter().map(|route| route.name).collect()
}

impl Registry {
    /// Acts on a new word: the graph, the consumers, and what the instances that live are told.
    pub(super) async fn on_word(&self, state: &mut State, word: Arc<Word>) {
        let before = std::mem::replace(&mut state.word, word);
        let differs = state.word.differs_for(&before);
        tracing::info!(plugins = ?differs, "the operator says something else about plugins");
        for id in &differs {
            let Some(mut entry) = state.entries.get(id).cloned() else { continue };
            self.switch_off(state, &mut entry).await;
            self.make_anew(state, &entry);
            state.entries.insert(id.clone(), entry);
        }
        self.publish_graph(state).await;
        if before.routes() != state.word.routes() {
            self.close_routes(state).await;
        }
        self.declare(state, &differs).await;
        let moved: BTreeSet<PluginId> = differs
            .iter()
            .filter(|id| names(before.routes_of(id)) != names(state.word.routes_of(id)))
            .cloned()
            .collect();
        self.ask_again(state, &differs, &moved).await;
    }

    /// Whether the operator does not want it, or it was of an earlier fleet on this machine.
    pub(super) fn is_off(&self, state: &State, entry: &PluginEntry) -> bool {
        let (id, word) = (&entry.manifest.id, &state.word);
        let is_disabled = word.policies.get(id).is_some_and(|policy| policy.disabled);
        is_disabled || entry.managed && !word.expected.contains(id) && self.drop_unexpected
    }

    /// Has the instances announce themselves that live with other settings than they should, or whose
    /// plugin may take part again, or has other routes (`moved`): the answer carries what holds now.
    pub(super) async fn ask_again(
        &self,
        state: &State,
        plugins: &BTreeSet<PluginId>,
        moved: &BTreeSet<PluginId>,
    ) {
        let default = PluginPolicy::default();
        for id in plugins {
            let Some(entry) = state.entries.get(id) else { continue };
            let policy = state.word.policies.get(id).unwrap_or(&default);
            let settings = spec(&entry.manifest, policy).settings_hash;
            let is_right = entry.enabled && settings == entry.settings_hash;
            if (is_right && !moved.contains(id)) || self.is_off(state, entry) {
                continue;
            }
            tracing::info!(plugin.id = %id, "its instances are told something else");
            self.ask_all(id).await;
        }
    }
}
