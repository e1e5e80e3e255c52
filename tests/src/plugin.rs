//! Plugins that do as told and note what they were asked, and the workers that run them.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use broker_config::{Manifest, MetaMap, PluginId, Queue};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use worker_sdk::{
    Context, Failure, InvalidSettings, Meta, Outcome, Plugin, Settings, Worker, WorkerError,
    WorkerOptions,
};

use crate::{LIMIT, eventually};

/// What a handler was asked to do.
#[derive(Clone, Debug)]
pub struct Call {
    /// The plugin.
    pub plugin: PluginId,
    /// Its version.
    pub version: String,
    /// The worker that was asked.
    pub instance: String,
    /// The file.
    pub cid: String,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// What was known of the file.
    pub existing: MetaMap,
    /// When.
    pub at: Instant,
}

impl Call {
    /// The usual outcome: `<plugin>/done` holds the version.
    #[must_use]
    pub fn done(&self) -> Outcome {
        done(&self.plugin, &self.version)
    }
}

/// The outcome of a plugin that writes `value` under its one key.
#[must_use]
pub fn done(plugin: &PluginId, value: &str) -> Outcome {
    let mut meta = Meta::new();
    meta.text(format!("{plugin}/done"), value);
    Outcome::Completed(meta)
}

type Answer = Pin<Box<dyn Future<Output = Result<Outcome, Failure>> + Send>>;
type Handler = dyn Fn(Call) -> Answer + Send + Sync;
type Configure = dyn Fn(&Settings) -> Result<(), String> + Send + Sync;

/// What a plugin does, and what was asked of it by all its workers; clones share the notes.
#[derive(Clone)]
pub struct Script {
    handler: Arc<Handler>,
    configure: Arc<Configure>,
    calls: Arc<Mutex<Vec<Call>>>,
    running: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls = self.calls();
        writeln!(f, "{} attempts, the last ones:", calls.len())?;
        for call in calls.iter().rev().take(20).rev() {
            let Call { plugin, instance, cid, attempt, .. } = call;
            writeln!(f, "  {plugin} on {cid}, attempt {attempt} by {instance}")?;
        }
        Ok(())
    }
}

impl Script {
    /// Does what `handler` says.
    pub fn new<W>(handler: impl Fn(Call) -> W + Send + Sync + 'static) -> Self
    where
        W: Future<Output = Result<Outcome, Failure>> + Send + 'static,
    {
        Self {
            handler: Arc::new(move |call| Box::pin(handler(call))),
            configure: Arc::new(|_| Ok(())),
            calls: Arc::default(),
            running: Arc::default(),
            most: Arc::default(),
        }
    }

    /// Completes every task at once.
    #[must_use]
    pub fn completes() -> Self {
        Self::new(|call| async move { Ok(call.done()) })
    }

    /// Fails every attempt in a way that another attempt may mend.
    #[must_use]
    pub fn fails(error: &'static str) -> Self {
        Self::new(move |_| async move { Err(Failure::retryable(error)) })
    }

    /// Holds every task until `gate` is cancelled, then completes it.
    #[must_use]
    pub fn waits_for(gate: &CancellationToken) -> Self {
        let gate = gate.clone();
        Self::new(move |call| {
            let gate = gate.clone();
            async move {
                gate.cancelled().await;
                Ok(call.done())
            }
        })
    }

    /// Takes settings as `configure` says.
    #[must_use]
    pub fn configured(
        mut self,
        configure: impl Fn(&Settings) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.configure = Arc::new(configure);
        self
    }

    /// Everything that was asked, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.calls).clone()
    }

    /// What was asked about one file.
    #[must_use]
    pub fn calls_of(&self, cid: &str) -> Vec<Call> {
        self.calls().into_iter().filter(|call| call.cid == cid).collect()
    }

    /// Most attempts at the same time so far.
    #[must_use]
    pub fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    /// Waits until `count` attempts have begun.
    pub async fn begun(&self, count: usize) -> anyhow::Result<()> {
        eventually(&format!("{count} attempts to begin"), async || {
            Ok((lock(&self.calls).len() >= count).then_some(()))
        })
        .await
        .with_context(|| format!("{self:?}"))
    }
}

/// A plugin that follows a script, in one worker.
#[derive(Debug)]
struct Scripted {
    manifest: Manifest,
    instance: String,
    script: Script,
}

impl Plugin for Scripted {
    fn manifest(&self) -> Manifest {
        self.manifest.clone()
    }

    async fn configure(&self, settings: &Settings) -> Result<(), InvalidSettings> {
        (self.script.configure)(settings).map_err(InvalidSettings::new)
    }

    async fn process(&self, ctx: &Context) -> Result<Outcome, Failure> {
        let call = Call {
            plugin: self.manifest.id.clone(),
            version: self.manifest.version.to_string(),
            instance: self.instance.clone(),
            cid: ctx.task().cid.to_string(),
            attempt: ctx.attempt().get(),
            existing: ctx.existing().clone(),
            at: Instant::now(),
        };
        lock(&self.script.calls).push(call.clone());
        let _running = Counted::up(&self.script.running, &self.script.most);
        (self.script.handler)(call).await
    }
}

/// Counts what runs at once.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn up(running: &Arc<AtomicUsize>, most: &AtomicUsize) -> Self {
        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        Self(running.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A worker that runs, on a runtime of its own; it vanishes when dropped.
#[derive(Debug)]
pub struct Running {
    /// Its name in the fleet.
    pub instance: String,
    drain: CancellationToken,
    task: JoinHandle<Result<(), WorkerError>>,
    runtime: Option<Runtime>,
}

impl Running {
    /// Starts a worker without waiting for anything.
    pub(crate) fn start(
        manifest: Manifest,
        script: Script,
        options: WorkerOptions,
    ) -> anyhow::Result<Self> {
        let instance = options.instance.as_ref().map(ToString::to_string).unwrap_or_default();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let drain = CancellationToken::new();
        let plugin = Scripted { manifest, instance: instance.clone(), script };
        let task = runtime.spawn(Worker::new(plugin, options).run(drain.clone()));
        Ok(Self { instance, drain, task, runtime: Some(runtime) })
    }

    /// Drains it and waits until it has left.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.drain.cancel();
        Ok(self.ended().await??)
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self) -> anyhow::Result<Result<(), WorkerError>> {
        Ok(timeout(LIMIT, &mut self.task).await.context("the worker goes on")??)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The manifest of a plugin `id` that writes `<id>/done`, with the fields of `change` on top.
pub fn manifest(id: &str, change: &Value) -> anyhow::Result<Manifest> {
    let mut json = json!({
        "id": id, "name": id, "version": "1.0.0", "priority": 50, "queue": Queue::Fast,
        "timeout": 20_000, "dataSchema": {format!("{id}/done"): {}},
        "retry": {"maxAttempts": 3, "delaysMs": [100]},
    });
    for (field, value) in change.as_object().context("an object of fields")? {
        json[field] = value.clone();
    }
    Ok(Manifest::from_json(&json.to_string())?)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
