//! What the dispatcher's commands do to the broker; as `engine/effect.rs` and `engine/check.rs`.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use broker_config::wire::dead::Cause;
use broker_config::wire::event::Outcome;
use broker_config::{Names, PluginId, Queue, RunId, Task};
use coordinator::broker::dead::GiveUp;
use coordinator::dispatcher::{Event, Suspect};
use coordinator::engine::judge::{Occupant, occupant};
use coordinator::run::Opening;
use coordinator::strays::done_up_to;

use super::super::Breach;
use super::super::broker::{Answer, Body, Headers, Message, Reply, Stream};
use super::super::sim::PublishError;
use super::{Input, Session};

/// What became of a publish.
enum Fate {
    Stored,
    Blocked,
    Failed,
}

impl Session {
    pub(super) async fn publish(
        self: Rc<Self>,
        opening: Arc<Opening>,
        queue: Queue,
        task: Box<Task>,
        inherited: bool,
    ) {
        let (run, plugin) = (opening.id, task.plugin_id.clone());
        let fate = if inherited {
            self.look_for(&task).await
        } else {
            self.publish_task(queue, &task).await
        };
        match fate {
            Fate::Stored => {}
            Fate::Blocked => self.report(Event::Blocked { run, plugin }),
            Fate::Failed => self.report(Event::PublishFailed { run, plugin }),
        }
    }

    async fn publish_task(&self, queue: Queue, task: &Task) -> Fate {
        let names = &self.sim.names;
        let subject = names.task_in(task.lane, queue, &task.plugin_id, &task.cid);
        let expected = (!self.sim.breaks(Breach::NoTaskFence)).then_some(0);
        let headers = Headers { expected, expected_on: self.subjects(task), ..Headers::default() };
        let body = Body::Task(Arc::new(task.clone()));
        match self.sim.publish(Stream::Tasks, &subject, headers, body).await {
            Ok(_) => Fate::Stored,
            Err(PublishError::WrongLastSequence) => self.who_is_there(task).await,
            Err(PublishError::Full | PublishError::Unacknowledged) => Fate::Failed,
        }
    }

    async fn look_for(self: &Rc<Self>, task: &Task) -> Fate {
        let (cid, plugin) = (task.cid.clone(), task.plugin_id.clone());
        let fate = self.who_is_there(task).await;
        if matches!(fate, Fate::Blocked) {
            let mut found = self.records_of_patiently(&cid).await;
            if let Some(record) = found.remove(&plugin) {
                self.report(Event::Record { cid, plugin, record });
            }
        }
        fate
    }

    /// Where a task may be.
    fn subjects(&self, task: &Task) -> Vec<String> {
        let of = |queue| self.sim.names.task_in(task.lane, queue, &task.plugin_id, &task.cid);
        Queue::ALL.map(of).to_vec()
    }

    async fn who_is_there(&self, task: &Task) -> Fate {
        let subjects = self.subjects(task);
        let found = self.sim.call(|broker| {
            let last = subjects.iter().filter_map(|subject| broker.last_on(Stream::Tasks, subject));
            last.collect::<Vec<_>>()
        });
        let Ok(found) = found.await else { return Fate::Failed };
        let judge = |it: &Message| occupant(task, task_in(it).map(Arc::as_ref));
        if found.iter().any(|it| judge(it) == Occupant::Itself) {
            return Fate::Stored;
        }
        for found in found.iter().filter(|it| judge(it) == Occupant::Replaced) {
            self.sim.call(|broker| broker.delete(Stream::Tasks, found.sequence)).await.ok();
        }
        Fate::Blocked
    }

    pub(super) async fn give_up_missing(
        self: Rc<Self>,
        opening: Arc<Opening>,
        queue: Queue,
        task: Task,
    ) {
        let error = "ended by its workers, each time without a word".to_owned();
        let attempts = task.retry.max_attempts.get();
        let (run, plugin) = (opening.id, task.plugin_id.clone());
        let dead = GiveUp { attempts, ..GiveUp::new(task, queue, Cause::Terminated, error) };
        if self.give_up(dead).await.is_err() {
            self.report(Event::PublishFailed { run, plugin });
        }
    }

