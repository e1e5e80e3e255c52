//! What the fleet knows of its plugins: manifests, signs of life, settings.

use std::collections::BTreeMap;

use async_nats::HeaderMap;
use broker_config::header::KV_OPERATION;
use broker_config::read::{Stored, last_messages};
use broker_config::wire::instance::Instance;
use broker_config::wire::plugin::PluginEntry;
use broker_config::{Names, PluginId};
use bytes::Bytes;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use tracing::warn;

use super::{Store, StoreError};

/// An entry of the registry, and its revision.
#[derive(Clone, Debug)]
pub struct KnownPlugin {
    /// What is known.
    pub entry: PluginEntry,
    /// For a fenced write.
    pub revision: u64,
}

impl Store {
    /// Every plugin in the registry. An entry that cannot be read is left out and logged.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the bucket cannot be read.
    pub async fn plugins(&self) -> Result<BTreeMap<PluginId, KnownPlugin>, StoreError> {
        let bucket = self.names.plugins_bucket();
        let all = self.bucket(&bucket).await?;
        Ok(all.iter().filter_map(|stored| read_plugin(&bucket, stored)).collect())
    }

    /// One plugin of the registry.
    ///
    /// # Errors
    ///
    /// As [`Store::plugins`].
    pub async fn plugin(&self, id: &PluginId) -> Result<Option<KnownPlugin>, StoreError> {
        let bucket = self.names.plugins_bucket();
        let found = self.value(&bucket, id.as_str()).await?;
        Ok(found.and_then(|stored| read_plugin(&bucket, &stored)).map(|(_, known)| known))
    }

    /// Writes a plugin's entry if nobody else has since it was read.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] if somebody has.
    pub async fn put_plugin(&self, known: &KnownPlugin) -> Result<(), StoreError> {
        let what = format!("plugin {}", known.entry.manifest.id);
        let subject =
            Names::key_subject(&self.names.plugins_bucket(), known.entry.manifest.id.as_str());
        let body = serde_json::to_vec(&known.entry)
            .map_err(|cause| StoreError::Unreadable { what: what.clone(), cause })?;
        self.publisher
            .publish_after(subject, known.revision, HeaderMap::new(), Bytes::from(body))
            .await
            .map(drop)
            .map_err(|error| StoreError::of_publish(&what, error))
    }

    /// Takes a plugin out of the registry, and what was decided on its versions.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] if its entry has changed since it was read.
    pub async fn remove_plugin(&self, id: &PluginId, revision: u64) -> Result<(), StoreError> {
        let subject = Names::key_subject(&self.names.plugins_bucket(), id.as_str());
        self.publisher
            .publish_after(subject, revision, deletion(), Bytes::new())
            .await
            .map_err(|error| StoreError::of_publish(&format!("plugin {id}"), error))?;
        self.forget_versions(id).await
    }

    /// The instances that gave a sign of life lately, by plugin.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the bucket cannot be read.
    pub async fn instances(&self) -> Result<BTreeMap<PluginId, Vec<Instance>>, StoreError> {
        let mut all: BTreeMap<PluginId, Vec<Instance>> = BTreeMap::new();
        for stored in self.bucket(&self.names.instances_bucket()).await? {
            match serde_json::from_slice::<Instance>(&stored.payload) {
                Ok(instance) => all.entry(instance.plugin_id.clone()).or_default().push(instance),
                Err(error) => warn!(%error, "a sign of life cannot be understood"),
            }
        }
        Ok(all)
    }

    /// The settings of a plugin as they are stored; mask them before anybody sees them.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the bucket cannot be read.
    pub async fn settings(&self, id: &PluginId) -> Result<Map<String, Value>, StoreError> {
        let found = self.value(&self.names.config_bucket(), id.as_str()).await?;
        Ok(found
            .and_then(|stored| serde_json::from_slice(&stored.payload).ok())
            .unwrap_or_default())
    }

    /// Stands for all that decides which plugins run on a file: when it is another, files that are
    /// as they were may still have something to run.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when a bucket cannot be read.
    pub async fn graph_mark(&self) -> Result<String, StoreError> {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        let (plugins, versions) = tokio::try_join!(self.plugins(), self.versions())?;
        for (id, known) in plugins {
            if !known.entry.enabled {
                continue;
            }
            part(id.as_str().as_bytes());
            part(&serde_json::to_vec(&known.entry.manifest).unwrap_or_default());
            part(known.entry.settings_hash.as_bytes());
            // Files that were settled while it was away were settled without it.
            part(known.entry.registered_at.as_bytes());
            // Who runs on which file; and after a roll back, what the other version has done.
            if let Some(kept) = versions.get(&id) {
                part(kept.versions.mark().as_bytes());
            }
        }
        Ok(data_encoding::HEXLOWER.encode(&hash.finalize()))
    }

    /// Everything present in a bucket.
    async fn bucket(&self, bucket: &str) -> Result<Vec<Stored>, StoreError> {
        self.all(Names::bucket_stream(bucket), Names::key_subject(bucket, ">")).await
    }

    /// The value of one key; `None` when it is not there or was deleted.
    pub(crate) async fn value(
        &self,
        bucket: &str,
        key: &str,
    ) -> Result<Option<Stored>, StoreError> {
        let subject = Names::key_subject(bucket, key);
        let found = last_messages(&self.client, &Names::bucket_stream(bucket), &[subject])
            .await
            .map_err(|error| StoreError::of_read(&format!("read {bucket}"), error))?;
        Ok(found.into_iter().find(|stored| !stored.is_deletion()))
    }
}

/// The headers of a deletion.
pub(crate) fn deletion() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(KV_OPERATION, "DEL");
    headers
}

fn read_plugin(bucket: &str, stored: &Stored) -> Option<(PluginId, KnownPlugin)> {
    let key = stored.subject.strip_prefix(&Names::key_subject(bucket, ""))?.to_owned();
    let id = key.parse::<PluginId>().ok()?;
    match serde_json::from_slice(&stored.payload) {
        Ok(entry) => Some((id, KnownPlugin { entry, revision: stored.sequence })),
        Err(error) => {
            warn!(plugin.id = %id, bucket, %error, "the entry of a plugin cannot be understood");
            None
        }
    }
}
