//! PURE: the number of instances that the work of one plugin asks for.
//!
//! So many are needed that what waits is done within [`WITHIN`], and as many as are busy now: else
//! a plugin under constant load would give up what it needs whenever its queue is short. It grows
//! when every look for some seconds has asked for more, to the least of what they asked for, and at
//! most to the double. It shrinks when every look for a long time has asked for less, to the most
//! of them, and to no fewer than would be busy all the time with what was done in that time: single
//! looks may all have met it in quieter moments. Where it had to grow again soon after, the next time
//! is longer (see [`REGRET`]): a load that lies between two numbers else goes to and fro for ever.
//! One look alone decides only that there is one at all: a task that waits where nobody serves is no
//! matter of chance.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;

use super::{Bounds, Moment};

/// What waits is to be done within this time.
pub const WITHIN: Duration = Duration::from_secs(10);

/// Who grows again within this time after shrinking has shrunk too soon.
///
/// The next time takes [`REGRET_FACTOR`] times as long, up to [`MOST_PATIENCE`] times. Each time it was right makes that
/// less again. Where nothing at all is to be done, nobody waits longer than [`Pace`] says.
pub const REGRET: Duration = Duration::from_hours(1);
/// See [`REGRET`].
pub const REGRET_FACTOR: u32 = 4;
/// See [`REGRET`].
pub const MOST_PATIENCE: u32 = 64;

/// How soon a number follows what is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// For so long more must have been needed.
    pub grow_after: Duration,
    /// For so long fewer must have been enough, and the present number must have stood.
    pub shrink_after: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { grow_after: Duration::from_secs(3), shrink_after: Duration::from_secs(60) }
    }
}

/// What one look has found of a plugin's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// Tasks that could be delivered and were not.
    pub waiting: u64,
    /// Tasks with a worker, or waiting for their next attempt.
    pub held: u64,
    /// How long one takes; `None` while none has ended.
    pub task: Option<Duration>,
    /// Tasks that one instance runs at once.
    pub concurrency: NonZeroU32,
    /// Instances that serve the plugin and are not ours.
    pub elsewhere: u32,
}

/// How many instances of ours the work needs, when there are `present`.
#[must_use]
pub fn needed(work: &Work, present: u32) -> u32 {
    let each = u64::from(work.concurrency.get());
    let all = work.waiting.saturating_add(work.held);
    let places = u64::from(present.saturating_add(work.elsewhere)).saturating_mul(each);
    // What is held beyond all places waits for its next attempt.
    let busy = work.held.min(places).div_ceil(each);
    let in_time = match work.task {
        Some(task) => {
            let millis = u64::try_from(task.as_millis()).unwrap_or(u64::MAX);
            let within = u64::try_from(WITHIN.as_millis()).unwrap_or(u64::MAX);
            all.saturating_mul(millis).div_ceil(each.saturating_mul(within))
        }
        // Nobody knows: no more than there are, but one to find out.
        None => u64::from(present),
    };
    let useful = all.div_ceil(each);
    let all_places = in_time.max(busy).max(1).min(useful);
    u32::try_from(all_places).unwrap_or(u32::MAX).saturating_sub(work.elsewhere)
}

/// The recent mean of how long tasks take, from totals that only rise.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mean {
    totals: Option<(u64, f64)>,
    seconds: Option<f64>,
}

impl Mean {
    /// How much of the mean one task leaves as it was.
    const KEPT: f64 = 0.9;

    /// Takes in the totals: how many tasks ended, and the sum of their durations in seconds.
    pub fn look(&mut self, count: u64, seconds: f64) {
        let before = self.totals.replace((count, seconds)).unwrap_or((0, 0.0));
        let new = count.saturating_sub(before.0);
        if new == 0 {
            return;
        }
        let of_new =
            ((seconds - before.1) / f64::from(u32::try_from(new).unwrap_or(u32::MAX))).max(0.0);
        let kept = Self::KEPT.powi(i32::try_from(new).unwrap_or(i32::MAX));
        self.seconds = Some(match self.seconds {
            Some(mean) => mean * kept + of_new * (1.0 - kept),
            None => of_new,
        });
    }

    /// The mean; `None` before the first task has ended.
    #[must_use]
    pub fn get(&self) -> Option<Duration> {
        Duration::try_from_secs_f64(self.seconds?).ok()
    }
}

/// How many places were busy over a time, from a total that only rises.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Busy(VecDeque<(Moment, f64)>);

impl Busy {
    /// In so many steps the time moves on.
    const STEPS: u32 = 4;
    /// More than this part of its time nobody is kept busy by tasks that come as they like.
    const FULL: f64 = 0.9;

