//! PURE. Which queue the next tasks are pulled from: fast first, background never starved.
//!
//! Two questions, both answered without clock and I/O: how free permits are split when both queues
//! have tasks waiting ([`Policy::split`]), and which pull requests an instance should send now
//! ([`plan`]). A permit is *held* by a task that runs, *promised* to a pull request that waits, or
//! *free*; held + promised + free never exceeds the instance's concurrency, so no more is
//! ever delivered than can run.

use broker_config::Queue;

/// How the two queues share an instance while both have tasks waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// At least one of four turns goes to the background queue, and at most one of four permits.
    #[default]
    Share,
    /// Background only while the fast queue is empty; under steady load it never gets a turn.
    Strict,
}

/// Of how many turns, and of how many permits, one is for the background queue.
const BACKGROUND_SHARE: usize = 4;

/// What is known of one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Side {
    /// Tasks that wait in the queue, as of the last delivery; 0 after a pull found nothing.
    pub waiting: usize,
    /// Permits held by tasks of this queue that run.
    pub held: usize,
    /// Permits promised to pull requests that have not been answered.
    pub promised: usize,
    /// Turns it got while both queues had tasks waiting.
    pub turns: usize,
    /// Whether it may be asked again although it was found empty.
    pub due: bool,
}

impl Side {
    /// Whether more tasks wait than were asked for.
    fn is_busy(&self) -> bool {
        self.waiting > self.promised
    }
}

/// Both queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sides {
    /// The queue that goes first.
    pub fast: Side,
    /// The queue that gets its share.
    pub background: Side,
}

impl Sides {
    /// What is known of `queue`.
    #[must_use]
    pub fn of(&self, queue: Queue) -> &Side {
        match queue {
            Queue::Fast => &self.fast,
            Queue::Background => &self.background,
        }
    }

    /// What is known of `queue`, to be changed.
    pub fn of_mut(&mut self, queue: Queue) -> &mut Side {
        match queue {
            Queue::Fast => &mut self.fast,
            Queue::Background => &mut self.background,
        }
    }

    /// Counts the turns that `asks` give, while both queues have tasks waiting; a queue that was
    /// alone for a while has no claim from that.
    pub fn note(&mut self, asks: &[Ask]) {
        let contested = self.fast.is_busy() && self.background.is_busy();
        for queue in Queue::ALL {
            let given: usize =
                asks.iter().filter(|ask| ask.queue == queue).map(|ask| ask.batch).sum();
            let side = self.of_mut(queue);
            side.turns = if contested { side.turns + given } else { 0 };
        }
    }

    /// Permits that nobody holds and that are promised to no request.
    #[must_use]
    pub fn free(&self, permits: usize) -> usize {
        let taken = [self.fast, self.background].iter().map(|side| side.held + side.promised).sum();
        permits.saturating_sub(taken)
    }
}

/// How many tasks to ask each queue for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Split {
    /// Of the fast queue.
    pub fast: usize,
    /// Of the background queue.
    pub background: usize,
}

impl Policy {
    /// Splits `free` of `permits` between two queues that both have tasks waiting.
    ///
    /// The background queue gets every fourth turn, so that with one permit three fast tasks are
    /// followed by a background task. It never takes more than a fourth of the permits (one at
    /// least), because its tasks may be long: by turns alone they would come to hold them all.
    #[must_use]
    pub fn split(self, free: usize, permits: usize, sides: &Sides) -> Split {
        match self {
            Self::Strict => Split { fast: free, background: 0 },
            Self::Share => {
                let turns = sides.fast.turns + sides.background.turns + free;
                let due = (turns / BACKGROUND_SHARE).saturating_sub(sides.background.turns);
                let most = (permits / BACKGROUND_SHARE).max(1);
                let room = most.saturating_sub(sides.background.held + sides.background.promised);
                let background = due.min(room).min(free);
                Split { fast: free - background, background }
            }
        }
    }
}

/// One pull request to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// Whom to ask.
    pub queue: Queue,
    /// For how many tasks; as many permits are promised.
    pub batch: usize,
    /// Whether and how long the request waits when there is nothing.
    pub wait: Wait,
}

/// How long a pull request waits for tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Not at all: takes what is there.
    No,
    /// A moment, because it is the only permit and the other queue is to get its turn.
    Turn,
    /// A moment, because the permit may soon be wanted elsewhere.
    Short,
    /// As long as requests may wait.
    Long,
}

/// Lists the pull requests to send now.
///
/// `home` is the queue that delivered last: an idle instance waits there with more than one permit.
/// A queue known to have tasks is asked in batches without waiting. A request for one more permit
/// is put off while an earlier one is unanswered, until a fourth of all permits are free: under
/// load one request fetches many tasks.
#[must_use]
pub fn plan(policy: Policy, permits: usize, home: Queue, sides: &Sides) -> Vec<Ask> {
    let free = sides.free(permits);
    if free == 0 {
        return Vec::new();
    }
    match (sides.fast.is_busy(), sides.background.is_busy()) {
        (true, true) => {
            let split = policy.split(free, permits, sides);
            let wanted = [(Queue::Fast, split.fast), (Queue::Background, split.background)];
            wanted.into_iter().filter_map(|(queue, n)| grab(queue, n, permits, sides)).collect()
        }
        (true, false) => one_busy(Queue::Fast, free, permits, sides),
        (false, true) => one_busy(Queue::Background, free, permits, sides),
        (false, false) => idle(home, free, permits, sides),
    }
}

/// Everything for the busy queue, after a look at the other one when that is due.
fn one_busy(busy: Queue, free: usize, permits: usize, sides: &Sides) -> Vec<Ask> {
    let other = sides.of(other(busy));
    let look = other.due && other.promised == 0;
    let rest = free - usize::from(look);
    let look = look.then_some(Ask { queue: self::other(busy), batch: 1, wait: Wait::No });
    look.into_iter().chain(grab(busy, rest, permits, sides)).collect()
}

fn grab(queue: Queue, wanted: usize, permits: usize, sides: &Sides) -> Option<Ask> {
    let side = sides.of(queue);
    let batch = wanted.min(side.waiting.saturating_sub(side.promised));
    let worth_it = side.promised == 0 || batch >= (permits / 4).max(1);
    (batch > 0 && worth_it).then_some(Ask { queue, batch, wait: Wait::No })
}

/// Nothing is known to wait: keep a request waiting at both queues, so that the next task starts at
/// once. With a single permit only one request may wait; then the queues take turns.
fn idle(home: Queue, free: usize, permits: usize, sides: &Sides) -> Vec<Ask> {
    let away = other(home);
    if permits == 1 {
        let look = sides.of(away).due;
        let (queue, wait) = if look { (away, Wait::No) } else { (home, Wait::Turn) };
        return vec![Ask { queue, batch: 1, wait }];
    }
    let mut free = free;
    let mut asks = Vec::new();
    let wanted = (permits / 4).max(1);
    let promised = sides.of(home).promised;
    if promised * 2 <= wanted.saturating_sub(1) {
        let batch = (wanted - promised).min(free);
        free -= batch;
        asks.push(Ask { queue: home, batch, wait: Wait::Long });
    }
    if free > 0 && sides.of(away).promised == 0 {
        asks.push(Ask { queue: away, batch: 1, wait: Wait::Short });
    }
    asks
}

/// The other one of the two queues.
#[must_use]
pub fn other(queue: Queue) -> Queue {
    match queue {
        Queue::Fast => Queue::Background,
        Queue::Background => Queue::Fast,
    }
}

#[cfg(test)]
mod tests;
