//! From what a handler said to what the broker is told, in an order that loses nothing.
//!
//! ```text
//! completed, skipped   record, acknowledged           → ack
//! forward              submission, acknowledged       → record, acknowledged → ack
//! retryable            signal `retrying`, best effort → nak with the delay
//! retryable, long wait signal `deferred`, acknowledged → ack
//! retry later          signal `deferred`, acknowledged → ack
//! no further attempt   signal `failed`, acknowledged  → term
//! ```
//!
//! A crash between two steps repeats the first one: the record is fenced by the revision it
//! replaces, signals are recognised by what they are about. What cannot be stored although it
//! was tried again and again is left to the lease: the task is delivered again.

use std::time::Duration;

use async_nats::HeaderMap;
use backon::{ExponentialBuilder, Retryable as _};
use broker_config::header::{EXPECTED_LAST_SUBJECT_SEQUENCE, MESSAGE_ID};
use broker_config::planted::{Bug, planted};
use broker_config::publish::PublishError;
use broker_config::retry::FailureKind;
use broker_config::wire::record::RecordType;
use broker_config::wire::signal::{SignalType, What};
use broker_config::{Chain, MetaMap, Queue, Record, RecordStatus, Signal, Task, Verdict};
use bytes::Bytes;
use tokio::time::Instant;
use tracing::{Span, debug, info, warn};

use crate::attempt::{Ended, short};
use crate::delivery::{Delivery, GIVE_BACK, ack_again};
use crate::lease::millis;
use crate::metrics::count;
use crate::outcome::{Destination, Failure};
use crate::rim::Rim;
use crate::submit::NotForwarded;
use crate::{submit, telemetry};

/// How long settling may take, a restart of the broker included; the lease is renewed so long.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long a task for another version stays away: time to take it out of the stream.
const OTHER_VERSION: Duration = Duration::from_secs(1);
/// Times a publish is tried while the broker is connected.
const TRIES: usize = 8;
/// Pause before it is tried for the second time.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Longest pause before a later one, about.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// One attempt that is over.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    pub(crate) rim: &'a Rim,
    pub(crate) task: &'a Task,
    pub(crate) queue: Queue,
    /// The headers the task came with.
    pub(crate) headers: Option<&'a HeaderMap>,
    pub(crate) took: Duration,
}

