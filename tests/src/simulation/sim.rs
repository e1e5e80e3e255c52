//! One world while it goes on: the broker, the way to it, and who watches.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use broker_config::Names;
use fastrand::Rng;

use super::Breach;
use super::audit::Audit;
use super::broker::{Answer, Body, Broker, Happening, Headers, Refused, Reply, Stream};
use super::coordinator::Session;
use super::plan::{Noise, World};
use super::runtime::{Actor, Runtime, Time, Topic};

/// How long the answer of the broker is waited for.
const PATIENCE: Time = 5_000;

/// Nothing was heard of a request: it may or may not have been carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lost;

/// Why a publish did not succeed, as far as its publisher knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PublishError {
    WrongLastSequence,
    Full,
    Unacknowledged,
}

pub(super) struct Sim {
    pub(super) rt: Runtime,
    pub(super) world: World,
    pub(super) names: Names,
    pub(super) breach: Option<Breach>,
    rng: RefCell<Rng>,
    broker: RefCell<Broker>,
    pub(super) audit: RefCell<Audit>,
    /// Until when the broker is away.
    away: Cell<Time>,
    armed: Cell<Option<Time>>,
    /// The first thing that went wrong.
    pub(super) wrong: RefCell<Option<String>>,
    /// Submissions that are still to be accepted.
    pub(super) to_hand_in: Cell<usize>,
    /// Who leads, or believes so.
    pub(super) leading: RefCell<BTreeMap<usize, Weak<Session>>>,
    /// How often a task was put off.
    pub(super) put_off: RefCell<BTreeMap<(broker_config::Cid, usize), u32>>,
    traced: Cell<bool>,
    trace: RefCell<Vec<String>>,
}

impl Sim {
    pub(super) fn new(world: World, breach: Option<Breach>, traced: bool) -> Self {
        let names = Names::default();
        Self {
            rt: Runtime::default(),
            rng: RefCell::new(Rng::with_seed(world.seed ^ 0x5eed)),
            broker: RefCell::default(),
            audit: RefCell::new(Audit::new(&world, names.clone())),
            away: Cell::new(0),
            armed: Cell::new(None),
            wrong: RefCell::new(None),
            to_hand_in: Cell::new(world.files.len()),
            leading: RefCell::default(),
            put_off: RefCell::default(),
            traced: Cell::new(traced),
            trace: RefCell::default(),
            names,
            breach,
            world,
        }
    }

    pub(super) fn breaks(&self, breach: Breach) -> bool {
        self.breach == Some(breach)
    }

    /// Notes what happens, where somebody wants to read it.
    pub(super) fn note(&self, what: impl FnOnce() -> String) {
        if self.traced.get() {
            self.trace.borrow_mut().push(format!("{:>7} {}", self.rt.now(), what()));
        }
    }

    pub(super) fn trace(&self) -> Vec<String> {
        self.trace.take()
    }

    pub(super) fn draw(&self, from: Time, to: Time) -> Time {
        self.rng.borrow_mut().u64(from..to)
    }

    /// Whether something happens that does so in so many of a thousand cases.
    pub(super) fn chance(&self, of_thousand: u32) -> bool {
        of_thousand > 0 && self.rng.borrow_mut().u32(0..1_000) < of_thousand
    }

    /// Whether there are faults.
    pub(super) fn storms(&self) -> bool {
        !self.world.calms_down || self.rt.now() < self.world.storm
    }

    fn suffers(&self, noise: Noise) -> bool {
        let chance = self.world.noise.get(&noise).copied().unwrap_or(0);
        self.storms() && self.chance(chance)
    }

    pub(super) fn go_away(&self, duration: Time) {
        self.away.set(self.rt.now() + duration);
    }

