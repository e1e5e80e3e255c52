//! Workers: pull, renew, work, settle, in the order of `worker-sdk/src/settle.rs`; and those that do
//! otherwise.

mod liar;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;

use broker_config::retry::FailureKind;
use broker_config::topology;
use broker_config::wire::record::RecordType;
use broker_config::wire::signal::{Signal, SignalType, What};
use broker_config::{InstanceId, MetaMap, Queue, Record, RecordStatus, Task, Verdict};

use super::Breach;
use super::broker::{Answer, Body, Delivery, Headers, Reply, Stream};
use super::coordinator::consumer_of;
use super::plan::{Nature, PluginPlan, cid_of};
use super::runtime::{Actor, Time, Topic};
use super::sim::{PublishError, Sim};

/// How long a delivery belongs to its worker unless it is renewed.
pub(super) const LEASE: Time = topology::LEASE.as_secs() * 1_000;
/// Tasks at once.
const PLACES: usize = 2;
/// Times a publish is tried.
const TRIES: u32 = 8;
/// How often one plugin may put off one file, so that every world comes to an end.
const MOST_PUT_OFF: u32 = 3;

/// A delivery that is held.
struct Held {
    reply: RefCell<Reply>,
    delivered: Cell<u32>,
    until: Cell<Time>,
    ended: Cell<bool>,
}

/// One process of a plugin.
pub(super) struct Worker {
    sim: Rc<Sim>,
    number: usize,
    plan: PluginPlan,
    nature: Nature,
    instance: InstanceId,
    held: RefCell<BTreeMap<u64, Rc<Held>>>,
    settled: RefCell<BTreeSet<u64>>,
    running: Cell<usize>,
}

/// How an attempt ended.
enum Ended {
    Completed,
    Nothing,
    PutOff(Time),
    Failed(FailureKind),
}

/// Starts a worker; it pulls from now on.
pub(super) fn start(sim: &Rc<Sim>, plan: &PluginPlan, number: usize, nature: Nature) {
    let name = format!("w{number}").parse::<InstanceId>();
    let instance = name.unwrap_or_else(|error| unreachable!("an instance id of ours: {error}"));
    let worker = Rc::new(Worker {
        sim: sim.clone(),
        number,
        plan: plan.clone(),
        nature,
        instance,
        held: RefCell::default(),
        settled: RefCell::default(),
        running: Cell::new(0),
    });
    worker.clone().spawn(async move { worker.pull().await });
}

impl Worker {
    fn spawn(&self, job: impl Future<Output = ()> + 'static) {
        self.sim.rt.spawn(Actor::Worker(self.number), 0, job);
    }

    /// Dies, and comes back after a while.
    fn die(&self) {
        let (sim, plan, number, nature) =
            (self.sim.clone(), self.plan.clone(), self.number, self.nature);
        sim.note(|| format!("worker {number} dies"));
        let pause = sim.draw(500, 3_000);
        let later = sim.clone();
        sim.rt.spawn(Actor::Network, 0, async move {
            later.rt.sleep(pause).await;
            start(&later, &plan, number, nature);
        });
        sim.rt.kill(Actor::Worker(number));
    }

    async fn pull(self: Rc<Self>) {
        let lines = Queue::ALL.map(|queue| {
            let (consumer, _) = consumer_of(&self.sim.names, &self.plan.id(), queue);
            (queue, consumer)
        });
        loop {
            if self.running.get() >= PLACES {
                self.sim.rt.wait(vec![Topic::Worker(self.number)], 5_000).await;
                continue;
            }
            let mut found = false;
            for (queue, consumer) in &lines {
                let pulled = self.sim.call(|broker| broker.pull(consumer)).await;
                if let Ok(Some(Some(delivery))) = pulled {
                    found = true;
                    self.begin(*queue, delivery);
                }
            }
            if !found {
                let topics = lines.iter().map(|(_, name)| Topic::Consumer(name.clone()));
                self.sim.rt.wait(topics.collect(), 5_000).await;
            }
        }
    }

    fn begin(self: &Rc<Self>, queue: Queue, delivery: Delivery) {
        let Delivery { reply, delivered, message } = delivery;
        let sequence = message.sequence;
        if self.settled.borrow().contains(&sequence) {
            return self.sim.answer(&reply, Answer::Ack);
        }
        let now = self.sim.rt.now();
        if let Some(held) = self.held.borrow().get(&sequence).filter(|it| it.until.get() > now) {
            held.reply.replace(reply);
            held.delivered.set(delivered);
            return;
        }
        let Body::Task(task) = &message.body else { return };
        let held = Rc::new(Held {
            reply: RefCell::new(reply),
            delivered: Cell::new(delivered),
            until: Cell::new(now + self.plan.timeout + 2_000),
            ended: Cell::new(false),
        });
        self.held.borrow_mut().insert(sequence, held.clone());
        self.running.set(self.running.get() + 1);
        let used = message.headers.attempts_used;
        let attempt = Attempt {
            worker: self.clone(),
            queue,
            task: task.clone(),
            held: held.clone(),
            sequence,
            used,
        };
        self.spawn(async move { attempt.run().await });
        if self.nature != Nature::Zombie || !self.sim.storms() {
            let me = self.clone();
            self.spawn(async move { me.renew(&held).await });
        }
    }

