//! The plugins of the experiment: they wait a moment, and note that they did.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use async_nats::HeaderMap;
use broker_config::publish::Publisher;
use broker_config::read::last_messages;
use broker_config::{Manifest, Names, Queue, Task};
use serde_json::json;
use tokio::sync::OnceCell;
use tokio::time::Instant;
use worker_sdk::{Context, Failure, Meta, Outcome, Plugin};

use super::ledger::Pen;
use super::{GRAPH, Sabotage};

/// Longest work on one file, in milliseconds.
const WORK_MS: u64 = 20;

/// Who slept so much longer than it wanted was stopped meanwhile.
const STOPPED: Duration = Duration::from_secs(5);

/// One plugin of [`GRAPH`].
#[derive(Debug)]
pub struct Noop {
    manifest: Manifest,
    needs: &'static [&'static str],
    pen: Pen,
    sabotage: Option<Sabotage>,
    /// Where to take tasks away, for [`Sabotage::AckFirst`].
    url: String,
    client: OnceCell<async_nats::Client>,
}

impl Noop {
    /// The plugin `id`, whose ledger is in `folder`.
    pub fn new(
        id: &str,
        folder: &Path,
        url: &str,
        sabotage: Option<Sabotage>,
    ) -> anyhow::Result<Self> {
        let found = GRAPH.iter().find(|(known, ..)| *known == id);
        let (_, priority, needs) = found.with_context(|| format!("no plugin `{id}`"))?;
        let blind = sabotage == Some(Sabotage::IgnoreOrder);
        let dependencies = if blind { &[] } else { *needs };
        let manifest = json!({
            "id": id, "name": id, "version": "1.0.0", "priority": priority, "queue": Queue::Fast,
            "dependencies": dependencies, "dataSchema": {format!("{id}/done"): {}},
        });
        let manifest = Manifest::from_json(&manifest.to_string())?;
        let pen = Pen::open(folder, &manifest.id)?;
        let (url, client) = (url.to_owned(), OnceCell::new());
        Ok(Self { manifest, needs: dependencies, pen, sabotage, url, client })
    }

    /// Takes the task away as an acknowledgement that comes too early would.
    async fn take_away(&self, task: &Task) -> anyhow::Result<()> {
        let servers: Vec<&str> = self.url.split(',').collect();
        let connect = || async_nats::connect(servers.as_slice());
        let client = self.client.get_or_try_init(connect).await?;
        let names = Names::default();
        let stream = names.task_stream();
        let subject = names.task(Queue::Fast, &self.manifest.id, &task.cid);
        let found = last_messages(client, &stream, &[subject]).await?;
        let sequence = found.first().context("the task is gone")?.sequence;
        let body = json!({ "seq": sequence, "no_erase": true });
        let api = async_nats::jetstream::new(client.clone());
        let _done: serde_json::Value =
            api.request(format!("STREAM.MSG.DELETE.{stream}"), &body).await?;
        Ok(())
    }
}

impl Noop {
    /// Writes the record once more, whoever has written it.
    async fn write_over(&self, task: &Task) -> anyhow::Result<()> {
        let servers: Vec<&str> = self.url.split(',').collect();
        let connect = || async_nats::connect(servers.as_slice());
        let client = self.client.get_or_try_init(connect).await?;
        let names = Names::default();
        let subject = names.record(&task.cid, &self.manifest.id);
        let found =
            last_messages(client, &names.record_stream(), std::slice::from_ref(&subject)).await?;
        let record = found.into_iter().next().context("no record")?.payload;
        let publisher = Publisher::open(client.clone()).await?;
        publisher.publish(subject, HeaderMap::new(), record).await?;
        publisher.close().await;
        Ok(())
    }
}

impl Plugin for Noop {
    fn manifest(&self) -> Manifest {
        self.manifest.clone()
    }

    async fn process(&self, ctx: &Context) -> Result<Outcome, Failure> {
        let (id, task) = (&self.manifest.id, ctx.task());
        let number = self.pen.begin(id, task, ctx.attempt().get()).map_err(|error| {
            Failure::retryable(format!("the ledger cannot be written: {error}"))
        })?;
        if self.sabotage == Some(Sabotage::AckFirst) {
            // What cannot be taken away stays safe, so the sabotage is only weaker.
            self.take_away(task).await.ok();
        }
        if let Some(missing) =
            self.needs.iter().find(|needed| ctx.existing_text(&format!("{needed}/done")).is_none())
        {
            return Err(Failure::permanent(format!("began before {missing} was done")));
        }
        let since = Instant::now();
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..=WORK_MS))).await;
        if self.sabotage == Some(Sabotage::NoFence) && since.elapsed() > STOPPED {
            // Without a record of somebody else there is nothing to write over.
            self.write_over(task).await.ok();
        }
        self.pen.end(number).map_err(|error| {
            Failure::retryable(format!("the ledger cannot be written: {error}"))
        })?;
        let mut meta = Meta::new();
        meta.text(format!("{id}/done"), "true");
        Ok(Outcome::Completed(meta))
    }
}
