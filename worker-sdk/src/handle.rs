//! The life of one delivery: read it, run the handler, settle it.

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{HeaderMap, Message};
use broker_config::header::MESSAGE_ID;
use broker_config::names::TaskAddress;
use broker_config::wire::file::FilePath;
use broker_config::wire::signal::{PROGRESS, Signal, SignalType, What};
use broker_config::wire::task::TaskType;
use broker_config::{Artifact, ArtifactName, FileFacts, MetaMap, Queue, RunId, Task, TaskId};
use bytes::Bytes;
use tokio::time::{Instant, sleep};
use tracing::{Instrument as _, Span, debug, error, field, info_span};

use crate::attempt::{self, time_limit};
use crate::context::{BoxFuture, Context, Port, SubmitError};
use crate::delivery::{Beginning, Delivery, ack_again};
use crate::lease::Held;
use crate::metrics::count;
use crate::outcome::Failure;
use crate::permit::Permit;
use crate::plugin::Plugin;
use crate::rim::{Inner, Rim};
use crate::settle::Attempt;
use crate::{artifact, submit, telemetry};

/// The lease goes on this long after the deadline, for the handler to clean up.
const AFTER_DEADLINE: Duration = Duration::from_secs(2);
/// Shortest time between two reports of progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Takes hold of a delivery.
///
/// Quick, because it runs on the thread that talks to the broker.
pub(crate) fn begin<P>(inner: &Inner<P>, message: &Message, permit: Permit) -> Beginning {
    let rim = &inner.rim;
    // A handler that blocks may keep others from beginning, but not for ever.
    let until = Instant::now() + rim.manifest.deadline() * 2 + AFTER_DEADLINE;
    Delivery::begin(&rim.link.client, &rim.leases, message, permit, until)
}

/// Runs one delivery to its end.
pub(crate) async fn run<P: Plugin>(inner: Arc<Inner<P>>, message: Message, delivery: Delivery) {
    let rim = &inner.rim;
    let Some(address) = rim.names.parse_task(&message.subject) else {
        // The consumer's filter keeps this from happening; nobody could be told.
        error!(subject = %message.subject, "a task whose subject makes no sense is dropped");
        return delivery.term("the subject makes no sense").await;
    };
    let headers = message.headers.as_ref();
    let span = info_span!(
        "process",
        otel.kind = "consumer",
        messaging.system = "nats",
        messaging.destination.name = %message.subject,
        messaging.message.id = headers.and_then(|h| h.get(MESSAGE_ID)).map(field::display),
        plugin.id = %rim.manifest.id,
        instance.id = %rim.instance,
        file.cid = %address.cid,
        queue = %address.queue,
        attempt = delivery.attempt().get(),
        task.id = field::Empty,
        run.id = field::Empty,
    );
    telemetry::adopt(&span, headers);
    process(&inner, address, &message, delivery).instrument(span).await;
}

async fn process<P: Plugin>(
    inner: &Arc<Inner<P>>,
    address: TaskAddress,
    message: &Message,
    mut delivery: Delivery,
) {
    let rim = &inner.rim;
    count(&rim.totals.started);
    let queue = address.queue;
    let headers = message.headers.as_ref();
    let task = match read(&message.payload, &address) {
        Ok(task) => task,
        Err(error) => {
            let task = unreadable(inner, &address);
            let failure = Failure::permanent(format!("the task cannot be read: {error}"));
            let attempt = Attempt { rim, task: &task, queue, headers, took: Duration::ZERO };
            return Box::pin(attempt.settle(delivery, Err(failure))).await;
        }
    };
    if task.plugin_version.as_ref().is_some_and(|version| *version != rim.version) {
        // It was on its way when the versions changed; the one that it is for is to run it.
        let attempt = Attempt { rim, task: &task, queue, headers, took: Duration::ZERO };
        return Box::pin(attempt.leave_to_other(delivery)).await;
    }
    if !is_placed(rim, &mut delivery).await {
        debug!("more was delivered than there are places, giving it back");
        let attempt = Attempt { rim, task: &task, queue, headers, took: Duration::ZERO };
        return Box::pin(attempt.give_back(delivery)).await;
    }
    let span = Span::current();
    span.record("task.id", field::display(&task.task_id));
    span.record("run.id", task.run_id.0);

    let begun = Instant::now();
    let deadline = begun + time_limit(&rim.manifest, task.deadline_ms);
    delivery.held().hold_until(deadline + AFTER_DEADLINE);
    delivery.held().name(task.task_id.clone(), task.cid.clone());
    let port = FleetPort {
        inner: inner.clone(),
        held: delivery.held().clone(),
        queue,
        headers: headers.cloned(),
        attempt: delivery.attempt().get(),
        told: Mutex::new(None),
    };
    let ctx = Context {
        path: rim.files.paths().here(&task.path.to_path()),
        files: rim.files.clone(),
        settings: rim.settings(),
        attempt: delivery.attempt(),
        deadline,
        cancelled: rim.abort.child_token(),
        got_on: Mutex::new(begun),
        port: Box::new(port),
        task,
    };
    let outcome = attempt::run(&inner.plugin, &rim.manifest, &ctx).await;
    let took = begun.elapsed();
    rim.totals.busy_us.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
    let attempt = Attempt { rim, task: &ctx.task, queue, headers, took };
    if outcome.is_err() && rim.abort.is_cancelled() {
        return Box::pin(attempt.give_back(delivery)).await;
    }
    let ended = outcome.and_then(|outcome| attempt::check(&rim.manifest, outcome));
    attempt.settle(delivery, ended).await;
}

