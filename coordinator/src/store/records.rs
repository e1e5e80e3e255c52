//! A file's records, and the person's own among them.

use std::collections::BTreeMap;

use async_nats::HeaderMap;
use broker_config::read::last_messages;
use broker_config::wire::record::RecordType;
use broker_config::{Cid, PluginId, Record, RecordStatus, TaskId};
use bytes::Bytes;
use tracing::warn;

use super::{Store, StoreError};
use crate::merge::Source;

/// How often an edit is made anew when somebody else edits the same file at the same time.
const EDITS: usize = 16;

impl Store {
    /// The records of a file with the priorities of their plugins, ready to be merged.
    ///
    /// A plugin that is not known any more merges first, so that every other one overrides it.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when a bucket cannot be read.
    pub async fn sources(&self, cid: &Cid) -> Result<Vec<Source>, StoreError> {
        let (records, plugins) = tokio::try_join!(self.records(cid), self.plugins())?;
        Ok(records
            .into_iter()
            .map(|(plugin, (revision, record))| Source {
                priority: plugins.get(&plugin).map_or(0, |known| known.entry.manifest.priority),
                plugin,
                revision,
                record,
            })
            .collect())
    }

    /// The records of a file with their revisions. One that cannot be read is left out and logged.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the bucket cannot be read.
    pub async fn records(
        &self,
        cid: &Cid,
    ) -> Result<BTreeMap<PluginId, (u64, Record)>, StoreError> {
        let filters = [self.names.records_of(cid)];
        let found = last_messages(&self.client, &self.names.record_stream(), &filters)
            .await
            .map_err(|error| StoreError::of_read("read records", error))?;
        let mut records = BTreeMap::new();
        for stored in found.iter().filter(|stored| !stored.is_deletion()) {
            let Some(address) = self.names.parse_record(&stored.subject) else { continue };
            match serde_json::from_slice(&stored.payload) {
                Ok(record) => {
                    records.insert(address.plugin, (stored.sequence, record));
                }
                Err(error) => {
                    warn!(file.cid = %cid, plugin.id = %address.plugin, %error, "a record cannot be understood");
                }
            }
        }
        Ok(records)
    }

    /// Changes the person's record of a file; `edit` sees it together with what plugins say, and
    /// may be called again when somebody else was quicker.
    ///
    /// # Errors
    ///
    /// The error of `edit`, after which nothing is written, or [`StoreError`].
    pub async fn edit_user<E: From<StoreError>>(
        &self,
        cid: &Cid,
        now: &str,
        edit: impl Fn(&mut Record, &[Source]) -> Result<(), E>,
    ) -> Result<(), E> {
        let user = PluginId::user();
        for left in (0..EDITS).rev() {
            let sources = self.sources(cid).await.map_err(E::from)?;
            let found = sources.iter().find(|source| source.plugin.is_user());
            // A fenced write after a deletion needs the deletion's own revision.
            let revision = match found {
                Some(source) => Some(source.revision),
                None => self.revision_of_nothing(cid, &user).await?,
            };
            // Somebody has written between the two looks; what they wrote must not be lost.
            let Some(revision) = revision else { continue };
            let before = found.map(|source| source.record.clone());
            let mut record = before.clone().unwrap_or_else(|| blank(cid, &user));
            edit(&mut record, &sources)?;
            if before.as_ref() == Some(&record) {
                return Ok(());
            }
            record.task_id = TaskId::derive(cid, &user, "", revision);
            now.clone_into(&mut record.finished_at);
            match self.put_user(&record, revision).await {
                Err(StoreError::Conflict { .. }) if left > 0 => {}
                done => return done.map_err(E::from),
            }
        }
        Err(E::from(StoreError::Conflict { what: format!("your metadata of {cid}") }))
    }

    async fn put_user(&self, record: &Record, revision: u64) -> Result<(), StoreError> {
        let what = format!("your metadata of {}", record.cid);
        let body = serde_json::to_vec(record)
            .map_err(|cause| StoreError::Unreadable { what: what.clone(), cause })?;
        let subject = self.names.record(&record.cid, &record.plugin_id);
        self.publisher
            .publish_after(subject, revision, HeaderMap::new(), Bytes::from(body))
            .await
            .map(drop)
            .map_err(|error| StoreError::of_publish(&what, error))
    }

    /// The revision after which a record that is not there is written: 0, or that of its deletion;
    /// `None` when it is there after all.
    async fn revision_of_nothing(
        &self,
        cid: &Cid,
        plugin: &PluginId,
    ) -> Result<Option<u64>, StoreError> {
        let filters = [self.names.record(cid, plugin)];
        let found = last_messages(&self.client, &self.names.record_stream(), &filters)
            .await
            .map_err(|error| StoreError::of_read("read records", error))?;
        Ok(match found.first() {
            None => Some(0),
            Some(stored) => stored.is_deletion().then_some(stored.sequence),
        })
    }
}

/// A record that says nothing yet.
pub(crate) fn blank(cid: &Cid, plugin: &PluginId) -> Record {
    Record {
        kind: RecordType::V1,
        task_id: TaskId::derive(cid, plugin, "", 0),
        plugin_id: plugin.clone(),
        cid: cid.clone(),
        status: RecordStatus::Completed,
        duration_ms: 0,
        attempt: 1,
        plugin_version: String::new(),
        fingerprint: String::new(),
        finished_at: String::new(),
        instance: None,
        error: None,
        reason: None,
        meta: BTreeMap::new(),
        hidden: Vec::new(),
    }
}
