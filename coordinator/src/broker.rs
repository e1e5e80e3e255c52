//! The rim: what the coordinator does to the broker.

pub mod api;
pub mod dead;
pub mod deliver;
pub mod instruct;
pub mod records;
pub mod tail;
#[cfg(test)]
mod tests;

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream;
use async_nats::{Client, HeaderMap};
use broker_config::Names;
use broker_config::header::{MESSAGE_ID, TRACE_PARENT, TRACE_STATE};
use broker_config::planted::{Bug, planted};
use broker_config::publish::{PublishError, Publisher};
use broker_config::warrant::Warrant;
use broker_config::wire::event::{Event, Fact};
use bytes::Bytes;

use crate::run::Trace;

/// How often is looked whether the connection is another one.
const LOOK: Duration = Duration::from_millis(50);
/// How long a leader waits for the answer to one request: a server whose leader of a stream or a consumer is
/// gone does not say so, and the next attempt finds the next one.
const ANSWER: Duration = Duration::from_secs(3);
/// How long a failed attempt waits for a connection before its error is the answer.
const AWAY: Duration = Duration::from_secs(10);

/// One connection with all that the coordinator needs of it; cheap to clone.
#[derive(Clone, Debug)]
pub struct Broker {
    /// The connection.
    pub client: Client,
    /// Its JetStream API.
    pub js: jetstream::Context,
    /// Acknowledged publishing.
    pub publisher: Publisher,
    /// How things are called.
    pub names: Names,
    /// Which tasks have a dead letter.
    letters: dead::Letters,
    /// Which tasks are being given up.
    pub(crate) in_hand: dead::InHand,
    /// Only while this holds may anything be changed, if there is one.
    warrant: Option<Warrant>,
}

impl Broker {
    /// Prepares a connection.
    ///
    /// # Errors
    ///
    /// When the connection is closed.
    pub async fn open(client: Client, names: Names) -> Result<Self, async_nats::SubscribeError> {
        let publisher = Publisher::open(client.clone()).await?;
        let js = jetstream::new(client.clone());
        let (letters, in_hand) = (dead::Letters::default(), dead::InHand::default());
        Ok(Self { client, js, publisher, names, letters, in_hand, warrant: None })
    }

    /// The same, for somebody who may change things only while `warrant` holds. Reading is free; what
    /// publishes or changes asks [`Broker::may_write`] right before.
    #[must_use]
    pub fn under(&self, warrant: Warrant) -> Self {
        let publisher = self.publisher.under(warrant.clone());
        let js =
            jetstream::context::ContextBuilder::new().timeout(ANSWER).build(self.client.clone());
        Self { js, publisher, warrant: Some(warrant), ..self.clone() }
    }

    /// Waits until things may be changed; `false` = never again, because another one may lead by now.
    pub async fn may_write(&self) -> bool {
        match &self.warrant {
            Some(warrant) => warrant.held().await,
            None => true,
        }
    }

    /// Attempts something that may be repeated, and again whenever the connection was lost meanwhile:
    /// what was asked went with it, and its answer would be waited for in vain for many seconds.
    ///
    /// # Errors
    ///
    /// The error of an attempt during which the connection held, or after which none came back.
    pub async fn through<T, E, F>(&self, attempt: impl Fn() -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        let connects = || self.client.statistics().connects.load(Ordering::Relaxed);
        let is_up = || self.client.connection_state() == State::Connected;
        loop {
            let before = connects();
            let another = async {
                while connects() == before || !is_up() {
                    tokio::time::sleep(LOOK).await;
                }
            };
            let result = tokio::select! {
                biased;
                result = attempt() => result,
                () = another => continue,
            };
            if result.is_ok() || is_up() && connects() == before {
                return result;
            }
            let up = async {
                while !is_up() {
                    tokio::time::sleep(LOOK).await;
                }
            };
            if tokio::time::timeout(AWAY, up).await.is_err() {
                return result;
            }
        }
    }

    /// Prepares an event; subscribers hear it once per `id` where there is one.
    #[must_use]
    pub fn event(&self, fact: Fact, id: Option<String>) -> Telling {
        let subject = self.names.event(fact.name());
        Telling { subject, id, body: json(&Event::new(now(), fact)) }
    }

    /// Sends a prepared event.
    ///
    /// # Errors
    ///
    /// [`PublishError`]; sending it again is safe.
    pub async fn send(&self, told: &Telling) -> Result<(), PublishError> {
        let mut headers = HeaderMap::new();
        if let Some(id) = told.id.as_ref().filter(|_| !planted(Bug::ToldAgain)) {
            headers.insert(MESSAGE_ID, id.as_str());
        }
        let sent = self.publisher.publish(told.subject.clone(), headers, told.body.clone());
        sent.await.map(drop)
    }

    /// Tells subscribers something, once per `id` where there is one.
    ///
    /// # Errors
    ///
    /// [`PublishError`]
    pub async fn tell(&self, fact: Fact, id: Option<String>) -> Result<(), PublishError> {
        self.send(&self.event(fact, id)).await
    }
}

/// An event that is ready to be sent, again if need be.
#[derive(Clone, Debug)]
pub struct Telling {
    /// Where.
    pub subject: String,
    /// By what it is recognised.
    id: Option<String>,
    /// What.
    body: Bytes,
}

/// The present time, RFC 3339 in UTC with milliseconds.
#[must_use]
pub fn now() -> String {
    let now = jiff::Timestamp::now();
    format!("{now:.3}")
}

/// A message's body.
#[must_use]
pub fn json<T: serde::Serialize>(value: &T) -> Bytes {
    // Our own messages are maps with text keys, which serialise.
    Bytes::from(serde_json::to_vec(value).unwrap_or_default())
}

/// Headers that carry a trace on.
#[must_use]
pub fn trace_headers(trace: &Trace) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(parent) = &trace.parent {
        headers.insert(TRACE_PARENT, parent.as_str());
    }
    if let Some(state) = &trace.state {
        headers.insert(TRACE_STATE, state.as_str());
    }
    headers
}

/// The trace that a message carries.
#[must_use]
pub fn trace_of(headers: Option<&HeaderMap>) -> Trace {
    let text = |name: &str| {
        headers.and_then(|headers| headers.get(name)).map(|value| value.as_str().to_owned())
    };
    Trace { parent: text(TRACE_PARENT), state: text(TRACE_STATE) }
}