/// Waits for a place, where more was delivered than was asked for; false if there is none in time.
async fn is_placed(rim: &Rim, delivery: &mut Delivery) -> bool {
    let patience = rim.leases.lease();
    let held = delivery.held().clone();
    let late = async {
        held.hold_until(Instant::now() + patience + AFTER_DEADLINE);
        sleep(patience).await;
    };
    tokio::select! {
        biased;
        () = delivery.place(|| rim.standing.borrow().permits) => true,
        () = rim.drain.cancelled() => false,
        () = late => false,
    }
}

/// Gives back a delivery that came when nothing was to be begun any more.
pub(crate) async fn give_back<P: Plugin>(inner: Arc<Inner<P>>, message: Message) {
    let rim = &inner.rim;
    let Some(address) = rim.names.parse_task(&message.subject) else { return };
    let permit = rim.permits.take(address.queue);
    let delivery = match begin(&inner, &message, permit) {
        Beginning::Run(delivery) => delivery,
        Beginning::Settled(reply) => return ack_again(&rim.link.client, reply).await,
        Beginning::Nothing => return,
    };
    let Ok(task) = read(&message.payload, &address) else { return };
    let (queue, headers) = (address.queue, message.headers.as_ref());
    Attempt { rim, task: &task, queue, headers, took: Duration::ZERO }.give_back(delivery).await;
}

/// Reads a task; which plugin and which file it is about, its subject says.
fn read(payload: &Bytes, address: &TaskAddress) -> Result<Task, serde_json::Error> {
    let mut task: Task = serde_json::from_slice(payload)?;
    task.plugin_id = address.plugin.clone();
    task.cid = address.cid.clone();
    task.lane = address.lane;
    Ok(task)
}

/// Stands for a task that cannot be read, so that its failure can be told.
fn unreadable<P>(inner: &Inner<P>, address: &TaskAddress) -> Task {
    Task {
        kind: TaskType::V1,
        task_id: TaskId::derive(&address.cid, &address.plugin, "", 0),
        run_id: RunId(0),
        plugin_id: address.plugin.clone(),
        cid: address.cid.clone(),
        path: FilePath::default(),
        file: FileFacts::default(),
        existing_meta: MetaMap::new(),
        record_revision: 0,
        fingerprint: String::new(),
        plugin_version: None,
        lane: address.lane,
        trial: false,
        deadline_ms: inner.rim.manifest.timeout,
        progress_timeout_ms: None,
        retry: inner.rim.manifest.retry_policy(),
        depth: 0,
        scan_id: None,
    }
}

/// What a handler can cause outside.
struct FleetPort<P> {
    inner: Arc<Inner<P>>,
    held: Arc<Held>,
    queue: Queue,
    /// Of the task; they may carry a trace.
    headers: Option<HeaderMap>,
    attempt: u32,
    /// When progress was reported last.
    told: Mutex<Option<Instant>>,
}

impl<P> std::fmt::Debug for FleetPort<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FleetPort").field("queue", &self.queue).finish_non_exhaustive()
    }
}

impl<P: Plugin> Port for FleetPort<P> {
    fn submit<'a>(
        &'a self,
        task: &'a Task,
        file: &'a Path,
    ) -> BoxFuture<'a, Result<(), SubmitError>> {
        Box::pin(submit::submit(&self.inner.rim, self.queue, task, file))
    }

    fn artifact<'a>(
        &'a self,
        task: &'a Task,
        name: &'a ArtifactName,
        media_type: &'a str,
        bytes: Bytes,
    ) -> BoxFuture<'a, Result<Artifact, Failure>> {
        let headers = self.headers.as_ref();
        let described = Artifact::of(name.clone(), media_type, &bytes);
        Box::pin(artifact::put(&self.inner.rim, task, headers, described, bytes))
    }

    fn progress<'a>(&'a self, task: &'a Task, fraction: f32, note: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.held.progress(fraction);
            if !self.is_due() {
                return;
            }
            let rim = &self.inner.rim;
            let signal = Signal {
                message: SignalType::V1,
                task_id: task.task_id.clone(),
                cid: task.cid.clone(),
                queue: self.queue,
                attempt: self.attempt,
                instance: rim.instance.clone(),
                at: jiff::Timestamp::now().to_string(),
                what: What::Progress { fraction, note: attempt::short(rim.hide(note.to_owned())) },
            };
            let body = Bytes::from(serde_json::to_vec(&signal).unwrap_or_default());
            let subject = rim.names.signal(&rim.manifest.id, PROGRESS);
            if let Err(error) = crate::tell(&rim.link.client, subject.into(), body).await {
                debug!(error = %error, "could not report progress");
            }
        })
    }
}

impl<P> FleetPort<P> {
    fn is_due(&self) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let due = told.is_none_or(|told| now >= told + PROGRESS_EVERY);
        if due {
            *told = Some(now);
        }
        due
    }
}
