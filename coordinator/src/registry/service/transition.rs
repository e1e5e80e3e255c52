//! Carries out what `transition` decides: who pulls what, which version is current, and who is told.

use std::time::Duration;

use async_nats::HeaderMap;
use broker_config::publish::PublishError;
use broker_config::read::Stored;
use broker_config::wire::event::Fact;
use broker_config::wire::instance::{Instance, InstanceState};
use broker_config::{Chain, InstanceId, Lane, Manifest, Names, PluginId};
use tokio::time::Instant;

use super::declared::{Arriving, Denied};
use super::{Registry, State};
use crate::broker::json;
use crate::dispatcher::Tallies;
use crate::graph::{Candidate, Graph, Tries};
use crate::registry::{Granted, Known, decide, spec};
use crate::transition::admit::{Arrival, Others, Place, admit};
use crate::transition::state::{Moment, Tally, Transition, Versions, Way};
use crate::transition::step::{Act, Seen, step};

/// How often transitions are looked at.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// A plugin's versions, as they are stored.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) revision: u64,
    pub(super) versions: Versions,
    /// Since when no worker of the version that is to be was seen.
    absent_since: Option<Instant>,
}

/// The present moment.
fn moment() -> Moment {
    let now = jiff::Timestamp::now();
    Moment { ms: u64::try_from(now.as_millisecond()).unwrap_or(0), text: now.to_string() }
}

/// Whether an instance pulls, or holds a task.
fn is_busy(instance: &Instance) -> bool {
    match instance.state {
        InstanceState::Starting | InstanceState::Ready => true,
        InstanceState::Paused | InstanceState::Draining | InstanceState::Failed => {
            !instance.running.is_empty()
        }
    }
}

impl Registry {
    /// Takes note of what a key says of a plugin's versions, and says whose; `None` for any other key.
    pub(super) fn read_versions(&self, state: &mut State, stored: &Stored) -> Option<PluginId> {
        let id = self.broker.names.parse_versions(&stored.subject)?;
        let read = (!stored.is_deletion())
            .then(|| serde_json::from_slice::<Versions>(&stored.payload).ok())
            .flatten();
        let known = state.versions.get(&id);
        if known.is_some_and(|known| known.revision >= stored.sequence) {
            return Some(id);
        }
        match read {
            Some(versions) => {
                let kept = Kept { revision: stored.sequence, versions, absent_since: None };
                state.versions.insert(id.clone(), kept);
            }
            None => drop(state.versions.remove(&id)),
        }
        Some(id)
    }

    /// Somebody else has changed the versions of a plugin: everybody asks anew what to do.
    pub(super) async fn on_versions(&self, state: &mut State, id: PluginId) {
        self.publish_graph(state).await;
        self.ask_all(&id).await;
    }

    /// What a version that comes is to do.
    pub(super) fn place(&self, state: &State, plugin: &PluginId, arriving: Arriving<'_>) -> Place {
        let recorded = state.entries.get(plugin).map(|entry| &entry.manifest.version);
        let kept = state.versions.get(plugin).map(|kept| &kept.versions);
        let of = |version: &semver::Version| self.others_of(plugin, version, arriving.instance);
        admit(Arrival {
            version: &arriving.manifest.version,
            knows_lanes: arriving.knows_lanes,
            recorded,
            versions: kept,
            others: match recorded.map(of).unwrap_or_default() {
                all if all.is_empty() => Others::Gone,
                all if all.iter().any(is_busy) => Others::Busy,
                _ => Others::Idle,
            },
        })
    }

    fn others_of(
        &self,
        plugin: &PluginId,
        version: &semver::Version,
        but: Option<&InstanceId>,
    ) -> Vec<Instance> {
        let mut of = self.presence.of(plugin);
        let version = version.to_string();
        of.retain(|instance| instance.version == version && Some(&instance.instance) != but);
        of
    }

    /// Begins a transition because a newer version has announced itself beside the current one.
    pub(super) async fn begin(&self, state: &mut State, plugin: &PluginId, to: &Manifest) {
        let Some(entry) = state.entries.get(plugin) else { return };
        let plan = state.word.policies.get(plugin).and_then(|policy| policy.transition.clone());
        let known = state.versions.get(plugin).map(|kept| kept.versions.clone());
        let recorded = &entry.manifest.version;
        let known = known.unwrap_or_else(|| Versions::new(recorded.clone()));
        let known = known.aligned(recorded).unwrap_or(known);
        let plan = plan.unwrap_or_default();
        match known.begin(to.version.clone(), &plan, &moment()) {
            Ok(begun) => {
                if self.keep_versions(state, plugin, begun).await {
                    self.tell_begun(state, plugin).await;
                }
            }
            Err(reason) => tracing::debug!(plugin.id = %plugin, reason, "no transition begins"),
        }
    }

