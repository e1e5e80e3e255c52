//! What else than kills may happen, how often and where; pure.

use std::time::Duration;

use clap::ValueEnum;

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
    /// Links are broken, and mended.
    pub links: Links,
    /// The coordinator dies after a message to the broker.
    pub crashes: usize,
    /// Somebody deletes a consumer, or the stream of tasks.
    pub deletions: usize,
    /// The broker's disk is full for a while.
    pub full_disks: usize,
    /// The broker's machine loses its power.
    pub power_cuts: usize,
    /// The clock of a worker jumps.
    pub clock_jumps: usize,
}

impl Faults {
    /// All of them.
    #[must_use]
    pub const fn total(self) -> usize {
        self.worker_pauses
            + self.coordinator_pauses
            + self.leader_kills
            + self.step_downs
            + self.rolling_restarts
            + self.links.times
            + self.crashes
            + self.deletions
            + self.full_disks
            + self.power_cuts
            + self.clock_jumps
    }

    /// Those that need a cluster.
    #[must_use]
    pub const fn of_a_cluster(self) -> usize {
        let links = match self.links.place {
            Some(Place::Server(_)) => self.links.times,
            Some(Place::Coordinator(_) | Place::Workers(_)) | None => 0,
        };
        self.leader_kills + self.step_downs + self.rolling_restarts + links
    }

    /// Those that need a disk for the broker alone.
    #[must_use]
    pub const fn of_a_disk(self) -> usize {
        self.full_disks + self.power_cuts
    }

    /// Whether every link must be one that can be broken.
    #[must_use]
    pub const fn need_links(self) -> bool {
        self.links.times + self.crashes > 0
    }

    /// Whether a coordinator is away for so long that another one must be there.
    #[must_use]
    pub const fn depose(self) -> bool {
        self.coordinator_pauses + self.links.times > 0
    }
}

/// Which links are broken how, and for how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Links {
    /// How often.
    pub times: usize,
    /// Where; any when nothing is said.
    pub place: Option<Place>,
    /// How; any when nothing is said.
    pub partition: Option<Partition>,
    /// For how many seconds; 1, 5 or 15 when nothing is said.
    pub seconds: Option<u64>,
}

impl Links {
    /// How long a link is broken.
    pub(super) fn lasting(self, random: &mut fastrand::Rng) -> Duration {
        let any = random.choice([1, 5, 15]).unwrap_or(1);
        Duration::from_secs(self.seconds.unwrap_or(any))
    }
}

/// Who is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Place {
    /// The coordinator of this number; the one that leads, whatever the number.
    Coordinator(usize),
    /// One half of the workers, with one of every plugin.
    Workers(usize),
    /// One server of a cluster from the others.
    Server(usize),
}

impl Place {
    pub(super) fn any(random: &mut fastrand::Rng, servers: bool) -> Self {
        match random.usize(..if servers { 3 } else { 2 }) {
            0 => Self::Coordinator(0),
            1 => Self::Workers(0),
            _ => Self::Server(0),
        }
    }

    pub(super) const fn numbered(self, number: usize) -> Self {
        match self {
            Self::Coordinator(_) => Self::Coordinator(number % 2),
            Self::Workers(_) => Self::Workers(number % 2),
            Self::Server(_) => Self::Server(number % 3),
        }
    }
}

/// What does not get through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Partition {
    /// Nothing does.
    Both,
    /// What is sent to the broker, or to the server that is cut off.
    To,
    /// What comes from it.
    From,
    /// Connections are closed, three times a second, and made anew.
    Flapping,
    /// Everything is 100 ms late, with 100 kB in a second.
    Slow,
}

impl Partition {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Both, Self::To, Self::From, Self::Flapping, Self::Slow];

    pub(super) fn any(random: &mut fastrand::Rng) -> Self {
        random.choice(Self::ALL).unwrap_or(Self::Both)
    }
}
