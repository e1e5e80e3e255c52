//! Waits for the lease, leads while it has it; as `lease.rs` and `service.rs`.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use broker_config::wire::lease::{LEASE_KEY, Lease, LeaseType};
use broker_config::{Cid, Lane, Names, PluginId, Queue};
use coordinator::dispatcher::Event;
use coordinator::lease::{Move, TTL, decide};

use super::super::Breach;
use super::super::broker::{Answer, Body, Headers, Stream};
use super::super::runtime::Time;
use super::super::sim::{PublishError, Sim};
use super::{Session, inputs};

/// How often a candidate looks.
const LOOK: Time = 250;
/// How often the dispatcher hears the time; less often than in reality, to be quick.
const TICK: Time = 250;
/// How often deliveries of open submissions are renewed.
const RENEW: Time = 8_000;
/// How long effects may take to end when the lead is lost.
const LAST_EFFECTS: Time = 5_000;

/// The lease, held.
struct Held {
    lease: Lease,
    revision: u64,
    renewed: Time,
}

/// A coordinator until it is killed.
pub(in crate::simulation) async fn coordinate(sim: Rc<Sim>, at: usize) {
    loop {
        let mut held = acquire(&sim, at).await;
        let session = Session::new(&sim, at, held.lease.epoch);
        let leading = session.clone();
        session.serve(async move { leading.lead().await });
        keep(&sim, &mut held).await;
        session.stop().await;
    }
}

async fn acquire(sim: &Sim, at: usize) -> Held {
    let node = format!("node-{at}");
    let mut seen: Option<(u64, Time)> = None;
    loop {
        if let Some((revision, found)) = read(sim).await {
            let now = sim.rt.now();
            let since = match seen {
                Some((same, since)) if same == revision => since,
                _ => now,
            };
            seen = Some((revision, since));
            let unchanged = Duration::from_millis(now - since);
            if let Move::Take { epoch } = decide(found.as_ref(), revision, &node, unchanged) {
                let ttl_ms = u64::try_from(TTL.as_millis()).unwrap_or(u64::MAX);
                let holder = node.clone();
                let lease = Lease { kind: LeaseType::V1, holder, epoch, ttl_ms };
                if let Ok(revision) = write(sim, &lease, revision).await {
                    return Held { lease, revision, renewed: sim.rt.now() };
                }
            }
        }
        sim.rt.sleep(LOOK).await;
    }
}

/// Renews the lease until it is lost.
async fn keep(sim: &Sim, held: &mut Held) {
    let ttl = held.lease.ttl_ms;
    loop {
        sim.rt.sleep(ttl / 5).await;
        match write(sim, &held.lease, held.revision).await {
            Ok(revision) => {
                held.revision = revision;
                held.renewed = sim.rt.now();
            }
            Err(PublishError::WrongLastSequence) => match read(sim).await {
                Some((revision, Some(lease))) if lease == held.lease => {
                    held.revision = revision;
                    held.renewed = sim.rt.now();
                }
                _ => return,
            },
            Err(PublishError::Full | PublishError::Unacknowledged) => {}
        }
        if sim.rt.now() - held.renewed > ttl {
            return;
        }
    }
}

fn key(sim: &Sim) -> String {
    Names::key_subject(&sim.names.lease_bucket(), LEASE_KEY)
}

async fn read(sim: &Sim) -> Option<(u64, Option<Lease>)> {
    let key = key(sim);
    let found = sim.call(|broker| broker.last_on(Stream::Lease, &key)).await.ok()?;
    Some(found.map_or((0, None), |found| {
        let lease = if let Body::Lease(lease) = found.body { Some(lease) } else { None };
        (found.sequence, lease)
    }))
}

async fn write(sim: &Sim, lease: &Lease, revision: u64) -> Result<u64, PublishError> {
    let headers = Headers { expected: Some(revision), ..Headers::default() };
    sim.publish(Stream::Lease, &key(sim), headers, Body::Lease(lease.clone())).await
}