    async fn renew(&self, held: &Held) {
        loop {
            self.sim.rt.sleep(LEASE / 3 - 100).await;
            if held.ended.get() || held.until.get() <= self.sim.rt.now() {
                return;
            }
            let reply = held.reply.borrow().clone();
            self.sim.answer(&reply, Answer::Progress);
        }
    }
}

/// One attempt at a task.
struct Attempt {
    worker: Rc<Worker>,
    queue: Queue,
    task: Arc<Task>,
    held: Rc<Held>,
    sequence: u64,
    used: u32,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.held.ended.set(true);
        self.worker.running.set(self.worker.running.get().saturating_sub(1));
        let mut held = self.worker.held.borrow_mut();
        if held.get(&self.sequence).is_some_and(|current| Rc::ptr_eq(current, &self.held)) {
            held.remove(&self.sequence);
        }
        drop(held);
        self.worker.sim.rt.tell(&Topic::Worker(self.worker.number));
    }
}

impl Attempt {
    /// Number of this attempt, from 1.
    fn number(&self) -> NonZeroU32 {
        NonZeroU32::new(self.held.delivered.get() + self.used).unwrap_or(NonZeroU32::MIN)
    }

    async fn run(self) {
        let worker = self.worker.clone();
        let sim = &worker.sim;
        sim.note(|| format!("worker {} begins {}", worker.number, self.task.task_id));
        let ended = self.handle().await;
        let storms = sim.storms();
        match worker.nature {
            Nature::Liar if storms && sim.chance(700) => return self.lie().await,
            Nature::Crashing if storms && sim.chance(300) => return worker.die(),
            Nature::Flooder if storms => self.flood().await,
            Nature::Good | Nature::Zombie | Nature::Crashing | Nature::Liar | Nature::Flooder => {}
        }
        self.settle(ended).await;
    }

    /// What the plugin does with the file.
    async fn handle(&self) -> Ended {
        let (worker, sim) = (&self.worker, &self.worker.sim);
        let plan = &worker.plan;
        let takes = sim.draw(0, plan.takes);
        let takes = if worker.nature == Nature::Zombie && sim.storms() {
            takes + sim.draw(0, 2 * LEASE)
        } else {
            takes
        };
        if plan.poison.iter().any(|content| cid_of(*content) == self.task.cid) {
            sim.rt.sleep(takes.min(plan.timeout) / 2).await;
            worker.die();
            // The attempt is gone with its process.
            std::future::pending::<()>().await;
        }
        if takes > plan.timeout {
            sim.rt.sleep(plan.timeout).await;
            return Ended::Failed(FailureKind::Retryable);
        }
        sim.rt.sleep(takes).await;
        if sim.chance(plan.fails) {
            let permanent = sim.chance(200);
            let kind = if permanent { FailureKind::Permanent } else { FailureKind::Retryable };
            return Ended::Failed(kind);
        }
        if sim.chance(plan.puts_off) {
            let mut put_off = sim.put_off.borrow_mut();
            let times = put_off.entry((self.task.cid.clone(), plan.at)).or_default();
            *times += 1;
            if *times <= MOST_PUT_OFF {
                return Ended::PutOff(sim.draw(100, 90_000));
            }
        }
        if sim.chance(plan.has_nothing) { Ended::Nothing } else { Ended::Completed }
    }

    async fn settle(&self, ended: Ended) {
        self.held.until.set(self.worker.sim.rt.now() + 600_000);
        match ended {
            Ended::Completed => {
                let salt = self.worker.sim.draw(0, 3);
                let key = format!("{}/out", self.task.plugin_id);
                let value = format!("{} {salt}", self.task.cid);
                let entry = key.parse().ok().map(|key| (key, value.as_str().into()));
                self.record(RecordStatus::Completed, entry.into_iter().collect()).await;
            }
            Ended::Nothing => self.record(RecordStatus::Skipped, MetaMap::new()).await,
            Ended::PutOff(after) => self.defer(after, self.number().get() - 1).await,
            Ended::Failed(kind) => self.fail(kind).await,
        }
    }

