//! The real coordinator and the real SDK.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_nats::HeaderMap;
use broker_config::Queue;
use broker_config::publish::{IN_FLIGHT, Publisher};
use futures_util::{StreamExt as _, stream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use worker_sdk::{Credentials, Worker, WorkerOptions};

use super::noop::Noop;
use super::{Bench, IN_HAND, connect, resident_mb, until};
use crate::broker::json;
use crate::config::connection::Login;
use crate::registry::Word;
use crate::service::{Coordinator, CoordinatorHandle, CoordinatorOptions, Phase};

/// Longest time a measurement may take.
const LIMIT: Duration = Duration::from_secs(300);

/// A coordinator with its workers.
struct Fleet {
    coordinator: CoordinatorHandle,
    publisher: Publisher,
    stop: CancellationToken,
    parts: JoinSet<anyhow::Result<()>>,
}

impl Fleet {
    async fn start(bench: &Bench, workers: bool) -> anyhow::Result<Self> {
        let client = connect(&bench.broker).await?;
        let stop = CancellationToken::new();
        let plugins = Noop::graph(bench.plugins)?;
        let expected: BTreeSet<_> = plugins.iter().map(Noop::id).collect();
        let options = CoordinatorOptions {
            names: bench.names.clone(),
            word: Word { expected, ..Word::default() },
            ..CoordinatorOptions::default()
        };
        let (coordinator, handle) = Coordinator::new(client, options);
        let mut parts = JoinSet::new();
        let drain = stop.clone();
        parts.spawn(async move { Ok(coordinator.run(drain).await?) });
        let mut announced = Vec::new();
        for plugin in plugins {
            let drain = stop.child_token();
            announced.push(drain.clone());
            let worker = Worker::new(plugin, worker_options(bench)?);
            parts.spawn(async move { Ok(worker.run(drain).await?) });
        }
        let mut phase = handle.phase();
        let leads = tokio::time::timeout(LIMIT, phase.wait_for(|phase| *phase == Phase::Leading));
        leads.await.context("wait for the coordinator")??;
        if !workers {
            announced.iter().for_each(CancellationToken::cancel);
        }
        let publisher = Publisher::open(connect(&bench.broker).await?).await?;
        Ok(Self { coordinator: handle, publisher, stop, parts })
    }

    /// Hands in all files, pipelined.
    async fn submit_all(&self, bench: &Bench) -> anyhow::Result<()> {
        let subject = bench.names.submit(Queue::Fast);
        let mut sent = stream::iter(0..bench.files)
            .map(|number| {
                let subject = subject.clone();
                async move {
                    let body = json(&bench.submission(number)?);
                    self.publisher.publish(subject, HeaderMap::new(), body).await?;
                    anyhow::Ok(())
                }
            })
            .buffer_unordered(IN_FLIGHT / 2);
        while let Some(sent) = sent.next().await {
            sent?;
        }
        Ok(())
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        while let Some(ended) = self.parts.join_next().await {
            ended??;
        }
        self.publisher.close().await;
        Ok(())
    }
}

fn worker_options(bench: &Bench) -> anyhow::Result<WorkerOptions> {
    let credentials = match &bench.broker.login {
        Login::User { name, password } => {
            Credentials::User { name: name.clone(), password: password.reveal().to_owned() }
        }
        Login::Anonymous => Credentials::None,
        Login::Token(_) | Login::Credentials(_) | Login::Nkey(_) => {
            anyhow::bail!("the bench logs in with a user and a password, or not at all")
        }
    };
    Ok(WorkerOptions {
        url: bench.broker.url.clone(),
        credentials,
        prefix: bench.names.prefix().clone(),
        concurrency: std::num::NonZeroUsize::new(IN_HAND),
        ..WorkerOptions::default()
    })
}

/// Time from the first submission until all files are settled.
pub(super) async fn throughput(bench: &Bench) -> anyhow::Result<Duration> {
    let fleet = Fleet::start(bench, true).await?;
    let started = Instant::now();
    let metrics = fleet.coordinator.metrics().clone();
    let files = bench.files as u64;
    let settled = until(LIMIT, move || metrics.settled_files() >= files);
    let (sent, settled) = tokio::join!(fleet.submit_all(bench), settled);
    let took = started.elapsed();
    fleet.stop().await?;
    sent?;
    settled?;
    Ok(took)
}

/// Time from handing in a file until subscribers hear that it is settled, one file at a time.
pub(super) async fn latency(bench: &Bench) -> anyhow::Result<Vec<f64>> {
    let fleet = Fleet::start(bench, true).await?;
    let subject = bench.names.submit(Queue::Fast);
    let settled = bench.names.event("file.settled");
    let mut events = fleet.publisher.client().subscribe(settled).await?;
    fleet.publisher.client().flush().await?;
    let mut times = Vec::new();
    for number in 0..bench.files {
        let body = json(&bench.submission(number)?);
        let started = Instant::now();
        fleet.publisher.publish(subject.clone(), HeaderMap::new(), body).await?;
        tokio::time::timeout(LIMIT, events.next()).await.context("wait for an event")?;
        times.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    fleet.stop().await?;
    // The first files find cold caches and code.
    Ok(times.split_off(times.len() / 10))
}

/// Resident memory before and while submissions wait for a plugin that nobody runs, in MB.
pub(super) async fn memory(bench: &Bench) -> anyhow::Result<(f64, f64)> {
    let fleet = Fleet::start(bench, false).await?;
    let before = resident_mb()?;
    fleet.submit_all(bench).await?;
    let coordinator = Arc::new(fleet.coordinator.clone());
    if bench.files > 0 {
        until(LIMIT, move || coordinator.numbers().open > 0).await?;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let waiting = resident_mb()?;
    fleet.stop().await?;
    Ok((before, waiting))
}
