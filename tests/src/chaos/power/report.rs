//! What power cuts have cost, by setting; pure.

use std::fmt::Write as _;

use serde::Serialize;

use super::Setting;
use super::account::Loss;

/// The embedded broker has on disk what it was given before the last second, and what it takes to write
/// that.
const SECOND_MS: u64 = 2_000;

/// The cuts of one setting.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// `sync_interval`.
    #[serde(serialize_with = "interval", rename = "syncInterval")]
    pub setting: Setting,
    /// Power cuts.
    pub cuts: usize,
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Of those, how many are gone.
    pub lost: u64,
    /// Cuts that lost something.
    pub cuts_with_loss: usize,
    /// What the worst cut lost.
    pub lost_at_once: u64,
    /// How long before its cut the oldest lost write was acknowledged, in milliseconds.
    pub oldest_lost_ms: u64,
    /// Streams that were gone as a whole.
    pub streams_lost: usize,
    /// How long was written.
    pub seconds: f64,
}

fn interval<S: serde::Serializer>(setting: &Setting, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(setting.interval())
}

impl Row {
    /// No cut yet.
    #[must_use]
    pub const fn of(setting: Setting) -> Self {
        Self {
            setting,
            cuts: 0,
            acknowledged: 0,
            lost: 0,
            cuts_with_loss: 0,
            lost_at_once: 0,
            oldest_lost_ms: 0,
            streams_lost: 0,
            seconds: 0.0,
        }
    }

    /// Notes what a cut has cost.
    pub fn note(&mut self, loss: Loss, streams_lost: usize) {
        self.lost += loss.writes;
        self.cuts_with_loss += usize::from(loss.writes > 0);
        self.lost_at_once = self.lost_at_once.max(loss.writes);
        self.oldest_lost_ms = self.oldest_lost_ms.max(loss.oldest_ms);
        self.streams_lost += streams_lost;
    }

    /// What is against the promise, if anything is.
    fn problem(&self) -> Option<String> {
        let Self { lost, oldest_lost_ms, streams_lost, .. } = self;
        let (is_broken, promise) = match self.setting {
            Setting::Always => (*lost > 0, "nothing that was acknowledged is lost"),
            Setting::EverySecond => {
                (*oldest_lost_ms > SECOND_MS, "only the last second may be lost")
            }
            // Nobody promises anything.
            Setting::EveryTwoMinutes => return None,
        };
        (is_broken || *streams_lost > 0).then(|| {
            format!(
                "sync_interval {}: {promise}; lost were {lost} writes, the oldest of them {oldest_lost_ms} ms \
                 old, and {streams_lost} streams",
                self.setting.interval()
            )
        })
    }
}

/// All of them, as `--output json` prints it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PowerReport {
    /// Decides when the power is cut.
    pub seed: u64,
    /// Writes in a second that were asked for.
    pub rate: u32,
    /// For each setting.
    pub settings: Vec<Row>,
    /// What is against the promises; empty = nothing.
    pub problems: Vec<String>,
}

impl PowerReport {
    /// Holds what was lost against what is promised.
    #[must_use]
    pub fn of(seed: u64, rate: u32, settings: Vec<Row>) -> Self {
        let problems = settings.iter().filter_map(Row::problem).collect();
        Self { seed, rate, settings, problems }
    }

    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        let heads = [
            "cuts",
            "acknowledged",
            "lost",
            "with loss",
            "at once",
            "oldest ms",
            "streams",
            "writes/s",
        ];
        let mut table = String::new();
        let mut line = |name: &str, cells: [String; 8]| {
            let cells: String = cells.iter().map(|cell| format!("{cell:>13}")).collect();
            // Writing to a string cannot fail.
            writeln!(table, "{name:<14}{cells}").ok();
        };
        line("sync_interval", heads.map(str::to_owned));
        for row in &self.settings {
            #[expect(clippy::cast_precision_loss, reason = "for people")]
            let rate = row.acknowledged as f64 / row.seconds.max(f64::EPSILON);
            let cells = [
                row.cuts.to_string(),
                row.acknowledged.to_string(),
                row.lost.to_string(),
                row.cuts_with_loss.to_string(),
                row.lost_at_once.to_string(),
                row.oldest_lost_ms.to_string(),
                row.streams_lost.to_string(),
                format!("{rate:.0}"),
            ];
            line(row.setting.interval(), cells);
        }
        for problem in &self.problems {
            writeln!(table, "PROBLEM: {problem}").ok();
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_promised_depends_on_the_setting() {
        for (case, setting, losses, streams, problems) in [
            ("nothing lost", Setting::Always, vec![(0, 0)], 0, 0),
            ("a write lost", Setting::Always, vec![(0, 0), (1, 5)], 0, 1),
            ("a stream lost", Setting::Always, vec![(0, 0)], 1, 1),
            ("the last second", Setting::EverySecond, vec![(900, 990), (3, 1_800)], 0, 0),
            ("more than that", Setting::EverySecond, vec![(0, 0), (1, 2_100)], 0, 1),
            ("nothing promised", Setting::EveryTwoMinutes, vec![(9_000, 90_000)], 1, 0),
        ] {
            let mut row = Row::of(setting);
            for (writes, oldest_ms) in losses {
                row.note(Loss { writes, oldest_ms }, 0);
            }
            row.streams_lost = streams;

            let report = PowerReport::of(1, 1_000, vec![row]);

            assert_eq!(report.problems.len(), problems, "{case}: {}", report.table());
        }
    }

    #[test]
    fn a_row_adds_up_its_cuts_and_keeps_the_worst() {
        let mut row = Row::of(Setting::EverySecond);
        for (writes, oldest_ms) in [(3, 40), (0, 0), (8, 20)] {
            row.note(Loss { writes, oldest_ms }, 1);
        }

        let Row { lost, cuts_with_loss, lost_at_once, oldest_lost_ms, streams_lost, .. } = row;
        assert_eq!((lost, cuts_with_loss, lost_at_once), (11, 2, 8));
        assert_eq!((oldest_lost_ms, streams_lost), (40, 3));
    }
}
