//! Answers announcements, keeps the bucket of plugins and the consumers, and tells the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_nats::{HeaderMap, Message, Subscriber};
use broker_config::read::{Stored, last_messages};
use broker_config::wire::event::Fact;
use broker_config::wire::instance::HEARTBEAT_MS;
use broker_config::wire::plugin::PluginEntry;
use broker_config::wire::signal::ANNOUNCE;
use broker_config::{Announce, AnnounceReply, Chain, Names, PluginId};
use futures_util::StreamExt as _;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use self::declared::{Arriving, Denied, Taken};
use self::transition::{Counted, Kept};
use super::removed::{Process, Removed};
use super::{Granted, Roster, Word, graph, may_still_come};
use crate::broker::tail::Tail;
use crate::broker::{Broker, json};
use crate::dispatcher::Event;
use crate::engine::{EngineHandle, Input};
use crate::files::Offers;
use crate::graph::Refusal;
use crate::presence::PresenceHandle;
use crate::quarantine::Notes;
use crate::route::seat;

mod consumers;
mod declared;
mod lanes;
#[cfg(test)]
mod tests;
mod transition;
mod word;

/// Pause before the bucket is read again.
const PAUSE: Duration = Duration::from_millis(300);

/// What the registry needs.
#[derive(Debug)]
pub struct Registry {
    /// The connection.
    pub broker: Broker,
    /// Who is told of the graph.
    pub engine: EngineHandle,
    /// Who lives.
    pub presence: PresenceHandle,
    /// The operator's word.
    pub word: watch::Receiver<Arc<Word>>,
    /// The lease of tasks.
    pub lease: Duration,
    /// Plugins that have announced themselves, granted or not.
    pub heard: watch::Sender<BTreeSet<PluginId>>,
    /// Whether the engine has been told of all plugins in the bucket.
    pub loaded: watch::Sender<bool>,
    /// All plugins, once they are loaded.
    pub roster: watch::Sender<Roster>,
    /// Subscription to announcements, made before anything else so that none is missed.
    pub announcements: Subscriber,
    /// Who is out of work because it fails everything.
    pub quarantine: Notes,
    /// Whether plugins that an earlier fleet started, and this one does not, leave the graph.
    pub drop_unexpected: bool,
    /// Where workers get files that they do not see.
    pub files: Option<Offers>,
}

#[derive(Default)]
struct State {
    /// The operator's word that was acted on last.
    word: Arc<Word>,
    entries: BTreeMap<PluginId, PluginEntry>,
    refused: BTreeMap<PluginId, Refusal>,
    ready: BTreeSet<PluginId>,
    removed: Removed,
    versions: BTreeMap<PluginId, Kept>,
    counted: Counted,
}

/// What a key of the bucket says of its plugin.
enum Found {
    Known(Box<PluginEntry>),
    Removed,
    Unreadable,
}

