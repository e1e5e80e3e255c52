//! Looking at a running fleet's broker without the command line.

use std::collections::BTreeMap;

use anyhow::Context as _;
use broker_config::read::Stored;
use broker_config::{Names, Record};
use coordinator::config::DataDir;
use coordinator::store::Store;
use coordinator::store::cursor::Start;
use coordinator::store::overview::Overview;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::Home;
use crate::{eventually, within};

/// What was found, by file and plugin.
pub type Found = BTreeMap<(String, String), Value>;

/// A connection of the test's own.
#[derive(Debug)]
pub struct Look {
    /// The fleet's state.
    pub store: Store,
}

impl Look {
    /// Connects to the fleet that runs over the data folder; `None` while there is none.
    pub async fn open(home: &Home) -> anyhow::Result<Option<Self>> {
        let Some(fleet) = DataDir::new(home.data()).running()? else { return Ok(None) };
        let client = fleet.connection.connect("test").await?;
        Ok(Some(Self { store: Store::open(client, Names::new(fleet.prefix)).await? }))
    }

    /// Scans the library; returns how each plugin ended on each file and what it found, by file and
    /// plugin.
    pub async fn scanned(&self, home: &Home) -> anyhow::Result<Found> {
        let done = home.run(&["scan", &home.file(""), "--wait"]).await?;
        anyhow::ensure!(matches!(done.code, Some(0 | 6)), "{done:?}");
        // Only when a scan has been through everything there is nothing more to come.
        self.settled().await?;
        let of = |record: &Record| {
            let value =
                json!({"status": record.status, "meta": record.meta, "error": record.error});
            ((record.cid.to_string(), record.plugin_id.to_string()), value)
        };
        Ok(self.records().await?.iter().map(of).collect())
    }

    /// Waits until the fleet has scanned its libraries for the first time. Two scans at the same moment
    /// may hand in different copies of one content.
    pub async fn first_scan(&self) -> anyhow::Result<()> {
        let names = self.store.names();
        let (stream, subject) = (names.event_stream(), names.event("scan.completed"));
        within(crate::LIMIT * 2, "the first scan of the fleet to end", async || {
            let events = self.messages(&stream).await?;
            Ok(events.iter().any(|event| event.subject == subject).then_some(()))
        })
        .await
    }

    /// Waits until a coordinator leads and so many plugins are ready.
    pub async fn ready(&self, plugins: usize) -> anyhow::Result<Overview> {
        let what = format!("{plugins} plugins to be ready");
        eventually(&what, async || {
            let overview = self.store.overview().await?;
            let ready = overview.plugins.iter().filter(|plugin| plugin.ready > 0).count();
            Ok((overview.coordinator.is_some() && ready >= plugins).then_some(overview))
        })
        .await
    }

    /// All messages of a stream.
    pub async fn messages(&self, stream: &str) -> anyhow::Result<Vec<Stored>> {
        let start = Start::Sequence(1);
        let mut cursor = self.store.cursor(stream.to_owned(), ">".to_owned(), start);
        let mut all = Vec::new();
        loop {
            let page = cursor.read().await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }

    /// Every stream of the server, buckets too.
    pub async fn streams(&self) -> anyhow::Result<Vec<String>> {
        let js = async_nats::jetstream::new(self.store.client().clone());
        let mut names = js.stream_names();
        let mut all = Vec::new();
        while let Some(name) = names.next().await {
            all.push(name?);
        }
        Ok(all)
    }

    /// The sequence of the last task that was ever published.
    pub async fn tasks_published(&self) -> anyhow::Result<u64> {
        Ok(self.store.stream_state(&self.store.names().task_stream()).await?.last_seq)
    }

    /// All records.
    pub async fn records(&self) -> anyhow::Result<Vec<Record>> {
        let stored = self.messages(&self.store.names().record_stream()).await?;
        stored
            .iter()
            .filter(|stored| !stored.is_deletion())
            .map(|stored| serde_json::from_slice(&stored.payload).context("a record"))
            .collect()
    }

    /// Waits until there are at least so many records.
    pub async fn records_reach(&self, count: usize) -> anyhow::Result<()> {
        let stream = self.store.names().record_stream();
        eventually(&format!("{count} records"), async || {
            let messages = self.store.stream_state(&stream).await?.messages;
            Ok((messages >= count as u64).then_some(()))
        })
        .await
    }

    /// Waits until nothing is handed in any more.
    pub async fn settled(&self) -> anyhow::Result<()> {
        let stream = self.store.names().submit_stream();
        within(crate::LIMIT * 2, "everything to be settled", async || {
            Ok((self.store.stream_state(&stream).await?.messages == 0).then_some(()))
        })
        .await
    }
}
