//! What comes in besides submissions: records, signals, advisories; and what nobody tells of.
//!
//! As `broker/tail.rs`, `signals.rs`, `advisories.rs`, `durable.rs` and `strays/settled.rs`.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use broker_config::wire::dead::Cause;
use broker_config::wire::signal::{Signal, What};
use broker_config::{Cid, Names, PluginId, Queue, RecordStatus};
use coordinator::broker::dead::GiveUp;
use coordinator::broker::records::from_record;
use coordinator::dispatcher::Event;
use coordinator::run::{KnownRecord, Trace};
use coordinator::strays::{done_up_to, is_outdone};

use super::super::Breach;
use super::super::broker::{Answer, Body, Broker, Delivery, Headers, Message, Stream};
use super::super::runtime::Topic;
use super::{Records, Session};

/// The name of the consumers of signals and advisories.
pub(in crate::simulation) const DURABLE: &str = "coordinator";
/// A message that was not handled in this time, or could not be, comes again.
const AGAIN: u64 = 15_000;

pub(super) fn records_of(broker: &mut Broker, names: &Names, cid: &Cid) -> Records {
    let all = names.records_of(cid);
    let beginning = all.trim_end_matches('*');
    let mut records = BTreeMap::new();
    for subject in broker.subjects(Stream::Records, beginning) {
        let found = broker.last_on(Stream::Records, &subject);
        if let (Some(found), Some(address)) = (found, names.parse_record(&subject)) {
            records.insert(address.plugin, known(&found));
        }
    }
    records
}

/// As `broker::records::known`: what cannot be read is up to date with nothing.
fn known(message: &Message) -> KnownRecord {
    let (revision, stored_at) = (message.sequence, message.stored_at);
    if let Body::Record(record) = &message.body {
        return from_record((**record).clone(), revision, stored_at);
    }
    KnownRecord {
        revision,
        stored_at,
        status: RecordStatus::Failed,
        fingerprint: String::new(),
        version: None,
        meta: Arc::default(),
        hidden: Arc::new([]),
    }
}

impl Session {
    /// Follows the records from a sequence on and misses nothing.
    pub(super) async fn watch_records(self: Rc<Self>, mut from: u64) {
        loop {
            let next = self.sim.call(|broker| broker.first_from(Stream::Records, from, "")).await;
            match next {
                Ok(Some(message)) => {
                    from = message.sequence + 1;
                    if let Some(address) = self.sim.names.parse_record(&message.subject) {
                        let (cid, plugin) = (address.cid, address.plugin);
                        let record = known(&message);
                        self.report(Event::Record { cid, plugin, record });
                    }
                }
                Ok(None) => self.sim.rt.wait(vec![Topic::Records], 5_000).await,
                Err(_) => self.sim.rt.sleep(300).await,
            }
        }
    }

    /// Handles each message of a stream, then acknowledges it.
    pub(super) async fn work_through(self: Rc<Self>, stream: Stream) {
        let name = format!("{DURABLE}_{stream:?}");
        self.sim
            .call_patiently(|broker| broker.consume(&name, (stream, String::new()), AGAIN, None))
            .await;
        loop {
            match self.sim.call(|broker| broker.pull(&name)).await {
                Ok(Some(Some(delivery))) => {
                    let me = self.clone();
                    self.serve(async move { me.handle(delivery).await });
                }
                Ok(_) => self.sim.rt.wait(vec![Topic::Consumer(name.clone())], 5_000).await,
                Err(_) => self.sim.rt.sleep(500).await,
            }
        }
    }

    async fn handle(self: Rc<Self>, delivery: Delivery) {
        let Delivery { reply, message, .. } = delivery;
        if self.sim.breaks(Breach::AckSignalFirst) {
            self.sim.answer(&reply, Answer::Ack);
        }
        let is_done = if let Body::Signal(signal) = &message.body {
            self.on_signal(signal, &message).await
        } else if let Body::Advisory(sequence) = &message.body {
            self.on_advisory(*sequence).await
        } else {
            // What cannot be read is done with.
            true
        };
        if is_done {
            self.sim.answer(&reply, Answer::Ack);
        }
    }