    /// Takes in how many seconds all tasks that have ended took together; only the last `window`
    /// and a step more counts.
    pub fn look(&mut self, seconds: f64, window: Duration, now: Moment) {
        let is_due = |(last, _): &(Moment, f64)| now.saturating_sub(*last) >= window / Self::STEPS;
        if self.0.back().is_none_or(is_due) {
            self.0.push_back((now, seconds));
        }
        while self.0.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= window) {
            self.0.pop_front();
        }
    }

    /// How many instances that keeps busy, each with so many places.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "held between bounds that fit"
    )]
    pub fn instances(&self, seconds: f64, concurrency: NonZeroU32, now: Moment) -> u32 {
        let Some((since, before)) = self.0.front() else { return 0 };
        let time = now.saturating_sub(*since).as_secs_f64();
        let places = if time > 0.0 { (seconds - before) / time } else { 0.0 };
        let instances = places / f64::from(concurrency.get()) / Self::FULL;
        instances.clamp(0.0, 1e9).ceil() as u32
    }
}

/// What was asked for in a row of looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Trend {
    /// As many as there are.
    #[default]
    Level,
    /// More in each since then; at least so many.
    Up { since: Moment, least: u32 },
    /// Fewer in each since then; at most so many.
    Down { since: Moment, most: u32 },
}

/// What was asked for lately, and how long the present number stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    number: u32,
    since: Moment,
    trend: Trend,
    /// Since when nothing at all was asked for.
    idle: Option<Moment>,
    /// When it shrank, unless it has grown since.
    shrank: Option<Moment>,
    /// How many times as long as the pace says it waits before it shrinks.
    patience: u32,
}

impl History {
    /// There are `number` from `now` on.
    #[must_use]
    pub fn new(number: u32, now: Moment) -> Self {
        let trend = Trend::Level;
        Self { number, since: now, trend, idle: None, shrank: None, patience: 1 }
    }

    /// The number that it was told last.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Takes in that there are `number` from `now` on.
    pub fn stands(&mut self, number: u32, now: Moment) {
        if self.number == number {
            return;
        }
        let (mut shrank, mut patience) = (self.shrank, self.patience);
        if number < self.number {
            shrank = Some(now);
        } else if let Some(at) = shrank.take() {
            let is_regretted = now.saturating_sub(at) < REGRET;
            patience = match is_regretted {
                true => (patience * REGRET_FACTOR).min(MOST_PATIENCE),
                false => (patience / REGRET_FACTOR).max(1),
            };
        }
        *self = Self { shrank, patience, idle: self.idle, ..Self::new(number, now) };
    }

    /// Takes in what a look asks for, and how many were kept busy lately; returns the number that
    /// there should be.
    pub fn look(
        &mut self,
        (needed, busy): (u32, u32),
        bounds: Bounds,
        pace: &Pace,
        now: Moment,
    ) -> u32 {
        let asked = bounds.clamp(needed);
        self.idle = (needed == 0).then_some(self.idle.unwrap_or(now));
        self.trend = match self.trend {
            _ if asked == self.number => Trend::Level,
            Trend::Up { since, least } if asked > self.number => {
                Trend::Up { since, least: least.min(asked) }
            }
            Trend::Down { since, most } if asked < self.number => {
                Trend::Down { since, most: most.max(asked) }
            }
            _ if asked > self.number => Trend::Up { since: now, least: asked },
            Trend::Level | Trend::Up { .. } | Trend::Down { .. } => {
                Trend::Down { since: now, most: asked }
            }
        };
        let has_stood = |since: Moment, long: Duration| now.saturating_sub(since) >= long;
        let is_idle = self.idle.is_some_and(|since| has_stood(since, pace.shrink_after));
        let shrink_after = pace.shrink_after.saturating_mul(self.patience);
        let next = match self.trend {
            Trend::Up { .. } if self.number == 0 => 1,
            Trend::Up { since, least }
                if has_stood(since, pace.grow_after) && has_stood(self.since, pace.grow_after) =>
            {
                least.min(self.number.saturating_mul(2))
            }
            Trend::Down { .. } if is_idle && has_stood(self.since, pace.shrink_after) => {
                busy.min(self.number)
            }
            Trend::Down { since, most }
                if has_stood(since, shrink_after) && has_stood(self.since, shrink_after) =>
            {
                most.max(busy.min(self.number))
            }
            Trend::Level | Trend::Up { .. } | Trend::Down { .. } => self.number,
        };
        // A number that the file no longer allows is mended at once.
        bounds.clamp(next)
    }

    /// For how long more has been asked for than there is.
    #[must_use]
    pub fn waits(&self, now: Moment) -> Duration {
        match self.trend {
            Trend::Up { since, .. } => now.saturating_sub(since),
            Trend::Level | Trend::Down { .. } => Duration::ZERO,
        }
    }
}
