//! Reading and writing records.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use broker_config::publish::PublishError;
use broker_config::read::{ReadError, Stored, answers, last_messages};
use broker_config::{Cid, PluginId, Record, RecordStatus};

use super::{Broker, json};
use crate::run::KnownRecord;

/// Files whose records are read in one request.
pub const READ_BATCH: usize = 64;

/// Messages of one request where all of a stream are read.
const PAGE: u64 = 1_000;

/// A record as its bucket holds it.
#[derive(Clone, Debug)]
pub struct StoredRecord {
    /// Its stream sequence.
    pub revision: u64,
    /// What it says; `None` if it was deleted or cannot be read.
    pub record: Option<Record>,
    /// Its headers.
    pub headers: HeaderMap,
}

/// What a stored message in the bucket of records tells a run.
///
/// A deleted or unreadable record is one that nothing can be up to date with; its sequence still
/// counts, because the next record is fenced against it.
#[must_use]
pub fn known(payload: &[u8], deleted: bool, revision: u64, stored_at: i64) -> KnownRecord {
    let record = if deleted { None } else { serde_json::from_slice::<Record>(payload).ok() };
    match record {
        Some(record) => from_record(record, revision, stored_at),
        None => KnownRecord {
            revision,
            stored_at,
            status: RecordStatus::Failed,
            fingerprint: String::new(),
            version: None,
            meta: Arc::default(),
            hidden: Arc::new([]),
        },
    }
}

/// What a record tells a run.
#[must_use]
pub fn from_record(record: Record, revision: u64, stored_at: i64) -> KnownRecord {
    // A failed record keeps the metadata of an earlier success, and with it whose version wrote it.
    let by_its_worker = !record.plugin_id.is_user() && record.status != RecordStatus::Failed;
    KnownRecord {
        revision,
        stored_at,
        status: record.status,
        version: if by_its_worker { record.plugin_version.parse().ok() } else { None },
        fingerprint: record.fingerprint,
        meta: Arc::new(record.meta),
        hidden: record.hidden.into(),
    }
}

/// When the server stored a message, in nanoseconds of Unix time; 0 = it does not say.
#[must_use]
pub fn stored_at(stored: &Stored) -> i64 {
    stored
        .headers
        .get("Nats-Time-Stamp")
        .and_then(|value| value.as_str().parse::<jiff::Timestamp>().ok())
        .map_or(0, |time| i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX))
}

impl Broker {
    /// Reads the records of several files at once.
    ///
    /// # Errors
    ///
    /// [`ReadError`]
    pub async fn records_of(
        &self,
        cids: &[Cid],
    ) -> Result<BTreeMap<Cid, BTreeMap<PluginId, KnownRecord>>, ReadError> {
        let mut found: BTreeMap<Cid, BTreeMap<PluginId, KnownRecord>> =
            cids.iter().map(|cid| (cid.clone(), BTreeMap::new())).collect();
        let unique: Vec<&Cid> = found.keys().collect();
        let mut batches: Vec<Vec<String>> = unique
            .chunks(READ_BATCH)
            .map(|chunk| chunk.iter().map(|cid| self.names.records_of(cid)).collect())
            .collect();
        while let Some(mut filters) = batches.pop() {
            let stream = self.names.record_stream();
            match last_messages(&self.client, &stream, &filters).await {
                Ok(messages) => {
                    for stored in messages {
                        let Some(address) = self.names.parse_record(&stored.subject) else {
                            continue;
                        };
                        let record = known(
                            &stored.payload,
                            stored.is_deletion(),
                            stored.sequence,
                            stored_at(&stored),
                        );
                        found.entry(address.cid).or_default().insert(address.plugin, record);
                    }
                }
                Err(ReadError::TooMany) if filters.len() > 1 => {
                    let half = filters.split_off(filters.len() / 2);
                    batches.extend([filters, half]);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// The records of several files, tried again until they can be read.
    pub async fn records_of_patiently(
        &self,
        cids: &[Cid],
    ) -> BTreeMap<Cid, BTreeMap<PluginId, KnownRecord>> {
        let mut pause = Duration::from_millis(100);
        loop {
            match self.records_of(cids).await {
                Ok(records) => return records,
                Err(error) => {
                    tracing::debug!(%error, "records cannot be read, trying again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
            }
        }
    }

    /// The last message of every subject under a filter, deletions included, however many there
    /// are; by sequence.
    ///
    /// # Errors
    ///
    /// [`ReadError`]
    pub async fn all_messages(&self, stream: &str, filter: &str) -> Result<Vec<Stored>, ReadError> {
        let mut all: BTreeMap<String, Stored> = BTreeMap::new();
        let mut next = 1;
        loop {
            let from = serde_json::json!({ "batch": PAGE, "next_by_subj": filter, "seq": next });
            let page = answers(&self.client, stream, &from).await?;
            let Some(last) = page.last() else { break };
            next = last.sequence + 1;
            all.extend(page.into_iter().map(|stored| (stored.subject.clone(), stored)));
        }
        let mut all: Vec<Stored> = all.into_values().collect();
        all.sort_by_key(|stored| stored.sequence);
        Ok(all)
    }

    /// The record of one plugin on one file as it is stored.
    ///
    /// # Errors
    ///
    /// [`ReadError`]
    pub async fn record(
        &self,
        cid: &Cid,
        plugin: &PluginId,
    ) -> Result<Option<StoredRecord>, ReadError> {
        let filters = [self.names.record(cid, plugin)];
        let found = last_messages(&self.client, &self.names.record_stream(), &filters).await?;
        Ok(found.into_iter().next().map(|stored| {
            let record = serde_json::from_slice(&stored.payload).ok();
            StoredRecord {
                revision: stored.sequence,
                record: record.filter(|_| !stored.is_deletion()),
                headers: stored.headers,
            }
        }))
    }

    /// Writes a record if the last one has this revision.
    ///
    /// # Errors
    ///
    /// [`PublishError::WrongLastSequence`] if somebody was faster, the others as they say.
    pub async fn put_record(
        &self,
        record: &Record,
        replaces: u64,
        headers: HeaderMap,
    ) -> Result<u64, PublishError> {
        let subject = self.names.record(&record.cid, &record.plugin_id);
        self.publisher.publish_after(subject, replaces, headers, json(record)).await
    }
}
