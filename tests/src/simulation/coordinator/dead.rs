//! Giving up on a task; as `broker/dead.rs`.

use std::sync::Arc;

use broker_config::wire::dead::Cause;
use broker_config::{Record, Task};
use coordinator::broker::dead::{GiveUp, is_end_of};
use coordinator::run::Trace;
use coordinator::strays::is_outdone;

use super::super::Breach;
use super::super::broker::{Body, Headers, Message, Stream};
use super::super::sim::PublishError;
use super::Session;

/// A step failed; doing all of them again is safe.
pub(super) struct Again;

/// What is on record.
#[derive(Default)]
struct Present {
    revision: u64,
    record: Option<Record>,
    letter: Option<u64>,
}

impl Session {
    pub(super) async fn give_up(&self, dead: GiveUp) -> Result<bool, Again> {
        let present = self.present(&dead.task).await?;
        if is_outdone(&dead.task, present.revision) {
            return self.tell_if_ended(&present, &dead).await;
        }
        let letter = self.write_letter(&dead).await?;
        if let Some(older) = present.letter.filter(|older| *older != letter) {
            self.delete_letter(older, &dead.task).await?;
        }
        let subject = self.sim.names.record(&dead.task.cid, &dead.task.plugin_id);
        let (expected, letter_of) = (Some(present.revision), Some(letter));
        let headers = Headers { expected, letter: letter_of, ..Headers::default() };
        let record = Body::Record(Arc::new(dead.record(present.record)));
        match self.sim.publish(Stream::Records, &subject, headers, record).await {
            Ok(_) => {
                self.tell_dead(&dead).await?;
                Ok(true)
            }
            Err(PublishError::WrongLastSequence) => {
                let present = self.present(&dead.task).await?;
                if !is_end_of(present.record.as_ref(), &dead.task) {
                    self.delete_letter(letter, &dead.task).await?;
                }
                self.tell_if_ended(&present, &dead).await
            }
            Err(PublishError::Full | PublishError::Unacknowledged) => Err(Again),
        }
    }

    async fn present(&self, task: &Task) -> Result<Present, Again> {
        let subject = self.sim.names.record(&task.cid, &task.plugin_id);
        let found = self.sim.call(|broker| broker.last_on(Stream::Records, &subject)).await;
        let Some(found) = found.map_err(|_| Again)? else { return Ok(Present::default()) };
        let record =
            if let Body::Record(record) = &found.body { Some((**record).clone()) } else { None };
        Ok(Present { revision: found.sequence, record, letter: found.headers.letter })
    }

    async fn tell_if_ended(&self, present: &Present, dead: &GiveUp) -> Result<bool, Again> {
        let ended = is_end_of(present.record.as_ref(), &dead.task);
        if ended {
            self.tell_dead(dead).await?;
        }
        Ok(ended)
    }

    async fn tell_dead(&self, dead: &GiveUp) -> Result<(), Again> {
        let id = Some(format!("task.dead.{}", dead.task.task_id));
        let headers = Headers { id, ..Headers::default() };
        let told = self.sim.publish(Stream::Events, "event", headers, Body::Told).await;
        told.map(drop).map_err(|_| Again)
    }

    async fn write_letter(&self, dead: &GiveUp) -> Result<u64, Again> {
        let subject = self.sim.names.dead(dead.queue, &dead.task.plugin_id);
        let id = Some(format!("dead.{}", dead.task.task_id));
        let headers = Headers { id, ..Headers::default() };
        let body = Body::Letter(Arc::new(dead.task.clone()));
        self.sim.publish(Stream::Dead, &subject, headers, body).await.map_err(|_| Again)
    }

    async fn delete_letter(&self, sequence: u64, task: &Task) -> Result<(), Again> {
        let found = self.sim.call(|broker| broker.at(Stream::Dead, sequence)).await;
        let found = found.map_err(|_| Again)?;
        let is_its = |letter: &Task| letter.cid == task.cid && letter.plugin_id == task.plugin_id;
        if let Some(Message { body: Body::Letter(letter), .. }) = &found
            && is_its(letter)
        {
            let deleted = self.sim.call(|broker| broker.delete(Stream::Dead, sequence)).await;
            deleted.map_err(|_| Again)?;
        }
        Ok(())
    }

    /// Gives up on a task that is delivered no more and takes it out; as `advisories::exhausted`.
    pub(super) async fn exhausted(&self, stored: &Message) -> bool {
        let Some(address) = self.sim.names.parse_task(&stored.subject) else { return true };
        if self.sim.breaks(Breach::DeleteBeforeGivingUp) {
            self.sim.call(|broker| broker.delete(Stream::Tasks, stored.sequence)).await.ok();
        }
        if let Some(task) = super::effect::task_in(stored) {
            let mut task = (**task).clone();
            task.cid = address.cid.clone();
            task.plugin_id = address.plugin.clone();
            let attempts = task.retry.deliveries() + stored.headers.attempts_used;
            let dead = GiveUp {
                task,
                queue: address.queue,
                cause: Cause::Exhausted,
                error: String::new(),
                attempts,
                duration_ms: 0,
                instance: None,
                trace: Trace::default(),
            };
            if self.give_up(dead).await.is_err() {
                return false;
            }
        }
        self.sim.call(|broker| broker.delete(Stream::Tasks, stored.sequence)).await.is_ok()
    }
}
