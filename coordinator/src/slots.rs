//! How many files may be in hand at once, and how the two queues share them.

use std::sync::atomic::{AtomicUsize, Ordering};

use broker_config::Queue;
use tokio::sync::Notify;

use crate::dispatcher::Parked;

/// Files that only wait for a time may be so many times what their queue has places: all that is in
/// hand is kept in memory, and a plugin that asks every file to wait would have the whole backlog
/// opened.
const PARKED_PER_PLACE: usize = 16;

/// The split of `total` places between fast and background: three quarters and one quarter, at
/// least one each. Fixed, so that neither queue can fill the other's places.
#[must_use]
pub const fn split(total: usize) -> (usize, usize) {
    let background = if total < 8 { 1 } else { total / 4 };
    let fast = total.saturating_sub(background);
    (if fast == 0 { 1 } else { fast }, background)
}

/// Counts files in hand, by queue.
#[derive(Debug)]
pub struct Slots {
    most: (usize, usize),
    strict: bool,
    fast: AtomicUsize,
    background: AtomicUsize,
    parked_fast: AtomicUsize,
    parked_background: AtomicUsize,
    freed: Notify,
}

impl Slots {
    /// Places for `total` files. With `strict`, background gets none while a fast file is in hand.
    #[must_use]
    pub fn new(total: usize, strict: bool) -> Self {
        Self {
            most: split(total),
            strict,
            fast: AtomicUsize::new(0),
            background: AtomicUsize::new(0),
            parked_fast: AtomicUsize::new(0),
            parked_background: AtomicUsize::new(0),
            freed: Notify::new(),
        }
    }

    fn of(&self, queue: Queue) -> (&AtomicUsize, usize) {
        match queue {
            Queue::Fast => (&self.fast, self.most.0),
            Queue::Background => (&self.background, self.most.1),
        }
    }

    fn parked(&self, queue: Queue) -> &AtomicUsize {
        match queue {
            Queue::Fast => &self.parked_fast,
            Queue::Background => &self.parked_background,
        }
    }

    /// Free places of a queue. Files that only wait for a time take none, up to a limit.
    #[must_use]
    pub fn room(&self, queue: Queue) -> usize {
        let (taken, most) = self.of(queue);
        if self.is_held_back(queue) {
            return 0;
        }
        let parked = self.parked(queue).load(Ordering::Relaxed);
        let parked = parked.min(most.saturating_mul(PARKED_PER_PLACE));
        (most + parked).saturating_sub(taken.load(Ordering::Relaxed))
    }

    /// Whether a queue may have nothing in hand at the moment, however many places are free.
    #[must_use]
    pub fn is_held_back(&self, queue: Queue) -> bool {
        queue == Queue::Background && self.strict && self.fast.load(Ordering::Relaxed) > 0
    }

    /// Takes a place.
    pub fn take(&self, queue: Queue) {
        self.of(queue).0.fetch_add(1, Ordering::Relaxed);
    }

    /// Gives a place back.
    pub fn release(&self, queue: Queue) {
        let taken = self.of(queue).0;
        // Never below zero, whatever comes twice.
        let one_less = |n: usize| n.checked_sub(1);
        taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).unwrap_or_default();
        self.freed.notify_waiters();
    }

    /// Says how many files only wait for a time.
    pub fn set_parked(&self, parked: Parked) {
        for queue in Queue::ALL {
            self.parked(queue).store(parked.of(queue), Ordering::Relaxed);
        }
    }

    /// Waits until a place is given back.
    pub async fn freed(&self) {
        self.freed.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_places_are_split_and_neither_queue_starves() {
        for (total, expected) in
            [(1, (1, 1)), (2, (1, 1)), (4, (3, 1)), (8, (6, 2)), (512, (384, 128))]
        {
            assert_eq!(split(total), expected, "{total}");
        }
        let slots = Slots::new(8, false);
        for _ in 0..6 {
            slots.take(Queue::Fast);
        }
        assert_eq!((slots.room(Queue::Fast), slots.room(Queue::Background)), (0, 2));
        slots.set_parked(Parked { fast: 3, background: 0 });
        assert_eq!((slots.room(Queue::Fast), slots.room(Queue::Background)), (3, 2));
    }

    #[test]
    fn what_waits_for_a_time_gives_its_places_to_its_own_queue_and_not_without_end() {
        let slots = Slots::new(8, false);
        for _ in 0..6 {
            slots.take(Queue::Fast);
        }
        let many = 50_000;
        for _ in 0..many {
            slots.take(Queue::Background);
        }

        slots.set_parked(Parked { fast: 0, background: many });

        assert_eq!((slots.room(Queue::Fast), slots.room(Queue::Background)), (0, 0));
        let allowed = 2 * PARKED_PER_PLACE;
        for _ in allowed..many {
            slots.release(Queue::Background);
        }
        slots.set_parked(Parked { fast: 0, background: allowed });
        assert_eq!((slots.room(Queue::Fast), slots.room(Queue::Background)), (0, 2));
    }

    #[test]
    fn strict_gating_holds_background_back() {
        let slots = Slots::new(8, true);
        assert_eq!(slots.room(Queue::Background), 2);
        slots.take(Queue::Fast);
        assert_eq!(slots.room(Queue::Background), 0);
        slots.release(Queue::Fast);
        assert_eq!(slots.room(Queue::Background), 2);
    }
}
