//! Answers announcements, keeps the bucket of plugins and the consumers, and tells the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, Subscriber};
use broker_config::read::Stored;
use broker_config::wire::event::Fact;
use broker_config::wire::instance::HEARTBEAT_MS;
use broker_config::wire::plugin::PluginEntry;
use broker_config::wire::signal::ANNOUNCE;
use broker_config::{Announce, AnnounceReply, Chain, Names, PluginId};
use futures_util::StreamExt as _;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use self::declared::{Arriving, NotTaken, Taken};
use self::openings::Openings;
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
mod keep;
mod lanes;
mod openings;
#[cfg(test)]
mod tests;
mod transition;
mod word;

/// Pause before the bucket is read again.
const PAUSE: Duration = Duration::from_millis(300);

/// How often something is decided anew because somebody else has changed what it was decided by.
const TRIES: u32 = 5;

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
    /// The sequences of the keys of plugins, as they were read or written last; of removed ones, too.
    revisions: BTreeMap<PluginId, u64>,
    refused: BTreeMap<PluginId, Refusal>,
    /// Those whose consumers are there.
    ready: BTreeSet<PluginId>,
    openings: Openings,
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
                Some(opened) = state.openings.next() => self.on_opened(&mut state, opened).await,
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
        let keys = Names::key_subject(&bucket, ">");
        let stream = Names::bucket_stream(&bucket);
        let found = loop {
            let read = || self.broker.all_messages(&stream, &keys);
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
            let read = self.read_entry(stored);
            if let Some((id, _)) = &read {
                state.revisions.insert(id.clone(), stored.sequence);
            }
            match read {
                Some((id, Found::Known(mut entry))) => {
                    self.switch_off(state, &mut entry).await;
                    self.make_ready(state, &entry);
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
        // Who announced itself to an earlier leader does not do so again by itself, and files wait for it.
        let heard = self.heard.borrow().clone();
        for id in state.word.expected.difference(&heard) {
            self.ask_all(id).await;
        }
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
        // What we have written ourselves, or what that took the place of, is acted on already.
        if state.revisions.get(&id).is_some_and(|known| *known >= stored.sequence) {
            return;
        }
        self.take_note(state, id, found, stored.sequence).await;
    }

    /// Acts on what a key of the bucket says now.
    async fn take_note(&self, state: &mut State, id: PluginId, found: Found, sequence: u64) {
        state.revisions.insert(id.clone(), sequence);
        match found {
            Found::Known(mut entry) => {
                self.switch_off(state, &mut entry).await;
                let before = state.entries.get(&id);
                if before == Some(&*entry) {
                    return;
                }
                let version = &entry.manifest.version;
                let is_moved = before.is_some_and(|before| before.manifest.version != *version);
                self.make_ready(state, &entry);
                state.entries.insert(id.clone(), *entry);
                if is_moved {
                    // Who serves the version before would give all tasks back.
                    self.publish_graph(state).await;
                    return self.ask_all(&id).await;
                }
            }
            Found::Removed => {
                if state.entries.remove(&id).is_none() {
                    return;
                }
                self.take_out(state, &id).await;
            }
            Found::Unreadable => return self.mend(state, &id).await,
        }
        self.publish_graph(state).await;
    }

    async fn on_announcement(&self, state: &mut State, message: &Message) {
        let Some((plugin, ANNOUNCE)) = self.broker.names.parse_signal(&message.subject) else {
            return;
        };
        let reply = match serde_json::from_slice::<Announce>(&message.payload) {
            Ok(announce) => self.consider(state, &plugin, announce).await,
            Err(error) => Err(NotTaken::Refused(vec![error.to_string()])),
        };
        let reply = match reply {
            Ok(reply) => reply,
            Err(NotTaken::Refused(reasons)) => {
                tracing::warn!(plugin.id = %plugin, ?reasons, "a plugin may not serve");
                AnnounceReply::Rejected { reasons }
            }
            // Who gets no answer asks again; a rejected worker would end.
            Err(not_now @ (NotTaken::Changed | NotTaken::NotNow(_))) => {
                let reasons = not_now.reasons();
                return tracing::warn!(plugin.id = %plugin, ?reasons, "an announcement is not answered");
            }
        };
        if let AnnounceReply::Rejected { reasons } = &reply {
            let reasons = reasons.clone();
            let fact = Fact::PluginRejected { plugin_id: plugin.clone(), reasons };
            self.tell(fact).await;
        }
        // Who leads now answers, too.
        if let Some(to) = &message.reply
            && self.broker.may_write().await
        {
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
    ) -> Result<AnnounceReply, NotTaken> {
        let Taken { granted, lane, serves } = self.admit(state, plugin, &announce).await?;
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

    /// Takes in the plugin of a worker, unless a person has removed it meanwhile.
    async fn admit(
        &self,
        state: &mut State,
        plugin: &PluginId,
        announce: &Announce,
    ) -> Result<Taken, NotTaken> {
        let managed = state.word.expected.contains(plugin);
        let process = Process::that_announces(announce);
        let mut tries = 1..TRIES;
        loop {
            if let Some(reason) = state.removed.refusal(plugin, &process, managed) {
                return Err(NotTaken::Refused(vec![reason]));
            }
            match self.take_in(state, plugin, Arriving::of(announce)).await {
                Err(NotTaken::Changed) if tries.next().is_some() => {}
                Ok(_) if !self.is_open(state, plugin).await => {
                    let reason = "its consumers could not be made yet; try again".to_owned();
                    return Err(NotTaken::NotNow(reason));
                }
                taken => return taken,
            }
        }
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
