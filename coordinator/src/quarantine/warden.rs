//! Hears how attempts end, has [`Ward`] decide, keeps what it decides, and tells those concerned.
//!
//! It runs where the coordinator leads. What is decided is kept before it is done, so that whoever leads next
//! knows who is out and when they are to be tried again.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::connection::State;
use broker_config::publish::PublishError;
use broker_config::read::last_messages;
use broker_config::wire::event::Fact;
use broker_config::wire::instance::{Instance, InstanceState};
use broker_config::wire::signal::{Control, Signal, What};
use broker_config::{Chain, InstanceId, Names, PluginId, Record};
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{Ending, Note, Rules, Seen, Step, Term, Ward};
use crate::broker::instruct::instruct;
use crate::broker::{Broker, json};
use crate::presence::PresenceHandle;
use crate::store::quarantine::{KEY, Kept};

/// How often is looked without a reason.
const LOOK: Duration = Duration::from_secs(1);
/// How soon after a look the next one may be, however many attempts end.
const REST: Duration = Duration::from_millis(50);
/// Pause before the broker is asked again.
const PAUSE: Duration = Duration::from_millis(300);
/// Ends of attempts that may wait; beyond that they go unheard, which only makes it slower.
const WAITING: usize = 1_024;

/// Tells the warden how attempts end, and knows who is out of work; cheap to clone.
#[derive(Clone, Debug)]
pub struct Notes {
    notes: mpsc::Sender<Note>,
    held: watch::Receiver<BTreeSet<(PluginId, InstanceId)>>,
}

/// Watches over the instances of a fleet.
#[derive(Debug)]
pub struct Warden {
    broker: Broker,
    presence: PresenceHandle,
    rules: Rules,
    notes: mpsc::Receiver<Note>,
    held: watch::Sender<BTreeSet<(PluginId, InstanceId)>>,
    kept: Vec<Term>,
    revision: u64,
}

impl Notes {
    /// An attempt has ended with a record.
    pub fn record(&self, plugin: &PluginId, cid: &broker_config::Cid, record: &Record) {
        // Who writes `failed` is the coordinator: the signal before has said it.
        let ended = record.status != broker_config::RecordStatus::Failed;
        if let Some(instance) = record.instance.clone().filter(|_| ended) {
            let (plugin, cid) = (plugin.clone(), cid.clone());
            self.send(Note { plugin, instance, cid, ending: Ending::Well });
        }
    }

    /// A worker has reported something.
    pub fn signal(&self, plugin: &PluginId, signal: &Signal) {
        let permanent = match &signal.what {
            What::Failed { permanent, .. } => *permanent,
            What::Retrying { .. } => false,
            // After an error, as opposed to *retry later* and to what is given back.
            What::Deferred { attempts_used, .. } if *attempts_used >= signal.attempt => false,
            What::Deferred { .. } | What::Progress { .. } => return,
        };
        let (instance, cid) = (signal.instance.clone(), signal.cid.clone());
        let ending = Ending::Failed { permanent };
        self.send(Note { plugin: plugin.clone(), instance, cid, ending });
    }

    fn send(&self, note: Note) {
        if self.notes.try_send(note).is_err() {
            tracing::debug!("the end of an attempt went unheard by the warden");
        }
    }

    /// Whether an instance is to take no tasks.
    #[must_use]
    pub fn holds(&self, plugin: &PluginId, instance: &InstanceId) -> bool {
        self.held.borrow().contains(&(plugin.clone(), instance.clone()))
    }
}

impl Warden {
    /// Reads who is out of work, and goes on from there.
    pub async fn take_up(broker: &Broker, presence: PresenceHandle, rules: Rules) -> (Self, Notes) {
        let (kept, revision) = read(broker).await;
        let (sender, notes) = mpsc::channel(WAITING);
        let (held, seen) = watch::channel(Ward::new(rules, kept.clone()).held());
        let broker = broker.clone();
        let warden = Self { broker, presence, rules, notes, held, kept, revision };
        (warden, Notes { notes: sender, held: seen })
    }

