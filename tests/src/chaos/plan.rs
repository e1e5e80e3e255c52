//! What happens to whom and when: a list that follows from the seed; pure.

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

/// How often something else happens than a kill.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Faults {
    /// A worker is stopped for longer than the lease of its tasks, and goes on.
    pub worker_pauses: usize,
    /// The coordinator that leads is stopped for longer than its lease, and goes on.
    pub coordinator_pauses: usize,
    /// The server of a cluster that leads one of the streams is killed.
    pub leader_kills: usize,
    /// The leader of a stream, of a consumer or of all servers is told to step down.
    pub step_downs: usize,
    /// Every server of a cluster is stopped and started again, one after the other.
    pub rolling_restarts: usize,
}

impl Faults {
    /// All of them.
    #[must_use]
    pub const fn total(self) -> usize {
        self.worker_pauses + self.coordinator_pauses + self.of_a_cluster()
    }

    /// Those that need a cluster.
    #[must_use]
    pub const fn of_a_cluster(self) -> usize {
        self.leader_kills + self.step_downs + self.rolling_restarts
    }

    /// Whether a coordinator is away for so long that another one must be there.
    #[must_use]
    pub const fn depose(self) -> bool {
        self.coordinator_pauses > 0
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
}

/// One kill, or what else happens.
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
                | Target::EveryServer => Duration::ZERO,
                Target::Broker => millis(random, 100, 600),
            },
            away: match target {
                Target::Worker(_) => millis(random, 100, 1_000),
                Target::Coordinator => Duration::ZERO,
                Target::Broker | Target::Leader(_) | Target::EveryServer => {
                    millis(random, 200, 3_000)
                }
                Target::StepDown(_) => Duration::from_millis(100),
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
}
