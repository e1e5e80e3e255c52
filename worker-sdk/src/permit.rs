//! The places of an instance: one for each task that runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use broker_config::Queue;
use tokio::sync::Notify;

/// Counts the places that are taken, by queue.
#[derive(Debug, Default)]
pub(crate) struct Permits {
    fast: AtomicUsize,
    background: AtomicUsize,
    freed: Notify,
}

/// A place that a task has taken; dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Permit {
    permits: Arc<Permits>,
    queue: Queue,
}

impl Permits {
    fn taken(&self, queue: Queue) -> &AtomicUsize {
        match queue {
            Queue::Fast => &self.fast,
            Queue::Background => &self.background,
        }
    }

    /// Takes a place for a task of `queue`.
    pub(crate) fn take(self: &Arc<Self>, queue: Queue) -> Permit {
        self.taken(queue).fetch_add(1, Ordering::Relaxed);
        Permit { permits: self.clone(), queue }
    }

    /// Places taken by tasks of `queue`.
    pub(crate) fn held(&self, queue: Queue) -> usize {
        self.taken(queue).load(Ordering::Relaxed)
    }

    /// Waits until a place is given back; one that was given back since the last wait counts.
    pub(crate) async fn freed(&self) {
        self.freed.notified().await;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.permits.taken(self.queue).fetch_sub(1, Ordering::Relaxed);
        self.permits.freed.notify_one();
    }
}
