//! The part of the coordinator: announcements are answered, consumers are made.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream;
use async_nats::{Client, HeaderMap, Subscriber};
use broker_config::topology::TaskConsumerSpec;
use broker_config::{Lane, Manifest, Names, Queue, apply};
use futures_util::StreamExt as _;
use serde_json::{Map, Value, json};

use crate::conformance::tape::Tape;

/// How announcements are answered.
#[derive(Clone, Debug)]
pub(crate) enum Word {
    /// Not at all: nobody leads.
    Silence,
    /// The plugin may not serve.
    Rejected(Vec<String>),
    /// It may; the fields that are said besides the usual ones.
    Accepted(Map<String, Value>),
}

/// What answers need to know.
#[derive(Clone, Debug)]
pub(super) struct Answerer {
    pub(super) tape: Arc<Tape>,
    pub(super) client: Client,
    pub(super) js: jetstream::Context,
    pub(super) names: Names,
    pub(super) word: Arc<Mutex<Word>>,
    /// What the person who runs the kit set.
    pub(super) settings: Map<String, Value>,
    pub(super) lease: Duration,
    pub(super) heartbeat: Duration,
}

impl Answerer {
    /// Answers until the subscription ends.
    pub(super) async fn run(self, mut announcements: Subscriber) {
        while let Some(message) = announcements.next().await {
            // An announcement that is answered is one that was seen.
            self.tape.add(message.clone());
            let word = self.word.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let Some(answer) = self.answer(&message.payload, word).await else { continue };
            let Some(to) = message.reply else { continue };
            let body = answer.to_string().into();
            if let Err(error) = self.client.publish_with_headers(to, HeaderMap::new(), body).await {
                tracing::debug!(%error, "the announcement was not answered");
            }
        }
    }

    async fn answer(&self, body: &[u8], word: Word) -> Option<Value> {
        let rejected = |reasons: Vec<String>| json!({"status": "rejected", "reasons": reasons});
        let said = match word {
            Word::Silence => return None,
            Word::Rejected(reasons) => return Some(rejected(reasons)),
            Word::Accepted(said) => said,
        };
        let announcement: Value = serde_json::from_slice(body).unwrap_or_default();
        let manifest = announcement.get("manifest").cloned().unwrap_or_default();
        let manifest = match Manifest::from_json(&manifest.to_string()) {
            Ok(manifest) => manifest,
            Err(invalid) => return Some(rejected(vec![invalid.to_string()])),
        };
        let settings = match manifest.settings(&self.settings) {
            Ok(settings) => settings,
            Err(reasons) => return Some(rejected(reasons)),
        };
        let lane = said.get("lane").and_then(|lane| serde_json::from_value(lane.clone()).ok());
        self.make_consumers(&manifest, lane.unwrap_or_default()).await;
        let mut answer = json!({
            "status": "accepted", "settings": settings, "maxPayload": 1 << 20,
            "leaseMs": millis(self.lease), "heartbeatMs": millis(self.heartbeat), "paused": false,
            "fieldOfLater": {"nobody": "has heard of it"},
        });
        if let Some(answer) = answer.as_object_mut() {
            answer.extend(said);
        }
        Some(answer)
    }

    async fn make_consumers(&self, manifest: &Manifest, lane: Lane) {
        for lane in [Lane::Main, lane] {
            for queue in Queue::ALL {
                let spec = TaskConsumerSpec::of(&self.names, manifest, queue, self.lease);
                let spec = spec.in_lane(&self.names, lane, &manifest.id, queue);
                if let Err(error) = apply::apply_consumer(&self.js, &self.names, &spec).await {
                    tracing::warn!(%error, consumer = spec.name, "the kit made no consumer");
                }
            }
        }
    }
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
