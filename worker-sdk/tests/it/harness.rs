//! A private nats-server, a coordinator that accepts everybody, and a plugin that does as told.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use async_nats::jetstream::{self, stream::LastRawMessageErrorKind};
use async_nats::{Client, HeaderMap};
use broker_config::topology::{TaskConsumerSpec, Topology};
use broker_config::wire::instance::{Instance, InstanceState};
use broker_config::wire::signal::{AnnounceReply, Control, ControlReply};
use broker_config::{
    Cid, Manifest, Names, Queue, Record, RetryPolicy, Signal, Task, TaskId, apply,
};
use futures_util::StreamExt as _;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use worker_sdk::{Outcome, Settings, Worker, WorkerError, WorkerOptions};

pub(crate) use crate::script::{Script, Scripted};
pub(crate) use crate::server::Server;

/// How long anything may take before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const LEASE: Duration = Duration::from_millis(900);

/// A fleet of one plugin; the coordinator accepts it and settles nothing.
pub(crate) struct Fleet {
    pub(crate) server: Server,
    pub(crate) names: Names,
    pub(crate) manifest: Manifest,
    pub(crate) client: Client,
    pub(crate) js: jetstream::Context,
    pub(crate) reply: Arc<Mutex<AnnounceReply>>,
    pub(crate) announced: Arc<AtomicUsize>,
    signals: Arc<Mutex<Vec<Signal>>>,
    workers: AtomicUsize,
    parts: JoinSet<()>,
}

