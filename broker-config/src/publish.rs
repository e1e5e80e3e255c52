//! Publishing that is always acknowledged.
//!
//! One inbox for all acknowledgements, a bounded number of them outstanding, and a time limit on
//! each. The library's own acknowledgement future keeps an entry for the life of the client when
//! its answer never comes (nats.rs issue 1617); here a dropped or late publish leaves nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::{Client, HeaderMap, PublishErrorKind};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::header::{EXPECTED_LAST_SUBJECT_SEQUENCE, WRONG_LAST_SEQUENCE};
use crate::warrant::Warrant;

/// Acknowledgements outstanding at once: enough to hide the round trip, few enough that a slow
/// server slows its publishers.
pub const IN_FLIGHT: usize = 1024;
/// How long an acknowledgement may take.
pub const ACK_TIMEOUT: Duration = Duration::from_secs(5);

/// A message was not stored, or nobody knows whether it was.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PublishError {
    /// The last message on the subject is not the expected one; nothing was stored.
    #[error("`{subject}` has changed meanwhile")]
    WrongLastSequence {
        /// Where it was to go.
        subject: String,
    },
    /// The message is larger than the server takes; nothing was stored.
    #[error("the message for `{subject}` has {bytes} bytes, the server takes {limit}")]
    TooLarge {
        /// Where it was to go.
        subject: String,
        /// Its size, headers included.
        bytes: usize,
        /// The server's limit.
        limit: usize,
    },
    /// The stream said no, for example because its disk is full; nothing was stored.
    #[error("the stream refused `{subject}`: {description} ({code})")]
    Refused {
        /// Where it was to go.
        subject: String,
        /// The server's error code.
        code: u64,
        /// The server's words.
        description: String,
    },
    /// No stream takes this subject at the moment; nothing was stored.
    #[error("no stream takes `{subject}`")]
    NoStream {
        /// Where it was to go.
        subject: String,
    },
    /// No answer came: it may or may not be stored.
    #[error("`{subject}` was not acknowledged in time")]
    Unacknowledged {
        /// Where it was to go.
        subject: String,
    },
    /// The publisher was closed, or its warrant has ended; nothing was stored.
    #[error("the connection is closed")]
    Closed,
}

impl PublishError {
    /// Whether the same publish can succeed later without any other change.
    ///
    /// Publishing again is safe with an expected sequence or a message id, and only then.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::NoStream { .. } | Self::Unacknowledged { .. } | Self::Refused { .. } => true,
            Self::WrongLastSequence { .. } | Self::TooLarge { .. } | Self::Closed => false,
        }
    }
}

/// How often acknowledgements that are late are looked for; one look for all of them is cheaper
/// than a timer for each.
const SWEEP: Duration = Duration::from_millis(500);

struct Waiter {
    until: Instant,
    sender: oneshot::Sender<async_nats::Message>,
}

type Waiting = Mutex<HashMap<u64, Waiter>>;

/// Publishes and waits for the stream's word; cheap to clone.
#[derive(Clone)]
pub struct Publisher {
    client: Client,
    inbox: Arc<str>,
    waiting: Arc<Waiting>,
    next: Arc<AtomicU64>,
    permits: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
    timeout: Duration,
    /// Bytes that a message may have, where somebody allows less than the server.
    most: Arc<AtomicUsize>,
    /// Only while this holds, if there is one.
    warrant: Option<Warrant>,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher").field("inbox", &self.inbox).finish_non_exhaustive()
    }
}

#[derive(serde::Deserialize)]
struct Ack {
    #[serde(default)]
    seq: u64,
    error: Option<AckError>,
}

#[derive(serde::Deserialize)]
struct AckError {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

impl Publisher {
    /// Subscribes to an inbox of its own and starts to listen.
    ///
    /// # Errors
    ///
    /// When the connection is closed.
    pub async fn open(client: Client) -> Result<Self, async_nats::SubscribeError> {
        let inbox: Arc<str> = client.new_inbox().into();
        let mut answers = client.subscribe(format!("{inbox}.*")).await?;
        let waiting: Arc<Waiting> = Arc::default();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn({
            let (waiting, stop, skip) = (waiting.clone(), stop.clone(), inbox.len() + 1);
            async move {
                let mut sweep = interval(SWEEP);
                loop {
                    let answer = tokio::select! {
                        () = stop.cancelled() => return,
                        answer = answers.next() => match answer {
                            Some(answer) => answer,
                            None => return,
                        },
                        now = sweep.tick() => {
                            // A sender that is dropped tells its waiter that nothing came.
                            lock(&waiting).retain(|_, waiter| waiter.until > now);
                            continue;
                        }
                    };
                    let token = answer.subject.get(skip..).and_then(|text| text.parse().ok());
                    let waiter = token.and_then(|token: u64| lock(&waiting).remove(&token));
                    if let Some(waiter) = waiter {
                        // The publisher may have given up; then nobody cares.
                        drop(waiter.sender.send(answer));
                    }
                }
            }
        });
        Ok(Self {
            client,
            inbox,
            waiting,
            next: Arc::default(),
            permits: Arc::new(Semaphore::new(IN_FLIGHT)),
            tasks,
            stop,
            timeout: ACK_TIMEOUT,
            most: Arc::new(AtomicUsize::new(usize::MAX)),
            warrant: None,
        })
    }

    /// The same publisher, which publishes only while `warrant` holds: a message waits until it does,
    /// and fails as [`PublishError::Closed`] once it has ended.
    #[must_use]
    pub fn under(&self, warrant: Warrant) -> Self {
        Self { warrant: Some(warrant), ..self.clone() }
    }