impl Registry {
    /// Serves until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(Box::pin(self.serve())).await;
    }

    async fn serve(mut self) {
        let word = self.word.borrow_and_update().clone();
        let mut state = State { word, ..State::default() };
        let next = self.load(&mut state).await;
        self.loaded.send_replace(true);
        let bucket = Names::bucket_stream(&self.broker.names.plugins_bucket());
        let mut tail = Tail::new(self.broker.clone(), bucket, Vec::new(), next);
        let mut look = interval(transition::LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                changed = tail.next() => {
                    let Some((message, place)) = changed else { return };
                    let stored = Stored {
                        subject: message.subject.into_string(),
                        sequence: place.stream_sequence,
                        headers: message.headers.unwrap_or_default(),
                        payload: message.payload,
                    };
                    self.on_change(&mut state, &stored).await;
                }
                _ = look.tick() => self.look_at_transitions(&mut state).await,
                Ok(()) = self.word.changed() => {
                    let word = self.word.borrow_and_update().clone();
                    self.on_word(&mut state, word).await;
                }
                announced = self.announcements.next() => {
                    let Some(message) = announced else { return };
                    self.on_announcement(&mut state, &message).await;
                }
            }
        }
    }

    /// Reads what the bucket holds and tells the engine; returns the sequence to follow it from.
    ///
    /// A file that is opened before would be settled without the plugins that were not read yet.
    async fn load(&self, state: &mut State) -> u64 {
        let bucket = self.broker.names.plugins_bucket();
        let filters = [Names::key_subject(&bucket, ">")];
        let stream = Names::bucket_stream(&bucket);
        let found = loop {
            let read = || last_messages(&self.broker.client, &stream, &filters);
            match self.broker.through(read).await {
                Ok(found) => break found,
                Err(error) => {
                    tracing::debug!(error = %Chain(&error), "plugins cannot be read, trying again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
        let mut next = 1;
        for stored in &found {
            next = next.max(stored.sequence + 1);
            if self.read_versions(state, stored).is_some() {
                continue;
            }
            match self.read_entry(stored) {
                Some((id, Found::Known(mut entry))) => {
                    self.switch_off(state, &mut entry).await;
                    self.make_ready(state, &entry).await;
                    state.entries.insert(id, *entry);
                }
                Some((id, Found::Removed)) => self.find_removed(state, id).await,
                Some((id, Found::Unreadable)) => {
                    tracing::warn!(plugin.id = %id, "the entry of a plugin cannot be read");
                }
                None => {}
            }
        }
        self.load_versions(state).await;
        self.publish_graph(state).await;
        self.close_routes(state).await;
        self.declare(state, &state.word.declared.keys().cloned().collect()).await;
        let all = state.entries.keys().cloned().collect();
        // Who serves a route may not have been told of it while nobody led.
        let routed = state.word.routes().into_iter().map(|(id, _)| id).collect();
        self.ask_again(state, &all, &routed).await;
        next
    }

    /// What a key of the bucket says; `None` for a key that is no plugin's.
    fn read_entry(&self, stored: &Stored) -> Option<(PluginId, Found)> {
        let keys = Names::key_subject(&self.broker.names.plugins_bucket(), "");
        let id: PluginId = stored.subject.strip_prefix(&keys)?.parse().ok()?;
        if stored.is_deletion() {
            return Some((id, Found::Removed));
        }
        let entry = serde_json::from_slice::<PluginEntry>(&stored.payload).ok();
        let Some(entry) = entry.filter(|entry| entry.manifest.id == id) else {
            return Some((id, Found::Unreadable));
        };
        Some((id, Found::Known(Box::new(entry))))
    }

    async fn on_change(&self, state: &mut State, stored: &Stored) {
        let known = |state: &State, id| state.versions.get(id).map(|kept| kept.revision);
        if let Some(id) = self.broker.names.parse_versions(&stored.subject) {
            let before = known(state, &id);
            self.read_versions(state, stored);
            // What we have written ourselves is acted on already.
            if known(state, &id) != before {
                self.on_versions(state, id).await;
            }
            return;
        }
        let Some((id, found)) = self.read_entry(stored) else { return };
        match found {
            Found::Known(mut entry) => {
                self.switch_off(state, &mut entry).await;
                if state.entries.get(&id) == Some(&*entry) {
                    return;
                }
                self.make_ready(state, &entry).await;
                state.entries.insert(id, *entry);
            }
            Found::Removed => {
                if state.entries.remove(&id).is_none() {
                    return;
                }
                self.take_out(state, &id).await;
            }
            Found::Unreadable => return self.mend(state, &id, stored.sequence).await,
        }
        self.publish_graph(state).await;
    }

    /// Somebody has overwritten an entry with what is none: what we know takes its place again.
    async fn mend(&self, state: &State, id: &PluginId, spoiled: u64) {
        tracing::warn!(plugin.id = %id, "the entry of a plugin cannot be read");
        let Some(entry) = state.entries.get(id) else { return };
        let subject = Names::key_subject(&self.broker.names.plugins_bucket(), id.as_str());
        let publisher = &self.broker.publisher;
        let mended = publisher.publish_after(subject, spoiled, HeaderMap::new(), json(entry)).await;
        if let Err(error) = mended {
            tracing::warn!(plugin.id = %id, error = %Chain(&error), "the entry is left as it is");
        }
    }

    async fn on_announcement(&self, state: &mut State, message: &Message) {
        let Some((plugin, ANNOUNCE)) = self.broker.names.parse_signal(&message.subject) else {
            return;
        };
        let reply = match serde_json::from_slice::<Announce>(&message.payload) {
            Ok(announce) => self.consider(state, &plugin, announce).await,
            Err(error) => Err(Denied::Never(vec![error.to_string()])),
        };
        if let Err(Denied::NotNow(reason)) = &reply {
            // Who gets no answer asks again; a rejected worker would end.
            return tracing::warn!(plugin.id = %plugin, reason, "an announcement waits for the broker");
        }
        let reply = reply.map_err(Denied::reasons).unwrap_or_else(|reasons| {
            tracing::warn!(plugin.id = %plugin, ?reasons, "a plugin may not serve");
            AnnounceReply::Rejected { reasons }
        });
        if let AnnounceReply::Rejected { reasons } = &reply {
            let reasons = reasons.clone();
            let fact = Fact::PluginRejected { plugin_id: plugin.clone(), reasons };
            self.tell(fact).await;
        }
        if let Some(to) = &message.reply {
            #[expect(
                clippy::disallowed_methods,
                reason = "a reply; who does not get it asks again"
            )]
            let sent = self.broker.client.publish(to.clone(), json(&reply)).await;
            if sent.is_err() {
                tracing::debug!("connection closed before an announcement was answered");
            }
        }
        self.heard.send_if_modified(|heard| heard.insert(plugin));
    }

    async fn consider(
        &self,
        state: &mut State,
        plugin: &PluginId,
        announce: Announce,
    ) -> Result<AnnounceReply, Denied> {
        let managed = state.word.expected.contains(plugin);
        let process = Process::that_announces(&announce);
        if let Some(reason) = state.removed.refusal(plugin, &process, managed) {
            return Err(Denied::Never(vec![reason]));
        }
        let arriving = Arriving::of(&announce);
        let Taken { granted, lane, serves } = self.take_in(state, plugin, arriving).await?;
        let routes = state.word.routes_of(plugin);
        let (lane, serves) = seat(announce.route, routes, lane, serves);
        let Granted { settings, concurrency, paused, .. } = granted;
        let (instance, version) = (announce.instance, announce.manifest.version.to_string());
        tracing::info!(plugin.id = %plugin, instance.id = %instance, version, %lane, "instance announced");
        let is_held = self.quarantine.holds(plugin, &instance);
        let plugin_id = plugin.clone();
        self.tell(Fact::InstanceStarted { plugin_id, instance, version }).await;
        Ok(AnnounceReply::Accepted {
            settings,
            lease_ms: u64::try_from(self.lease.as_millis()).unwrap_or(u64::MAX),
            heartbeat_ms: HEARTBEAT_MS,
            max_payload: self.broker.client.max_payload(),
            concurrency,
            paused: paused || !serves || is_held,
            lane,
            files: self.files.as_ref().map(|offers| offers.offer(plugin)),
        })
    }

    /// Keeps a new or changed entry, makes its consumers and tells everybody.
    async fn keep(
        &self,
        state: &mut State,
        entry: PluginEntry,
        settings: &serde_json::Map<String, serde_json::Value>,
        previous: Option<String>,
    ) -> Result<(), Denied> {
        let id = entry.manifest.id.clone();
        let names = &self.broker.names;
        let publisher = &self.broker.publisher;
        let masked = entry.manifest.masked(settings);
        let subject = Names::key_subject(&names.config_bucket(), id.as_str());
        publisher
            .publish(subject, HeaderMap::new(), json(&masked))
            .await
            .map_err(|error| Denied::by(&error))?;
        let subject = Names::key_subject(&names.plugins_bucket(), id.as_str());
        publisher
            .publish(subject, HeaderMap::new(), json(&entry))
            .await
            .map_err(|error| Denied::by(&error))?;
        self.make_ready(state, &entry).await;
        let version = entry.manifest.version.to_string();
        state.entries.insert(id.clone(), entry);
        self.publish_graph(state).await;
        if previous.as_ref() != Some(&version) {
            tracing::info!(plugin.id = %id, version, "plugin registered");
            if previous.is_some() {
                self.version_changed(state, &id).await;
            }
            self.tell(Fact::PluginRegistered { plugin_id: id, version, previous }).await;
        }
        Ok(())
    }

    async fn publish_graph(&self, state: &mut State) {
        let (mut graph, refused) = graph(&state.entries, &state.word.policies);
        Self::add_candidates(state, &mut graph);
        for (id, refusal) in &refused {
            if may_still_come(refusal, &state.word.expected) {
                continue;
            }
            if state.refused.get(id) != Some(refusal) {
                tracing::warn!(plugin.id = %id, reason = %refusal, "plugin takes no part");
                let reasons = vec![refusal.to_string()];
                self.tell(Fact::PluginRejected { plugin_id: id.clone(), reasons }).await;
            }
        }
        state.refused = refused;
        // Before the engine is told: whose tasks it publishes must be known by then.
        let present = state.entries.keys().cloned().collect();
        let removed = state.removed.plugins().cloned().collect();
        let routes = state.word.routes();
        self.roster.send_replace(Roster { present, removed, routes });
        self.engine.tell(Input::Event(Event::GraphChanged(Arc::new(graph)))).await;
    }

    async fn tell(&self, fact: Fact) {
        let name = fact.name();
        if let Err(error) = self.broker.tell(fact, None).await {
            tracing::warn!(error = %Chain(&error), event = name, "event not stored");
        }
    }
}
