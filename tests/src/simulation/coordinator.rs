//! The rim of a coordinator: carries out what the real dispatcher commands, step by step in the order
//! in which `coordinator/src/engine` and its neighbours do.
//!
//! Between two requests to the broker the coordinator can be killed or paused, or lose the lead.
//! What is decided is decided by the functions of the coordinator itself.

mod dead;
mod effect;
mod feed;
mod inputs;
mod lead;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use broker_config::{Cid, PluginId, Queue, RunId};
use coordinator::dispatcher::{Command, Dispatcher, Event, Timing};
use coordinator::engine::{Again, Replies};
use coordinator::graph::Graph;
use coordinator::run::{KnownRecord, Opening};
use coordinator::slots::{Slots, split};

pub(super) use self::inputs::{DURABLE, consumer_of};
pub(super) use self::lead::coordinate;
use super::broker::Reply;
use super::runtime::{Actor, Time, Topic};
use super::sim::Sim;

/// What an engine is told.
enum Input {
    Event(Event),
    Opened { opening: Arc<Opening>, records: Records, reply: Reply },
    Reopened { opening: Arc<Opening>, records: Records },
    Closed(RunId),
}

type Records = BTreeMap<PluginId, KnownRecord>;

/// One coordinator while it leads.
pub(super) struct Session {
    sim: Rc<Sim>,
    at: usize,
    /// What ends at once with the lead.
    services: u64,
    /// What may come to its end.
    effects: u64,
    epoch: u64,
    started: Time,
    stopped: Cell<bool>,
    dispatcher: RefCell<Dispatcher>,
    replies: RefCell<Replies<Reply>>,
    slots: Slots,
}

impl Session {
    fn new(sim: &Rc<Sim>, at: usize, epoch: u64) -> Rc<Self> {
        let graph = Arc::new(Graph::default());
        Rc::new(Self {
            sim: sim.clone(),
            at,
            services: sim.rt.group(),
            effects: sim.rt.group(),
            epoch,
            started: sim.rt.now(),
            stopped: Cell::new(false),
            dispatcher: RefCell::new(Dispatcher::new(graph, Timing::default())),
            replies: RefCell::default(),
            slots: Slots::new(sim.world.places, false),
        })
    }

    fn actor(&self) -> Actor {
        Actor::Coordinator(self.at)
    }

    fn serve(&self, job: impl Future<Output = ()> + 'static) {
        self.sim.rt.spawn(self.actor(), self.services, job);
    }

    fn effect(&self, job: impl Future<Output = ()> + 'static) {
        self.sim.rt.spawn(self.actor(), self.effects, job);
    }

    /// Whether it has nothing in hand.
    pub(super) fn is_idle(&self) -> bool {
        let places = (self.slots.room(Queue::Fast), self.slots.room(Queue::Background));
        self.dispatcher.borrow().open() == 0
            && self.replies.borrow().is_empty()
            && places == split(self.sim.world.places)
    }

    fn report(self: &Rc<Self>, event: Event) {
        self.tell(Input::Event(event));
    }

    fn tell(self: &Rc<Self>, input: Input) {
        if self.stopped.get() {
            return;
        }
        let mut commands = Vec::new();
        self.on_input(input, &mut commands);
        for command in commands {
            self.perform(command);
        }
    }

    fn on_input(&self, input: Input, commands: &mut Vec<Command>) {
        let mut dispatcher = self.dispatcher.borrow_mut();
        match input {
            Input::Event(event) => dispatcher.on_event(event, commands),
            Input::Opened { opening, records, reply } => {
                let holds = dispatcher.holds(opening.id);
                let again = self.replies.borrow_mut().take(&opening, reply, holds);
                match again {
                    Again::New => {}
                    Again::Open { place } => self.release(place),
                    Again::Closing { place } => {
                        self.release(place);
                        dispatcher.pass_over(&opening.submission.cid);
                        return;
                    }
                }
                dispatcher.on_event(Event::Opened { opening, records }, commands);
            }
            Input::Reopened { opening, records } => {
                dispatcher.on_event(Event::Opened { opening, records }, commands);
            }
            Input::Closed(id) => {
                let closed = self.replies.borrow_mut().close(id);
                if let Some(opening) = closed {
                    self.release(opening.queue);
                }
            }
        }
    }

    fn release(&self, place: Queue) {
        self.slots.release(place);
        self.sim.rt.tell(&Topic::Places(self.at));
    }

    fn perform(self: &Rc<Self>, command: Command) {
        let me = self.clone();
        match command {
            Command::Publish { opening, queue, task, inherited } => {
                self.effect(async move { me.publish(opening, queue, task, inherited).await });
            }
            // No world has a version on trial.
            Command::Trial { .. } => {}
            Command::GiveUp { opening, queue, task } => {
                self.effect(async move { me.give_up_missing(opening, queue, *task).await });
            }
            Command::Settle { opening, plugins, .. } => {
                let reply = self.replies.borrow().of(opening.id).cloned();
                self.effect(async move { me.settle(opening.id, plugins, reply).await });
            }
            Command::Reopen { opening } => {
                self.effect(async move { me.reopen(opening).await });
            }
            Command::Check { suspects } => {
                self.effect(async move { me.check(suspects).await });
            }
            Command::Repaired { .. } | Command::Alarm { .. } | Command::Recovered { .. } => {
                self.effect(
                    async move { me.tell_subscribers(super::broker::Body::Told, None).await },
                );
            }
        }
    }

    /// The records of a file as they are now.
    async fn records_of(&self, cid: &Cid) -> Result<Records, super::sim::Lost> {
        self.sim.call(|broker| inputs::records_of(broker, &self.sim.names, cid)).await
    }

    async fn records_of_patiently(&self, cid: &Cid) -> Records {
        let mut pause = 100;
        loop {
            if let Ok(records) = self.records_of(cid).await {
                return records;
            }
            self.sim.rt.sleep(pause).await;
            pause = (pause * 2).min(5_000);
        }
    }
}
