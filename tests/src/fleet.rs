//! A private broker with everything that lives on it.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use async_nats::{Client, ConnectOptions, jetstream};
use broker_config::publish::Publisher;
use broker_config::read::Stored;
use broker_config::wire::instance::{Instance, InstanceState};
use broker_config::wire::signal::{ANNOUNCE, AnnounceType};
use broker_config::{Announce, AnnounceReply, InstanceId, Manifest, Names, PluginId, Task};
use coordinator::config::connection::Login;
use coordinator::service::CoordinatorOptions;
use worker_sdk::WorkerOptions;

use crate::lead::{LEASE, Lead, short};
use crate::plugin::{Running, Script};
use crate::{Server, eventually, json_of};

/// Keeps the log going for tests that are run with `METAFLEET_LOG`.
static LOG: std::sync::OnceLock<worker_sdk::telemetry::Guard> = std::sync::OnceLock::new();

/// One broker, its names, and a connection of the test's own.
#[derive(Debug)]
pub struct Fleet {
    /// The broker.
    pub server: Arc<Server>,
    /// How things are called.
    pub names: Names,
    /// The test's connection.
    pub client: Client,
    /// Its JetStream API.
    pub js: jetstream::Context,
    /// Acknowledged publishing on it.
    pub publisher: Publisher,
    workers: AtomicUsize,
}

impl Fleet {
    /// A broker and nothing on it.
    pub async fn empty() -> anyhow::Result<Self> {
        Self::on(&Arc::new(Server::start().await?), Names::default()).await
    }

    /// Another fleet on a broker.
    pub async fn on(server: &Arc<Server>, names: Names) -> anyhow::Result<Self> {
        Self::at(&server.url(), server, names).await
    }

    /// A fleet on a broker, or on several that are one, at `url`.
    pub async fn at(url: &str, server: &Arc<Server>, names: Names) -> anyhow::Result<Self> {
        LOG.get_or_init(|| worker_sdk::telemetry::init_with("it", "off"));
        let options = ConnectOptions::new()
            .name("test")
            .max_reconnects(None)
            .reconnect_delay_callback(|_| Duration::from_millis(50));
        let options = match server.login() {
            Login::Anonymous => options,
            Login::User { name, password } => {
                options.user_and_password(name.clone(), password.reveal().to_owned())
            }
            Login::Token(token) => options.token(token.reveal().to_owned()),
            Login::Credentials(file) => options.credentials_file(file).await?,
            Login::Nkey(file) => {
                options.nkey(std::fs::read_to_string(file.reveal())?.trim().to_owned())
            }
        };
        let addresses: Vec<&str> = url.split(',').collect();
        let client = options.connect(addresses.as_slice()).await?;
        let publisher = Publisher::open(client.clone()).await?;
        let js = jetstream::new(client.clone());
        let workers = AtomicUsize::new(0);
        Ok(Self { server: server.clone(), names, client, js, publisher, workers })
    }

    /// A broker with a coordinator that leads.
    pub async fn start() -> anyhow::Result<(Self, Lead)> {
        Self::start_with(|_| {}).await
    }

    /// A broker with a coordinator that leads and was told otherwise.
    pub async fn start_with(
        change: impl FnOnce(&mut CoordinatorOptions),
    ) -> anyhow::Result<(Self, Lead)> {
        let fleet = Self::empty().await?;
        let lead = fleet.coordinator(change).await?;
        lead.leading().await?;
        Ok((fleet, lead))
    }

    /// Starts a coordinator; it may have to wait for another one.
    pub async fn coordinator(
        &self,
        change: impl FnOnce(&mut CoordinatorOptions),
    ) -> anyhow::Result<Lead> {
        let mut options = CoordinatorOptions {
            names: self.names.clone(),
            lease: LEASE,
            timing: short(),
            ..CoordinatorOptions::default()
        };
        change(&mut options);
        Lead::start(&self.server, options).await
    }

    /// Starts a worker with four permits and waits until it serves.
    pub async fn worker(&self, manifest: &Manifest, script: &Script) -> anyhow::Result<Running> {
        self.worker_with(manifest, script, |_| {}).await
    }

