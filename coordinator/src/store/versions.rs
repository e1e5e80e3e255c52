//! Which versions of plugins are to run, and what new ones have said on trial.

use std::collections::BTreeMap;

use async_nats::HeaderMap;
use broker_config::read::last_messages;
use broker_config::{Cid, Names, PluginId, Record};
use bytes::Bytes;
use tracing::warn;

use super::plugins::deletion;
use super::{Store, StoreError};
use crate::transition::Versions;

/// A plugin's versions, and their revision.
#[derive(Clone, Debug)]
pub struct KnownVersions {
    /// What is decided.
    pub versions: Versions,
    /// For a fenced write; 0 = there was nothing before.
    pub revision: u64,
}

impl Store {
    /// The versions of all plugins that had a transition.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the bucket cannot be read.
    pub async fn versions(&self) -> Result<BTreeMap<PluginId, KnownVersions>, StoreError> {
        let stream = Names::bucket_stream(&self.names.plugins_bucket());
        let mut all = BTreeMap::new();
        // One request: a fleet asks every second.
        let found = last_messages(&self.client, &stream, &[self.names.all_versions()])
            .await
            .map_err(|error| StoreError::of_read("read the versions of plugins", error))?;
        for stored in found.into_iter().filter(|stored| !stored.is_deletion()) {
            let Some(id) = self.names.parse_versions(&stored.subject) else { continue };
            match serde_json::from_slice(&stored.payload) {
                Ok(versions) => {
                    all.insert(id, KnownVersions { versions, revision: stored.sequence });
                }
                Err(error) => {
                    warn!(plugin.id = %id, %error, "the versions of a plugin cannot be understood");
                }
            }
        }
        Ok(all)
    }

    /// Writes a plugin's versions if nobody else has since they were read.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] if somebody has.
    pub async fn put_versions(
        &self,
        id: &PluginId,
        known: &KnownVersions,
    ) -> Result<u64, StoreError> {
        let what = format!("the versions of {id}");
        let key = Names::versions_key(id);
        let subject = Names::key_subject(&self.names.plugins_bucket(), &key);
        let body = serde_json::to_vec(&known.versions)
            .map_err(|cause| StoreError::Unreadable { what: what.clone(), cause })?;
        self.publisher
            .publish_after(subject, known.revision, HeaderMap::new(), Bytes::from(body))
            .await
            .map_err(|error| StoreError::of_publish(&what, error))
    }

    /// Forgets what was decided on a plugin's versions.
    pub(super) async fn forget_versions(&self, id: &PluginId) -> Result<(), StoreError> {
        if !self.versions().await?.contains_key(id) {
            return Ok(());
        }
        let bucket = self.names.plugins_bucket();
        let subject = Names::key_subject(&bucket, &Names::versions_key(id));
        let gone = self.publisher.publish(subject, deletion(), Bytes::new()).await;
        gone.map(drop)
            .map_err(|error| StoreError::of_publish(&format!("the versions of {id}"), error))
    }

    /// What a version of the plugin on trial has said, by file.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the bucket cannot be read.
    pub async fn trials(&self, id: &PluginId) -> Result<BTreeMap<Cid, Record>, StoreError> {
        let mut trials = BTreeMap::new();
        for stored in self.all(self.names.record_stream(), self.names.trials_of(id)).await? {
            let Some(address) = self.names.parse_trial(&stored.subject) else { continue };
            match serde_json::from_slice(&stored.payload) {
                Ok(record) => drop(trials.insert(address.cid, record)),
                Err(error) => warn!(plugin.id = %id, %error, "a trial cannot be understood"),
            }
        }
        Ok(trials)
    }
}
