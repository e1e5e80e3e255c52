//! The tasks of a version on trial: published beside those of the current version, and forgotten.
//!
//! Nothing waits for them, so that none is published a second time when it is lost: a file that was not
//! compared is missing from the comparison, and nowhere else.

use std::sync::Arc;

use broker_config::publish::PublishError;
use broker_config::read::last_messages;
use broker_config::{Chain, Queue, Record, Task};

use super::Shared;
use crate::broker::json;
use crate::run::Opening;
use crate::spans::of_dispatch;

impl Shared {
    /// Publishes a task on trial, unless its version has said of this very input already what it
    /// has to say.
    pub(super) async fn publish_trial(&self, opening: Arc<Opening>, queue: Queue, task: Task) {
        let names = &self.broker.names;
        let (stream, subject) = (names.record_stream(), names.trial(&task.cid, &task.plugin_id));
        let Ok(found) = last_messages(&self.broker.client, &stream, &[subject]).await else {
            return tracing::debug!(task.id = %task.task_id, "not compared");
        };
        let before = found.first();
        let said = before.and_then(|it| serde_json::from_slice::<Record>(&it.payload).ok());
        if said.is_some_and(|said| said.fingerprint == task.fingerprint) {
            return;
        }
        let task = Task { record_revision: before.map_or(0, |stored| stored.sequence), ..task };
        let subject = names.task_in(task.lane, queue, &task.plugin_id, &task.cid);
        let headers = of_dispatch(&opening, queue, &task, &subject);
        match self.broker.publisher.publish_after(subject, 0, headers, json(&task)).await {
            Ok(_) | Err(PublishError::WrongLastSequence { .. }) => {}
            Err(error) => {
                tracing::debug!(error = %Chain(&error), task.id = %task.task_id, "not compared");
            }
        }
    }
}
