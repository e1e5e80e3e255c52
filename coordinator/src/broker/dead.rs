//! Giving up on a task: the dead letter for a person, the failed record for the graph.

use broker_config::header::MESSAGE_ID;
use broker_config::publish::PublishError;
use broker_config::read::ReadError;
use broker_config::wire::dead::{Cause, DeadLetter, DeadType};
use broker_config::wire::event::Fact;
use broker_config::wire::record::RecordType;
use broker_config::{InstanceId, Queue, Record, RecordStatus, Task};

use super::{Broker, json, now, trace_headers};
use crate::run::Trace;

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
}

/// A step failed; doing all of them again is safe.
#[derive(Debug, thiserror::Error)]
pub enum GiveUpError {
    /// The present record could not be read.
    #[error("could not read the present record")]
    Read(#[from] ReadError),
    /// Something could not be stored.
    #[error("could not store the dead letter or the failed record")]
    Publish(#[from] PublishError),
}

impl Broker {
    /// Writes the dead letter, then the failed record, which keeps the metadata of an earlier
    /// success; says whether it was needed: if somebody has settled the task, nothing happens.
    ///
    /// # Errors
    ///
    /// [`GiveUpError`]; the order of the steps makes it safe to do them all again.
    pub async fn give_up(&self, dead: GiveUp) -> Result<bool, GiveUpError> {
        let GiveUp { task, queue, cause, error, attempts, duration_ms, instance, trace } = dead;
        let (cid, plugin) = (task.cid.clone(), task.plugin_id.clone());
        let present = self.record(&cid, &plugin).await?;
        let revision = present.as_ref().map_or(0, |(revision, _)| *revision);
        if revision != task.record_revision {
            return Ok(false);
        }
        let letter = DeadLetter {
            kind: DeadType::V1,
            plugin_id: plugin.clone(),
            cid: cid.clone(),
            queue,
            cause,
            error: error.clone(),
            attempts,
            instance: instance.clone(),
            at: now(),
            task: task.clone(),
        };
        let mut headers = trace_headers(&trace);
        headers.insert(MESSAGE_ID, format!("dead.{}", task.task_id));
        self.publisher.publish(self.names.dead(queue, &plugin), headers, json(&letter)).await?;
        // The metadata is kept, and with it whose version wrote it.
        let earlier = present.and_then(|(_, record)| record);
        let record = Record {
            kind: RecordType::V1,
            task_id: task.task_id.clone(),
            plugin_id: plugin.clone(),
            cid: cid.clone(),
            status: RecordStatus::Failed,
            duration_ms,
            attempt: attempts,
            plugin_version: earlier
                .as_ref()
                .map(|record| record.plugin_version.clone())
                .unwrap_or_default(),
            fingerprint: task.fingerprint.clone(),
            finished_at: now(),
            instance,
            error: Some(error.clone()),
            reason: None,
            meta: earlier.map(|record| record.meta).unwrap_or_default(),
            hidden: Vec::new(),
        };
        match self.put_record(&record, revision, trace_headers(&trace)).await {
            Ok(_) => {}
            Err(PublishError::WrongLastSequence { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let task_id = task.task_id;
        let id = format!("task.dead.{task_id}");
        let fact = Fact::TaskDead { cid, plugin_id: plugin, task_id, queue, attempts, error };
        self.tell(fact, Some(id)).await?;
        Ok(true)
    }
}
