//! PURE: what instances use of this machine, from two readings.
//!
//! A reading says how much processor time an instance has used so far; how much it uses is the
//! difference of two. [`watch`] takes them, at a calm pace, of processes from `/proc` ([`proc`],
//! [`tree`]) and of containers from the engine.

pub mod proc;
pub mod tree;
pub mod watch;

use std::collections::BTreeMap;
use std::time::Duration;

use broker_config::InstanceId;
use jiff::Timestamp;

/// Two readings that are closer together say nothing: processor time is counted in hundredths of a
/// second.
const LEAST: Duration = Duration::from_millis(500);

/// One look at an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Tells one life of the instance from the next, which begins to count anew.
    pub life: String,
    /// When, by the clock of whoever has looked; only differences count.
    pub clock: Duration,
    /// Processor time used so far, that of all processors together.
    pub cpu_time: Duration,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of memory that it may have; `None` = no limit, or nobody says.
    pub memory_limit: Option<u64>,
    /// Its processes and threads.
    pub pids: u64,
}

/// What an instance uses.
#[derive(Clone, Debug, PartialEq)]
pub struct Usage {
    /// Processors, e.g. 1.5; `None` = it was looked at only once as yet.
    pub cpu: Option<f64>,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Bytes of memory that it may have; `None` = no limit, or nobody says.
    pub memory_limit_bytes: Option<u64>,
    /// Its processes and threads.
    pub pids: u64,
    /// When it was looked at.
    pub sampled_at: Timestamp,
}

/// What all instances use that were looked at.
pub type Usages = BTreeMap<InstanceId, Usage>;

impl Usage {
    /// What a reading says, with the one before it.
    #[must_use]
    pub fn of(before: Option<&Reading>, now: &Reading, sampled_at: Timestamp) -> Self {
        Self {
            cpu: before.and_then(|before| rate(before, now)),
            memory_bytes: now.memory,
            memory_limit_bytes: now.memory_limit,
            pids: now.pids,
            sampled_at,
        }
    }
}

/// Processors used between two readings, to a thousandth; `None` where they say nothing.
///
/// They do not when they are of two lives, too close together, or with less time used than before,
/// because a process has taken its count with it.
#[must_use]
pub fn rate(before: &Reading, now: &Reading) -> Option<f64> {
    if before.life != now.life {
        return None;
    }
    let elapsed = now.clock.checked_sub(before.clock).filter(|elapsed| *elapsed >= LEAST)?;
    let used = now.cpu_time.checked_sub(before.cpu_time)?;
    Some((used.as_secs_f64() / elapsed.as_secs_f64() * 1e3).round() / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(life: &str, clock_ms: u64, cpu_ms: u64) -> Reading {
        Reading {
            life: life.to_owned(),
            clock: Duration::from_millis(clock_ms),
            cpu_time: Duration::from_millis(cpu_ms),
            memory: 7,
            memory_limit: Some(9),
            pids: 2,
        }
    }

    #[test]
    fn what_is_used_follows_from_two_readings() {
        for (what, before, now, expected) in [
            ("nothing", reading("a", 0, 50), reading("a", 10_000, 50), Some(0.0)),
            ("half", reading("a", 0, 0), reading("a", 10_000, 5_000), Some(0.5)),
            ("more than one", reading("a", 1_000, 100), reading("a", 3_000, 3_100), Some(1.5)),
            ("rounded", reading("a", 0, 0), reading("a", 3_000, 1_000), Some(0.333)),
            ("another life", reading("a", 0, 0), reading("b", 10_000, 5_000), None),
            ("too close", reading("a", 0, 0), reading("a", 499, 100), None),
            ("at once", reading("a", 5, 0), reading("a", 5, 100), None),
            ("a clock that was set back", reading("a", 9_000, 0), reading("a", 0, 100), None),
            ("a count that went", reading("a", 0, 500), reading("a", 10_000, 400), None),
        ] {
            assert_eq!(rate(&before, &now), expected, "{what}");
        }
    }

    #[test]
    fn the_first_reading_says_all_but_the_processors() {
        let at = Timestamp::UNIX_EPOCH;
        let (first, second) = (reading("a", 0, 0), reading("a", 2_000, 1_000));
        let usage = Usage::of(None, &first, at);
        assert_eq!((usage.cpu, usage.memory_bytes, usage.pids), (None, 7, 2));
        assert_eq!((usage.memory_limit_bytes, usage.sampled_at), (Some(9), at));
        assert_eq!(Usage::of(Some(&first), &second, at).cpu, Some(0.5));
    }
}