    async fn tell_begun(&self, state: &State, plugin: &PluginId) {
        let transition =
            state.versions.get(plugin).and_then(|kept| kept.versions.transition.as_ref());
        let Some(Transition { from, to, way, .. }) = transition else { return };
        tracing::info!(plugin.id = %plugin, %from, %to, how = %way.how(), "a transition begins");
        self.tell(Fact::TransitionStarted {
            plugin_id: plugin.clone(),
            how: way.how().to_string(),
            from: from.to_string(),
            to: to.to_string(),
        })
        .await;
    }

    /// Keeps what the new version says about itself, which the switch, and its tasks, are made of;
    /// `false` = not yet, because somebody else has changed something at the same time.
    pub(super) async fn keep_candidate(
        &self,
        state: &mut State,
        plugin: &PluginId,
        manifest: &Manifest,
        lane: Lane,
    ) -> Result<bool, String> {
        let Some(kept) = state.versions.get(plugin) else { return Ok(true) };
        let mut versions = kept.versions.clone();
        let current = state.entries.get(plugin).map(|entry| &entry.manifest.dependencies);
        let Some(transition) =
            versions.transition.as_mut().filter(|transition| transition.to == manifest.version)
        else {
            return Ok(true);
        };
        if lane == Lane::Next {
            let policy = state.word.policies.get(plugin);
            if policy.is_some_and(|policy| !policy.routes.is_empty()) {
                let how = transition.way.how();
                return Err(format!(
                    "the plugin has `routes`, so there can be no {how} transition; use `graceful`"
                ));
            }
            if current.is_some_and(|needs| *needs != manifest.dependencies) {
                let how = transition.way.how();
                return Err(format!(
                    "it depends on other plugins than the version before, so there can be no {how} \
                     transition; use `graceful`"
                ));
            }
            self.open_lane(state, manifest, Lane::Next).await?;
        }
        if transition.candidate.as_deref() == Some(manifest) {
            return Ok(true);
        }
        transition.candidate = Some(Box::new(manifest.clone()));
        if !self.keep_versions(state, plugin, versions).await {
            return Ok(false);
        }
        self.publish_graph(state).await;
        // Those of the version before have been serving; perhaps they are to stop now.
        self.ask_all(plugin).await;
        Ok(true)
    }

    /// Stores a plugin's versions unless somebody else has changed them since they were read.
    async fn keep_versions(&self, state: &mut State, id: &PluginId, versions: Versions) -> bool {
        let bucket = self.broker.names.plugins_bucket();
        let subject = Names::key_subject(&bucket, &Names::versions_key(id));
        let kept = state.versions.get(id);
        let (revision, absent_since) =
            kept.map_or((0, None), |kept| (kept.revision, kept.absent_since));
        let body = json(&versions);
        let publisher = &self.broker.publisher;
        match publisher.publish_after(subject, revision, HeaderMap::new(), body).await {
            Ok(revision) => {
                state.versions.insert(id.clone(), Kept { revision, versions, absent_since });
                true
            }
            Err(error @ PublishError::WrongLastSequence { .. }) => {
                tracing::debug!(plugin.id = %id, error = %Chain(&error), "versions have changed");
                false
            }
            Err(error) => {
                tracing::warn!(plugin.id = %id, error = %Chain(&error), "versions are not kept");
                false
            }
        }
    }

    /// Puts the versions that are tried into the graph.
    pub(super) fn add_candidates(state: &State, graph: &mut Graph) {
        for (id, kept) in &state.versions {
            let Some(transition) = &kept.versions.transition else { continue };
            let (Some(manifest), Some(node)) = (&transition.candidate, graph.nodes.get_mut(id))
            else {
                continue;
            };
            let tries = match &transition.way {
                Way::Gradual(gradual) => Tries::Share(gradual.percent()),
                Way::BlueGreen => Tries::Shadow,
                Way::Immediate | Way::Graceful => continue,
            };
            if node.spec.manifest.version == transition.to {
                continue;
            }
            let policy = state.word.policies.get(id).cloned().unwrap_or_default();
            node.candidate = Some(Candidate { spec: spec(manifest, &policy).into(), tries });
        }
    }

