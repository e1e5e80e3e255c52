//! The places of an instance: one for each task that runs.

use std::pin::pin;
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
    /// Those that have begun.
    begun: AtomicUsize,
    ended: Notify,
}

/// A place that a task has taken; dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Permit {
    permits: Arc<Permits>,
    queue: Queue,
    begun: bool,
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
        Permit { permits: self.clone(), queue, begun: false }
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

impl Permit {
    /// Waits until fewer than `places` tasks have begun and not ended; this one has begun then.
    ///
    /// More may be delivered than was asked for: a broker that stood still answers what it was asked
    /// before, however often that was given up and asked again.
    ///
    /// # Cancel safety
    ///
    /// When dropped, it has not begun.
    pub(crate) async fn begin(&mut self, places: impl Fn() -> usize) {
        let permits = self.permits.clone();
        loop {
            let mut ended = pin!(permits.ended.notified());
            // An end between the look and the wait counts.
            ended.as_mut().enable();
            let enter = |begun: usize| (begun < places().max(1)).then_some(begun + 1);
            if permits.begun.fetch_update(Ordering::Relaxed, Ordering::Relaxed, enter).is_ok() {
                self.begun = true;
                return;
            }
            ended.await;
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.begun {
            self.permits.begun.fetch_sub(1, Ordering::Relaxed);
            self.permits.ended.notify_one();
        }
        self.permits.taken(self.queue).fetch_sub(1, Ordering::Relaxed);
        self.permits.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn what_was_not_asked_for_waits_until_something_ends() {
        let permits: Arc<Permits> = Arc::default();
        let [mut first, mut second] = [Queue::Fast, Queue::Background].map(|q| permits.take(q));
        let mut more = permits.take(Queue::Fast);
        for permit in [&mut first, &mut second] {
            assert!(permit.begin(|| 2).now_or_never().is_some());
        }
        let mut waits = pin!(more.begin(|| 2));
        assert!(waits.as_mut().now_or_never().is_none());

        // One that had not begun leaves nothing to anybody.
        drop(permits.take(Queue::Fast));
        assert!(waits.as_mut().now_or_never().is_none());
        drop(first);
        assert!(waits.as_mut().now_or_never().is_some());
    }
}
