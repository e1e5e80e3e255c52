//! Handing files in, and telling subscribers what a scan sees.

use std::sync::atomic::{AtomicU64, Ordering};

use async_nats::HeaderMap;
use broker_config::header::MESSAGE_ID;
use broker_config::wire::event::{Event, Fact};
use broker_config::{PluginId, Queue};
use bytes::Bytes;
use futures_util::future::try_join_all;
use tokio::sync::mpsc;
use tracing::{Span, info_span};
use worker_sdk::telemetry;

use super::copies::{Copies, Retired};
use super::patience::Patience;
use super::{Store, StoreError};
use crate::config::private_file::random_hex;
use crate::source::{Change, FoundFile, PortError, Sink, Why};

impl Store {
    /// Tells subscribers a fact, once.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the stream does not take it.
    pub async fn tell(&self, fact: Fact) -> Result<(), StoreError> {
        let subject = self.names.event(fact.name());
        let event = Event::new(jiff::Timestamp::now().to_string(), fact);
        let body = serde_json::to_vec(&event)
            .map_err(|cause| StoreError::Unreadable { what: subject.clone(), cause })?;
        self.publisher
            .publish(subject.clone(), HeaderMap::new(), Bytes::from(body))
            .await
            .map(drop)
            .map_err(|error| StoreError::of_publish(&subject, error))
    }
}

/// How a scan hands in its files.
#[derive(Clone, Debug, Default)]
pub struct SubmitOptions {
    /// Names the scan in submissions and events.
    pub scan_id: String,
    /// Every task goes into this queue, whatever the manifests say; `None` = they decide.
    pub queue: Option<Queue>,
    /// Run again what is up to date.
    pub force: bool,
    /// Only these plugins and what they need; empty = all.
    pub only: Vec<PluginId>,
}

/// Takes what a scan finds to the broker.
#[derive(Debug)]
pub struct BrokerSink {
    store: Store,
    patience: Patience,
    options: SubmitOptions,
    /// In the ids of messages; who knew it could have files taken for repetitions, and plugins are told the
    /// scan's own name.
    secret: String,
    /// Numbers the submissions, for their message ids.
    next: AtomicU64,
    /// Is told the run that each submission opened.
    runs: Option<mpsc::Sender<u64>>,
    copies: Copies,
    /// Files that another path of the same content counts for.
    left_alone: AtomicU64,
    /// Files that were handed in because another path of their content counts no longer.
    taken_over: AtomicU64,
}

impl BrokerSink {
    /// Hands in files with these options; `runs` is told the run of each, in any order.
    #[must_use]
    pub fn new(
        store: Store,
        patience: Patience,
        options: SubmitOptions,
        runs: Option<mpsc::Sender<u64>>,
    ) -> Self {
        Self {
            store,
            patience,
            options,
            secret: random_hex(16).unwrap_or_else(|_| format!("{:032x}", fastrand::u128(..))),
            next: AtomicU64::new(0),
            runs,
            copies: Copies::default(),
            left_alone: AtomicU64::new(0),
            taken_over: AtomicU64::new(0),
        }
    }

    /// Files handed in so far.
    #[must_use]
    pub fn handed_in(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Files so far that were not handed in because another path of their content counts.
    #[must_use]
    pub fn left_alone(&self) -> u64 {
        self.left_alone.load(Ordering::Relaxed)
    }

    /// Files so far that were handed in because another path of their content counts no longer.
    #[must_use]
    pub fn taken_over(&self) -> u64 {
        self.taken_over.load(Ordering::Relaxed)
    }

    /// Tells subscribers a fact; returns when the stream has it.
    ///
    /// # Errors
    ///
    /// When the broker does not take it.
    pub async fn tell(&self, fact: Fact) -> Result<(), PortError> {
        let subject = self.store.names().event(fact.name());
        let event = Event::new(jiff::Timestamp::now().to_string(), fact);
        let body = Bytes::from(serde_json::to_vec(&event)?);
        self.patience.publish(&self.store, &subject, &HeaderMap::new(), &body).await?;
        Ok(())
    }

    /// Hands in the files that count now in place of `retired` paths.
    async fn replace(&self, retired: Retired) -> Result<(), PortError> {
        if retired.is_empty() {
            return Ok(());
        }
        let files = self.copies.successors(&self.store, &self.patience, retired).await?;
        try_join_all(files.iter().map(|file| self.hand_in(file))).await?;
        self.taken_over.fetch_add(files.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    async fn hand_in(&self, file: &FoundFile) -> Result<(), PortError> {
        let mut submission = file.submission();
        submission.only.clone_from(&self.options.only);
        submission.force = self.options.force;
        submission.override_queue = self.options.queue.is_some();
        submission.scan_id = Some(self.options.scan_id.clone());
        let body = Bytes::from(serde_json::to_vec(&submission)?);
        // One file's run is one trace, so it begins here and not with the scan.
        let span = if telemetry::is_exporting() {
            info_span!(parent: None, "submit", file.cid = %file.cid, scan.id = self.options.scan_id)
        } else {
            Span::none()
        };
        let mut headers = HeaderMap::new();
        telemetry::inject(&span, None, &mut headers);
        // What was stored without our hearing of it is not stored again.
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        headers.insert(MESSAGE_ID, format!("{}-{number}", self.secret));
        let subject = self.store.names().submit(self.options.queue.unwrap_or_default());
        let run = self.patience.publish(&self.store, &subject, &headers, &body).await?;
        if let Some(runs) = &self.runs {
            // Nobody waits any more: the file is handed in all the same.
            runs.send(run).await.ok();
        }
        Ok(())
    }
}

impl Sink for BrokerSink {
    async fn submit(&self, files: Vec<FoundFile>) -> Result<(), PortError> {
        let found = files.iter().filter(|file| file.why == Why::New).map(|file| {
            self.tell(Fact::FileDiscovered {
                cid: file.cid.clone(),
                path: file.path.to_string_lossy().into_owned(),
                scan_id: self.options.scan_id.clone(),
            })
        });
        try_join_all(found).await?;
        let chosen = self.copies.choose(&self.store, &self.patience, files).await?;
        self.left_alone.fetch_add(chosen.left_alone as u64, Ordering::Relaxed);
        try_join_all(chosen.files.iter().map(|file| self.hand_in(file))).await?;
        self.replace(chosen.retired).await
    }

    async fn changes(&self, changes: Vec<Change>) -> Result<(), PortError> {
        let scan_id = || self.options.scan_id.clone();
        let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
        let mut retired = Retired::new();
        for change in &changes {
            let (Change::Deleted { cid, .. }
            | Change::Moved { cid, .. }
            | Change::Replaced { from: cid, .. }) = change;
            retired.entry(cid.clone()).or_default().insert(change.path().clone());
        }
        let facts = changes.into_iter().map(|change| match change {
            Change::Deleted { path, cid } => {
                Fact::FileDeleted { cid, path: text(&path), scan_id: scan_id() }
            }
            Change::Moved { from, to, cid } => {
                Fact::FileMoved { cid, from: text(&from), path: text(&to), scan_id: scan_id() }
            }
            Change::Replaced { path, from, to } => Fact::FileChanged {
                cid: to,
                previous_cid: from,
                path: text(&path),
                scan_id: scan_id(),
            },
        });
        try_join_all(facts.map(|fact| self.tell(fact))).await?;
        // Before their entries are gone: after a crash the changes come again, and this with them.
        self.replace(retired).await
    }
}