    /// Does something to the broker, at once, and looks at what comes of it.
    pub(super) fn broker<R>(&self, act: impl FnOnce(&mut Broker) -> R) -> R {
        let mut broker = self.broker.borrow_mut();
        broker.now = self.rt.now();
        let result = act(&mut broker);
        let exhausted = std::mem::take(&mut broker.exhausted);
        for sequence in exhausted {
            self.advise(&mut broker, sequence);
        }
        let happenings = std::mem::take(&mut broker.happenings);
        for happening in happenings {
            self.note(|| super::tell::happening(&happening));
            if let Happening::Stored { stream: Stream::Records, .. } = &happening {
                self.rt.tell(&Topic::Records);
            }
            if let Err(wrong) = self.audit.borrow_mut().hear(happening) {
                self.wrong.borrow_mut().get_or_insert(wrong);
            }
        }
        for name in std::mem::take(&mut broker.changed) {
            self.rt.tell(&Topic::Consumer(name));
        }
        let due = broker.next_due();
        if let Some(at) = due
            && self.armed.get().is_none_or(|armed| at < armed || armed < self.rt.now())
        {
            self.armed.set(Some(at));
            self.rt.arm_broker(at);
        }
        result
    }

    /// Lets the broker do what time asks for.
    pub(super) fn tick_broker(&self) {
        self.armed.set(None);
        if self.is_away() {
            // It wakes up when it is back.
            let back = self.away.get();
            self.armed.set(Some(back));
            self.rt.arm_broker(back);
            return;
        }
        self.broker(Broker::tick);
    }

    fn advise(&self, broker: &mut Broker, sequence: u64) {
        let times = match (self.suffers(Noise::LostAdvisory), self.suffers(Noise::DoubleAdvisory)) {
            (true, _) => 0,
            (false, true) => 2,
            (false, false) => 1,
        };
        for _ in 0..times {
            let body = Body::Advisory(sequence);
            let subject = "advisory";
            broker.publish(Stream::Advisories, subject, Headers::default(), body).ok();
        }
    }

    pub(super) fn is_away(&self) -> bool {
        self.rt.now() < self.away.get()
    }

    fn latency(&self) -> Time {
        let long = self.storms() && self.chance(20);
        if long { self.draw(50, 1_500) } else { self.draw(0, 5) }
    }

    /// Asks the broker for something.
    pub(super) async fn call<R>(&self, act: impl FnOnce(&mut Broker) -> R) -> Result<R, Lost> {
        self.rt.sleep(self.latency()).await;
        if self.is_away() || self.suffers(Noise::LostRequest) {
            self.rt.sleep(PATIENCE).await;
            return Err(Lost);
        }
        let result = self.broker(act);
        if self.suffers(Noise::LostReply) {
            self.rt.sleep(PATIENCE).await;
            return Err(Lost);
        }
        self.rt.sleep(self.latency()).await;
        Ok(result)
    }

    /// Asks until there is an answer.
    pub(super) async fn call_patiently<R>(&self, act: impl Fn(&mut Broker) -> R) -> R {
        loop {
            if let Ok(result) = self.call(&act).await {
                return result;
            }
            self.rt.sleep(300).await;
        }
    }

    pub(super) async fn publish(
        &self,
        stream: Stream,
        subject: &str,
        headers: Headers,
        body: Body,
    ) -> Result<u64, PublishError> {
        match self.call(|broker| broker.publish(stream, subject, headers, body)).await {
            Ok(Ok(sequence)) => Ok(sequence),
            Ok(Err(Refused::WrongLastSequence)) => Err(PublishError::WrongLastSequence),
            Ok(Err(Refused::Full)) => Err(PublishError::Full),
            Err(Lost) => Err(PublishError::Unacknowledged),
        }
    }

    /// Answers a delivery. It is on its way by itself: late, perhaps, or lost, and whoever sent it
    /// may die meanwhile.
    pub(super) fn answer(self: &Rc<Self>, reply: &Reply, answer: Answer) {
        let lost = self.suffers(Noise::LostAnswer);
        let late = self.suffers(Noise::LateAnswer);
        let delay = if late { self.draw(500, 15_000) } else { self.latency() };
        if lost {
            return;
        }
        let (sim, reply) = (self.clone(), reply.clone());
        self.rt.spawn(Actor::Network, 0, async move {
            sim.rt.sleep(delay).await;
            if !sim.is_away() {
                sim.note(|| format!("{answer:?} of {} in {}", reply.sequence, reply.consumer));
                sim.broker(|broker| broker.answer(&reply, answer));
            }
        });
    }
}
