//! The consumers of plugins: begun when a plugin comes, taken away with all its tasks when it goes.

use broker_config::read::last_messages;
use broker_config::wire::event::Fact;
use broker_config::wire::instance::Instance;
use broker_config::wire::plugin::PluginEntry;
use broker_config::{Chain, Lane, Names, PluginId, Queue};

use super::{Registry, State};
use crate::registry::removed::When;

impl Registry {
    /// Begins to make the consumers of a plugin's tasks, unless they are known to be there.
    pub(super) fn make_ready(&self, state: &mut State, entry: &PluginEntry) {
        let id = &entry.manifest.id;
        let known = state.entries.get(id);
        let same = known.is_some_and(|known| known.manifest.retry == entry.manifest.retry);
        if same && state.ready.contains(id) {
            return;
        }
        self.make_anew(state, entry);
    }

    /// Begins to make them also when they are known to be there: somebody may have deleted them.
    pub(super) fn make_anew(&self, state: &mut State, entry: &PluginEntry) {
        let id = &entry.manifest.id;
        state.ready.remove(id);
        let routes = state.word.routes_of(id).iter().map(|route| Lane::Route(route.name));
        let lanes = std::iter::once(Lane::Main).chain(routes);
        let specs =
            lanes.flat_map(|lane| self.consumers_of(state, &entry.manifest, lane)).collect();
        state.openings.begin(&self.broker, id, specs);
    }

    /// A plugin was removed: its consumers and what waits for them go, open files go on without.
    pub(super) async fn take_out(&self, state: &mut State, id: &PluginId) {
        state.ready.remove(id);
        state.openings.give_up(id);
        state.removed.note(id.clone(), When::Meanwhile, self.presence.of(id));
        self.clear(id).await;
    }

    /// A plugin was removed before this leader led. If nobody led at all then, its consumers are
    /// still there.
    pub(super) async fn find_removed(&self, state: &mut State, id: PluginId) {
        state.removed.note(id.clone(), When::Before, self.signs_of(&id).await);
        let mut is_left = false;
        for queue in Queue::ALL {
            let stream = self.broker.names.task_stream();
            let what = format!("CONSUMER.INFO.{stream}.{}", Names::consumer(&id, queue));
            // Who is not sure looks again: clearing what is clear does no harm.
            let found = self.broker.api(what, &serde_json::json!({})).await;
            is_left |= !found.is_err_and(|error| error.is_absent());
        }
        if is_left {
            self.clear(&id).await;
        }
    }

    async fn clear(&self, id: &PluginId) {
        if let Err(error) = self.broker.through(|| self.broker.clear_tasks(id)).await {
            let error = Chain(&error);
            tracing::warn!(plugin.id = %id, %error, "something of a removed plugin is left");
        }
        tracing::info!(plugin.id = %id, "plugin removed");
        self.tell(Fact::PluginRemoved { plugin_id: id.clone() }).await;
    }

    /// The signs of life in the bucket; those who follow it may not have read them yet.
    async fn signs_of(&self, id: &PluginId) -> Vec<Instance> {
        let bucket = self.broker.names.instances_bucket();
        let filters = [Names::key_subject(&bucket, &format!("{id}.*"))];
        let stream = Names::bucket_stream(&bucket);
        let read = || last_messages(&self.broker.client, &stream, &filters);
        let found = self.broker.through(read).await.unwrap_or_else(|error| {
            tracing::debug!(error = %Chain(&error), plugin.id = %id, "no signs of life read");
            Vec::new()
        });
        let signs = found.iter().filter(|stored| !stored.is_deletion());
        signs.filter_map(|stored| serde_json::from_slice(&stored.payload).ok()).collect()
    }
}
