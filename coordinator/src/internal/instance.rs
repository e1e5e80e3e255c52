//! The life of one instance: started on a thread of its own, watched, started again, stopped.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use broker_config::{Chain, InstanceId};
use jiff::Timestamp;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use worker_sdk::{WorkerError, WorkerOptions};

use super::{InternalInfo, InternalOptions, Run, Wanted};
use crate::bridge::worker_options;
use crate::process::ProcessState;

/// How much longer than its grace period a worker may take to end.
const MARGIN: Duration = Duration::from_secs(5);
/// Threads that run an instance's tasks; what blocks has others.
const THREADS: usize = 2;

/// What is known about all instances; each writes its own entry only.
#[derive(Clone, Debug)]
pub(super) struct Board(watch::Sender<BTreeMap<InstanceId, InternalInfo>>);

impl Board {
    pub(super) fn new() -> (Self, watch::Receiver<BTreeMap<InstanceId, InternalInfo>>) {
        let (sender, receiver) = watch::channel(BTreeMap::new());
        (Self(sender), receiver)
    }

    pub(super) fn remove(&self, name: &InstanceId) {
        self.0.send_modify(|all| {
            all.remove(name);
        });
    }

    fn update(&self, name: &InstanceId, change: impl FnOnce(&mut InternalInfo)) {
        self.0.send_modify(|all| {
            if let Some(info) = all.get_mut(name) {
                change(info);
            }
        });
    }
}

/// One instance to be run.
pub(super) struct Instance {
    pub(super) wanted: Wanted,
    pub(super) run: Arc<Run>,
    pub(super) options: InternalOptions,
    pub(super) board: Board,
}

impl Instance {
    /// Runs the worker, again and again, until `stop` is cancelled; returns when it has ended.
    pub(super) async fn run(self, stop: CancellationToken) {
        let name = &self.wanted.name;
        self.board.0.send_modify(|all| {
            let info = InternalInfo {
                name: name.clone(),
                plugin: self.wanted.plugin.clone(),
                runtime: "internal",
                state: ProcessState::Starting,
                restarts: 0,
                started: None,
                next_start: None,
                last_error: None,
            };
            all.insert(name.clone(), info);
        });
        let restart = self.options.restart;
        let mut failures = 0;
        while !stop.is_cancelled() {
            let since = Instant::now();
            self.board.update(name, |info| {
                info.state = ProcessState::Running;
                info.started = Some(Timestamp::now());
                info.next_start = None;
            });
            let ended = self.run_once(&stop).await;
            if stop.is_cancelled() {
                break;
            }
            let why = match ended {
                Ok(()) => "it was asked to drain".to_owned(),
                Err(why) => why,
            };
            failures = restart.failures(failures, since.elapsed());
            let pause = restart.delay(failures);
            let looping = restart.is_crash_loop(failures);
            warn!(
                instance.id = %name, plugin.id = %self.wanted.plugin, error = why,
                failures, pause_ms = pause.as_millis(), "a built-in plugin has ended"
            );
            self.board.update(name, |info| {
                info.state = if looping { ProcessState::CrashLoop } else { ProcessState::Waiting };
                info.next_start = Timestamp::now().checked_add(pause).ok();
                info.last_error = Some(why);
            });
            if stop.run_until_cancelled(sleep(pause)).await.is_none() {
                break;
            }
            self.board.update(name, |info| info.restarts = info.restarts.saturating_add(1));
        }
        info!(instance.id = %name, "a built-in plugin has stopped");
    }

    /// Runs one worker to its end, on a thread with a runtime; a panic there is its end.
    async fn run_once(&self, stop: &CancellationToken) -> Result<(), String> {
        let options = WorkerOptions {
            plugin: Some(self.wanted.plugin.clone()),
            instance: Some(self.wanted.name.clone()),
            concurrency: self.wanted.concurrency.and_then(|n| NonZeroUsize::try_from(n).ok()),
            grace: self.options.grace,
            prefix: self.options.prefix.clone(),
            ..worker_options(&self.options.access.of(&self.wanted.plugin))
        };
        let (sender, mut ended) = oneshot::channel();
        let (run, drain) = (self.run.clone(), stop.child_token());
        // The thread ends with the worker, or, when a handler blocks for ever, with the process.
        let started =
            std::thread::Builder::new().name(self.wanted.name.to_string()).spawn(move || {
                let result = worker(&*run, options, drain);
                // Whoever waited for it may have gone.
                drop(sender.send(result));
            });
        if let Err(error) = started {
            return Err(format!("no thread for it: {error}"));
        }
        let result = tokio::select! {
            biased;
            result = &mut ended => result,
            () = stop.cancelled() => {
                self.board.update(&self.wanted.name, |info| info.state = ProcessState::Stopping);
                let Ok(result) = timeout(self.options.grace + MARGIN, ended).await else {
                    error!(instance.id = %self.wanted.name, "it does not stop, leaving it");
                    return Ok(());
                };
                result
            }
        };
        match result {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Chain(&error).to_string()),
            Err(_) => Err("it panicked".to_owned()),
        }
    }
}

fn worker(run: &Run, options: WorkerOptions, drain: CancellationToken) -> Result<(), WorkerError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .map_err(|error: io::Error| WorkerError::Thread(error))?;
    let result = runtime.block_on(run(options, drain));
    // A handler that blocks its thread must not hold up the stop.
    runtime.shutdown_background();
    result
}
