//! A plugin that does as told and notes what it was asked.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use broker_config::Manifest;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use worker_sdk::{
    Classify as _, Context, Failure, Health, InvalidSettings, Meta, Outcome, Plugin, Settings,
};

use crate::harness::{LEASE, completed, eventually, lock};

/// What a handler is asked to do.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) cid: String,
    pub(crate) attempt: u32,
    pub(crate) path: PathBuf,
    pub(crate) cancelled: CancellationToken,
}

type Answer = Pin<Box<dyn Future<Output = Result<Outcome, Failure>> + Send>>;
type Handler = dyn Fn(Call) -> Answer + Send + Sync;

/// What a handler does, and what was asked of it.
#[derive(Clone)]
pub(crate) struct Script {
    handler: Arc<Handler>,
    pub(crate) calls: Arc<Mutex<Vec<(Call, Instant)>>>,
    running: Arc<AtomicUsize>,
    pub(crate) most: Arc<AtomicUsize>,
    pub(crate) refuses_settings: bool,
    pub(crate) hangs: Option<Hangs>,
    /// How often it has hung.
    pub(crate) hung: Arc<AtomicUsize>,
    /// Reports progress and hands its own file in.
    pub(crate) reports: bool,
    /// Reports progress so many times, with a pause before each.
    pub(crate) keeps_reporting: Option<(u32, Duration)>,
    /// Keeps an artefact of so many bytes and refers to it.
    pub(crate) keeps: Option<usize>,
}

impl Script {
    pub(crate) fn new<W>(handler: impl Fn(Call) -> W + Send + Sync + 'static) -> Self
    where
        W: Future<Output = Result<Outcome, Failure>> + Send + 'static,
    {
        Self {
            handler: Arc::new(move |call| Box::pin(handler(call))),
            calls: Arc::default(),
            running: Arc::default(),
            most: Arc::default(),
            refuses_settings: false,
            hangs: None,
            hung: Arc::default(),
            reports: false,
            keeps_reporting: None,
            keeps: None,
        }
    }

    /// Completes every task at once.
    pub(crate) fn completes() -> Self {
        Self::new(|_| async { Ok(completed()) })
    }

    pub(crate) fn attempts(&self) -> usize {
        lock(&self.calls).len()
    }

    /// The names of the tasks, in the order in which they were begun.
    pub(crate) fn order(&self) -> Vec<String> {
        lock(&self.calls).iter().map(|(call, _)| call.cid.clone()).collect()
    }

    /// When each attempt began.
    pub(crate) fn times(&self) -> Vec<Instant> {
        lock(&self.calls).iter().map(|(_, at)| *at).collect()
    }

    pub(crate) async fn begun(&self, attempts: usize) -> anyhow::Result<()> {
        eventually("a handler to begin", async || self.attempts() >= attempts).await
    }
}

/// Where a plugin hangs, besides its handler.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hangs {
    /// Over settings that say `hang`.
    Settings,
    /// When it is paused, for three leases, with its thread.
    Pause,
    /// When it is asked for its health.
    Health,
}

/// The plugin that follows a script.
pub(crate) struct Scripted {
    manifest: Manifest,
    script: Script,
}

impl Scripted {
    pub(crate) fn new(manifest: Manifest, script: Script) -> Self {
        Self { manifest, script }
    }
}

impl Plugin for Scripted {
    fn manifest(&self) -> Manifest {
        self.manifest.clone()
    }

    async fn configure(&self, settings: &Settings) -> Result<(), InvalidSettings> {
        if self.script.refuses_settings && !settings.contains_key("key") {
            return Err(InvalidSettings::new("key is required"));
        }
        if self.script.hangs == Some(Hangs::Settings) && settings.contains_key("hang") {
            self.script.hung.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    async fn process(&self, ctx: &Context) -> Result<Outcome, Failure> {
        let call = Call {
            cid: ctx.task().cid.to_string(),
            attempt: ctx.attempt().get(),
            path: ctx.path().to_owned(),
            cancelled: ctx.cancelled().clone(),
        };
        lock(&self.script.calls).push((call.clone(), Instant::now()));
        if self.script.reports {
            ctx.progress(0.5, "half way").await;
            ctx.submit(ctx.path()).await.retryable()?;
        }
        let _running = Count::up(&self.script.running, &self.script.most);
        if let Some((times, pause)) = self.script.keeps_reporting {
            for _ in 0..times {
                sleep(pause).await;
                ctx.progress(0.5, "still at it").await;
            }
        }
        if let Some(bytes) = self.script.keeps {
            let name = "still é.jpg".parse().permanent()?;
            let kept = ctx.put_artifact(&name, "image/jpeg", vec![7; bytes]).await?;
            let mut meta = Meta::new();
            meta.artifact("still", &kept);
            return Ok(Outcome::Completed(meta));
        }
        (self.script.handler)(call).await
    }

    async fn health(&self) -> Health {
        if self.script.hangs == Some(Hangs::Health) {
            self.script.hung.fetch_add(1, Ordering::SeqCst);
            let _running = Count::up(&self.script.running, &self.script.most);
            std::future::pending::<()>().await;
        }
        Health::Healthy
    }

    fn on_pause(&self) {
        if self.script.hangs == Some(Hangs::Pause) {
            let (_sender, never) = std::sync::mpsc::channel::<()>();
            assert!(never.recv_timeout(LEASE * 3).is_err());
        }
    }
}

/// Counts what runs at once.
struct Count(Arc<AtomicUsize>);

impl Count {
    fn up(running: &Arc<AtomicUsize>, most: &AtomicUsize) -> Self {
        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        Self(running.clone())
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
