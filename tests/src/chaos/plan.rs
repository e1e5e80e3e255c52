//! Who is killed when: a list that follows from the seed; pure.

use std::time::Duration;

/// How often each kind of process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Workers.
    pub workers: usize,
    /// The coordinator.
    pub coordinator: usize,
    /// The broker.
    pub broker: usize,
}

impl Counts {
    /// All of them.
    #[must_use]
    pub const fn total(self) -> usize {
        self.workers + self.coordinator + self.broker
    }
}

/// Who is to be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The worker that this number, modulo those alive, says.
    Worker(usize),
    /// The coordinator.
    Coordinator,
    /// The broker.
    Broker,
}

/// One kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Not before so many executions have begun …
    pub after: usize,
    /// … and this much later, so that it may fall into the absence of another process.
    pub delay: Duration,
    /// Who.
    pub target: Target,
    /// How long it hangs before it dies: what is sent to it meanwhile gets lost.
    pub hangs: Duration,
    /// How long it stays away.
    pub away: Duration,
}

/// Spreads the kills over `executions`, most of the way through.
#[must_use]
pub fn plan(random: &mut fastrand::Rng, counts: Counts, executions: usize) -> Vec<Planned> {
    let mut targets = vec![Target::Coordinator; counts.coordinator];
    targets.extend(vec![Target::Broker; counts.broker]);
    targets.extend((0..counts.workers).map(|_| Target::Worker(random.usize(..))));
    let (first, last) = (executions / 50, (executions - executions / 10).max(1));
    let mut planned: Vec<Planned> = targets
        .into_iter()
        .map(|target| Planned {
            after: random.usize(first..last),
            delay: millis(random, 0, 1_500),
            target,
            hangs: match target {
                Target::Worker(_) | Target::Coordinator => Duration::ZERO,
                Target::Broker => millis(random, 100, 600),
            },
            away: match target {
                Target::Worker(_) => millis(random, 100, 1_000),
                Target::Coordinator => Duration::ZERO,
                Target::Broker => millis(random, 200, 3_000),
            },
        })
        .collect();
    planned.sort_by_key(|kill| kill.after);
    planned
}

fn millis(random: &mut fastrand::Rng, least: u64, most: u64) -> Duration {
    Duration::from_millis(random.u64(least..=most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_decides_everything() {
        let counts = Counts { workers: 20, coordinator: 5, broker: 3 };
        let of = |seed| plan(&mut fastrand::Rng::with_seed(seed), counts, 12_000);

        let planned = of(1);

        assert_eq!(planned, of(1));
        assert_ne!(planned, of(2));
        let is_broker = |kill: &&Planned| kill.target == Target::Broker;
        assert_eq!(planned.iter().filter(is_broker).count(), 3);
        assert_eq!(planned.len(), 28);
        assert!(planned.iter().all(|kill| (240..10_800).contains(&kill.after)));
    }
}
