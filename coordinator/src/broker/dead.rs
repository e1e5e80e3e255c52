//! Giving up on a task: the dead letter for a person, the failed record for the graph.
//!
//! A file has one dead letter for each plugin: a record that says *failed* carries the number of
//! its letter in a header, so that the next letter can take the place of that one.

use async_nats::HeaderMap;
use broker_config::header::{DEAD_LETTER, MESSAGE_ID};
use broker_config::publish::PublishError;
use broker_config::read::{ReadError, message_at};
use broker_config::wire::dead::{Cause, DeadLetter, DeadType};
use broker_config::wire::event::Fact;
use broker_config::wire::record::RecordType;
use broker_config::wire::signal::MAX_TEXT_BYTES;
use broker_config::{InstanceId, Queue, Record, RecordStatus, Task};

use super::api::ApiError;
use super::records::StoredRecord;
use super::{Broker, json, now, trace_headers};
use crate::run::Trace;
use crate::strays::is_outdone;

mod in_hand;
mod letters;
#[cfg(test)]
mod tests;

pub use self::in_hand::InHand;
pub use self::letters::Letters;

/// Why, and after what, a task is given up on.
#[derive(Clone, Debug)]
pub struct GiveUp {
    /// The task.
    pub task: Task,
    /// The queue it was in.
    pub queue: Queue,
    /// Why.
    pub cause: Cause,
    /// The last error.
    pub error: String,
    /// Attempts used.
    pub attempts: u32,
    /// How long the last attempt took, in milliseconds.
    pub duration_ms: u64,
    /// Who had it last.
    pub instance: Option<InstanceId>,
    /// The trace it belongs to.
    pub trace: Trace,
}

impl GiveUp {
    /// Gives up on a task of which nothing else is known.
    #[must_use]
    pub fn new(task: Task, queue: Queue, cause: Cause, error: String) -> Self {
        let trace = Trace::default();
        Self { task, queue, cause, error, attempts: 0, duration_ms: 0, instance: None, trace }
    }

    fn letter(&self) -> DeadLetter {
        DeadLetter {
            kind: DeadType::V1,
            plugin_id: self.task.plugin_id.clone(),
            cid: self.task.cid.clone(),
            queue: self.queue,
            cause: self.cause,
            error: self.error.clone(),
            attempts: self.attempts,
            instance: self.instance.clone(),
            at: now(),
            task: self.task.clone(),
        }
    }

    /// The failed record. It keeps the metadata of an earlier success, and with it whose version
    /// wrote it.
    #[must_use]
    pub fn record(&self, earlier: Option<Record>) -> Record {
        let (plugin_version, meta) =
            earlier.map(|record| (record.plugin_version, record.meta)).unwrap_or_default();
        Record {
            kind: RecordType::V1,
            task_id: self.task.task_id.clone(),
            plugin_id: self.task.plugin_id.clone(),
            cid: self.task.cid.clone(),
            status: RecordStatus::Failed,
            duration_ms: self.duration_ms,
            attempt: self.attempts,
            plugin_version,
            fingerprint: self.task.fingerprint.clone(),
            finished_at: now(),
            instance: self.instance.clone(),
            error: Some(self.error.clone()),
            reason: None,
            meta,
            hidden: Vec::new(),
        }
    }
}

