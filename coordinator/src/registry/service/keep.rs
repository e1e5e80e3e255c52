//! Writing the entries of plugins: only where nobody else has meanwhile.
//!
//! A person writes them, too: pauses a plugin, removes it. What was decided by what the key said
//! before is not written; the key is read, and it is decided anew.

use async_nats::HeaderMap;
use broker_config::publish::PublishError;
use broker_config::read::last_messages;
use broker_config::wire::event::Fact;
use broker_config::wire::plugin::PluginEntry;
use broker_config::{Chain, Names, PluginId};
use serde_json::{Map, Value};
use tokio::time::sleep;

use super::{PAUSE, Registry, State};
use crate::broker::json;

/// An entry was not kept.
#[derive(Debug)]
pub(super) enum NotKept {
    /// Somebody else has changed it. What is there now has been read and acted on.
    Changed,
    /// The broker did not take it, and may do so later.
    NotNow(String),
    /// The broker does not take it.
    Failed(String),
}

impl NotKept {
    fn by(error: &PublishError) -> Self {
        let reason = Chain(error).to_string();
        if error.is_retryable() { Self::NotNow(reason) } else { Self::Failed(reason) }
    }
}

impl Registry {
    /// Keeps a new or changed entry, makes its consumers and tells everybody.
    pub(super) async fn keep(
        &self,
        state: &mut State,
        entry: PluginEntry,
        settings: &Map<String, Value>,
        previous: Option<String>,
    ) -> Result<(), NotKept> {
        let id = entry.manifest.id.clone();
        let names = &self.broker.names;
        let masked = entry.manifest.masked(settings);
        let subject = Names::key_subject(&names.config_bucket(), id.as_str());
        let publisher = &self.broker.publisher;
        publisher
            .publish(subject, HeaderMap::new(), json(&masked))
            .await
            .map_err(|error| NotKept::by(&error))?;
        self.put_entry(state, &entry).await?;
        self.make_ready(state, &entry);
        let version = entry.manifest.version.to_string();
        state.entries.insert(id.clone(), entry);
        self.publish_graph(state).await;
        if previous.as_ref() != Some(&version) {
            tracing::info!(plugin.id = %id, version, "plugin registered");
            if previous.is_some() {
                self.version_changed(state, &id).await;
            }
            self.tell(Fact::PluginRegistered { plugin_id: id, version, previous }).await;
        }
        Ok(())
    }

    /// Writes an entry in the place of the one that is known.
    async fn put_entry(&self, state: &mut State, entry: &PluginEntry) -> Result<(), NotKept> {
        let id = &entry.manifest.id;
        match self.write_entry(state, entry).await {
            Ok(()) => Ok(()),
            Err(PublishError::WrongLastSequence { .. }) => {
                // Who answers the next read may not have heard of the change yet.
                sleep(PAUSE).await;
                self.look_again(state, id).await?;
                // Perhaps it is what we wrote ourselves, and only its acknowledgement was lost.
                let is_ours = state.entries.get(id) == Some(entry);
                if is_ours { Ok(()) } else { Err(NotKept::Changed) }
            }
            Err(error) => Err(NotKept::by(&error)),
        }
    }

    async fn write_entry(
        &self,
        state: &mut State,
        entry: &PluginEntry,
    ) -> Result<(), PublishError> {
        let id = &entry.manifest.id;
        let known = state.revisions.get(id).copied().unwrap_or_default();
        let subject = Names::key_subject(&self.broker.names.plugins_bucket(), id.as_str());
        let publisher = &self.broker.publisher;
        let stored = publisher.publish_after(subject, known, HeaderMap::new(), json(entry)).await?;
        state.revisions.insert(id.clone(), stored);
        Ok(())
    }

    /// Reads the key of a plugin and acts on it, before its change comes with all others.
    pub(super) async fn look_again(&self, state: &mut State, id: &PluginId) -> Result<(), NotKept> {
        let bucket = self.broker.names.plugins_bucket();
        let filters = [Names::key_subject(&bucket, id.as_str())];
        let stream = Names::bucket_stream(&bucket);
        let read = || last_messages(&self.broker.client, &stream, &filters);
        let found = self.broker.through(read).await;
        let found = found.map_err(|error| NotKept::NotNow(Chain(&error).to_string()))?;
        match found.first().and_then(|stored| Some((stored.sequence, self.read_entry(stored)?))) {
            // It counts whatever its number is: a broker that has lost its last moments numbers anew.
            Some((sequence, (id, found))) => {
                Box::pin(self.take_note(state, id, found, sequence)).await;
            }
            None => drop(state.revisions.remove(id)),
        }
        Ok(())
    }

    /// Keeps a plugin that takes no part any more as switched off; it is switched on again when it
    /// announces itself. The bucket must say so: by it a scan knows for which plugins it was.
    pub(super) async fn switch_off(&self, state: &mut State, entry: &mut PluginEntry) {
        if !entry.enabled || !self.is_off(state, entry) {
            return;
        }
        entry.enabled = false;
        match self.write_entry(state, entry).await {
            Ok(()) => {}
            // The change that was in the way comes by itself, and this is done to what it says.
            Err(error) => {
                let id = &entry.manifest.id;
                tracing::warn!(plugin.id = %id, error = %Chain(&error), "not kept as switched off");
            }
        }
    }

    /// Somebody has overwritten an entry with what is none: what we know takes its place again.
    pub(super) async fn mend(&self, state: &mut State, id: &PluginId) {
        tracing::warn!(plugin.id = %id, "the entry of a plugin cannot be read");
        let Some(entry) = state.entries.get(id).cloned() else { return };
        if let Err(error) = self.write_entry(state, &entry).await {
            tracing::warn!(plugin.id = %id, error = %Chain(&error), "the entry is left as it is");
        }
    }
}
