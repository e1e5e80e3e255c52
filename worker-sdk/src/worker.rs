//! The worker: start, serve, drain.
//!
//! Two runtimes. Handlers run where [`Worker::run`] was called; everything that talks to the broker
//! runs on a thread of its own, so that a handler that blocks stops neither the renewal of leases
//! nor the connection.
//!
//! | state | what happens | goes on when |
//! |---|---|---|
//! | connecting | tries until somebody is there | connected |
//! | starting | announces itself until the coordinator accepts | accepted |
//! | failed | the plugin refused its settings: shows why, pulls nothing | configured again |
//! | ready | pulls and runs tasks | told to pause or drain |
//! | paused | finishes what runs, pulls nothing | told to resume |
//! | draining | finishes what runs, gives the rest back, leaves | nothing runs, or grace is over |

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use broker_config::publish::Publisher;
use broker_config::{InstanceId, Manifest, Names, PluginId};
use futures_util::TryFutureExt as _;
use futures_util::future::try_join;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::connect::{ConnectError, Link};
use crate::delivery::{Beginning, ack_again};
use crate::files::Files;
use crate::lease::Leases;
use crate::metrics::Counters;
use crate::options::{InvalidOptions, WorkerOptions};
use crate::plugin::{Plugin, Settings};
use crate::presence::FIRST_HEARTBEAT_MS;
use crate::pull::{Puller, PullerOptions};
use crate::rim::{Inner, Rim};
use crate::standing::{Gate, Standing};
use crate::{announce, control, handle, presence};

/// How long running tasks may take to notice that they were stopped.
const STOPPING: Duration = Duration::from_secs(1);
/// How long the last messages may take to leave.
const FLUSH: Duration = Duration::from_secs(3);

/// Runs a plugin inside another program, e.g. a test; a plugin's `main` uses [`crate::run`].
#[derive(Debug)]
pub struct Worker<P> {
    plugin: P,
    options: WorkerOptions,
}

