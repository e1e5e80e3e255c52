//! A task before it is published, and afterwards.

use std::path::PathBuf;

use anyhow::Context as _;
use async_nats::HeaderMap;
use broker_config::wire::file::FilePath;
use broker_config::{Cid, Lane, Manifest, Queue, TaskId};
use serde_json::{Value, json};

use super::scene::Scene;
use crate::conformance::files::Sample;

/// A task that is to be published.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    manifest: Manifest,
    cid: Cid,
    queue: Queue,
    lane: Lane,
    body: Value,
    headers: HeaderMap,
    path: PathBuf,
}

/// A task that was published.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(in super::super) cid: Cid,
    pub(in super::super) sequence: u64,
    pub(in super::super) body: Value,
    pub(in super::super) path: PathBuf,
}

impl Draft {
    pub(super) fn new(manifest: &Manifest, cid: &str, file: &Sample) -> anyhow::Result<Self> {
        let cid: Cid = cid.parse().context("a content id")?;
        let fingerprint = format!("print-of-{}", cid.as_str().len());
        let mut body = json!({
            "type": "metafleet.task.v1", "runId": 7, "pluginId": manifest.id, "cid": cid,
            "taskId": TaskId::derive(&cid, &manifest.id, &fingerprint, 0), "file": file.facts,
            "fingerprint": fingerprint, "deadlineMs": 20_000, "retry": manifest.retry_policy(),
            "pluginVersion": manifest.version, "scanId": "01JD7", "depth": 0,
        });
        let path = serde_json::to_value(FilePath::new(&file.path))?;
        if let (Some(body), Some(path)) = (body.as_object_mut(), path.as_object()) {
            body.extend(path.clone());
        }
        Ok(Self {
            manifest: manifest.clone(),
            cid,
            queue: manifest.queue,
            lane: Lane::Main,
            body,
            headers: HeaderMap::new(),
            path: file.path.clone(),
        })
    }

    /// Sets fields.
    #[must_use]
    pub(in super::super) fn with(mut self, fields: Value) -> Self {
        if let (Some(body), Value::Object(fields)) = (self.body.as_object_mut(), fields) {
            body.extend(fields);
        }
        self
    }

    /// Leaves fields out.
    #[must_use]
    pub(in super::super) fn without(mut self, fields: &[&str]) -> Self {
        if let Some(body) = self.body.as_object_mut() {
            body.retain(|name, _| !fields.contains(&name.as_str()));
        }
        self
    }

    #[must_use]
    pub(in super::super) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name, value);
        self
    }

    #[must_use]
    pub(in super::super) fn queue(mut self, queue: Queue) -> Self {
        self.queue = queue;
        self
    }

    #[must_use]
    pub(in super::super) fn lane(mut self, lane: Lane) -> Self {
        self.lane = lane;
        self
    }
}

impl Scene {
    /// Publishes a task as the coordinator does.
    pub(in super::super) async fn send(&self, draft: Draft) -> anyhow::Result<Sent> {
        let body = draft.body.to_string().into_bytes();
        let Draft { manifest, cid, queue, lane, body: said, headers, path } = draft;
        let subject = self.names.task_in(lane, queue, &manifest.id, &cid);
        let sequence = self.put(subject, headers, body).await?;
        Ok(Sent { cid, sequence, body: said, path })
    }

    /// Publishes what is no task where tasks are.
    pub(in super::super) async fn send_garbage(
        &self,
        draft: Draft,
        body: &[u8],
    ) -> anyhow::Result<Sent> {
        let Draft { manifest, cid, queue, lane, body: said, headers, path } = draft;
        let subject = self.names.task_in(lane, queue, &manifest.id, &cid);
        let sequence = self.put(subject, headers, body.to_vec()).await?;
        Ok(Sent { cid, sequence, body: said, path })
    }

    /// Publishes something that a stream takes; its sequence.
    pub(in super::super) async fn put(
        &self,
        subject: String,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> anyhow::Result<u64> {
        let stored = self.js.publish_with_headers(subject.clone(), headers, body.into()).await;
        let stored = stored.with_context(|| format!("the kit publishes on {subject}"))?.await;
        Ok(stored.with_context(|| format!("the kit publishes on {subject}"))?.sequence)
    }
}