    /// Looks at every transition.
    pub(super) async fn look_at_transitions(&self, state: &mut State) {
        let tallies = self.engine.numbers().tallies;
        let ids: Vec<PluginId> = state.versions.keys().cloned().collect();
        for id in ids {
            self.look_at(state, &id, &tallies).await;
        }
    }

    async fn look_at(&self, state: &mut State, id: &PluginId, tallies: &Tallies) {
        let Some(entry) = state.entries.get(id) else { return };
        let recorded = entry.manifest.version.clone();
        let Some(kept) = state.versions.get_mut(id) else { return };
        let Some(transition) = &kept.versions.transition else {
            if let Some(versions) = kept.versions.aligned(&recorded) {
                self.keep_versions(state, id, versions).await;
            }
            return;
        };
        let (from, to) = (transition.from.clone(), transition.to.clone());
        let lives = self.presence.version_lives(id, &to.to_string());
        kept.absent_since = kept.absent_since.or_else(|| Some(Instant::now())).filter(|_| !lives);
        let absent = kept.absent_since.map_or(Duration::ZERO, |since| since.elapsed());
        let mut old = self.presence.of(id);
        old.retain(|instance| instance.version == from.to_string());
        let total = |version| tallies.get(&(id.clone(), version)).copied().unwrap_or_default();
        let totals = [(from.clone(), total(from.clone())), (to.clone(), total(to.clone()))];
        let [old_tally, new_tally] = totals.clone().map(|(version, total)| {
            let before = state.counted.get(&(id.clone(), version)).copied().unwrap_or_default();
            total.since(before)
        });
        let seen = Seen {
            now: moment(),
            recorded,
            old_is_busy: old.iter().any(is_busy),
            absent_ms: u64::try_from(absent.as_millis()).unwrap_or(u64::MAX),
            old: old_tally,
            new: new_tally,
        };
        let stepped = step(&kept.versions, &seen);
        let Some((next, act)) = stepped else { return };
        let before = kept.versions.clone();
        if act == Act::Switch {
            let Some(manifest) = before.transition.and_then(|it| it.candidate) else { return };
            if let Err(reasons) = self.switch(state, id, &manifest).await {
                return tracing::warn!(plugin.id = %id, ?reasons, "the versions are not switched");
            }
        }
        if !self.keep_versions(state, id, next).await {
            return;
        }
        for (version, total) in totals {
            state.counted.insert((id.clone(), version), total);
        }
        self.after(state, id, act, (&from, &to)).await;
    }

    /// Makes the new version the current one.
    async fn switch(
        &self,
        state: &mut State,
        id: &PluginId,
        manifest: &Manifest,
    ) -> Result<(), Vec<String>> {
        let known = Known {
            entries: &state.entries,
            policies: &state.word.policies,
            expected: &state.word.expected,
            keeps: false,
        };
        let Granted { entry, settings, .. } = decide(id, manifest, known, &crate::broker::now())?;
        let previous = state.entries.get(id).map(|entry| entry.manifest.version.to_string());
        if let Some(entry) = entry {
            let kept = self.keep(state, entry, &settings, previous).await;
            kept.map_err(Denied::reasons)?;
        }
        Ok(())
    }

    /// What follows from a step that is stored.
    async fn after(
        &self,
        state: &mut State,
        id: &PluginId,
        act: Act,
        (from, to): (&semver::Version, &semver::Version),
    ) {
        let (plugin_id, from, to) = (id.clone(), from.to_string(), to.to_string());
        let fact = match act {
            Act::Keep => return,
            Act::Advanced(percent) => {
                tracing::info!(plugin.id = %id, to, percent, "the new version gets a larger share");
                self.publish_graph(state).await;
                return self.tell(Fact::TransitionAdvanced { plugin_id, to, percent }).await;
            }
            Act::Switch | Act::Completed => {
                tracing::info!(plugin.id = %id, from, to, "the new version is the current one");
                Fact::TransitionCompleted { plugin_id, from, to }
            }
            Act::Reverted { reason, automatic } => {
                tracing::warn!(plugin.id = %id, from, to, reason, "the version before stays");
                Fact::TransitionReverted { plugin_id, from, to, automatic, reason }
            }
        };
        // The graph first: whoever is told to move finds its tasks where it looks for them.
        self.publish_graph(state).await;
        self.ask_all(id).await;
        self.close_lane(id).await;
        self.tell(fact).await;
    }
}

/// What was counted of a version when it was looked at last.
pub(super) type Counted = std::collections::BTreeMap<(PluginId, semver::Version), Tally>;