/// A step failed; doing all of them again is safe.
#[derive(Debug, thiserror::Error)]
pub enum GiveUpError {
    /// The present record or letter could not be read.
    #[error("could not read what is there of the task")]
    Read(#[from] ReadError),
    /// Something could not be stored.
    #[error("could not store the dead letter or the failed record")]
    Publish(#[from] PublishError),
    /// The letter before, or the task itself, could not be looked up or deleted.
    #[error("could not look up or delete what is done with")]
    Api(#[from] ApiError),
}

/// What is on record when a task is given up on.
#[derive(Debug, Default)]
struct Present {
    revision: u64,
    record: Option<Record>,
    /// The dead letter that belongs to it.
    letter: Option<u64>,
}

impl Present {
    fn read(stored: Option<StoredRecord>) -> Self {
        let Some(StoredRecord { revision, record, headers }) = stored else {
            return Self::default();
        };
        let letter = headers.get(DEAD_LETTER).and_then(|value| value.as_str().parse().ok());
        Self { revision, record, letter }
    }

    fn is_end_of(&self, task: &Task) -> bool {
        is_end_of(self.record.as_ref(), task)
    }
}

/// Whether it is the failed record of this very task: then somebody was here before.
#[must_use]
pub fn is_end_of(record: Option<&Record>, task: &Task) -> bool {
    record.is_some_and(|record| {
        record.status == RecordStatus::Failed && record.task_id == task.task_id
    })
}

impl Broker {
    /// Writes the dead letter in place of an older one, then the failed record, then tells
    /// subscribers; says whether it was needed: if a worker has settled the task, nothing is left
    /// of it.
    ///
    /// # Errors
    ///
    /// [`GiveUpError`]; the order of the steps makes it safe to do them all again.
    pub async fn give_up(&self, mut dead: GiveUp) -> Result<bool, GiveUpError> {
        let _in_hand = self.in_hand.begin(&dead.task.plugin_id, &dead.task.cid);
        // Senders cut it themselves; one that does not could make the record too large to store.
        dead.error.truncate(dead.error.floor_char_boundary(MAX_TEXT_BYTES));
        if dead.task.trial {
            return self.give_up_trial(&dead).await;
        }
        let present = self.present(&dead.task).await?;
        if is_outdone(&dead.task, present.revision) {
            return self.tell_if_ended(&present, &dead).await;
        }
        let letter = self.write_letter(&dead).await?;
        if let Some(older) = present.letter.filter(|older| *older != letter) {
            self.delete_letter(older, &dead.task).await?;
        }
        let mut headers = trace_headers(&dead.trace);
        headers.insert(DEAD_LETTER, letter.to_string());
        match self.put_failed(&dead, present, headers).await {
            Ok(_) => {
                self.letters.forget(&dead.task);
                self.tell_dead(&dead).await?;
                Ok(true)
            }
            Err(PublishError::WrongLastSequence { .. }) => self.too_late(letter, &dead).await,
            Err(error) => Err(error.into()),
        }
    }

    /// Somebody was faster: the letter goes again, unless it is the one that the record speaks of.
    async fn too_late(&self, letter: u64, dead: &GiveUp) -> Result<bool, GiveUpError> {
        let present = self.present(&dead.task).await?;
        let is_named = present.letter.is_none_or(|named| named == letter);
        if !present.is_end_of(&dead.task) || !is_named {
            self.delete_letter(letter, &dead.task).await?;
        }
        self.tell_if_ended(&present, dead).await
    }

    /// Writes the failed record; where the metadata of an earlier success makes it too large, that goes: the
    /// task could be tried and given up on for ever.
    async fn put_failed(
        &self,
        dead: &GiveUp,
        present: Present,
        headers: HeaderMap,
    ) -> Result<u64, PublishError> {
        let record = dead.record(present.record);
        match self.put_record(&record, present.revision, headers.clone()).await {
            Err(PublishError::TooLarge { .. }) => {
                self.put_record(&dead.record(None), present.revision, headers).await
            }
            stored => stored,
        }
    }

    /// Writes what came of a version on trial; nobody else is told, for nothing follows from it.
    async fn give_up_trial(&self, dead: &GiveUp) -> Result<bool, GiveUpError> {
        let subject = self.names.trial(&dead.task.cid, &dead.task.plugin_id);
        let version = dead.task.plugin_version.clone().unwrap_or_default();
        let record = Record { plugin_version: version, ..dead.record(None) };
        let headers = trace_headers(&dead.trace);
        let revision = dead.task.record_revision;
        match self.publisher.publish_after(subject, revision, headers, json(&record)).await {
            Ok(_) => Ok(true),
            Err(PublishError::WrongLastSequence { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes the dead letter of a task that belongs to no run and tells subscribers; nobody waits
    /// for a record.
    ///
    /// # Errors
    ///
    /// [`GiveUpError`]; doing it again is safe.
    pub async fn write_off(&self, dead: GiveUp) -> Result<(), GiveUpError> {
        self.write_letter(&dead).await?;
        Ok(self.tell_dead(&dead).await?)
    }

    async fn present(&self, task: &Task) -> Result<Present, ReadError> {
        self.record(&task.cid, &task.plugin_id).await.map(Present::read)
    }

    /// The record has moved on. Where it says that this task has failed, whoever wrote it may have
    /// died before it told anybody.
    async fn tell_if_ended(&self, present: &Present, dead: &GiveUp) -> Result<bool, GiveUpError> {
        let ended = present.is_end_of(&dead.task);
        if ended {
            self.tell_dead(dead).await?;
        }
        Ok(ended)
    }

    async fn tell_dead(&self, dead: &GiveUp) -> Result<(), PublishError> {
        let Task { task_id, plugin_id, cid, .. } = dead.task.clone();
        let (queue, attempts, error) = (dead.queue, dead.attempts, dead.error.clone());
        let id = format!("task.dead.{plugin_id}.{task_id}");
        let fact = Fact::TaskDead { cid, plugin_id, task_id, queue, attempts, error };
        self.tell(fact, Some(id)).await
    }

    /// Stores a dead letter unless the task has one; returns its sequence. One that is too large goes
    /// without the metadata that its task carries.
    ///
    /// The look finds what was written long ago, the message id what is on its way.
    async fn write_letter(&self, dead: &GiveUp) -> Result<u64, GiveUpError> {
        if let Some(sequence) = self.letter_of(&dead.task).await? {
            return Ok(sequence);
        }
        let mut headers = trace_headers(&dead.trace);
        let Task { plugin_id, task_id, .. } = &dead.task;
        // With the plugin, because a plugin may call its task what it likes.
        headers.insert(MESSAGE_ID, format!("dead.{plugin_id}.{task_id}"));
        let mut letter = dead.letter();
        let sequence = match self.put_letter(&letter, headers.clone()).await {
            Err(PublishError::TooLarge { .. }) => {
                letter.task.existing_meta.clear();
                self.put_letter(&letter, headers).await
            }
            stored => stored,
        }?;
        self.letters.wrote(&dead.task, sequence);
        Ok(sequence)
    }

    async fn put_letter(
        &self,
        letter: &DeadLetter,
        headers: HeaderMap,
    ) -> Result<u64, PublishError> {
        let subject = self.names.dead(letter.queue, &letter.plugin_id);
        self.publisher.publish(subject, headers, json(letter)).await
    }

    /// Deletes a dead letter if it is still the one of this task's file and plugin.
    async fn delete_letter(&self, sequence: u64, task: &Task) -> Result<(), GiveUpError> {
        let stream = self.names.dead_stream();
        let stored = message_at(&self.client, &stream, sequence).await?;
        let letter =
            stored.and_then(|stored| serde_json::from_slice::<DeadLetter>(&stored.payload).ok());
        let is_its =
            |letter: &DeadLetter| letter.cid == task.cid && letter.plugin_id == task.plugin_id;
        if letter.as_ref().is_some_and(is_its) {
            self.delete_message(&stream, sequence).await?;
        }
        Ok(())
    }
}