    /// Watches until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(Box::pin(self.watch())).await;
    }

    async fn watch(&mut self) {
        let mut ward = Ward::new(self.rules, self.kept.clone());
        let mut due = interval(LOOK);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut last, mut is_due) = (Instant::now(), false);
        loop {
            tokio::select! {
                _ = due.tick() => {}
                () = sleep_until(last + REST), if is_due => {}
                note = self.notes.recv() => {
                    // Nobody notes anything any more: what is left ends with `stop`.
                    let Some(note) = note else { return };
                    is_due |= ward.note(note, Timestamp::now());
                    continue;
                }
            }
            (last, is_due) = (Instant::now(), false);
            // Signs of life say nothing of now while nobody can be heard.
            if self.broker.client.connection_state() != State::Connected {
                continue;
            }
            let seen: Vec<Seen> = self.presence.all().into_iter().map(seen).collect();
            let steps = ward.decide(&seen, Timestamp::now());
            self.keep(ward.terms().cloned().collect()).await;
            self.held.send_if_modified(|held| {
                let now = ward.held();
                std::mem::replace(held, now.clone()) != now
            });
            for step in steps {
                self.carry_out(step).await;
            }
        }
    }

    /// Keeps who is out; tried until the broker takes it.
    async fn keep(&mut self, terms: Vec<Term>) {
        while terms != self.kept {
            let (subject, body) = (key(&self.broker), json(&Kept { terms: terms.clone() }));
            let publisher = &self.broker.publisher;
            let stored =
                publisher.publish_after(subject, self.revision, HeaderMap::new(), body).await;
            match stored {
                Ok(revision) => (self.revision, self.kept) = (revision, terms.clone()),
                Err(PublishError::WrongLastSequence { .. }) => {
                    // Perhaps an acknowledgement was lost; or another one leads, and this one soon ends.
                    (self.kept, self.revision) = read(&self.broker).await;
                }
                Err(error) => {
                    tracing::debug!(error = %Chain(&error), "who is quarantined is not kept yet");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    async fn carry_out(&self, step: Step) {
        match step {
            Step::Quarantined(term) => {
                let Term { plugin_id, instance, why, until, times, .. } = term;
                tracing::warn!(plugin.id = %plugin_id, instance.id = %instance, why, %until, times, "quarantined");
                let until = format!("{until:.3}");
                let fact = Fact::InstanceQuarantined { plugin_id, instance, why, until, times };
                self.tell(fact).await;
            }
            Step::Released(plugin_id, instance, why) => {
                tracing::info!(plugin.id = %plugin_id, instance.id = %instance, why, "quarantined no more");
                self.tell(Fact::InstanceReleased { plugin_id, instance, why }).await;
            }
            Step::Pause(plugin, instance) => {
                self.control(&plugin, &instance, &Control::Pause).await;
            }
            Step::Announce(plugin, instance) => {
                tracing::info!(plugin.id = %plugin, instance.id = %instance, "on trial after quarantine");
                self.control(&plugin, &instance, &Control::Announce).await;
            }
            Step::Doubt(plugin, instance, why) => {
                tracing::warn!(
                    plugin.id = %plugin, instance.id = %instance,
                    "{why}: the plugin, its settings or the files may be bad; nothing is quarantined",
                );
            }
        }
    }

    async fn tell(&self, fact: Fact) {
        if let Err(error) = self.broker.tell(fact, None).await {
            tracing::warn!(error = %Chain(&error), "event not stored");
        }
    }

    async fn control(&self, plugin: &PluginId, instance: &InstanceId, control: &Control) {
        if !self.broker.may_write().await {
            return;
        }
        instruct((&self.broker.client, &self.broker.names), plugin, instance, control).await;
    }
}

fn seen(sign: Instance) -> Seen {
    Seen {
        is_ready: sign.state == InstanceState::Ready,
        plugin: sign.plugin_id,
        instance: sign.instance,
        version: sign.version,
        route: sign.route,
    }
}

fn key(broker: &Broker) -> String {
    Names::key_subject(&broker.names.lease_bucket(), KEY)
}

/// Who is out of work, and the revision of what says so; asked until the broker answers. What cannot be
/// understood says nothing.
async fn read(broker: &Broker) -> (Vec<Term>, u64) {
    let stream = Names::bucket_stream(&broker.names.lease_bucket());
    let subjects = [key(broker)];
    loop {
        match broker.through(|| last_messages(&broker.client, &stream, &subjects)).await {
            Ok(found) => {
                let stored = found.into_iter().next();
                let revision = stored.as_ref().map_or(0, |stored| stored.sequence);
                let kept = stored.and_then(|stored| serde_json::from_slice(&stored.payload).ok());
                return (kept.unwrap_or(Kept { terms: Vec::new() }).terms, revision);
            }
            Err(error) => {
                tracing::debug!(error = %Chain(&error), "who is quarantined cannot be read, trying again");
            }
        }
        sleep(PAUSE).await;
    }
}