    pub(super) async fn settle(
        self: Rc<Self>,
        run: RunId,
        plugins: BTreeMap<PluginId, Outcome>,
        reply: Option<Reply>,
    ) {
        if self.sim.breaks(Breach::AckBeforeSettled)
            && let Some(reply) = &reply
        {
            self.sim.answer(reply, Answer::Ack);
        }
        let body = Body::Settled { run, plugins: Arc::new(plugins) };
        self.tell_subscribers(body, Some(format!("settled.{run}"))).await;
        if let Some(reply) = reply {
            self.sim.answer(&reply, Answer::Ack);
        }
        self.tell(Input::Closed(run));
    }

    pub(super) async fn reopen(self: Rc<Self>, opening: Arc<Opening>) {
        let cid = opening.submission.cid.clone();
        self.report(Event::Opening { cids: vec![cid.clone()] });
        let records = self.records_of_patiently(&cid).await;
        self.tell(Input::Reopened { opening, records });
    }

    /// Tells subscribers, trying again until it is stored.
    pub(super) async fn tell_subscribers(&self, body: Body, id: Option<String>) {
        let mut pause = 100;
        loop {
            let headers = Headers { id: id.clone(), ..Headers::default() };
            match self.sim.publish(Stream::Events, "event", headers, body.clone()).await {
                Ok(_) => return,
                Err(PublishError::Unacknowledged) if self.sim.breaks(Breach::UnknownEvent) => {
                    return;
                }
                Err(_) => {}
            }
            self.sim.rt.sleep(pause).await;
            pause = (pause * 2).min(5_000);
        }
    }

    /// Reports every suspect whose task is nowhere, and gives up those that are delivered no more.
    pub(super) async fn check(self: Rc<Self>, suspects: Vec<Suspect>) {
        if self.sim.breaks(Breach::NoReconciler) {
            return;
        }
        let names = &self.sim.names;
        let found = self.sim.call(|broker| {
            let mut found = Vec::new();
            for Suspect { lane, plugin, cid, .. } in &suspects {
                let subjects = Queue::ALL.map(|queue| names.task_in(*lane, queue, plugin, cid));
                let tasks = subjects.map(|subject| broker.last_on(Stream::Tasks, &subject));
                let later = names.later_in(*lane, plugin, cid);
                found.push((tasks, broker.last_on(Stream::Tasks, &later).is_some()));
            }
            found
        });
        let Ok(found) = found.await else { return };
        let mut missing = Vec::new();
        let mut stuck: BTreeMap<String, Vec<Message>> = BTreeMap::new();
        for (suspect, (tasks, is_later)) in suspects.iter().zip(found) {
            if !is_later && tasks.iter().all(Option::is_none) {
                missing.push(suspect);
            }
            for (queue, task) in Queue::ALL.into_iter().zip(tasks).filter(|_| !is_later) {
                let consumer = Names::consumer_in(suspect.lane, &suspect.plugin, queue);
                if let Some(task) = task {
                    stuck.entry(consumer).or_default().push(task);
                }
            }
        }
        for (consumer, tasks) in stuck {
            self.sweep(&consumer, &tasks).await;
        }
        for suspect in missing {
            let Ok(records) = self.records_of(&suspect.cid).await else { return };
            let (cid, plugin) = (suspect.cid.clone(), suspect.plugin.clone());
            let record = records.get(&plugin).cloned();
            if let Some(record) = record.clone() {
                self.report(Event::Record { cid, plugin: plugin.clone(), record });
            }
            let (run, since) = (suspect.run, suspect.since);
            self.report(Event::Reread { run, plugin: plugin.clone(), since, record });
            self.report(Event::Missing { run, plugin, since });
        }
    }

    async fn sweep(&self, consumer: &str, tasks: &[Message]) {
        let Ok(Some(info)) = self.sim.call(|broker| broker.info(consumer)).await else { return };
        let behind = done_up_to(info.held, info.delivered, info.floor);
        let stuck: Vec<u64> =
            tasks.iter().map(|task| task.sequence).filter(|sequence| *sequence <= behind).collect();
        if stuck.is_empty() {
            return;
        }
        self.sim.rt.sleep(500).await;
        for sequence in stuck {
            let there = self.sim.call(|broker| broker.at(Stream::Tasks, sequence)).await;
            if let Ok(Some(task)) = there {
                self.exhausted(&task).await;
            }
        }
    }
}

pub(super) fn task_in(message: &Message) -> Option<&Arc<Task>> {
    if let Body::Task(task) = &message.body { Some(task) } else { None }
}
