//! What happens to whom and when: a list that follows from the seed; pure.

mod faults;
mod soak;

use std::time::Duration;

pub use self::faults::{Faults, Links, Partition, Place};
pub use self::soak::Soak;

/// How far the clock of a worker may come to be off, in seconds.
pub const JUMPS: [i64; 4] = [-3_600, 3_600, -86_400, 86_400];

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

/// To whom it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The worker that this number, modulo those alive, says.
    Worker(usize),
    /// The coordinator.
    Coordinator,
    /// The broker.
    Broker,
    /// Such a worker is not killed, but stopped while it is away.
    PausedWorker(usize),
    /// So is the coordinator.
    PausedCoordinator,
    /// The server that leads the stream of this number, modulo those there are.
    Leader(usize),
    /// Who leads what this number says; it stays.
    StepDown(usize),
    /// Every server, one after the other.
    EveryServer,
    /// The links at this place.
    Link(Place, Partition),
    /// The coordinator, right after a message.
    Crash(Crash),
    /// A consumer, or the stream of tasks, as this number says: it is deleted.
    Deleted(usize),
    /// The broker's disk.
    FullDisk,
    /// The power of the broker's machine.
    Power,
    /// The clock of such a worker; it shows so many seconds more than the right time from then on.
    Clock(usize, i64),
}

impl Target {
    /// Whether it needs a cluster, and a whole one.
    #[must_use]
    pub const fn is_of_cluster(self) -> bool {
        match self {
            Self::Leader(_)
            | Self::StepDown(_)
            | Self::EveryServer
            | Self::Link(Place::Server(_), _) => true,
            Self::Worker(_)
            | Self::Coordinator
            | Self::Broker
            | Self::PausedWorker(_)
            | Self::PausedCoordinator
            | Self::Link(Place::Coordinator(_) | Place::Workers(_), _)
            | Self::Crash(_)
            | Self::Deleted(_)
            | Self::Power
            | Self::Clock(..)
            | Self::FullDisk => false,
        }
    }
}

/// The moment at which a coordinator dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crash {
    /// After so many messages to the broker …
    pub messages: u64,
    /// … counted from its start, or from some time after.
    pub from_start: bool,
}

/// One kill, or what else happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Not before so many executions have begun, or in a soak so many milliseconds have passed …
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

/// Spreads all that is to happen over `executions`, most of the way through.
#[must_use]
pub fn plan(
    random: &mut fastrand::Rng,
    counts: Counts,
    faults: Faults,
    executions: usize,
) -> Vec<Planned> {
    let mut targets = vec![Target::Coordinator; counts.coordinator];
    targets.extend(vec![Target::Broker; counts.broker]);
    targets.extend((0..counts.workers).map(|_| Target::Worker(random.usize(..))));
    targets.extend((0..faults.worker_pauses).map(|_| Target::PausedWorker(random.usize(..))));
    targets.extend(vec![Target::PausedCoordinator; faults.coordinator_pauses]);
    targets.extend((0..faults.leader_kills).map(|_| Target::Leader(random.usize(..))));
    targets.extend((0..faults.step_downs).map(|_| Target::StepDown(random.usize(..))));
    targets.extend(vec![Target::EveryServer; faults.rolling_restarts]);
    for _ in 0..faults.links.times {
        let (place, partition) = (faults.links.place, faults.links.partition);
        let place = place.unwrap_or_else(|| Place::any(random, faults.of_a_cluster() > 0));
        let partition = partition.unwrap_or_else(|| Partition::any(random));
        targets.push(Target::Link(place.numbered(random.usize(..)), partition));
    }
    targets.extend((0..faults.deletions).map(|_| Target::Deleted(random.usize(..))));
    targets.extend(vec![Target::FullDisk; faults.full_disks]);
    targets.extend(vec![Target::Power; faults.power_cuts]);
    for _ in 0..faults.clock_jumps {
        let jump = random.choice(JUMPS).unwrap_or_default();
        targets.push(Target::Clock(random.usize(..), jump));
    }
    for _ in 0..faults.crashes {
        let from_start = random.bool();
        // Small numbers are likelier: more happens there.
        let most = 1 << random.u32(0..=if from_start { 6 } else { 8 });
        let messages = random.u64(1..=most);
        targets.push(Target::Crash(Crash { messages, from_start }));
    }
    let (first, last) = (executions / 50, (executions - executions / 10).max(1));
    let mut planned: Vec<Planned> = targets
        .into_iter()
        .map(|target| Planned {
            after: random.usize(first..last),
            delay: millis(random, 0, 1_500),
            target,
            hangs: match target {
                Target::Worker(_)
                | Target::Coordinator
                | Target::PausedWorker(_)
                | Target::PausedCoordinator
                | Target::Leader(_)
                | Target::StepDown(_)
                | Target::EveryServer
                | Target::Link(..)
                | Target::Deleted(_)
                | Target::FullDisk
                | Target::Power
                | Target::Clock(..)
                | Target::Crash(_) => Duration::ZERO,
                Target::Broker => millis(random, 100, 600),
            },
            away: match target {
                Target::Worker(_) => millis(random, 100, 1_000),
                Target::Coordinator => Duration::ZERO,
                Target::Broker | Target::Power | Target::Leader(_) | Target::EveryServer => {
                    millis(random, 200, 3_000)
                }
                Target::StepDown(_) | Target::Crash(_) | Target::Deleted(_) | Target::Clock(..) => {
                    Duration::from_millis(100)
                }
                Target::FullDisk => millis(random, 2_000, 8_000),
                Target::Link(..) => faults.links.lasting(random),
                // Longer than the lease of a task, and of the lead.
                Target::PausedWorker(_) => millis(random, 8_500, 12_000),
                Target::PausedCoordinator => millis(random, 5_500, 9_000),
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
        let faults = Faults { worker_pauses: 4, coordinator_pauses: 2, ..Faults::default() };
        let of = |seed| plan(&mut fastrand::Rng::with_seed(seed), counts, faults, 12_000);

        let planned = of(1);

        assert_eq!(planned, of(1));
        assert_ne!(planned, of(2));
        let is_broker = |kill: &&Planned| kill.target == Target::Broker;
        assert_eq!(planned.iter().filter(is_broker).count(), 3);
        assert_eq!(planned.len(), 34);
        let pauses = planned.iter().filter(|kill| kill.target == Target::PausedCoordinator);
        assert!(pauses.clone().all(|pause| pause.away > coordinator::lease::TTL));
        assert_eq!(pauses.count(), 2);
        assert!(planned.iter().all(|kill| (240..10_800).contains(&kill.after)));
    }

    #[test]
    fn every_fault_is_planned_as_often_as_was_asked_for() {
        let counts = Counts { workers: 0, coordinator: 0, broker: 0 };
        let nothing = Faults::default();
        type Is = fn(&Target) -> bool;
        let cases: [(Faults, Is); 3] = [
            (Faults { power_cuts: 7, ..nothing }, |target| *target == Target::Power),
            (Faults { full_disks: 7, ..nothing }, |target| *target == Target::FullDisk),
            (
                Faults { clock_jumps: 7, ..nothing },
                |target| matches!(target, Target::Clock(_, jump) if JUMPS.contains(jump)),
            ),
        ];
        for (faults, is_one) in cases {
            let planned = plan(&mut fastrand::Rng::with_seed(3), counts, faults, 600);

            assert_eq!((planned.len(), faults.total()), (7, 7), "{faults:?}");
            assert!(planned.iter().all(|next| is_one(&next.target)), "{planned:?}");
        }
    }
}