impl Attempt<'_> {
    /// Settles the delivery.
    ///
    /// What is rare is kept in a box of its own here: the future of each task is moved and touched
    /// as a whole, and is as large as its largest branch.
    pub(crate) async fn settle(&self, delivery: Delivery, ended: Result<Ended, Failure>) {
        delivery.held().hold_until(Instant::now() + PATIENCE);
        match ended {
            Ok(Ended::Completed(meta)) => {
                self.record(delivery, RecordStatus::Completed, meta, None).await;
            }
            Ok(Ended::Skipped(reason)) => {
                let reason = self.rim.hide(reason);
                self.record(delivery, RecordStatus::Skipped, MetaMap::new(), Some(reason)).await;
            }
            Ok(Ended::RetryLater { after, reason }) => {
                count(&self.rim.totals.deferred);
                // Waiting costs no attempt.
                let used = delivery.attempt().get() - 1;
                let reason = self.rim.hide(reason);
                Box::pin(self.defer(delivery, after, reason, used)).await;
            }
            Ok(Ended::Forward { to, meta }) => Box::pin(self.forward(delivery, to, meta)).await,
            Err(failure) => Box::pin(self.fail(delivery, failure)).await,
        }
    }

    async fn forward(&self, delivery: Delivery, to: Destination, meta: MetaMap) {
        match submit::forward(self, &to, delivery.sequence).await {
            Ok(reason) if meta.is_empty() => {
                self.record(delivery, RecordStatus::Skipped, meta, Some(reason)).await;
            }
            Ok(_) => self.record(delivery, RecordStatus::Completed, meta, None).await,
            Err(NotForwarded::Failed(failure)) => self.fail(delivery, failure).await,
            Err(NotForwarded::NotStored(error)) => self.leave(delivery, &error),
        }
    }

    /// Gives the task back, because this worker stops: somebody else is to run it soon.
    ///
    /// From its last attempt on it goes through the coordinator instead: then each nak uses up one of
    /// the few deliveries that are left, and the last would make a dead letter of it.
    pub(crate) async fn give_back(&self, delivery: Delivery) {
        let attempt = delivery.attempt();
        if attempt < self.task.retry.max_attempts {
            return delivery.nak(GIVE_BACK).await;
        }
        let reason = "the worker was stopped".to_owned();
        self.defer(delivery, GIVE_BACK, reason, attempt.get() - 1).await;
    }

    /// Does not run a task that is for another version of the plugin.
    ///
    /// From its last attempt on it ends here: whoever still wants the task finds it missing and publishes it
    /// anew, and what nobody wants any more must not go round for ever.
    pub(crate) async fn leave_to_other(&self, delivery: Delivery) {
        let wanted = self.task.plugin_version.as_deref().unwrap_or_default();
        debug!(wanted, "the task is for another version");
        if delivery.attempt() < self.task.retry.max_attempts {
            delivery.nak(OTHER_VERSION).await;
        } else {
            delivery.ack().await;
        }
    }

    async fn record(
        &self,
        delivery: Delivery,
        status: RecordStatus,
        meta: MetaMap,
        reason: Option<String>,
    ) {
        let (rim, task) = (self.rim, self.task);
        let record = Record {
            kind: RecordType::V1,
            task_id: task.task_id.clone(),
            plugin_id: rim.manifest.id.clone(),
            cid: task.cid.clone(),
            status,
            duration_ms: millis(self.took),
            attempt: delivery.attempt().get(),
            plugin_version: rim.version.clone(),
            fingerprint: task.fingerprint.clone(),
            finished_at: now(),
            instance: Some(rim.instance.clone()),
            error: None,
            reason,
            meta,
            hidden: Vec::new(),
        };
        let body = match serde_json::to_vec(&record) {
            Ok(body) => Bytes::from(body),
            Err(error) => return Box::pin(self.fail(delivery, Failure::permanent(error))).await,
        };
        let mut headers = HeaderMap::new();
        if !planted(Bug::NoRecordFence) {
            headers.insert(EXPECTED_LAST_SUBJECT_SEQUENCE, task.record_revision.to_string());
        }
        telemetry::inject(&Span::current(), self.headers, &mut headers);
        let subject = if task.trial {
            rim.names.trial(&task.cid, &rim.manifest.id)
        } else {
            rim.names.record(&task.cid, &rim.manifest.id)
        };
        if planted(Bug::AckFirst) {
            ack_again(&rim.link.client, delivery.held().latest().0).await;
        }
        match self.publish(subject, headers, body).await {
            Ok(()) => {
                count(match status {
                    RecordStatus::Completed => &rim.totals.completed,
                    RecordStatus::Skipped | RecordStatus::Failed => &rim.totals.skipped,
                });
                debug!(status = status.as_str(), duration_ms = millis(self.took), "settled");
                delivery.ack().await;
            }
            Err(PublishError::WrongLastSequence { .. }) => {
                count(&rim.totals.superseded);
                debug!("somebody else has settled this task");
                delivery.ack().await;
            }
            Err(error @ PublishError::TooLarge { .. }) => {
                Box::pin(self.fail(delivery, Failure::permanent(error))).await;
            }
            Err(error) => self.leave(delivery, &error),
        }
    }

    async fn fail(&self, delivery: Delivery, failure: Failure) {
        let kind =
            if failure.is_retryable() { FailureKind::Retryable } else { FailureKind::Permanent };
        let error = short(self.rim.hide(failure.to_string()));
        match self.task.retry.verdict(kind, delivery.attempt()) {
            Verdict::Retry(delay) => {
                count(&self.rim.totals.retried);
                debug!(error, delay_ms = millis(delay), "the attempt failed, trying again");
                let duration_ms = millis(self.took);
                let what = What::Retrying { error, delay_ms: millis(delay), duration_ms };
                // For people only: the nak says the same to the broker.
                if let Err(error) = self.say(&delivery, what).await {
                    debug!(error = %error, "could not report a failed attempt");
                }
                delivery.nak(delay).await;
            }
            Verdict::RetryScheduled(delay) => {
                count(&self.rim.totals.retried);
                debug!(error, delay_ms = millis(delay), "the attempt failed, trying again later");
                let used = delivery.attempt().get();
                self.defer(delivery, delay, error, used).await;
            }
            Verdict::GiveUp => self.give_up(delivery, error, !failure.is_retryable()).await,
        }
    }

    async fn give_up(&self, delivery: Delivery, error: String, permanent: bool) {
        count(&self.rim.totals.failed);
        info!(error, permanent, "the task failed");
        let what = What::Failed {
            error: error.clone(),
            permanent,
            duration_ms: millis(self.took),
            task: Box::new(self.task.clone()),
        };
        match self.signal(&delivery, what).await {
            Ok(()) => delivery.term(&error).await,
            Err(error) => self.leave(delivery, &error),
        }
    }

    async fn defer(&self, delivery: Delivery, after: Duration, reason: String, used: u32) {
        let delay_ms = millis(after).max(1);
        debug!(reason, delay_ms, "deferred");
        let task = Box::new(self.task.clone());
        let what = What::Deferred { reason, delay_ms, attempts_used: used, task };
        match self.signal(&delivery, what).await {
            Ok(()) => delivery.ack().await,
            Err(error) => self.leave(delivery, &error),
        }
    }

    /// Says nothing to the broker: the lease runs out and the task comes again.
    fn leave(&self, delivery: Delivery, error: &PublishError) {
        warn!(error = %Chain(error), "could not settle, leaving the task to its lease");
        drop(delivery);
    }

    /// Publishes a signal that must not be lost. Where the task makes it too large, what others
    /// wrote about the file is left out; the coordinator has that.
    async fn signal(&self, delivery: &Delivery, what: What) -> Result<(), PublishError> {
        let kind = what.kind();
        let mut signal = self.about(delivery, what);
        let mut headers = HeaderMap::new();
        let attempt = signal.attempt;
        // The sequence makes it unique also when the same task is published anew; the rest nobody
        // can guess who would have it taken for a repetition.
        let secret = fastrand::u128(..);
        let mut id = format!("{kind}.{}.{attempt}.{secret:032x}", delivery.sequence);
        if planted(Bug::IdWithoutAttempt) {
            id = format!("{kind}.{}", self.task.task_id);
        }
        headers.insert(MESSAGE_ID, id);
        telemetry::inject(&Span::current(), self.headers, &mut headers);
        let subject = self.rim.names.signal(&self.rim.manifest.id, kind);
        match self.publish(subject.clone(), headers.clone(), body(&signal)).await {
            Err(PublishError::TooLarge { .. }) => {
                if let What::Failed { task, .. } | What::Deferred { task, .. } = &mut signal.what {
                    task.existing_meta.clear();
                }
                self.publish(subject, headers, body(&signal)).await
            }
            done => done,
        }
    }

    /// Sends a signal that may be lost.
    async fn say(&self, delivery: &Delivery, what: What) -> Result<(), async_nats::PublishError> {
        let subject = self.rim.names.signal(&self.rim.manifest.id, what.kind());
        let signal = self.about(delivery, what);
        crate::tell(&self.rim.link.client, subject.into(), body(&signal)).await
    }

    fn about(&self, delivery: &Delivery, what: What) -> Signal {
        Signal {
            message: SignalType::V1,
            task_id: self.task.task_id.clone(),
            cid: self.task.cid.clone(),
            queue: self.queue,
            attempt: delivery.attempt().get(),
            instance: self.rim.instance.clone(),
            at: now(),
            what,
        }
    }

    pub(crate) async fn publish(
        &self,
        subject: String,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<(), PublishError> {
        publish_until_stored(self.rim, subject, headers, body).await
    }
}