    /// Takes no message of more than so many bytes from now on, even where the server would.
    pub fn limit_to(&self, bytes: usize) {
        self.most.store(bytes, Ordering::Relaxed);
    }

    /// Bytes that a message may have.
    fn limit(&self) -> usize {
        self.client.max_payload().min(self.most.load(Ordering::Relaxed))
    }

    /// The connection it publishes on.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Publishes and waits until the stream has stored the message; returns its sequence.
    ///
    /// # Errors
    ///
    /// [`PublishError`]; see there which of them leave the outcome open.
    ///
    /// # Cancel safety
    ///
    /// When dropped, the message may or may not be stored; nothing leaks.
    pub async fn publish(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<u64, PublishError> {
        let (bytes, limit) = (size(&headers, &payload), self.limit());
        if bytes > limit {
            return Err(PublishError::TooLarge { subject, bytes, limit });
        }
        let _permit = self.permits.acquire().await.map_err(|_| PublishError::Closed)?;
        // Last of all, because waiting for a place may have taken long.
        if let Some(warrant) = &self.warrant
            && !warrant.held().await
        {
            return Err(PublishError::Closed);
        }
        let token = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, mut answer) = oneshot::channel();
        let until = Instant::now() + self.timeout;
        lock(&self.waiting).insert(token, Waiter { until, sender });
        let _forget = Forget { waiting: &self.waiting, token };
        let reply = format!("{}.{token}", self.inbox);
        let sent =
            self.client.publish_with_reply_and_headers(subject.clone(), reply, headers, payload);
        // While the connection is down and much waits for it, sending itself has to wait; that
        // ends with the time for the acknowledgement, too.
        let answer = tokio::select! {
            biased;
            sent = sent => {
                match sent.map_err(|error| error.kind()) {
                    Ok(()) => {}
                    // The server has announced a lower limit in the meantime.
                    Err(PublishErrorKind::MaxPayloadExceeded) => {
                        let limit = self.limit();
                        return Err(PublishError::TooLarge { subject, bytes, limit });
                    }
                    Err(PublishErrorKind::Send | PublishErrorKind::InvalidSubject) => {
                        return Err(PublishError::Closed);
                    }
                }
                answer.await
            }
            answer = &mut answer => answer,
        };
        match answer {
            Ok(answer) => read_ack(subject, &answer),
            Err(_) if self.stop.is_cancelled() => Err(PublishError::Closed),
            Err(_) => Err(PublishError::Unacknowledged { subject }),
        }
    }

    /// Publishes only if the last message on the subject has sequence `last` (0 = there is none).
    ///
    /// # Errors
    ///
    /// As [`Publisher::publish`]; [`PublishError::WrongLastSequence`] if it has not.
    pub async fn publish_after(
        &self,
        subject: String,
        last: u64,
        mut headers: HeaderMap,
        payload: Bytes,
    ) -> Result<u64, PublishError> {
        headers.insert(EXPECTED_LAST_SUBJECT_SEQUENCE, last.to_string());
        self.publish(subject, headers, payload).await
    }

    /// Stops listening; publishes that wait fail.
    pub async fn close(&self) {
        self.permits.close();
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        lock(&self.waiting).clear();
    }
}

/// What a message takes of the server's limit: its body, and its headers as they are sent
/// (`NATS/1.0`, a line for each, an empty line).
fn size(headers: &HeaderMap, payload: &Bytes) -> usize {
    let line = |name: &str, value: &str| name.len() + ": ".len() + value.len() + "\r\n".len();
    let lines: usize = headers
        .iter()
        .flat_map(|(name, values)| values.iter().map(move |value| (name, value)))
        .map(|(name, value)| line(name.as_ref(), value.as_str()))
        .sum();
    let around = if headers.is_empty() { 0 } else { "NATS/1.0\r\n".len() + "\r\n".len() };
    around + lines + payload.len()
}

fn lock(waiting: &Waiting) -> MutexGuard<'_, HashMap<u64, Waiter>> {
    // The map is whole after every single operation, so a panic elsewhere does not spoil it.
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the entry out when the wait ends, however it ends.
struct Forget<'a> {
    waiting: &'a Waiting,
    token: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        lock(self.waiting).remove(&self.token);
    }
}

fn read_ack(subject: String, answer: &async_nats::Message) -> Result<u64, PublishError> {
    if answer.status == Some(async_nats::StatusCode::NO_RESPONDERS) {
        return Err(PublishError::NoStream { subject });
    }
    let Ok(ack) = serde_json::from_slice::<Ack>(&answer.payload) else {
        return Err(PublishError::Unacknowledged { subject });
    };
    match ack.error {
        None => Ok(ack.seq),
        Some(error) if error.err_code == WRONG_LAST_SEQUENCE => {
            Err(PublishError::WrongLastSequence { subject })
        }
        Some(error) => Err(PublishError::Refused {
            subject,
            code: error.err_code,
            description: error.description,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_count_as_they_are_sent() {
        let mut headers = HeaderMap::new();
        assert_eq!(size(&headers, &Bytes::from_static(b"body")), 4);

        headers.insert("A", "1");
        headers.append("A", "22");
        headers.insert("Long-Name", "");

        let sent = "NATS/1.0\r\nA: 1\r\nA: 22\r\nLong-Name: \r\n\r\nbody";
        assert_eq!(size(&headers, &Bytes::from_static(b"body")), sent.len());
    }
}
