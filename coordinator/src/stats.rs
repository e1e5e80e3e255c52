//! PURE: what lately became of a plugin's tasks: durations in a bounded window, and the last error.

use std::collections::VecDeque;

use broker_config::{Cid, RecordStatus};

/// Tasks of which the durations are remembered, per plugin.
pub const WINDOW: usize = 1_024;
/// Characters of an error that are remembered.
const ERROR_CHARS: usize = 1_000;

/// What became of the tasks of one plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Tasks that were completed.
    pub completed: u64,
    /// Tasks that the plugin skipped.
    pub skipped: u64,
    /// Tasks that have failed for good.
    pub failed: u64,
    /// Sum of the durations of all of them, in milliseconds.
    total_ms: u64,
    recent: Window,
    /// The last failed attempt.
    pub last_error: Option<LastError>,
}

/// A failed attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastError {
    /// What the plugin, or whoever watched over it, said.
    pub error: String,
    /// The file.
    pub cid: Cid,
    /// When, RFC 3339.
    pub at: String,
}

/// How long tasks take, in milliseconds; `None` while there was none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    /// The mean of all.
    pub average: Option<u64>,
    /// Half of the last [`WINDOW`] were not slower.
    pub p50: Option<u64>,
    /// 95 of 100 of them were not slower.
    pub p95: Option<u64>,
}

/// The last values, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Window(VecDeque<u64>);

impl Stats {
    /// A task has ended.
    pub fn ended(&mut self, status: RecordStatus, duration_ms: u64) {
        let count = match status {
            RecordStatus::Completed => &mut self.completed,
            RecordStatus::Skipped => &mut self.skipped,
            RecordStatus::Failed => &mut self.failed,
        };
        *count = count.saturating_add(1);
        self.total_ms = self.total_ms.saturating_add(duration_ms);
        self.recent.push(duration_ms);
    }

    /// An attempt has failed; one before the last that is known changes nothing.
    pub fn erred(&mut self, error: &str, cid: &Cid, at: &str) {
        if self.last_error.as_ref().is_some_and(|last| last.at.as_str() > at) {
            return;
        }
        let error = error.chars().take(ERROR_CHARS).collect();
        self.last_error = Some(LastError { error, cid: cid.clone(), at: at.to_owned() });
    }

    /// How long its tasks take.
    #[must_use]
    pub fn durations(&self) -> Durations {
        let ended = self.completed.saturating_add(self.skipped).saturating_add(self.failed);
        let [p50, p95] = self.recent.percentiles([50, 95]);
        Durations { average: self.total_ms.checked_div(ended), p50, p95 }
    }
}

impl Window {
    fn push(&mut self, value: u64) {
        if self.0.len() == WINDOW {
            self.0.pop_front();
        }
        self.0.push_back(value);
    }

    /// The smallest values that so many of a hundred do not exceed.
    fn percentiles<const N: usize>(&self, percents: [usize; N]) -> [Option<u64>; N] {
        let mut sorted: Vec<u64> = self.0.iter().copied().collect();
        sorted.sort_unstable();
        percents.map(|percent| {
            let rank = (sorted.len() * percent).div_ceil(100);
            sorted.get(rank.saturating_sub(1)).copied()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(durations: impl IntoIterator<Item = u64>) -> Stats {
        let mut stats = Stats::default();
        for duration in durations {
            stats.ended(RecordStatus::Completed, duration);
        }
        stats
    }

    #[test]
    fn durations_follow_the_table() {
        let of = |average, p50, p95| Durations { average, p50, p95 };
        for (case, durations, expected) in [
            ("none", vec![], Durations::default()),
            ("one", vec![7], of(Some(7), Some(7), Some(7))),
            ("two", vec![10, 1], of(Some(5), Some(1), Some(10))),
            ("a hundred", (1..=100).rev().collect(), of(Some(50), Some(50), Some(95))),
            ("twenty", (1..=20).collect(), of(Some(10), Some(10), Some(19))),
            ("one outlier", [vec![5; 99], vec![9_000]].concat(), of(Some(94), Some(5), Some(5))),
            (
                "no overflow",
                vec![u64::MAX, u64::MAX],
                of(Some(u64::MAX / 2), Some(u64::MAX), Some(u64::MAX)),
            ),
        ] {
            assert_eq!(ended(durations).durations(), expected, "{case}");
        }
    }

    #[test]
    fn the_window_is_bounded_and_the_average_is_not() {
        let slow_first = [vec![1_000; WINDOW], vec![10; WINDOW]].concat();
        let stats = ended(slow_first);
        assert_eq!(stats.recent.0.len(), WINDOW);
        let durations = stats.durations();
        assert_eq!((durations.average, durations.p95), (Some(505), Some(10)));
    }

    #[test]
    fn outcomes_are_counted_apart_and_the_last_error_stays() {
        let cid: Cid = "c".parse().unwrap();
        let mut stats = Stats::default();
        stats.ended(RecordStatus::Failed, 1);
        stats.ended(RecordStatus::Skipped, 1);
        stats.ended(RecordStatus::Skipped, 1);
        assert_eq!((stats.completed, stats.skipped, stats.failed), (0, 2, 1));
        for (error, at) in [("second", "2026-01-02T00:00:02Z"), ("first", "2026-01-02T00:00:01Z")] {
            stats.erred(error, &cid, at);
        }
        stats.ended(RecordStatus::Completed, 1);
        assert_eq!(stats.last_error.as_ref().unwrap().error, "second");
        stats.erred(&"x".repeat(5_000), &cid, "2026-01-02T00:00:03Z");
        assert_eq!(stats.last_error.unwrap().error.len(), ERROR_CHARS);
    }
}