/// Publishes until it is acknowledged: waits while the broker is away, and tries a few times while
/// it is there.
pub(crate) async fn publish_until_stored(
    rim: &Rim,
    subject: String,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(), PublishError> {
    rim.link.connected().await;
    match rim.publisher.publish(subject.clone(), headers.clone(), body.clone()).await {
        Ok(_) => Ok(()),
        Err(PublishError::Unacknowledged { .. }) if planted(Bug::UnknownIsStored) => Ok(()),
        Err(error) if error.is_retryable() => {
            Box::pin(publish_again(rim, subject, headers, body)).await
        }
        Err(error) => Err(error),
    }
}

/// Tries again what may have been stored already, only without our hearing of it.
async fn publish_again(
    rim: &Rim,
    subject: String,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(), PublishError> {
    let publish = || async {
        rim.link.connected().await;
        match rim.publisher.publish(subject.clone(), headers.clone(), body.clone()).await {
            Ok(_) | Err(PublishError::WrongLastSequence { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    };
    let pauses = ExponentialBuilder::default()
        .with_min_delay(FIRST_PAUSE * 2)
        .with_max_delay(LONGEST_PAUSE)
        .with_max_times(TRIES - 2)
        .with_jitter();
    tokio::time::sleep(FIRST_PAUSE).await;
    publish.retry(pauses).when(PublishError::is_retryable).await
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}

fn body(signal: &Signal) -> Bytes {
    // Plain data with text keys: it cannot fail, and an empty body is refused by its readers.
    serde_json::to_vec(signal).unwrap_or_default().into()
}