    /// Starts a worker that was told otherwise and waits until it serves.
    pub async fn worker_with(
        &self,
        manifest: &Manifest,
        script: &Script,
        change: impl FnOnce(&mut WorkerOptions),
    ) -> anyhow::Result<Running> {
        let worker = self.spawn_worker(manifest, script, change)?;
        let state = InstanceState::Ready;
        self.instance_is(&manifest.id, &worker.instance, state).await?;
        Ok(worker)
    }

    /// Starts a worker and waits for nothing.
    pub fn spawn_worker(
        &self,
        manifest: &Manifest,
        script: &Script,
        change: impl FnOnce(&mut WorkerOptions),
    ) -> anyhow::Result<Running> {
        let number = self.workers.fetch_add(1, Ordering::Relaxed);
        let instance: InstanceId = format!("w{number}").parse()?;
        let mut options = WorkerOptions {
            url: self.server.url(),
            prefix: self.names.prefix().clone(),
            instance: Some(instance),
            concurrency: NonZeroUsize::new(4),
            grace: Duration::from_secs(5),
            ..WorkerOptions::default()
        };
        change(&mut options);
        Running::start(manifest.clone(), script.clone(), options)
    }

    /// Waits until an instance says that it is in `state`; returns what it says.
    pub async fn instance_is(
        &self,
        plugin: &PluginId,
        instance: &str,
        state: InstanceState,
    ) -> anyhow::Result<Instance> {
        let id: InstanceId = instance.parse()?;
        let subject = self.names.instance(plugin, &id);
        let stream = Names::bucket_stream(&self.names.instances_bucket());
        eventually(&format!("{plugin} {instance} to be {state:?}"), async || {
            let found = self.last(&stream, &subject).await?;
            let found = found.filter(|stored| !stored.is_deletion());
            let said = found.map(|stored| serde_json::from_slice::<Instance>(&stored.payload));
            Ok(said.transpose()?.filter(|said| said.state == state))
        })
        .await
    }

    /// Announces an instance of a plugin that will never pull a task.
    pub async fn announce(&self, manifest: &Manifest) -> anyhow::Result<AnnounceReply> {
        self.announce_as(&manifest.id, manifest).await
    }

    /// Announces a manifest on the subject of a plugin that may be another one.
    pub async fn announce_as(
        &self,
        plugin: &PluginId,
        manifest: &Manifest,
    ) -> anyhow::Result<AnnounceReply> {
        let announcement = Announce {
            kind: AnnounceType::V1,
            instance: "by-hand".parse()?,
            manifest: manifest.clone(),
            host: String::new(),
            pid: 0,
            sdk: "none".to_owned(),
            lanes: true,
            route: None,
        };
        let subject = self.names.signal(plugin, ANNOUNCE);
        let answer = self.client.request(subject, json_of(&announcement)?).await?;
        Ok(serde_json::from_slice(&answer.payload)?)
    }

    /// Waits until a plugin's task on a file is in its stream.
    pub async fn task_waits(&self, plugin: &str, cid: &str) -> anyhow::Result<(Task, Stored)> {
        eventually(&format!("a task of {plugin} on {cid}"), async || self.task(plugin, cid).await)
            .await
    }

    /// Sends a request to the JetStream API that may not be refused.
    pub async fn api(
        &self,
        what: &str,
        body: &serde_json::Value,
    ) -> anyhow::Result<serde_json::Value> {
        let answer: serde_json::Value = self.js.request(what.to_owned(), body).await?;
        anyhow::ensure!(answer.get("error").is_none(), "{what}: {answer}");
        Ok(answer)
    }

    /// Deletes one message of a stream.
    pub async fn delete_message(&self, stream: &str, sequence: u64) -> anyhow::Result<()> {
        let body = serde_json::json!({ "seq": sequence, "no_erase": true });
        self.api(&format!("STREAM.MSG.DELETE.{stream}"), &body)
            .await
            .map(drop)
            .with_context(|| format!("delete message {sequence} of {stream}"))
    }
}
