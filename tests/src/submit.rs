//! Handing files in, and writing what no well-behaved program would.

use async_nats::HeaderMap;
use broker_config::wire::file::FilePath;
use broker_config::{FileFacts, Queue, RunId, Submission};
use bytes::Bytes;

use crate::{Fleet, Settled};

/// A submission of a video whose content id is `cid`; no file is there, scripts do not look.
pub fn file(cid: &str) -> anyhow::Result<Submission> {
    let name = format!("{cid}.mkv");
    let path = FilePath { file_path: format!("/library/{name}"), file_path_bytes: None };
    let facts = FileFacts {
        size: 1_000,
        mime: "video/x-matroska".to_owned(),
        name,
        extension: "mkv".to_owned(),
        ..FileFacts::default()
    };
    Ok(Submission::new(cid.parse()?, path, facts))
}

/// The body of a message.
pub fn json_of(value: &impl serde::Serialize) -> anyhow::Result<Bytes> {
    Ok(Bytes::from(serde_json::to_vec(value)?))
}

impl Fleet {
    /// Hands in the file `cid` for all plugins.
    pub async fn submit(&self, cid: &str) -> anyhow::Result<RunId> {
        self.hand_in(Queue::Fast, &file(cid)?).await
    }

    /// Hands in the file `cid` for all plugins and waits until it is settled.
    pub async fn run(&self, cid: &str) -> anyhow::Result<Settled> {
        let run = self.submit(cid).await?;
        self.settled(run).await
    }

    /// Hands in `count` files named `<stem>-<n>`.
    pub async fn submit_many(&self, stem: &str, count: usize) -> anyhow::Result<Vec<RunId>> {
        self.hand_in_many(Queue::Fast, stem, count).await
    }

    /// Hands in `count` files named `<stem>-<n>` through a queue.
    pub async fn hand_in_many(
        &self,
        queue: Queue,
        stem: &str,
        count: usize,
    ) -> anyhow::Result<Vec<RunId>> {
        let mut runs = Vec::with_capacity(count);
        for number in 0..count {
            runs.push(self.hand_in(queue, &file(&format!("{stem}-{number}"))?).await?);
        }
        Ok(runs)
    }

    /// Hands in a submission through a queue.
    pub async fn hand_in(&self, queue: Queue, submission: &Submission) -> anyhow::Result<RunId> {
        self.put(self.names.submit(queue), HeaderMap::new(), json_of(submission)?).await.map(RunId)
    }

    /// Publishes anything anywhere in a stream; returns its sequence.
    pub async fn put(
        &self,
        subject: String,
        headers: HeaderMap,
        body: Bytes,
    ) -> anyhow::Result<u64> {
        Ok(self.publisher.publish(subject, headers, body).await?)
    }

    /// Deletes a key of a bucket as a key-value client does.
    pub async fn delete_key(&self, subject: String) -> anyhow::Result<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(broker_config::header::KV_OPERATION, "DEL");
        self.put(subject, headers, Bytes::new()).await
    }

    /// Sends what no stream keeps and nobody confirms.
    pub async fn say(&self, subject: String, body: Bytes) -> anyhow::Result<()> {
        self.client.publish_with_headers(subject, HeaderMap::new(), body).await?;
        Ok(self.client.flush().await?)
    }
}