    fn record_of(&self, status: RecordStatus, meta: MetaMap) -> Record {
        Record {
            kind: RecordType::V1,
            task_id: self.task.task_id.clone(),
            plugin_id: self.task.plugin_id.clone(),
            cid: self.task.cid.clone(),
            status,
            duration_ms: 0,
            attempt: self.number().get(),
            plugin_version: "1.0.0".to_owned(),
            fingerprint: self.task.fingerprint.clone(),
            finished_at: String::new(),
            instance: Some(self.worker.instance.clone()),
            error: None,
            reason: None,
            meta,
            hidden: Vec::new(),
        }
    }

    async fn record(&self, status: RecordStatus, meta: MetaMap) {
        let sim = &self.worker.sim;
        if sim.breaks(Breach::AckBeforeRecord) {
            self.answer(Answer::Ack);
        }
        let record = self.record_of(status, meta);
        let subject = sim.names.record(&self.task.cid, &self.task.plugin_id);
        let fenced = !sim.breaks(Breach::NoRecordFence);
        let expected = fenced.then_some(self.task.record_revision);
        let headers = Headers { expected, ..Headers::default() };
        let body = Body::Record(Arc::new(record));
        match self.publish(Stream::Records, &subject, headers, body).await {
            // Somebody else has settled it, or it is settled now.
            Ok(()) | Err(PublishError::WrongLastSequence) => self.done(Answer::Ack),
            // It is left to its lease.
            Err(PublishError::Full | PublishError::Unacknowledged) => {}
        }
    }

    async fn fail(&self, kind: FailureKind) {
        let verdict = self.task.retry.verdict(kind, self.number());
        let delay = |wait: std::time::Duration| u64::try_from(wait.as_millis()).unwrap_or(1);
        match verdict {
            Verdict::Retry(wait) => self.answer(Answer::Nak(delay(wait))),
            Verdict::RetryScheduled(wait) => self.defer(delay(wait), self.number().get()).await,
            Verdict::GiveUp if self.worker.sim.breaks(Breach::NoCap) => {
                self.answer(Answer::Nak(100));
            }
            Verdict::GiveUp => {
                let permanent = kind == FailureKind::Permanent;
                let task = Box::new((*self.task).clone());
                let (error, duration_ms) = ("it failed".to_owned(), 0);
                let what = What::Failed { error, permanent, duration_ms, task };
                if self.signal(what).await.is_ok() {
                    self.done(Answer::Term);
                }
            }
        }
    }

    async fn defer(&self, delay_ms: Time, attempts_used: u32) {
        let task = Box::new((*self.task).clone());
        let reason = "later".to_owned();
        let what = What::Deferred { reason, delay_ms: delay_ms.max(1), attempts_used, task };
        if self.signal(what).await.is_ok() {
            self.done(Answer::Ack);
        }
    }

    async fn signal(&self, what: What) -> Result<(), PublishError> {
        let kind = what.kind();
        let attempt = self.number().get();
        let signal = Signal {
            message: SignalType::V1,
            task_id: self.task.task_id.clone(),
            cid: self.task.cid.clone(),
            queue: self.queue,
            attempt,
            instance: self.worker.instance.clone(),
            at: String::new(),
            what,
        };
        let id = Some(format!("{kind}.{}.{attempt}", self.sequence));
        let headers = Headers { id, ..Headers::default() };
        let subject = self.worker.sim.names.signal(&self.task.plugin_id, kind);
        self.publish(Stream::Signals, &subject, headers, Body::Signal(Arc::new(signal))).await
    }

    /// Publishes until it is stored; what is refused after nothing was heard of the try before is
    /// taken for that one.
    async fn publish(
        &self,
        stream: Stream,
        subject: &str,
        headers: Headers,
        body: Body,
    ) -> Result<(), PublishError> {
        let sim = &self.worker.sim;
        let mut pause = 200;
        let mut ended = Err(PublishError::Unacknowledged);
        for tried in 0..TRIES {
            ended = sim.publish(stream, subject, headers.clone(), body.clone()).await.map(drop);
            match ended {
                Err(PublishError::WrongLastSequence) if tried > 0 => return Ok(()),
                Ok(()) | Err(PublishError::WrongLastSequence) => return ended,
                Err(PublishError::Unacknowledged) if sim.breaks(Breach::UnknownRecord) => {
                    return Ok(());
                }
                Err(PublishError::Full | PublishError::Unacknowledged) => {}
            }
            sim.rt.sleep(pause).await;
            pause = (pause * 2).min(5_000);
        }
        ended
    }

    fn answer(&self, answer: Answer) {
        let reply = self.held.reply.borrow().clone();
        self.held.ended.set(true);
        self.worker.sim.answer(&reply, answer);
    }

    fn done(&self, answer: Answer) {
        self.worker.settled.borrow_mut().insert(self.sequence);
        self.answer(answer);
    }
}
