//! A soak: files are handed in at a steady rate, and what happens is spread over time instead of over
//! what is done; pure.

use std::time::Duration;

use super::{Counts, Faults, Planned, Target, millis, plan};
use crate::chaos::GRAPH;

/// Processes that are to be seen growing are killed in this part of the time only.
const KILLS_UNTIL: f64 = 0.3;
/// Others may be struck until here: what is left is to be worked on.
const UNTIL: f64 = 0.97;
/// Nothing happens before: everything is to have begun.
const FROM: f64 = 0.02;
/// Of what may be deleted the stream of tasks is the last one. It is more than a consumer, and not for a soak.
const CONSUMERS: usize = GRAPH.len() + 1;
/// How long links are broken, in milliseconds.
const BROKEN: (u64, u64) = (1_000, 5_000);

/// How long, and how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Soak {
    /// How long files are handed in.
    pub lasting: Duration,
    /// How many tasks a second they are.
    pub rate: u32,
    /// So many a second are to be settled.
    pub at_least: u32,
}

impl Soak {
    /// The time between two files.
    #[must_use]
    pub fn between(&self) -> Duration {
        let tasks = u32::try_from(GRAPH.len()).unwrap_or(u32::MAX);
        Duration::from_secs(1) * tasks / self.rate.max(1)
    }

    /// How many files that makes.
    #[must_use]
    pub fn files(&self) -> usize {
        let files = self.lasting.as_nanos() / self.between().as_nanos().max(1);
        usize::try_from(files).unwrap_or(usize::MAX).max(1)
    }

    /// How often something happens in all that happens so often in an hour; at least once, if ever.
    #[must_use]
    pub fn times(&self, an_hour: usize) -> usize {
        let millis = usize::try_from(self.lasting.as_millis()).unwrap_or(usize::MAX);
        an_hour.saturating_mul(millis).div_ceil(3_600_000)
    }

    /// When the part of the time begins that is judged by whether anything grows.
    #[must_use]
    pub fn judged_from(&self) -> Duration {
        self.lasting / 3
    }

    /// The plan. What counts in [`Planned::after`] are milliseconds.
    #[must_use]
    pub fn plan(&self, random: &mut fastrand::Rng, counts: Counts, faults: Faults) -> Vec<Planned> {
        let mut planned = plan(random, counts, faults, 1);
        for next in &mut planned {
            let until = match next.target {
                Target::Coordinator | Target::Broker => KILLS_UNTIL,
                Target::Worker(_)
                | Target::PausedWorker(_)
                | Target::PausedCoordinator
                | Target::Leader(_)
                | Target::StepDown(_)
                | Target::EveryServer
                | Target::Link(..)
                | Target::Crash(_)
                | Target::Deleted(_)
                | Target::FullDisk
                | Target::Power
                | Target::Clock(..) => UNTIL,
            };
            let part = FROM + random.f64() * (until - FROM);
            let after = self.lasting.mul_f64(part).as_millis();
            next.after = usize::try_from(after).unwrap_or(usize::MAX);
            if let Target::Link(..) = next.target {
                next.away = millis(random, BROKEN.0, BROKEN.1);
            }
            if let Target::Deleted(number) = &mut next.target {
                *number %= CONSUMERS;
            }
        }
        planned.sort_by_key(|next| next.after);
        planned
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::plan::Links;

    const HOUR: Soak = Soak { lasting: Duration::from_secs(3_600), rate: 220, at_least: 200 };

    #[test]
    fn files_come_as_fast_as_their_tasks_are_to() {
        let half_a_minute = Soak { lasting: Duration::from_secs(30), rate: 120, at_least: 100 };

        assert_eq!((HOUR.files(), half_a_minute.files()), (132_000, 600));
        assert_eq!(half_a_minute.between(), Duration::from_millis(50));
        assert_eq!((HOUR.times(60), HOUR.times(0)), (60, 0));
        assert_eq!((half_a_minute.times(60), half_a_minute.times(240)), (1, 2));
    }

    #[test]
    fn faults_are_spread_over_the_time_and_what_may_grow_is_killed_early() {
        let counts = Counts { workers: 60, coordinator: 10, broker: 6 };
        let links = Links { times: 30, ..Links::default() };
        let faults = Faults { links, deletions: 40, worker_pauses: 15, ..Faults::default() };
        let of = |seed| HOUR.plan(&mut fastrand::Rng::with_seed(seed), counts, faults);

        let planned = of(42);

        assert_eq!(planned, of(42));
        assert_ne!(planned, of(43));
        assert_eq!(planned.len(), 161);
        assert!(planned.is_sorted_by_key(|next| next.after));
        let judged_from = usize::try_from(HOUR.judged_from().as_millis()).unwrap_or(0);
        for next in &planned {
            assert!((72_000..=3_492_000).contains(&next.after), "{next:?}");
            let early = matches!(next.target, Target::Coordinator | Target::Broker);
            assert!(!early || next.after < judged_from, "{next:?}");
            let (least, most) = (Duration::from_secs(1), Duration::from_secs(5));
            let is_link = matches!(next.target, Target::Link(..));
            assert!(!is_link || (least..=most).contains(&next.away), "{next:?}");
            assert!(!matches!(next.target, Target::Deleted(number) if number > 6), "{next:?}");
        }
        // In every sixth of the time some worker dies.
        for sixth in 0..6 {
            let its = sixth * 600_000..(sixth + 1) * 600_000;
            let dies = |next: &&Planned| matches!(next.target, Target::Worker(_));
            let count =
                planned.iter().filter(dies).filter(|next| its.contains(&next.after)).count();
            assert!((3..=20).contains(&count), "{count} kills in the part {sixth}");
        }
    }
}