impl Fleet {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        Self::with(manifest(&serde_json::json!({}))?).await
    }

    pub(crate) async fn with(manifest: Manifest) -> anyhow::Result<Self> {
        let server = Server::start().await?;
        let client = async_nats::connect(server.url()).await?;
        let js = jetstream::new(client.clone());
        let names = Names::default();
        apply(&js, &Topology::of(&names, 1)).await?;
        for queue in Queue::ALL {
            let spec = TaskConsumerSpec::of(&names, &manifest, queue, LEASE);
            broker_config::apply::apply_consumer(&js, &names, &spec).await?;
        }
        let reply = AnnounceReply::Accepted {
            settings: Settings::new(),
            lease_ms: u64::try_from(LEASE.as_millis())?,
            heartbeat_ms: 200,
            max_payload: 1 << 20,
            concurrency: None,
            paused: false,
            lane: broker_config::Lane::Main,
            files: None,
        };
        let mut fleet = Self {
            server,
            names,
            manifest,
            client,
            js,
            reply: Arc::new(Mutex::new(reply)),
            announced: Arc::default(),
            signals: Arc::default(),
            workers: AtomicUsize::new(0),
            parts: JoinSet::new(),
        };
        fleet.answer_announcements().await?;
        fleet.keep_signals().await?;
        fleet.client.flush().await?;
        Ok(fleet)
    }

    async fn answer_announcements(&mut self) -> anyhow::Result<()> {
        let mut requests = self.client.subscribe(self.names.signals("announce")).await?;
        let (reply, announced) = (self.reply.clone(), self.announced.clone());
        let js = self.client.clone();
        self.parts.spawn(async move {
            while let Some(request) = requests.next().await {
                announced.fetch_add(1, Ordering::SeqCst);
                let body = serde_json::to_vec(&*lock(&reply)).unwrap_or_default();
                if let Some(to) = request.reply {
                    drop(js.publish_with_headers(to, HeaderMap::new(), body.into()).await);
                }
            }
        });
        Ok(())
    }

    async fn keep_signals(&mut self) -> anyhow::Result<()> {
        let mut messages = self.client.subscribe(self.names.signals("*")).await?;
        let signals = self.signals.clone();
        self.parts.spawn(async move {
            while let Some(message) = messages.next().await {
                if let Ok(signal) = serde_json::from_slice::<Signal>(&message.payload) {
                    lock(&signals).push(signal);
                }
            }
        });
        Ok(())
    }

    /// Starts a worker, and waits until it announced itself.
    pub(crate) async fn worker(
        &self,
        script: Script,
        change: impl FnOnce(&mut WorkerOptions),
    ) -> anyhow::Result<Running> {
        let before = self.announced.load(Ordering::SeqCst);
        let running = self.spawn(script, change)?;
        eventually("the worker to announce itself", async || {
            self.announced.load(Ordering::SeqCst) > before
        })
        .await?;
        Ok(running)
    }

    /// Starts a worker.
    pub(crate) fn spawn(
        &self,
        script: Script,
        change: impl FnOnce(&mut WorkerOptions),
    ) -> anyhow::Result<Running> {
        let number = self.workers.fetch_add(1, Ordering::SeqCst);
        let mut options = WorkerOptions {
            url: self.server.url(),
            instance: Some(format!("w{number}").parse()?),
            concurrency: std::num::NonZeroUsize::new(4),
            grace: Duration::from_secs(5),
            ..WorkerOptions::default()
        };
        change(&mut options);
        let plugin = Scripted::new(self.manifest.clone(), script);
        let drain = CancellationToken::new();
        // Apart from the test's own, so that a handler that blocks does not stop the test.
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let mut worker = JoinSet::new();
        worker.spawn_on(Worker::new(plugin, options).run(drain.clone()), runtime.handle());
        Ok(Running { drain, worker, runtime: Some(runtime) })
    }

    /// Publishes a task as the coordinator does.
    pub(crate) async fn publish(&self, queue: Queue, task: &Task) -> anyhow::Result<u64> {
        self.publish_raw(queue, &task.cid, HeaderMap::new(), serde_json::to_vec(task)?).await
    }

    pub(crate) async fn publish_raw(
        &self,
        queue: Queue,
        cid: &Cid,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> anyhow::Result<u64> {
        let subject = self.names.task(queue, &self.manifest.id, cid);
        let ack = self.js.publish_with_headers(subject, headers, body.into()).await?.await?;
        Ok(ack.sequence)
    }

    /// Publishes `count` tasks named `<name>-<n>`.
    pub(crate) async fn publish_many(
        &self,
        queue: Queue,
        name: &str,
        count: usize,
    ) -> anyhow::Result<()> {
        for n in 0..count {
            self.publish(queue, &task(&format!("{name}-{n}"))?).await?;
        }
        Ok(())
    }

    /// The record of a file with its sequence and headers, if there is one.
    pub(crate) async fn record(
        &self,
        cid: &str,
    ) -> anyhow::Result<Option<(Record, u64, HeaderMap)>> {
        let subject = self.names.record(&cid.parse()?, &self.manifest.id);
        let stream = self.js.get_stream(self.names.record_stream()).await?;
        match stream.get_last_raw_message_by_subject(&subject).await {
            Ok(message) => {
                let record = serde_json::from_slice(&message.payload)?;
                Ok(Some((record, message.sequence, message.headers)))
            }
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for the record of a file.
    pub(crate) async fn settled(&self, cid: &str) -> anyhow::Result<Record> {
        let begun = Instant::now();
        loop {
            if let Ok(Some((record, ..))) = self.record(cid).await {
                return Ok(record);
            }
            if begun.elapsed() > PATIENCE {
                bail!("no record of {cid}; signals: {:?}", lock(&self.signals));
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits for the `n`th signal of a kind, from 0.
    pub(crate) async fn signal(&self, kind: &str, n: usize) -> anyhow::Result<Signal> {
        let begun = Instant::now();
        loop {
            let found =
                lock(&self.signals).iter().filter(|s| s.what.kind() == kind).nth(n).cloned();
            if let Some(signal) = found {
                return Ok(signal);
            }
            if begun.elapsed() > PATIENCE {
                bail!("no signal {kind} number {n}; signals: {:?}", lock(&self.signals));
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn count_signals(&self, kind: &str) -> usize {
        lock(&self.signals).iter().filter(|signal| signal.what.kind() == kind).count()
    }

    /// Tasks that are neither settled nor given up on.
    pub(crate) async fn open_tasks(&self) -> anyhow::Result<u64> {
        let mut stream = self.js.get_stream(self.names.task_stream()).await?;
        Ok(stream.info().await?.state.messages)
    }

    /// Waits until every task is settled or given up on.
    pub(crate) async fn all_done(&self) -> anyhow::Result<()> {
        eventually("all tasks to be done", async || matches!(self.open_tasks().await, Ok(0))).await
    }

    /// Deliveries that workers hold, over both queues.
    pub(crate) async fn held(&self) -> anyhow::Result<usize> {
        let mut held = 0;
        for queue in Queue::ALL {
            let name = Names::consumer(&self.manifest.id, queue);
            let consumer: jetstream::consumer::PullConsumer =
                self.js.get_consumer_from_stream(name, self.names.task_stream()).await?;
            held += consumer.get_info().await?.num_ack_pending;
        }
        Ok(held)
    }

    /// The sign of life of worker `w0`; `None` when it has left.
    pub(crate) async fn presence(&self) -> anyhow::Result<Option<Instance>> {
        let subject = self.names.instance(&self.manifest.id, &"w0".parse()?);
        let stream = Names::bucket_stream(&self.names.instances_bucket());
        let stream = self.js.get_stream(stream).await?;
        match stream.get_last_raw_message_by_subject(&subject).await {
            Ok(message) if broker_config::read::is_deletion(Some(&message.headers)) => Ok(None),
            Ok(message) => Ok(Some(serde_json::from_slice(&message.payload)?)),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until worker `w0` shows this state.
    pub(crate) async fn in_state(&self, state: InstanceState) -> anyhow::Result<()> {
        eventually(
            &format!("the state {state:?}"),
            async || matches!(self.presence().await, Ok(Some(entry)) if entry.state == state),
        )
        .await
    }

    pub(crate) async fn control(&self, control: &Control) -> anyhow::Result<ControlReply> {
        let subject = self.names.control(&self.manifest.id);
        let answer = self.client.request(subject, serde_json::to_vec(control)?.into()).await?;
        Ok(serde_json::from_slice(&answer.payload)?)
    }
}

/// A worker that runs.
pub(crate) struct Running {
    pub(crate) drain: CancellationToken,
    worker: JoinSet<Result<(), WorkerError>>,
    runtime: Option<Runtime>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Running {
    /// Waits until it has ended by itself.
    pub(crate) async fn ended(&mut self) -> anyhow::Result<Result<(), WorkerError>> {
        let ended = timeout(PATIENCE, self.worker.join_next()).await.context("worker goes on")?;
        Ok(ended.context("worker is gone")??)
    }

    /// Drains it and waits until it has.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.drain.cancel();
        Ok(self.ended().await??)
    }

    /// Lets it vanish.
    pub(crate) async fn abort(mut self) {
        self.worker.shutdown().await;
    }
}

/// A manifest with these fields changed.
pub(crate) fn manifest(fields: &serde_json::Value) -> anyhow::Result<Manifest> {
    let mut json = serde_json::json!({
        "id": "probe", "name": "Probe", "version": "1.0.0", "priority": 50, "queue": "fast",
        "timeout": 10_000, "dataSchema": {"a": {"type": "string"}},
        "retry": {"maxAttempts": 4, "delaysMs": [50]},
    });
    for (name, value) in fields.as_object().context("an object")? {
        json[name] = value.clone();
    }
    Ok(Manifest::from_json(&json.to_string())?)
}

pub(crate) fn completed() -> Outcome {
    let mut meta = worker_sdk::Meta::new();
    meta.text("a", "1");
    Outcome::Completed(meta)
}

/// A task for the file `cid`, with short delays between its four attempts.
pub(crate) fn task(cid: &str) -> anyhow::Result<Task> {
    let cid: Cid = cid.parse()?;
    let plugin_id = "probe".parse()?;
    let task = serde_json::json!({
        "type": "metafleet.task.v1", "taskId": TaskId::derive(&cid, &plugin_id, "print", 0),
        "runId": 7, "pluginId": plugin_id, "cid": cid, "filePath": "/media/a.mkv",
        "fingerprint": "print", "deadlineMs": 10_000, "retry": policy(4, &[50]),
    });
    Ok(serde_json::from_value(task)?)
}

pub(crate) fn policy(attempts: u32, delays_ms: &[u64]) -> RetryPolicy {
    RetryPolicy {
        max_attempts: NonZeroU32::new(attempts).unwrap_or(NonZeroU32::MIN),
        delays_ms: delays_ms.to_vec(),
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until `holds` says yes.
pub(crate) async fn eventually(
    what: &str,
    mut holds: impl AsyncFnMut() -> bool,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !holds().await {
        if begun.elapsed() > PATIENCE {
            bail!("waited in vain for {what}");
        }
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// How often each name comes.
pub(crate) fn tally(names: &[String]) -> BTreeMap<&str, usize> {
    let mut tally = BTreeMap::new();
    for name in names {
        *tally.entry(name.as_str()).or_default() += 1;
    }
    tally
}
