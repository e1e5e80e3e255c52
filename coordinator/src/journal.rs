//! The last error of tasks that are being tried again.
//!
//! When the deliveries of a task run out, the server says so without a word about why. What its
//! workers said before is remembered here, for as many tasks as fit; it is for people only.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use broker_config::{InstanceId, TaskId};

/// Tasks remembered; the oldest gives way.
const MOST: usize = 4096;

#[derive(Debug, Default)]
struct Pages {
    last: HashMap<TaskId, (InstanceId, String)>,
    order: VecDeque<TaskId>,
}

/// Remembers the last error per task; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Journal(Arc<Mutex<Pages>>);

impl Journal {
    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that an attempt failed.
    pub fn note(&self, task: TaskId, instance: InstanceId, error: String) {
        let mut pages = self.lock();
        if pages.last.insert(task.clone(), (instance, error)).is_none() {
            pages.order.push_back(task);
        }
        if pages.order.len() > MOST
            && let Some(oldest) = pages.order.pop_front()
        {
            pages.last.remove(&oldest);
        }
    }

    /// Who failed last with the task, and how.
    #[must_use]
    pub fn last(&self, task: &TaskId) -> Option<(InstanceId, String)> {
        self.lock().last.get(task).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_is_kept_and_the_oldest_task_gives_way() {
        let journal = Journal::default();
        let task = |n: u64| TaskId::derive(&"c".parse().unwrap(), &"p".parse().unwrap(), "", n);
        let instance: InstanceId = "i".parse().unwrap();
        journal.note(task(0), instance.clone(), "first".into());
        journal.note(task(0), instance.clone(), "second".into());
        assert_eq!(journal.last(&task(0)), Some((instance.clone(), "second".into())));
        for n in 1..=MOST as u64 {
            journal.note(task(n), instance.clone(), "other".into());
        }
        assert_eq!(journal.last(&task(0)), None);
        assert!(journal.last(&task(1)).is_some());
    }
}
