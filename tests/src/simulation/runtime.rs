//! The clock and the tasks of one world: futures that are polled by hand, in an order that follows
//! from the seed alone.
//!
//! Time stands still while a task runs and jumps to the next timer when none does. A task belongs
//! to an actor, which can be killed or paused: what is paused sleeps on and goes on afterwards, late.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Milliseconds since the world began.
pub(super) type Time = u64;

type Job = Pin<Box<dyn Future<Output = ()>>>;

/// Stands for the broker's own timers in the queue of timers.
const BROKER: usize = usize::MAX;

/// Whose task it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Actor {
    /// What is under way, and whoever does mischief; nobody can stop it.
    Network,
    /// Hands files in.
    Submitter,
    /// A coordinator.
    Coordinator(usize),
    /// A worker.
    Worker(usize),
}

/// What a task can wait for besides time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Topic {
    /// Something may be there to be pulled.
    Consumer(String),
    /// Something was recorded.
    Records,
    /// A place of a worker is free.
    Worker(usize),
    /// A place of a coordinator is free.
    Places(usize),
}

/// What is to be done next.
pub(super) enum Turn {
    /// The broker has something to do by itself.
    Broker,
    /// A task goes on.
    Task(usize),
}

/// A task that waits for a topic, and whether it was told.
type Waiting = (usize, Rc<Cell<bool>>);

struct Slot {
    actor: Actor,
    group: u64,
    job: Option<Job>,
}

#[derive(Default)]
pub(super) struct Runtime {
    now: Cell<Time>,
    tickets: Cell<u64>,
    groups: Cell<u64>,
    current: Cell<usize>,
    steps: Cell<u64>,
    timers: RefCell<BinaryHeap<Reverse<(Time, u64, usize)>>>,
    slots: RefCell<Vec<Option<Slot>>>,
    paused: RefCell<BTreeMap<Actor, Time>>,
    waiting: RefCell<BTreeMap<Topic, Vec<Waiting>>>,
}

impl Runtime {
    pub(super) fn now(&self) -> Time {
        self.now.get()
    }

    /// How often something was done.
    pub(super) fn steps(&self) -> u64 {
        self.steps.get()
    }

    /// A number for tasks that end together.
    pub(super) fn group(&self) -> u64 {
        self.groups.set(self.groups.get() + 1);
        self.groups.get()
    }

    /// Starts a task; it runs when its turn comes.
    pub(super) fn spawn(&self, actor: Actor, group: u64, job: impl Future<Output = ()> + 'static) {
        let mut slots = self.slots.borrow_mut();
        slots.push(Some(Slot { actor, group, job: Some(Box::pin(job)) }));
        self.arm(self.now(), slots.len() - 1);
    }

    fn arm(&self, at: Time, id: usize) {
        self.tickets.set(self.tickets.get() + 1);
        self.timers.borrow_mut().push(Reverse((at, self.tickets.get(), id)));
    }

    /// Has the broker looked at then.
    pub(super) fn arm_broker(&self, at: Time) {
        self.arm(at, BROKER);
    }

    /// Goes on to whatever is next, at `until` at the latest.
    pub(super) fn next(&self, until: Time) -> Option<Turn> {
        loop {
            let Reverse((at, _, id)) = self.timers.borrow_mut().pop()?;
            if at > until {
                return None;
            }
            self.now.set(self.now().max(at));
            self.steps.set(self.steps.get() + 1);
            if id == BROKER {
                return Some(Turn::Broker);
            }
            let actor = match self.slots.borrow().get(id) {
                Some(Some(slot)) => slot.actor,
                Some(None) | None => continue,
            };
            let paused = self.paused.borrow().get(&actor).copied();
            match paused {
                Some(until) if until > self.now() => self.arm(until, id),
                Some(_) | None => return Some(Turn::Task(id)),
            }
        }
    }

    /// Lets a task run until it waits or ends.
    pub(super) fn poll(&self, id: usize) {
        let job = match self.slots.borrow_mut().get_mut(id) {
            Some(Some(slot)) => slot.job.take(),
            Some(None) | None => None,
        };
        let Some(mut job) = job else { return };
        self.current.set(id);
        let ended = job.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        let mut slots = self.slots.borrow_mut();
        match slots.get_mut(id) {
            Some(slot) if ended => drop(slot.take()),
            // Whoever was killed meanwhile leaves nothing to go on with.
            Some(Some(slot)) => slot.job = Some(job),
            Some(None) | None => {}
        }
    }

    /// Ends all tasks of an actor between two of its steps.
    pub(super) fn kill(&self, actor: Actor) {
        self.paused.borrow_mut().remove(&actor);
        self.end(|slot| slot.actor == actor);
    }

    /// Ends the tasks of a group.
    pub(super) fn cancel(&self, group: u64) {
        self.end(|slot| slot.group == group);
    }

    fn end(&self, which: impl Fn(&Slot) -> bool) {
        let mut ended = Vec::new();
        for slot in self.slots.borrow_mut().iter_mut() {
            if slot.as_ref().is_some_and(&which) {
                ended.extend(slot.take());
            }
        }
        drop(ended);
    }

    /// Ends everything, so that nothing holds on to the world any more.
    pub(super) fn clear(&self) {
        self.end(|_| true);
        self.slots.borrow_mut().clear();
        self.waiting.borrow_mut().clear();
    }

    /// Stops an actor until then.
    pub(super) fn pause(&self, actor: Actor, until: Time) {
        self.paused.borrow_mut().insert(actor, until);
    }

    /// Waits; no other task runs meanwhile if `duration` is 0.
    pub(super) fn sleep(&self, duration: Time) -> Sleep<'_> {
        Sleep { runtime: self, until: self.now() + duration, armed: false }
    }

    /// Waits until one of the topics is told, but not longer than `at_most`.
    pub(super) fn wait(&self, topics: Vec<Topic>, at_most: Time) -> Wait<'_> {
        Wait { runtime: self, topics, until: self.now() + at_most, told: Rc::default() }
    }

    /// Wakes whoever waits for something.
    pub(super) fn tell(&self, topic: &Topic) {
        let waiting = self.waiting.borrow_mut().remove(topic).unwrap_or_default();
        for (id, told) in waiting {
            // It may wait for several, or have gone on since.
            if !told.replace(true) {
                self.arm(self.now(), id);
            }
        }
    }
}

pub(super) struct Sleep<'a> {
    runtime: &'a Runtime,
    until: Time,
    armed: bool,
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.runtime.now() >= self.until {
            return Poll::Ready(());
        }
        if !std::mem::replace(&mut self.armed, true) {
            self.runtime.arm(self.until, self.runtime.current.get());
        }
        Poll::Pending
    }
}

pub(super) struct Wait<'a> {
    runtime: &'a Runtime,
    topics: Vec<Topic>,
    until: Time,
    told: Rc<Cell<bool>>,
}

impl Future for Wait<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.told.get() || self.runtime.now() >= self.until {
            // Who tells the other topics later need not wake anybody.
            self.told.set(true);
            return Poll::Ready(());
        }
        let topics = std::mem::take(&mut self.topics);
        if !topics.is_empty() {
            let id = self.runtime.current.get();
            self.runtime.arm(self.until, id);
            for topic in topics {
                let mut waiting = self.runtime.waiting.borrow_mut();
                waiting.entry(topic).or_default().push((id, self.told.clone()));
            }
        }
        Poll::Pending
    }
}
