//! What the registry does to a real broker.

use std::time::Duration;

use anyhow::Context as _;
use async_nats::jetstream::consumer::pull;
use async_nats::{Client, HeaderMap};
use broker_config::read::last_messages;
use broker_config::wire::event::Event as Told;
use broker_config::wire::signal::Control;
use broker_config::{Cid, Manifest};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::service::{Coordinator, CoordinatorOptions, Phase};
use crate::store::Store;
use crate::store::testing::TestBroker;

mod keep;

const LIMIT: Duration = Duration::from_secs(20);

struct Fleet {
    server: TestBroker,
    store: Store,
    client: Client,
    names: Names,
}

/// A coordinator that leads.
struct Lead {
    stop: CancellationToken,
    parts: JoinSet<()>,
}

impl Lead {
    async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        timeout(LIMIT, self.parts.join_next()).await?;
        Ok(())
    }
}

impl Fleet {
    async fn start() -> anyhow::Result<Self> {
        let (server, store) = TestBroker::start().await?;
        let client = server.client().await?;
        Ok(Self { server, store, client, names: Names::default() })
    }

    async fn lead(&self) -> anyhow::Result<Lead> {
        let options = CoordinatorOptions::default();
        let (coordinator, handle) = Coordinator::new(self.server.client().await?, options);
        let stop = CancellationToken::new();
        let mut parts = JoinSet::new();
        parts.spawn({
            let stop = stop.clone();
            async move { coordinator.run(stop).await.unwrap() }
        });
        let mut phase = handle.phase();
        timeout(LIMIT, phase.wait_for(|phase| *phase == Phase::Leading)).await??;
        Ok(Lead { stop, parts })
    }

    /// Announces process `pid` of the plugin `p`; the reasons why it may not serve.
    async fn announce(&self, pid: u32) -> anyhow::Result<Vec<String>> {
        self.announce_as(&p(), pid).await
    }

    /// The same for any plugin.
    async fn announce_as(&self, plugin: &PluginId, pid: u32) -> anyhow::Result<Vec<String>> {
        let manifest = json!({"id": plugin, "name": "P", "version": "1.0.0", "priority": 15,
            "queue": "fast", "dataSchema": {}});
        let manifest = Manifest::from_json(&manifest.to_string())?;
        let announcement = json!({
            "type": "metafleet.announce.v1", "instance": "p-1", "manifest": manifest,
            "host": "here", "pid": pid,
        });
        let body = Bytes::from(announcement.to_string());
        let answer = self.client.request(self.names.signal(plugin, ANNOUNCE), body).await?;
        Ok(match serde_json::from_slice(&answer.payload)? {
            AnnounceReply::Accepted { .. } => Vec::new(),
            AnnounceReply::Rejected { reasons } => reasons,
        })
    }

    async fn put(&self, subject: String, body: &Value) -> anyhow::Result<()> {
        let body = Bytes::from(body.to_string());
        self.store.publisher().publish(subject, HeaderMap::new(), body).await?;
        Ok(())
    }

    /// The sign of life of process `pid`.
    async fn sign(&self, pid: u32) -> anyhow::Result<()> {
        let sign = json!({
            "type": "metafleet.instance.v1", "pluginId": "p", "instance": "p-1", "state": "ready",
            "version": "1.0.0", "host": "here", "pid": pid,
        });
        self.put(self.names.instance(&p(), &"p-1".parse()?), &sign).await
    }

    async fn remove(&self) -> anyhow::Result<()> {
        let known = self.store.plugin(&p()).await?.unwrap();
        Ok(self.store.remove_plugin(&p(), known.revision).await?)
    }

    async fn consumers(&self) -> anyhow::Result<usize> {
        Ok(self.store.consumers(&self.names.task_stream()).await?.len())
    }
}

fn p() -> PluginId {
    "p".parse().unwrap()
}

