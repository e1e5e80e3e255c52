//! What the engine's commands do to the broker.

use std::sync::Arc;
use std::time::Duration;

use broker_config::header::EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT;
use broker_config::planted::{Bug, planted};
use broker_config::publish::PublishError;
use broker_config::read::{Stored, last_messages};
use broker_config::wire::dead::Cause;
use broker_config::{Chain, Queue, RunId, Task};

use super::judge::{Occupant, occupant};
use super::{Input, Shared};
use crate::broker::dead::GiveUp;
use crate::broker::deliver::{Answer, answer};
use crate::broker::{Telling, json};
use crate::dispatcher::Event;
use crate::run::Opening;
use crate::spans::of_dispatch;

#[cfg(test)]
mod tests;

/// Longest pause between two tries of something that must be done.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What became of a publish.
enum Fate {
    Stored,
    Blocked,
    Failed,
    TooLarge(String),
}

impl Shared {
    async fn report(&self, event: Event) {
        if self.inputs.send(Input::Event(event)).await.is_err() {
            tracing::trace!("engine has stopped");
        }
    }

    pub(super) async fn publish(
        &self,
        opening: Arc<Opening>,
        queue: Queue,
        task: Box<Task>,
        inherited: bool,
    ) {
        let (run, plugin) = (opening.id, task.plugin_id.clone());
        let fate = if inherited {
            self.look_for(&task).await
        } else {
            self.publish_task(&opening, queue, &task).await
        };
        match fate {
            Fate::Stored => {}
            Fate::Blocked => self.report(Event::Blocked { run, plugin }).await,
            Fate::Failed => self.report(Event::PublishFailed { run, plugin }).await,
            Fate::TooLarge(error) => {
                // Rare: kept out of the way, so that the usual case stays a small future.
                Box::pin(self.too_large(&opening, queue, *task, error)).await;
            }
        }
    }

    async fn too_large(&self, opening: &Opening, queue: Queue, task: Task, error: String) {
        self.give_up(opening, GiveUp::new(task, queue, Cause::Permanent, error)).await;
    }

    /// Gives up on a task that vanished as often as it may be tried.
    pub(super) async fn give_up_missing(&self, opening: Arc<Opening>, queue: Queue, task: Task) {
        let error = "ended by its workers, each time without a word".to_owned();
        let attempts = task.retry.max_attempts.get();
        let dead = GiveUp { attempts, ..GiveUp::new(task, queue, Cause::Terminated, error) };
        self.give_up(&opening, dead).await;
    }

    async fn give_up(&self, opening: &Opening, dead: GiveUp) {
        let (run, plugin) = (opening.id, dead.task.plugin_id.clone());
        let dead = GiveUp { trace: opening.trace.clone(), ..dead };
        if let Err(error) = self.broker.give_up(dead).await {
            tracing::warn!(error = %Chain(&error), plugin.id = %plugin, "could not give up");
            self.report(Event::PublishFailed { run, plugin }).await;
        }
    }

    async fn publish_task(&self, opening: &Opening, queue: Queue, task: &Task) -> Fate {
        let names = &self.broker.names;
        let subject = names.task_in(task.lane, queue, &task.plugin_id, &task.cid);
        let mut headers = of_dispatch(opening, queue, task, &subject);
        // Also in the other queue: another submission of the file, or a leader that was deposed and
        // does not know it yet, may have put it there.
        let both = names.task_in_any_queue(task.lane, &task.plugin_id, &task.cid);
        headers.insert(EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT, both);
        let publisher = &self.broker.publisher;
        let stored = if planted(Bug::NoTaskFence) {
            publisher.publish(subject, async_nats::HeaderMap::new(), json(task)).await
        } else {
            publisher.publish_after(subject, 0, headers, json(task)).await
        };
        match stored {
            Ok(_) => Fate::Stored,
            Err(PublishError::WrongLastSequence { .. }) => self.who_is_there(task).await,
            Err(error @ PublishError::TooLarge { .. }) => Fate::TooLarge(error.to_string()),
            Err(error) => {
                tracing::debug!(error = %Chain(&error), task.id = %task.task_id, "not published");
                Fate::Failed
            }
        }
    }

    /// An earlier leader has published a task for this work, perhaps to the other queue. When it is
    /// gone by now, it is settled, and its record was there before it went: whoever has not heard of
    /// the record yet would have it done again.
    async fn look_for(&self, task: &Task) -> Fate {
        let (cid, plugin) = (task.cid.clone(), task.plugin_id.clone());
        let fate = self.who_is_there(task).await;
        if matches!(fate, Fate::Blocked) {
            let mut found = self.broker.records_of_patiently(std::slice::from_ref(&cid)).await;
            let record = found.get_mut(&cid).and_then(|of| of.remove(&plugin));
            if let Some(record) = record {
                self.report(Event::Record { cid, plugin, record }).await;
            }
        }
        fate
    }

    /// Who is in either queue: this very task, published before a restart, or an older one, or nobody.
    async fn who_is_there(&self, task: &Task) -> Fate {
        let names = &self.broker.names;
        let stream = names.task_stream();
        let subjects = [names.task_in_any_queue(task.lane, &task.plugin_id, &task.cid)];
        let Ok(found) = last_messages(&self.broker.client, &stream, &subjects).await else {
            return Fate::Failed;
        };
        let judge =
            |it: &Stored| occupant(task, serde_json::from_slice::<Task>(&it.payload).ok().as_ref());
        if found.iter().any(|it| judge(it) == Occupant::Itself) {
            return Fate::Stored;
        }
        for found in found.iter().filter(|it| judge(it) == Occupant::Replaced) {
            let gone = self.broker.delete_message(&stream, found.sequence).await;
            tracing::debug!(task.id = %task.task_id, gone = gone.is_ok(), "an outdated task goes");
        }
        Fate::Blocked
    }

    pub(super) async fn settle(&self, run: RunId, told: Telling, reply: Option<String>) {
        if planted(Bug::SettledUnheard)
            && let Some(reply) = &reply
        {
            answer(&self.broker.client, reply, Answer::Ack).await;
        }
        if !self.tell(told).await {
            // The submission stays, and whoever leads next settles it again.
            return;
        }
        if let Some(reply) = reply {
            answer(&self.broker.client, &reply, Answer::Ack).await;
        }
        self.metrics.settled();
        if self.inputs.send(Input::Closed(run)).await.is_err() {
            tracing::trace!("engine has stopped");
        }
    }

    pub(super) async fn reopen(&self, opening: Arc<Opening>) {
        let cid = opening.submission.cid.clone();
        self.report(Event::Opening { cids: vec![cid.clone()] }).await;
        let mut found = self.broker.records_of_patiently(std::slice::from_ref(&cid)).await;
        let records = found.remove(&cid).unwrap_or_default();
        if self.inputs.send(Input::Reopened { opening, records }).await.is_err() {
            tracing::trace!("engine has stopped");
        }
    }

    /// Tells subscribers, trying again until it is stored; `false` when the connection is closed.
    pub(super) async fn tell(&self, told: Telling) -> bool {
        let mut pause = Duration::from_millis(100);
        while let Err(error) = self.broker.send(&told).await {
            tracing::debug!(error = %Chain(&error), event = told.subject, "not stored yet");
            match error {
                PublishError::Closed => return false,
                // It never will be; whoever waits for it cannot be helped.
                PublishError::TooLarge { .. } => return true,
                PublishError::NoStream { .. }
                | PublishError::Unacknowledged { .. }
                | PublishError::Refused { .. }
                | PublishError::WrongLastSequence { .. } => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        true
    }
}
