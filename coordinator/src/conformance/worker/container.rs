//! A worker as a container. Its keeper, a task, makes it, waits for its end, and removes it as soon
//! as nobody holds the worker any more, whatever has become of the case meanwhile.

use std::fs::File;
use std::io::Write as _;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::StreamExt as _;
use rustix::process::Signal;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Start, status_of};
use crate::conformance::image::Tried;
use crate::docker::engine::{EngineError, LogPart};
use crate::docker::found::Exit;

/// What a container has printed at its end must be read within this.
const REST: Duration = Duration::from_secs(5);

/// How it ended; `None` = not yet.
type End = Option<Result<ExitStatus, EngineError>>;

/// A container, which is removed when this value is dropped.
#[derive(Debug)]
pub(super) struct Container {
    tried: Arc<Tried>,
    id: String,
    end: watch::Receiver<End>,
    _held: DropGuard,
}

impl Container {
    pub(super) async fn start(
        tried: Arc<Tried>,
        start: Start,
        keepers: &mut JoinSet<()>,
    ) -> anyhow::Result<Self> {
        let log = File::create(&start.log);
        let log = log.with_context(|| format!("write {}", start.log.display()))?;
        let (started, made) = oneshot::channel();
        let (ended, end) = watch::channel(None);
        let dropped = CancellationToken::new();
        let held = dropped.clone().drop_guard();
        let keeper = Keeper { tried: tried.clone(), log, ended, dropped };
        keepers.spawn(keeper.run(start, started));
        let id = made.await.context("the container's keeper has ended")??;
        Ok(Self { tried, id, end, _held: held })
    }

    pub(super) async fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(self.tried.engine().kill(&self.id, signal.as_raw()).await?)
    }

    pub(super) async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        let end = self.end.wait_for(Option::is_some).await;
        let end = end.context("the container's keeper has ended")?.clone();
        Ok(end.context("an end")??)
    }

    pub(super) fn has_ended(&mut self) -> Result<Option<ExitStatus>, EngineError> {
        self.end.borrow().clone().transpose()
    }
}

struct Keeper {
    tried: Arc<Tried>,
    log: File,
    ended: watch::Sender<End>,
    dropped: CancellationToken,
}

impl Keeper {
    async fn run(mut self, start: Start, started: oneshot::Sender<Result<String, EngineError>>) {
        let engine = self.tried.engine().clone();
        let id = match self.tried.create(&start).await {
            Ok(id) => id,
            Err(error) => {
                // Whoever does not wait any more needs no container either.
                drop(started.send(Err(error)));
                return;
            }
        };
        match engine.start(&id).await {
            Err(error) => drop(started.send(Err(error))),
            // Else nobody waits any more.
            Ok(()) if started.send(Ok(id.clone())).is_ok() => {
                let dropped = self.dropped.clone();
                dropped.run_until_cancelled(self.attend(&id)).await;
                dropped.cancelled().await;
            }
            Ok(()) => {}
        }
        if let Err(error) = engine.remove(&id).await {
            tracing::warn!(%error, "a container of the kit is removed later");
        }
    }

    /// Writes down what it prints, and says how it has ended.
    async fn attend(&mut self, id: &str) {
        let engine = self.tried.engine().clone();
        let whole = LogPart { last: None, since: None, follow: true };
        let mut printed = std::pin::pin!(engine.follow(id, whole));
        let mut end = std::pin::pin!(engine.ended(id));
        let end = loop {
            tokio::select! {
                end = &mut end => break end,
                Some(part) = printed.next() => self.write(part),
            }
        };
        let rest = async {
            while let Some(part) = printed.next().await {
                self.write(part);
            }
        };
        if timeout(REST, rest).await.is_err() {
            self.note("the kit has not read all that it printed");
        }
        if let Ok(exit) = &end
            && (exit.oom || !exit.error.is_empty())
        {
            self.note(&exit.reason());
        }
        self.ended.send_replace(Some(end.map(|Exit { code, .. }| status_of(code))));
    }

    fn write(&mut self, part: Result<bytes::Bytes, EngineError>) {
        match part {
            Ok(part) => {
                if let Err(error) = self.log.write_all(&part) {
                    tracing::debug!(%error, "the log of a container is not written");
                }
            }
            Err(error) => self.note(&error.to_string()),
        }
    }

    /// Says something where people look for what the worker has printed.
    fn note(&mut self, what: &str) {
        self.write(Ok(format!("[engine] {what}\n").into()));
    }
}
