//! Plugins whose manifest is known although none of their instances runs: their tasks are published
//! and wait, and what waits has an instance started.

use std::collections::BTreeSet;

use broker_config::publish::PublishError;
use broker_config::wire::event::Fact;
use broker_config::{Announce, Chain, InstanceId, Lane, Manifest, PluginId};

use super::{Registry, State};
use crate::broker::now;
use crate::registry::{Granted, Known, decide};
use crate::transition::admit::Place;

/// A version of a plugin that comes: with a worker, or on disk only.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arriving<'a> {
    pub(super) manifest: &'a Manifest,
    /// Whether its workers know lanes.
    pub(super) knows_lanes: bool,
    /// The worker.
    pub(super) instance: Option<&'a InstanceId>,
}

impl<'a> Arriving<'a> {
    pub(super) fn of(announce: &'a Announce) -> Self {
        Self {
            manifest: &announce.manifest,
            knows_lanes: announce.lanes,
            instance: Some(&announce.instance),
        }
    }

    /// What lies on disk; what its workers know, they say themselves.
    fn on_disk(manifest: &'a Manifest) -> Self {
        Self { manifest, knows_lanes: true, instance: None }
    }
}

/// What becomes of it.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) granted: Granted,
    pub(super) lane: Lane,
    /// Whether it pulls tasks, as far as its version is concerned.
    pub(super) serves: bool,
}

/// Why a plugin may not serve.
#[derive(Debug)]
pub(super) enum Denied {
    /// It has to be another one first.
    Never(Vec<String>),
    /// The broker did not do its part; whoever asks again later may be let in.
    NotNow(String),
}

impl Denied {
    /// What comes of an entry that could not be stored.
    pub(super) fn by(error: &PublishError) -> Self {
        let reason = Chain(error).to_string();
        if error.is_retryable() { Self::NotNow(reason) } else { Self::Never(vec![reason]) }
    }

    /// For people.
    pub(super) fn reasons(self) -> Vec<String> {
        match self {
            Self::Never(reasons) => reasons,
            Self::NotNow(reason) => vec![reason],
        }
    }
}

impl From<Vec<String>> for Denied {
    fn from(reasons: Vec<String>) -> Self {
        Self::Never(reasons)
    }
}

impl Registry {
    /// Keeps what a manifest says of a plugin, if it may serve, and makes its consumers.
    pub(super) async fn take_in(
        &self,
        state: &mut State,
        plugin: &PluginId,
        arriving: Arriving<'_>,
    ) -> Result<Taken, Denied> {
        let manifest = arriving.manifest;
        let present = state.entries.get(plugin).map(|entry| entry.manifest.version.to_string());
        let mut place = self.place(state, plugin, arriving);
        if place == Place::Begin {
            self.begin(state, plugin, manifest).await;
            place = self.place(state, plugin, arriving);
        }
        if let Place::Refuse(reason) = place {
            return Err(Denied::Never(vec![reason]));
        }
        let (lane, serves) = place.lane();
        let keeps = place != Place::Current;
        let (policies, expected) = (&state.word.policies, &state.word.expected);
        let known = Known { entries: &state.entries, policies, expected, keeps };
        let mut granted = decide(plugin, manifest, known, &now())?;
        let kept = self.keep_candidate(state, plugin, manifest, lane).await;
        let is_kept = kept.map_err(|reason| Denied::Never(vec![reason]))?;
        let serves = serves && (is_kept || lane == Lane::Main);
        if let Some(entry) = granted.entry.take() {
            self.keep(state, entry, &granted.settings, present).await?;
        } else if let Some(entry) = state.entries.get(plugin).cloned() {
            // Perhaps it announces itself because somebody has deleted them.
            state.ready.remove(plugin);
            self.make_ready(state, &entry).await;
        }
        if !state.ready.contains(plugin) {
            return Err(Denied::NotNow("its consumers could not be made".to_owned()));
        }
        state.removed.forget(plugin);
        Ok(Taken { granted, lane, serves })
    }

    /// Takes in what is declared of some plugins as if they had announced themselves. What cannot be
    /// taken in is told; the fleet then starts an instance, which hears why.
    pub(super) async fn declare(&self, state: &mut State, plugins: &BTreeSet<PluginId>) {
        for id in plugins {
            let Some(manifest) = state.word.declared.get(id).cloned() else { continue };
            let taken = self.take_in(state, id, Arriving::on_disk(&manifest)).await;
            if let Err(reasons) = taken.map_err(Denied::reasons) {
                tracing::warn!(plugin.id = %id, ?reasons, "a plugin may not serve");
                self.tell(Fact::PluginRejected { plugin_id: id.clone(), reasons }).await;
            }
            self.heard.send_if_modified(|heard| heard.insert(id.clone()));
        }
    }
}
