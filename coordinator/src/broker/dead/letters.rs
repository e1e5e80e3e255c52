//! Which tasks have a letter already: looked up before another one is written.
//!
//! The broker knows a message id for two minutes. A letter whose record could not be written for
//! longer, because the stream of records takes nothing or the coordinator was away, is found here:
//! each look reads what has come to the stream since the last one, and the first one what signals
//! and advisories that are still kept can have led to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use broker_config::read::{ReadError, Stored, answers, message_at};
use broker_config::{Cid, PluginId, Task, TaskId};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::broker::Broker;

/// Letters of one request.
const PAGE: u64 = 1000;
/// As long as what workers and the server report is kept.
const REACH: Duration = Duration::from_secs(7 * 24 * 3600);

/// Letters of tasks that may be given up on again; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Letters(Arc<Mutex<Known>>);

/// A task id alone could be another plugin's, which says what it likes.
type Key = (PluginId, TaskId);

#[derive(Debug, Default)]
struct Known {
    /// The last sequence that was read; 0 = none yet.
    read: u64,
    of: HashMap<Key, u64>,
}

/// What is wanted of a letter.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    plugin_id: PluginId,
    cid: Cid,
    task: HeadTask,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeadTask {
    task_id: TaskId,
}

impl Head {
    fn is_of(&self, task: &Task) -> bool {
        self.plugin_id == task.plugin_id
            && self.cid == task.cid
            && self.task.task_id == task.task_id
    }
}

impl Letters {
    fn lock(&self) -> MutexGuard<'_, Known> {
        // The map is whole after every single operation, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of letters that were read.
    fn learn(&self, page: &[Stored]) {
        let mut known = self.lock();
        for stored in page {
            known.read = known.read.max(stored.sequence);
            if let Ok(head) = serde_json::from_slice::<Head>(&stored.payload) {
                known.of.insert((head.plugin_id, head.task.task_id), stored.sequence);
            }
        }
    }

    /// Takes note of a letter that was written.
    pub(super) fn wrote(&self, task: &Task, sequence: u64) {
        let mut known = self.lock();
        if known.read + 1 == sequence {
            known.read = sequence;
        }
        known.of.insert(key(task), sequence);
    }

    /// The record says that the task has failed: nobody gives up on it again.
    pub(super) fn forget(&self, task: &Task) {
        self.lock().of.remove(&key(task));
    }
}

fn key(task: &Task) -> Key {
    (task.plugin_id.clone(), task.task_id.clone())
}

impl Broker {
    /// The letter of this very task, if there is one and no person has dropped it.
    pub(super) async fn letter_of(&self, task: &Task) -> Result<Option<u64>, ReadError> {
        let stream = self.names.dead_stream();
        loop {
            let mut body = json!({ "batch": PAGE, "next_by_subj": self.names.all_dead() });
            let (from, place) = match self.letters.lock().read {
                0 => ("start_time", format!("{:.3}", jiff::Timestamp::now() - REACH).into()),
                read => ("seq", Value::from(read + 1)),
            };
            body[from] = place;
            let page = answers(&self.client, &stream, &body).await?;
            if page.is_empty() {
                break;
            }
            self.letters.learn(&page);
        }
        let known = self.letters.lock().of.get(&key(task)).copied();
        let Some(sequence) = known else { return Ok(None) };
        let stored = message_at(&self.client, &stream, sequence).await?;
        let head = stored.and_then(|stored| serde_json::from_slice::<Head>(&stored.payload).ok());
        Ok(head.is_some_and(|head| head.is_of(task)).then_some(sequence))
    }
}
