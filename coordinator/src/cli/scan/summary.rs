//! What a scan came to: one table for people, one object for programs.

use broker_config::wire::event::TaskCounts;
use serde::Serialize;

use super::super::App;
use super::super::exit::{Exit, Failure};
use super::super::output::{complain, count};
use super::super::table::{Table, bytes};
use super::super::time::span;
use crate::fleet::follow::Tally;
use crate::fleet::library::Scanned;
use crate::source::{RootError, ScanReport};

/// Problems listed; the rest are counted.
const MOST_LISTED: usize = 20;

/// The end of `scan --wait`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary {
    /// Files seen.
    files: u64,
    /// Files that are up to date now.
    settled: u64,
    /// Outcomes of plugins; a file that was left alone counts once as cached.
    tasks: TaskCounts,
    /// Tasks given up on.
    dead: u64,
    /// From the start of the scan until everything had settled.
    seconds: f64,
}

impl Summary {
    pub(super) fn of(scanned: &Scanned, tally: &Tally, seconds: f64) -> Self {
        let mut tasks = tally.tasks();
        let dead = tasks.failed;
        tasks.cached += scanned.left_alone;
        Self {
            files: scanned.report.counts.files,
            settled: scanned.left_alone + tally.settled,
            tasks,
            dead,
            seconds: (seconds * 1000.0).round() / 1000.0,
        }
    }
}

/// The end of a scan that does not wait.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HandedIn<'a> {
    scan_id: &'a str,
    files: u64,
    submitted: u64,
    seconds: f64,
}

/// Prints what was handed in.
pub(super) fn print_handed_in(app: &App, scan_id: &str, scanned: &Scanned) -> Result<(), Failure> {
    let (files, submitted) = (scanned.report.counts.files, scanned.handed_in);
    let handed_in = HandedIn { scan_id, files, submitted, seconds: scanned.report.seconds };
    app.out.document(&handed_in, |lines| {
        lines.line(&format!("{files} files seen, {submitted} handed in (scan {scan_id})"));
    })
}

/// Prints what came of everything.
pub(super) fn print(
    app: &App,
    scanned: &Scanned,
    tally: &Tally,
    seconds: f64,
) -> Result<(), Failure> {
    let summary = Summary::of(scanned, tally, seconds);
    app.out.document(&summary, |lines| {
        if !tally.plugins.is_empty() {
            let mut table = Table::new(&["PLUGIN", ">COMPLETED", ">SKIPPED", ">FAILED", ">CACHED"]);
            for (plugin, counts) in &tally.plugins {
                let numbers = [counts.completed, counts.skipped, counts.failed, counts.cached];
                let cells = numbers.map(|number| number.to_string());
                table.row([plugin.to_string()].into_iter().chain(cells));
            }
            lines.table(&table);
            lines.line("");
        }
        let counts = &scanned.report.counts;
        let took = span(std::time::Duration::from_secs_f64(seconds));
        lines.line(&format!(
            "{}, {} settled, {} hashed, in {took}",
            count(summary.files, "file"),
            summary.settled,
            bytes(counts.hashed_bytes),
        ));
        if scanned.left_alone > 0 {
            lines.line(&format!("{} unchanged: nothing left to run", scanned.left_alone));
        }
    })?;
    if summary.dead > 0 {
        let failed = count(summary.dead, "task");
        app.out.say(&format!("{failed} failed; `metafleet dead list` says why"));
    }
    if tally.rejected > 0 {
        let rejected = count(tally.rejected, "file");
        complain(&format!(
            "warning: the coordinator refused {rejected}; \
             `metafleet event tail --type 'submission.*' --since 1h` says why"
        ));
    }
    Ok(())
}

/// Says what could not be scanned.
pub(super) fn print_problems(app: &App, report: &ScanReport) {
    for root in &report.failed_roots {
        complain(&format!("error: {}", broker_config::Chain(root)));
    }
    if report.failed_roots.iter().any(may_be_meant) {
        complain(&format!("       {IF_MEANT}"));
    }
    for problem in report.problems.iter().take(MOST_LISTED) {
        app.out.say(&format!("left out: {problem}"));
    }
    let more = report.left_out().saturating_sub(MOST_LISTED as u64);
    if more > 0 {
        app.out.say(&format!("left out: {more} more"));
    }
}

/// What to do about files that a person has really deleted.
pub(in super::super) const IF_MEANT: &str =
    "if they were really deleted, `metafleet scan PATH --allow-mass-deletion` forgets them";

/// Whether a person may have done on purpose what was taken for a fault.
pub(in super::super) fn may_be_meant(root: &RootError) -> bool {
    match root {
        RootError::Emptied { .. } | RootError::MostlyMissing { .. } => true,
        RootError::Missing { .. } | RootError::Special { .. } | RootError::Unreadable { .. } => {
            false
        }
    }
}

/// How the command ends.
pub(super) fn verdict(report: &ScanReport, roots: usize, tally: Option<&Tally>) -> Exit {
    if report.failed_roots.len() >= roots {
        let is_missing = |root: &RootError| match root {
            RootError::Missing { .. } => true,
            RootError::Special { .. }
            | RootError::Unreadable { .. }
            | RootError::Emptied { .. }
            | RootError::MostlyMissing { .. } => false,
        };
        let missing = report.failed_roots.iter().all(is_missing);
        return if missing { Exit::NotFound } else { Exit::Failure };
    }
    let failed = tally.is_some_and(|tally| tally.tasks().failed + tally.rejected > 0);
    if failed || !report.failed_roots.is_empty() || report.counts.unreadable > 0 {
        return Exit::Partial;
    }
    Exit::Ok
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(failed: u64) -> Tally {
        let counts = TaskCounts { completed: 3, skipped: 1, failed, cached: 2 };
        Tally { settled: 4, plugins: [("a".parse().unwrap(), counts)].into(), rejected: 0 }
    }

    #[test]
    fn the_object_has_the_documented_fields() {
        let mut report = ScanReport::default();
        report.counts.files = 9;
        let scanned = Scanned { report, left_alone: 5, handed_in: 4 };
        let summary = Summary::of(&scanned, &tally(2), 1.23456);
        assert_eq!(
            serde_json::to_value(summary).unwrap(),
            serde_json::json!({
                "files": 9, "settled": 9, "dead": 2, "seconds": 1.235,
                "tasks": {"completed": 3, "skipped": 1, "failed": 2, "cached": 7},
            })
        );
    }

    #[test]
    fn it_ends_by_the_worst_that_happened() {
        let missing = || RootError::Missing { root: "/x".into() };
        let emptied = || RootError::Emptied { root: "/x".into() };
        for (roots, failed_roots, unreadable, failed, expected) in [
            (1, vec![], 0, 0, Exit::Ok),
            (1, vec![], 0, 1, Exit::Partial),
            (1, vec![], 1, 0, Exit::Partial),
            (1, vec![missing()], 0, 0, Exit::NotFound),
            (1, vec![emptied()], 0, 0, Exit::Failure),
            (2, vec![missing()], 0, 0, Exit::Partial),
        ] {
            let mut report = ScanReport { failed_roots, ..ScanReport::default() };
            report.counts.unreadable = unreadable;
            assert_eq!(verdict(&report, roots, Some(&tally(failed))), expected, "{report:?}");
        }
    }
}