async fn eventually(
    what: &str,
    is_so: impl AsyncFn() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let until = Instant::now() + LIMIT;
    while !is_so().await? {
        anyhow::ensure!(Instant::now() < until, "waited in vain: {what}");
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

#[tokio::test]
async fn a_plugin_that_is_removed_while_nobody_leads_loses_its_consumers_and_tasks()
-> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let lead = fleet.lead().await?;
    assert_eq!(fleet.announce(1).await?, Vec::<String>::new());
    lead.stop().await?;
    let cid: Cid = "film".parse()?;
    fleet.put(fleet.names.task(broker_config::Queue::Fast, &p(), &cid), &json!({})).await?;
    fleet.remove().await?;
    assert_eq!(fleet.consumers().await?, 2);

    let lead = fleet.lead().await?;

    assert_eq!(fleet.consumers().await?, 0);
    assert_eq!(fleet.store.stream_state(&fleet.names.task_stream()).await?.messages, 0);
    let subject = [fleet.names.event("plugin.removed")];
    let told = last_messages(&fleet.client, &fleet.names.event_stream(), &subject).await?;
    let told: Told = serde_json::from_slice(&told[0].payload)?;
    assert_eq!(told.what, Fact::PluginRemoved { plugin_id: p() });
    lead.stop().await
}

#[tokio::test]
async fn a_process_that_served_before_a_removal_does_not_undo_it_and_a_new_one_does()
-> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let lead = fleet.lead().await?;
    fleet.announce(1).await?;
    lead.stop().await?;
    fleet.sign(1).await?;
    fleet.remove().await?;
    let lead = fleet.lead().await?;

    let reasons = fleet.announce(1).await?;

    assert_eq!(reasons, ["p was removed while this worker served; start it anew"]);
    assert!(fleet.store.plugins().await?.is_empty());
    assert_eq!(fleet.announce(2).await?, Vec::<String>::new());
    assert_eq!(fleet.consumers().await?, 2);
    assert_eq!(fleet.announce(1).await?, Vec::<String>::new(), "it is back, for everybody");
    lead.stop().await
}

#[tokio::test]
async fn junk_in_the_bucket_of_plugins_removes_none() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let lead = fleet.lead().await?;
    fleet.announce(1).await?;
    let bucket = fleet.names.plugins_bucket();
    let before = fleet.store.plugin(&p()).await?.unwrap();

    fleet.put(Names::key_subject(&bucket, "other.p"), &json!("junk")).await?;
    fleet.put(Names::key_subject(&bucket, "p"), &json!("junk")).await?;

    eventually("the entry to be mended", async || {
        let found = fleet.store.plugin(&p()).await?;
        Ok(found.is_some_and(|found| {
            found.revision > before.revision + 2 && found.entry == before.entry
        }))
    })
    .await?;
    assert_eq!(fleet.consumers().await?, 2);
    lead.stop().await
}

#[tokio::test]
async fn a_consumer_that_somebody_deleted_is_made_again_when_a_worker_misses_it()
-> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let lead = fleet.lead().await?;
    fleet.announce(1).await?;
    let name = Names::consumer(&p(), broker_config::Queue::Fast);
    let js = async_nats::jetstream::new(fleet.client.clone());
    js.delete_consumer_from_stream(name, fleet.names.task_stream()).await?;

    fleet.announce(1).await?;

    assert_eq!(fleet.consumers().await?, 2);
    lead.stop().await
}

#[tokio::test]
async fn who_waits_for_consumers_that_cannot_be_made_waits_alone_and_is_called_when_they_are()
-> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let js = async_nats::jetstream::new(fleet.client.clone());
    let lead = fleet.lead().await?;
    let mut control = fleet.client.subscribe(fleet.names.control(&p())).await?;
    // Of a stream of work each task has one consumer at most.
    let in_the_way = pull::Config {
        durable_name: Some("in-the-way".into()),
        filter_subject: "mf.task.fast.p.*".to_owned(),
        ..pull::Config::default()
    };
    js.create_consumer_on_stream(in_the_way, fleet.names.task_stream()).await?;

    let asked = timeout(Duration::from_secs(4), fleet.announce(1)).await;

    assert!(asked.is_err(), "a worker that is not answered asks again: {asked:?}");
    assert_eq!(fleet.announce_as(&"q".parse()?, 2).await?, Vec::<String>::new());
    let entry = fleet.store.plugin(&p()).await?;
    assert!(entry.is_some(), "its tasks are published meanwhile");
    js.delete_consumer_from_stream("in-the-way", fleet.names.task_stream()).await?;
    let called = timeout(LIMIT, control.next()).await?.context("no message")?;
    assert_eq!(serde_json::from_slice::<Control>(&called.payload)?, Control::Announce);
    assert_eq!(fleet.announce(1).await?, Vec::<String>::new());
    lead.stop().await
}

#[tokio::test]
async fn a_new_leader_asks_those_that_it_waits_for() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let mut control = fleet.client.subscribe(fleet.names.control(&p())).await?;
    fleet.client.flush().await?;
    let options = CoordinatorOptions {
        word: Word { expected: [p()].into(), ..Word::default() },
        ..CoordinatorOptions::default()
    };
    let (coordinator, handle) = Coordinator::new(fleet.server.client().await?, options);
    let stop = CancellationToken::new();
    let mut parts = JoinSet::new();
    parts.spawn({
        let stop = stop.clone();
        async move { coordinator.run(stop).await.unwrap() }
    });

    let called = timeout(LIMIT, control.next()).await?.context("no message")?;

    assert_eq!(serde_json::from_slice::<Control>(&called.payload)?, Control::Announce);
    fleet.announce(1).await?;
    let mut phase = handle.phase();
    timeout(LIMIT, phase.wait_for(|phase| *phase == Phase::Leading)).await??;
    Lead { stop, parts }.stop().await
}