/// A worker cannot serve, and waiting does not help.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The environment makes no sense.
    #[error("the environment is not right")]
    Options(#[from] InvalidOptions),
    /// This is not the plugin that whoever started the process expects.
    #[error("this is the plugin {found}, not {expected}")]
    OtherPlugin {
        /// The id in the manifest.
        found: PluginId,
        /// The id in `METAFLEET_PLUGIN`.
        expected: PluginId,
    },
    /// The broker does not let us in.
    #[error("could not connect")]
    Connect(#[from] ConnectError),
    /// The fleet does not want this plugin.
    #[error("the coordinator does not accept the plugin: {}", reasons.join("; "))]
    Rejected {
        /// What is to be mended.
        reasons: Vec<String>,
    },
    /// The connection was closed for good.
    #[error("the connection is closed")]
    Closed(#[from] async_nats::SubscribeError),
    /// The thread that talks to the broker could not be started, or died.
    #[error("the worker's thread failed")]
    Thread(#[source] std::io::Error),
}

impl<P: Plugin> Worker<P> {
    /// A worker that is not running yet.
    #[must_use]
    pub fn new(plugin: P, options: WorkerOptions) -> Self {
        Self { plugin, options }
    }

    /// Serves until `drain` is cancelled or the coordinator asks for a drain, finishes what runs
    /// within the grace period, and leaves.
    ///
    /// Handlers run on the runtime that polls this future.
    ///
    /// # Errors
    ///
    /// [`WorkerError`] when the worker cannot serve; nothing of it is mended by trying again.
    ///
    /// # Cancel safety
    ///
    /// When dropped, the worker stops at once: running handlers are cancelled and their tasks
    /// given back as far as that is still possible.
    pub async fn run(self, drain: CancellationToken) -> Result<(), WorkerError> {
        let abort = CancellationToken::new();
        let abandoned: DropGuard = abort.clone().drop_guard();
        let (sender, ended) = oneshot::channel();
        let handlers = Handle::current();
        let inside = drain.child_token();
        let span = tracing::Span::current();
        std::thread::Builder::new()
            .name("worker-broker".to_owned())
            .spawn(move || {
                let _entered = span.enter();
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let result = match runtime {
                    Ok(runtime) => runtime.block_on(self.start(handlers, inside, abort)),
                    Err(error) => Err(WorkerError::Thread(error)),
                };
                // Whoever waited for it may have gone.
                drop(sender.send(result));
            })
            .map_err(WorkerError::Thread)?;
        let result = ended.await;
        drop(abandoned.disarm());
        result.unwrap_or_else(|_| {
            Err(WorkerError::Thread(std::io::Error::other("it ended without a result")))
        })
    }

    async fn start(
        self,
        handlers: Handle,
        drain: CancellationToken,
        abort: CancellationToken,
    ) -> Result<(), WorkerError> {
        let manifest = self.plugin.manifest();
        if let Some(expected) = &self.options.plugin
            && *expected != manifest.id
        {
            let expected = expected.clone();
            return Err(WorkerError::OtherPlugin { found: manifest.id, expected });
        }
        let instance = self.options.instance.clone().unwrap_or_else(|| made_up(&manifest));
        info!(plugin.id = %manifest.id, instance.id = %instance, version = %manifest.version, "starting");
        let Some(link) = Link::open(&self.options, instance.as_str(), &drain).await? else {
            return Ok(());
        };
        let publisher = Publisher::open(link.client.clone()).await?;
        let rim = Rim {
            names: Names::new(self.options.prefix.clone()),
            version: manifest.version.to_string(),
            manifest,
            instance,
            route: self.options.route,
            host: host(),
            started_at: jiff::Timestamp::now().to_string(),
            link,
            publisher,
            leases: Arc::new(Leases::new()),
            permits: Arc::default(),
            totals: Counters::default(),
            files: Arc::new(Files::new(self.options.files.clone())),
            standing: watch::Sender::new(Standing::default()),
            handlers,
            drain,
            abort,
            announce: Arc::new(Notify::new()),
            wanted: self.options.concurrency,
            settings: Mutex::new(Arc::new(Settings::new())),
            mask: Mutex::default(),
            heartbeat_ms: AtomicU64::new(FIRST_HEARTBEAT_MS),
        };
        let inner = Arc::new(Inner { plugin: self.plugin, rim });
        serve(inner, &self.options).await
    }
}

/// Runs all parts of the worker, and ends them in order.
async fn serve<P: Plugin>(
    inner: Arc<Inner<P>>,
    options: &WorkerOptions,
) -> Result<(), WorkerError> {
    let rim = &inner.rim;
    let leave = CancellationToken::new();
    let parts = TaskTracker::new();
    parts.spawn(part(&inner, &leave, async |inner, leave| {
        if let Err(error) = inner.rim.leases.renew(&inner.rim.link, &leave).await {
            warn!(error = %error, "cannot renew leases");
        }
    }));
    parts.spawn(part(&inner, &leave, async |inner, leave| presence::run(&inner, &leave).await));
    parts.spawn(part(&inner, &leave, async |inner, leave| {
        if let Err(error) = control::run(&inner, &leave).await {
            warn!(error = %error, "cannot be controlled");
        }
    }));
    let handlers = TaskTracker::new();
    let result = tokio::select! {
        biased;
        () = rim.abort.cancelled() => Ok(()),
        // In a box, because it is large.
        result = Box::pin(pull(&inner, options, &handlers)) => result,
    };
    drain(&inner, options, &handlers).await;
    leave.cancel();
    parts.close();
    parts.wait().await;
    farewell(&inner).await;
    result
}

/// A part of the worker, with what it needs to live as long as it likes.
fn part<P: Plugin, W: Future<Output = ()>>(
    inner: &Arc<Inner<P>>,
    leave: &CancellationToken,
    run: impl FnOnce(Arc<Inner<P>>, CancellationToken) -> W,
) -> W {
    run(inner.clone(), leave.clone())
}

/// Announces, pulls and starts handlers, until the drain or until it cannot go on.
async fn pull<P: Plugin>(
    inner: &Arc<Inner<P>>,
    options: &WorkerOptions,
    handlers: &TaskTracker,
) -> Result<(), WorkerError> {
    let rim = &inner.rim;
    announce::announce(inner, &rim.drain).await?;
    if rim.drain.is_cancelled() {
        return Ok(());
    }
    let (gates, gate) = watch::channel(rim.standing.borrow().gate());
    let watching = async {
        let mut standing = rim.standing.subscribe();
        while standing.changed().await.is_ok() {
            let now = standing.borrow_and_update().gate();
            gates.send_if_modified(|gate| std::mem::replace(gate, now) != now);
        }
        Ok(())
    };
    let announcing = announce::keep(inner, &rim.drain);
    let pulling = Box::pin(pull_lanes(inner, options, handlers, gate));
    to_its_end(pulling, try_join(announcing, watching), &rim.drain).await
}

/// Pulls the tasks of the lane that the coordinator names, and goes over to another one when it
/// names that. What is on its way then is given back.
async fn pull_lanes<P: Plugin>(
    inner: &Arc<Inner<P>>,
    options: &WorkerOptions,
    handlers: &TaskTracker,
    gate: watch::Receiver<Gate>,
) -> Result<(), WorkerError> {
    let rim = &inner.rim;
    while !rim.drain.is_cancelled() {
        let mut standing = rim.standing.subscribe();
        let lane = standing.borrow_and_update().lane;
        let puller = PullerOptions {
            names: &rim.names,
            plugin: &rim.manifest.id,
            lane,
            home: rim.manifest.queue,
            policy: options.policy,
            gate: gate.clone(),
            permits: rim.permits.clone(),
            lost: rim.announce.clone(),
        };
        let puller = Puller::open(rim.link.clone(), puller).await?;
        let moved = rim.drain.child_token();
        let pulling =
            puller.run(&moved, |message, permit| match handle::begin(inner, &message, permit) {
                Beginning::Run(delivery) => {
                    let run = handle::run(inner.clone(), message, delivery);
                    handlers.spawn_on(run, &rim.handlers);
                }
                Beginning::Settled(reply) => {
                    let client = rim.link.client.clone();
                    handlers.spawn(async move { ack_again(&client, reply).await });
                }
                Beginning::Nothing => {}
            });
        let moving = async {
            // An error says that the worker has ended, and so will pulling.
            if standing.wait_for(|standing| standing.lane != lane).await.is_ok() {
                moved.cancel();
            }
            std::future::pending::<Result<(), WorkerError>>().await
        };
        for late in to_its_end(pulling.map_err(WorkerError::Closed), moving, &moved).await? {
            handlers.spawn(handle::give_back(inner.clone(), late));
        }
    }
    Ok(())
}

/// Runs `work` to its end; what goes on `beside` it tells it to `stop` only by failing.
///
/// On a drain both end, and `work` last, as on a failure: it still collects what is on its way.
async fn to_its_end<T, U, E>(
    work: impl Future<Output = Result<T, E>>,
    beside: impl Future<Output = Result<U, E>>,
    stop: &CancellationToken,
) -> Result<T, E> {
    let mut work = std::pin::pin!(work);
    let error = tokio::select! {
        biased;
        done = &mut work => return done,
        Err(error) = beside => error,
    };
    stop.cancel();
    drop(work.await);
    Err(error)
}

/// Waits for what runs, within the grace period.
async fn drain<P>(inner: &Arc<Inner<P>>, options: &WorkerOptions, handlers: &TaskTracker) {
    let rim = &inner.rim;
    rim.drain.cancel();
    rim.standing.send_modify(|standing| standing.draining = true);
    handlers.close();
    info!(running = handlers.len(), "draining");
    tokio::select! {
        biased;
        () = handlers.wait() => return,
        () = rim.abort.cancelled() => {}
        () = tokio::time::sleep(options.grace) => {
            warn!(running = handlers.len(), "the grace period is over, running tasks are given back");
            rim.abort.cancel();
        }
    }
    drop(timeout(STOPPING, handlers.wait()).await);
}

/// Takes the sign of life down and sends what is left to send.
async fn farewell<P: Plugin>(inner: &Arc<Inner<P>>) {
    let rim = &inner.rim;
    presence::leave(rim).await;
    rim.publisher.close().await;
    drop(timeout(FLUSH, rim.link.client.flush()).await);
    let stopped = inner.beside(|inner| async move { inner.plugin.on_stop() });
    drop(timeout(STOPPING, stopped).await);
    info!("stopped");
}

/// A name for this process: the plugin, and what tells it from others.
fn made_up(manifest: &Manifest) -> InstanceId {
    let random = fastrand::u32(..);
    let name = format!("{}-{}-{random:08x}", manifest.id, std::process::id());
    // A plugin id, a number and hexadecimal digits always make an instance id.
    name.parse().unwrap_or_else(|_| fallback())
}

fn fallback() -> InstanceId {
    loop {
        if let Ok(id) = format!("worker-{:08x}", fastrand::u32(..)).parse() {
            return id;
        }
    }
}

fn host() -> String {
    let from_kernel = std::fs::read_to_string("/proc/sys/kernel/hostname");
    from_kernel.map(|name| name.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_on_its_way_at_the_end_is_still_collected() {
        for (fails, expected) in [(false, Ok("late")), (true, Err("no"))] {
            let drain = CancellationToken::new();
            let collected = Cell::new(false);
            let work = async {
                drain.cancelled().await;
                sleep(STOPPING).await;
                collected.set(true);
                Ok("late")
            };
            if !fails {
                drain.cancel();
            }
            let beside = async { if fails { Err("no") } else { Ok(()) } };

            assert_eq!(to_its_end(work, beside, &drain).await, expected);
            assert!(collected.get(), "fails: {fails}");
        }
    }
}
