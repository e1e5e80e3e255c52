//! Plugins whose manifest is known although none of their instances runs: their tasks are published
//! and wait, and what waits has an instance started.

use std::collections::BTreeSet;

use broker_config::wire::event::Fact;
use broker_config::{Announce, InstanceId, Lane, Manifest, PluginId};

use super::keep::NotKept;
use super::{Registry, State, TRIES};
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

/// It was not taken in.
#[derive(Debug)]
pub(super) enum NotTaken {
    /// What it was decided by has changed meanwhile: to be decided anew.
    Changed,
    /// The broker did not do its part; whoever asks again later may be let in.
    NotNow(String),
    /// It may not serve, for these reasons.
    Refused(Vec<String>),
}

impl NotTaken {
    /// What is said where it changes all the time.
    const CHANGED: &str = "its entry is changed by others all the time; try again";

    /// Why, for its author and the operator.
    pub(super) fn reasons(self) -> Vec<String> {
        match self {
            Self::Changed => vec![Self::CHANGED.to_owned()],
            Self::NotNow(reason) => vec![reason],
            Self::Refused(reasons) => reasons,
        }
    }
}

impl From<NotKept> for NotTaken {
    fn from(error: NotKept) -> Self {
        match error {
            NotKept::Changed => Self::Changed,
            NotKept::NotNow(reason) => Self::NotNow(reason),
            NotKept::Failed(reason) => Self::Refused(vec![reason]),
        }
    }
}

impl Registry {
    /// Keeps what a manifest says of a plugin, if it may serve, and begins to make its consumers.
    pub(super) async fn take_in(
        &self,
        state: &mut State,
        plugin: &PluginId,
        arriving: Arriving<'_>,
    ) -> Result<Taken, NotTaken> {
        let manifest = arriving.manifest;
        let present = state.entries.get(plugin).map(|entry| entry.manifest.version.to_string());
        let mut place = self.place(state, plugin, arriving);
        if place == Place::Begin {
            self.begin(state, plugin, manifest).await;
            place = self.place(state, plugin, arriving);
        }
        if let Place::Refuse(reason) = place {
            return Err(NotTaken::Refused(vec![reason]));
        }
        let (lane, serves) = place.lane();
        let keeps = place != Place::Current;
        let (policies, expected) = (&state.word.policies, &state.word.expected);
        let known = Known { entries: &state.entries, policies, expected, keeps };
        let mut granted = decide(plugin, manifest, known, &now()).map_err(NotTaken::Refused)?;
        let kept = self.keep_candidate(state, plugin, manifest, lane).await;
        let is_kept = kept.map_err(|reason| NotTaken::Refused(vec![reason]))?;
        let serves = serves && (is_kept || lane == Lane::Main);
        if let Some(entry) = granted.entry.take() {
            self.keep(state, entry, &granted.settings, present).await?;
        } else if let Some(entry) = state.entries.get(plugin).cloned() {
            // Perhaps it announces itself because somebody has deleted them.
            self.make_anew(state, &entry);
        }
        state.removed.forget(plugin);
        Ok(Taken { granted, lane, serves })
    }

    /// Takes in what is declared of some plugins as if they had announced themselves. What cannot be
    /// taken in is told; the fleet then starts an instance, which hears why.
    pub(super) async fn declare(&self, state: &mut State, plugins: &BTreeSet<PluginId>) {
        for id in plugins {
            let Some(manifest) = state.word.declared.get(id).cloned() else { continue };
            let mut tries = 1..TRIES;
            let taken = loop {
                match self.take_in(state, id, Arriving::on_disk(&manifest)).await {
                    Err(NotTaken::Changed) if tries.next().is_some() => {}
                    taken => break taken,
                }
            };
            if let Err(error) = taken {
                let reasons = error.reasons();
                tracing::warn!(plugin.id = %id, ?reasons, "a plugin may not serve");
                self.tell(Fact::PluginRejected { plugin_id: id.clone(), reasons }).await;
            }
            self.heard.send_if_modified(|heard| heard.insert(id.clone()));
        }
    }
}
