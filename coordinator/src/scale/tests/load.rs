//! Properties over time: a plugin under load, simulated.

use std::time::Duration;

use proptest::prelude::*;

use super::super::{Bounds, Busy, History, Mean, Moment, Pace, Work, needed};
use super::{bounds, work};

/// A plugin under load, a tenth of a second at a time.
struct Simulation {
    bounds: Bounds,
    concurrency: u32,
    task_ms: u64,
    /// Tasks that come in a thousand seconds.
    rate: u64,
    backlog: u64,
    running: Vec<u64>,
    arrived: u64,
    history: History,
    mean: Mean,
    busy: Busy,
    ended: u64,
}

impl Simulation {
    fn new(bounds: Bounds, concurrency: u32, task_ms: u64, rate: u64, backlog: u64) -> Self {
        let history = History::new(bounds.min(), Moment::ZERO);
        let (running, mean, busy) = (Vec::new(), Mean::default(), Busy::default());
        Self {
            bounds,
            concurrency,
            task_ms,
            rate,
            backlog,
            running,
            arrived: 0,
            history,
            mean,
            busy,
            ended: 0,
        }
    }

    /// Lets time pass up to `ms`; returns the number of instances.
    fn step(&mut self, ms: u64) -> u32 {
        let due = self.rate.saturating_mul(ms) / 1_000_000;
        self.backlog += due - self.arrived;
        self.arrived = due;
        let before = self.running.len();
        self.running.retain(|end| *end > ms);
        self.ended += (before - self.running.len()) as u64;
        let places = u64::from(self.history.number() * self.concurrency);
        let free = places.saturating_sub(self.running.len() as u64).min(self.backlog);
        self.backlog -= free;
        self.running.extend((0..free).map(|_| ms + self.task_ms));
        if ms.is_multiple_of(1_000) {
            let now = Duration::from_millis(ms);
            let seconds = Duration::from_millis(self.ended * self.task_ms).as_secs_f64();
            self.mean.look(self.ended, seconds);
            self.busy.look(seconds, Pace::default().shrink_after, now);
            let held = self.running.len() as u64;
            let work =
                Work { task: self.mean.get(), ..work(self.backlog, held, 1, self.concurrency) };
            let needed = needed(&work, self.history.number());
            let busy = self.busy.instances(seconds, work.concurrency, now);
            let number = self.history.look((needed, busy), self.bounds, &Pace::default(), now);
            self.history.stands(number, now);
        }
        self.history.number()
    }

    fn numbers(&mut self, from: u64, to: u64) -> Vec<u32> {
        let mut numbers: Vec<u32> =
            (from / 100..to / 100).map(|tick| self.step(tick * 100)).collect();
        numbers.dedup();
        numbers
    }
}

/// A plugin with a load in percent of what all its instances can do.
fn settles(
    bounds: Bounds,
    concurrency: u32,
    task_ms: u64,
    load: u64,
    backlog: u64,
) -> Result<(), TestCaseError> {
    let capacity = u64::from(bounds.max() * concurrency) * 1_000_000 / task_ms;
    // One task at least in a minute, so that it never sleeps.
    let rate = (capacity * load / 100).max(40);
    let mut plugin = Simulation::new(bounds, concurrency, task_ms, rate, backlog);

    // Until what was there at first is worked off.
    let settled = 3_600_000 + backlog * 3_000_000 / (capacity - rate);
    let warm = plugin.numbers(0, settled);
    let later = plugin.numbers(settled, settled + 3_600_000);

    for number in warm.iter().chain(&later) {
        prop_assert!((bounds.min()..=bounds.max()).contains(number), "{warm:?} {later:?}");
    }
    prop_assert!(later.len() <= 3, "it flaps: {later:?}");
    // Within the time that is aimed at, and what comes meanwhile.
    let most = plugin.rate * 30 / 1_000 + u64::from(bounds.max() * concurrency);
    prop_assert!(plugin.backlog <= most, "{} wait, {later:?}", plugin.backlog);
    Ok(())
}

#[test]
fn a_load_that_lies_just_beyond_one_instance_settles() {
    settles(bounds(0, 10), 2, 18_501, 10, 0).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn under_constant_load_a_number_settles_within_bounds(
        min in 0u32..3,
        more in 1u32..12,
        concurrency in 1u32..4,
        // The simulation sees the end of a task at the next tenth of a second.
        tenths in 1u64..200,
        load in 5u64..85,
        backlog in 0u64..300,
    ) {
        let (bounds, task_ms) = (bounds(min, min + more), tenths * 100);
        let capacity = u64::from(bounds.max() * concurrency) * 1_000_000 / task_ms;
        prop_assume!((capacity * load / 100).max(40) < capacity * 9 / 10);
        settles(bounds, concurrency, task_ms, load, backlog)?;
    }

    #[test]
    fn a_backlog_is_worked_off_and_then_there_are_the_fewest(
        min in 0u32..3,
        more in 1u32..12,
        concurrency in 1u32..4,
        task_ms in 10u64..5_000,
        backlog in 1u64..2_000,
    ) {
        let bounds = bounds(min, min + more);
        let mut plugin = Simulation::new(bounds, concurrency, task_ms, 0, backlog);
        let alone = backlog * task_ms / u64::from(bounds.max() * concurrency);

        let numbers = plugin.numbers(0, alone * 2 + 400_000);

        prop_assert_eq!(plugin.ended, backlog);
        prop_assert_eq!(numbers.last(), Some(&bounds.min()), "{:?}", &numbers);
        let turns = numbers.windows(3).filter(|w| (w[0] < w[1]) != (w[1] < w[2])).count();
        prop_assert!(turns <= 1, "up once, down once: {:?}", &numbers);
    }
}
