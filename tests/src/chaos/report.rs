//! What an experiment says at its end.

use std::fmt::Write as _;

use serde::Serialize;

use super::plan::{Counts, Faults};
use super::soak::flat::Flat;

/// One experiment, as `--output json` prints it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Decides who is killed when.
    pub seed: u64,
    /// Files handed in.
    pub files: usize,
    /// Plugins of the graph.
    pub plugins: usize,
    /// Processes killed.
    pub kills: Counts,
    /// What else happened.
    pub faults: Faults,
    /// Executions begun.
    pub executions: usize,
    /// Executions beyond one for each plugin on each file.
    pub reexecutions: usize,
    /// What was in flight at the kills, added up: more may not run again.
    pub bound: usize,
    /// Of those again, how many were begun by who had been away, or at its word.
    pub stale: usize,
    /// Plugins on files without a completed record.
    pub lost: usize,
    /// Records that replaced another one.
    pub duplicates: u64,
    /// Files of which nobody heard that they are settled.
    pub unsettled: usize,
    /// Submissions and tasks that were still there in the end.
    pub left_over: u64,
    /// Dead letters.
    pub dead_letters: usize,
    /// Tasks that the coordinator missed and published again.
    pub repaired: usize,
    /// Records that say a time that is far off, because a clock was turned.
    pub wrong_times: usize,
    /// How many settled files and tasks subscribers were told of more than once.
    pub told_twice: usize,
    /// How long coordinators that had died took until they asked for submissions again, shortest first.
    pub ready_ms: Vec<u64>,
    /// The longest time in which nothing was written although there was work.
    pub stall_ms_max: u64,
    /// Tasks that killed workers were in the middle of.
    pub recovered: usize,
    /// From the kill until another worker began them.
    pub recovery_ms_p50: u64,
    /// The longest of them.
    pub recovery_ms_max: u64,
    /// The longest stretch of such a wait in which the broker and a worker of the plugin were there.
    pub recovery_ms_max_attended: u64,
    /// From the first file handed in until nothing was left.
    pub seconds: f64,
    /// From the last kill and the last file handed in until nothing was left.
    pub drain_seconds: f64,
    /// Whether anything grew, of a soak.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soak: Option<Flat>,
    /// What is wrong; empty = nothing.
    pub problems: Vec<String>,
}

impl Report {
    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        let Self { kills, faults, .. } = self;
        let rows = [
            ("seed", self.seed.to_string()),
            ("files × plugins", format!("{} × {}", self.files, self.plugins)),
            (
                "kill -9",
                format!(
                    "{} workers, {} × coordinator, {} × broker",
                    kills.workers, kills.coordinator, kills.broker
                ),
            ),
            (
                "stopped, went on",
                format!(
                    "{} workers, {} × coordinator",
                    faults.worker_pauses, faults.coordinator_pauses
                ),
            ),
            (
                "cluster",
                format!(
                    "{} × leader killed, {} × told to step down, {} × all restarted in turn",
                    faults.leader_kills, faults.step_downs, faults.rolling_restarts
                ),
            ),
            (
                "links and others",
                format!(
                    "{} × link broken, {} × crash point, {} × deleted, {} × full disk",
                    faults.links.times, faults.crashes, faults.deletions, faults.full_disks
                ),
            ),
            (
                "power and clocks",
                format!(
                    "{} × power cut, {} × clock turned ({} records say a wrong time)",
                    faults.power_cuts, faults.clock_jumps, self.wrong_times
                ),
            ),
            (
                "ready again",
                format!(
                    "p50 {} ms, p99 {} ms",
                    percentile(&self.ready_ms, 50),
                    percentile(&self.ready_ms, 99)
                ),
            ),
            ("executions", self.executions.to_string()),
            (
                "of them again",
                format!(
                    "{} (at most {}; {} by who had been away)",
                    self.reexecutions, self.bound, self.stale
                ),
            ),
            ("lost", self.lost.to_string()),
            ("written twice", self.duplicates.to_string()),
            ("told twice", self.told_twice.to_string()),
            ("not settled", self.unsettled.to_string()),
            ("left over", self.left_over.to_string()),
            ("dead letters", self.dead_letters.to_string()),
            ("repaired", self.repaired.to_string()),
            ("longest stall", format!("{} ms", self.stall_ms_max)),
            (
                "begun again elsewhere",
                format!(
                    "{} tasks after p50 {} ms, max {} ms ({} ms with the broker and a worker there)",
                    self.recovered,
                    self.recovery_ms_p50,
                    self.recovery_ms_max,
                    self.recovery_ms_max_attended
                ),
            ),
            (
                "time",
                format!("{:.1} s, the last {:.1} s undisturbed", self.seconds, self.drain_seconds),
            ),
        ];
        let mut table = String::new();
        for (name, value) in rows {
            // Writing to a string cannot fail.
            writeln!(table, "{name:<24}{value}").ok();
        }
        if let Some(soak) = &self.soak {
            table.push_str(&soak.table());
        }
        for problem in &self.problems {
            writeln!(table, "PROBLEM: {problem}").ok();
        }
        table
    }
}

/// The value that so many percent of those sorted do not exceed; 0 when there are none.
#[must_use]
pub fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last * percent).div_ceil(100)).copied().unwrap_or(0)
}
