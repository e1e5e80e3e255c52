//! The lanes of a plugin besides the main one, and telling its instances to ask anew what to do.

use broker_config::topology::TaskConsumerSpec;
use broker_config::wire::signal::Control;
use broker_config::{Chain, Lane, Manifest, PluginId, Queue};

use super::openings::make;
use super::{Registry, State};
use crate::broker::json;
use crate::transition::{Transition, Way};

impl Registry {
    /// Sees to it that what a transition left behind is gone, and that what it needs is there.
    pub(super) async fn load_versions(&self, state: &State) {
        for (id, kept) in &state.versions {
            let Some(Transition { candidate, way, .. }) = &kept.versions.transition else {
                self.close_lane(id).await;
                continue;
            };
            match (way, candidate) {
                (Way::Gradual(_) | Way::BlueGreen, Some(manifest)) => {
                    if let Err(reason) = self.open_lane(state, manifest, Lane::Next).await {
                        tracing::warn!(plugin.id = %id, reason, "the new version gets no tasks");
                    }
                }
                (Way::Immediate | Way::Graceful, _) | (_, None) => {}
            }
        }
    }

    /// The version of a plugin has changed: what waits for its time waits for the version before, and
    /// everybody asks anew what to do.
    pub(super) async fn version_changed(&self, state: &State, id: &PluginId) {
        let routes = state.word.routes_of(id).iter().map(|route| Lane::Route(route.name));
        for lane in std::iter::once(Lane::Main).chain(routes) {
            if let Err(error) = self.broker.clear_later(id, lane).await {
                tracing::warn!(plugin.id = %id, error = %Chain(&error), "deferred tasks are left");
            }
        }
        self.ask_all(id).await;
    }

    /// Has every instance of a plugin announce itself: the answer says what to do.
    pub(super) async fn ask_all(&self, id: &PluginId) {
        if !self.broker.may_write().await {
            return;
        }
        let (subject, body) = (self.broker.names.control(id), json(&Control::Announce));
        #[expect(
            clippy::disallowed_methods,
            reason = "who does not hear it gives back the tasks that are not its own"
        )]
        let sent = self.broker.client.publish(subject, body).await;
        tracing::debug!(plugin.id = %id, sent = sent.is_ok(), "its instances ask what to do");
    }

    /// The consumers of a lane.
    pub(super) fn consumers_of(
        &self,
        state: &State,
        manifest: &Manifest,
        lane: Lane,
    ) -> [TaskConsumerSpec; 2] {
        let (id, names) = (&manifest.id, &self.broker.names);
        let policy = state.word.policies.get(id).and_then(|policy| policy.retry.as_ref());
        let retry = policy.unwrap_or(&manifest.retry).policy();
        Queue::ALL.map(|queue| {
            let spec = TaskConsumerSpec::for_plugin(names, id, queue, self.lease, &retry);
            spec.in_lane(names, lane, id, queue)
        })
    }

    /// Makes the consumers of a lane; those that are there stay, with all that they hold.
    pub(super) async fn open_lane(
        &self,
        state: &State,
        manifest: &Manifest,
        lane: Lane,
    ) -> Result<(), String> {
        for spec in self.consumers_of(state, manifest, lane) {
            let made = make(&self.broker, &spec).await;
            made.map_err(|error| format!("its consumers could not be made: {error}"))?;
        }
        Ok(())
    }

    /// Takes away the lanes of routes that there are not any more, with all that waits in them: the
    /// engine has been told and publishes these tasks anew, in the lanes that they belong to now.
    /// Whoever still holds one finishes it; the first outcome counts.
    pub(super) async fn close_routes(&self, state: &State) {
        let there = match self.broker.through(|| self.broker.routes()).await {
            Ok(there) => there,
            Err(error) => {
                return tracing::warn!(error = %Chain(&error), "routes cannot be looked at");
            }
        };
        for (id, name) in there.difference(&state.word.routes()) {
            let clear = || self.broker.clear_lane(id, Lane::Route(*name));
            match self.broker.through(clear).await {
                Ok(()) => tracing::info!(plugin.id = %id, route = %name, "a route is gone"),
                Err(error) => {
                    let error = Chain(&error);
                    tracing::warn!(plugin.id = %id, route = %name, %error, "some of a route is left");
                }
            }
        }
    }

    /// Takes away the second lane with all that waits in it, and what was said on trial.
    pub(super) async fn close_lane(&self, id: &PluginId) {
        let lane = self.broker.through(|| self.broker.clear_lane(id, Lane::Next)).await;
        let trials = self.broker.through(|| self.broker.clear_trials(id)).await;
        if let Err(error) = lane.and(trials) {
            tracing::warn!(plugin.id = %id, error = %Chain(&error), "something of a trial is left");
        }
    }
}