    async fn on_signal(self: &Rc<Self>, signal: &Signal, message: &Message) -> bool {
        let Some((plugin, _)) = self.sim.names.parse_signal(&message.subject) else { return true };
        match &signal.what {
            What::Failed { error, permanent, duration_ms, task } => {
                let mut task = (**task).clone();
                if !self.sim.breaks(Breach::IdentityFromBody) {
                    task.plugin_id = plugin;
                }
                let dead = GiveUp {
                    task,
                    queue: signal.queue,
                    cause: if *permanent { Cause::Permanent } else { Cause::Attempts },
                    error: error.clone(),
                    attempts: signal.attempt,
                    duration_ms: *duration_ms,
                    instance: Some(signal.instance.clone()),
                    trace: Trace::default(),
                };
                self.give_up(dead).await.is_ok()
            }
            What::Deferred { delay_ms, attempts_used, task, .. } => {
                let names = &self.sim.names;
                let target = names.task_in(task.lane, signal.queue, &plugin, &task.cid);
                let at = self.sim.rt.now() + delay_ms;
                let (schedule, attempts_used) = (Some((at, target)), *attempts_used);
                let headers = Headers { schedule, attempts_used, ..Headers::default() };
                let subject = names.later_in(task.lane, &plugin, &task.cid);
                let body = Body::Task(Arc::new((**task).clone()));
                if self.sim.publish(Stream::Tasks, &subject, headers, body).await.is_err() {
                    return false;
                }
                self.report(Event::Deferred { cid: signal.cid.clone(), plugin });
                let id = Some(format!("deferred.{}", message.sequence));
                let headers = Headers { id, ..Headers::default() };
                self.sim.publish(Stream::Events, "event", headers, Body::Told).await.is_ok()
            }
            What::Retrying { .. } => {
                let headers = Headers::default();
                self.sim.publish(Stream::Events, "event", headers, Body::Told).await.is_ok()
            }
            What::Progress { .. } => true,
        }
    }

    async fn on_advisory(&self, sequence: u64) -> bool {
        match self.sim.call(|broker| broker.at(Stream::Tasks, sequence)).await {
            Ok(Some(stored)) => self.exhausted(&stored).await,
            Ok(None) => true,
            Err(_) => false,
        }
    }

    /// Takes out what is settled and will not be delivered again, now and then.
    pub(super) async fn watch_strays(self: Rc<Self>, consumers: Vec<(String, String)>) {
        loop {
            for (name, beginning) in &consumers {
                self.sweep_settled(name, beginning).await.ok();
            }
            self.sim.rt.sleep(30_000).await;
        }
    }

    async fn sweep_settled(
        &self,
        consumer: &str,
        beginning: &str,
    ) -> Result<(), super::super::sim::Lost> {
        let Some(info) = self.sim.call(|broker| broker.info(consumer)).await? else {
            return Ok(());
        };
        let behind = done_up_to(info.held, info.delivered, info.floor);
        let mut from = 1;
        loop {
            let next = self.sim.call(|broker| broker.first_from(Stream::Tasks, from, beginning));
            let next = next.await?;
            let Some(stored) = next.filter(|stored| stored.sequence <= behind) else {
                return Ok(());
            };
            from = stored.sequence + 1;
            let Some(task) = super::effect::task_in(&stored).cloned() else { continue };
            let Some(address) = self.sim.names.parse_task(&stored.subject) else { continue };
            let record = self.sim.names.record(&address.cid, &address.plugin);
            let found = self.sim.call(|broker| broker.last_on(Stream::Records, &record)).await?;
            if is_outdone(&task, found.map_or(0, |record| record.sequence)) {
                let sequence = stored.sequence;
                self.sim.call(|broker| broker.delete(Stream::Tasks, sequence)).await?;
            }
        }
    }
}

/// The consumer of a plugin's tasks, and how the subjects begin that it delivers.
pub(in crate::simulation) fn consumer_of(
    names: &Names,
    plugin: &PluginId,
    queue: Queue,
) -> (String, String) {
    let filter = names.tasks_of(queue, plugin);
    (Names::consumer(plugin, queue), filter.trim_end_matches('*').to_owned())
}