impl Session {
    async fn lead(self: Rc<Self>) {
        self.sim.note(|| format!("coordinator {} leads in epoch {}", self.at, self.epoch));
        self.sim.leading.borrow_mut().insert(self.at, Rc::downgrade(&self));
        let (ticking, renewing) = (self.clone(), self.clone());
        self.serve(async move { ticking.tick().await });
        self.serve(async move { renewing.renew().await });
        let last = self.sim.call_patiently(|broker| broker.last_sequence(Stream::Records)).await;
        let following = self.clone();
        self.serve(async move { following.watch_records(last + 1).await });
        for stream in [Stream::Signals, Stream::Advisories] {
            let working = self.clone();
            self.serve(async move { working.work_through(stream).await });
        }
        let consumers = self.make_consumers().await;
        let graph = self.sim.world.graph(self.sim.breaks(Breach::ChildFirst));
        self.report(Event::GraphChanged(graph.into()));
        let sweeping = self.clone();
        self.serve(async move { sweeping.watch_strays(consumers).await });
        let (scheduled, inherited) = self.subjects_of_tasks().await;
        self.report(Event::Scheduled { tasks: scheduled });
        self.report(Event::Inherited { tasks: inherited });
        for queue in Queue::ALL {
            let feeding = self.clone();
            self.serve(async move { feeding.feed(queue).await });
        }
    }

    async fn make_consumers(&self) -> Vec<(String, String)> {
        let mut made = Vec::new();
        for plan in &self.sim.world.plugins {
            let plugin = plan.id();
            for queue in Queue::ALL {
                let (name, beginning) = inputs::consumer_of(&self.sim.names, &plugin, queue);
                let most = (!self.sim.breaks(Breach::NoCap)).then(|| plan.retry().deliveries());
                let lease = super::super::worker::LEASE;
                let filter = || (Stream::Tasks, beginning.clone());
                self.sim
                    .call_patiently(|broker| broker.consume(&name, filter(), lease, most))
                    .await;
                made.push((name, beginning));
            }
        }
        made
    }

    /// The tasks that wait for a time, and those that wait or run.
    async fn subjects_of_tasks(&self) -> (Tasks, Tasks) {
        let names = &self.sim.names;
        let of = |beginning: String| beginning.trim_end_matches('>').to_owned();
        let (later, tasks) = (of(names.all_later()), of(names.all_tasks()));
        let scheduled =
            self.sim.call_patiently(|broker| broker.subjects(Stream::Tasks, &later)).await;
        let waiting =
            self.sim.call_patiently(|broker| broker.subjects(Stream::Tasks, &tasks)).await;
        let of_task =
            |subject: &String| names.parse_task(subject).map(|of| ((of.plugin, of.cid), of.lane));
        let of_later = |subject: &String| {
            names.parse_later(subject).map(|(plugin, lane, cid)| ((plugin, cid), lane))
        };
        (
            scheduled.iter().filter_map(of_later).collect(),
            waiting.iter().filter_map(of_task).collect(),
        )
    }

    async fn tick(self: Rc<Self>) {
        loop {
            let now = self.sim.rt.now() - self.started;
            self.report(Event::Tick { now });
            let parked = self.dispatcher.borrow().numbers().parked;
            self.slots.set_parked(parked);
            self.sim.rt.sleep(TICK).await;
        }
    }

    async fn renew(self: Rc<Self>) {
        loop {
            self.sim.rt.sleep(RENEW).await;
            let replies: Vec<_> = self.replies.borrow().all().cloned().collect();
            for reply in replies {
                self.sim.answer(&reply, Answer::Progress);
            }
        }
    }

    /// Ends the services at once; effects that have begun may end, for a while.
    async fn stop(&self) {
        self.sim.note(|| format!("coordinator {} no longer leads", self.at));
        self.stopped.set(true);
        self.sim.leading.borrow_mut().remove(&self.at);
        self.sim.rt.cancel(self.services);
        self.sim.rt.sleep(self.sim.draw(0, LAST_EFFECTS)).await;
        self.sim.rt.cancel(self.effects);
    }
}

type Tasks = BTreeMap<(PluginId, Cid), Lane>;
