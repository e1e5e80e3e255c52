//! A line for each of several experiments, and one for all of them; pure.

use std::fmt::Write as _;

use super::report::{Report, percentile};

/// For people: what was lost, doubled and waited for in each, and why some could not be judged.
#[must_use]
pub fn table(experiments: &[(String, Report)], failed: &[(String, String)]) -> String {
    let mut table = String::new();
    let heads = ["lost", "doubled", "again", "stall ms", "ready p99 ms", "seconds", "problems"];
    write_line(&mut table, "experiment", heads.map(str::to_owned));
    for (name, report) in experiments {
        write_line(&mut table, name, cells(std::slice::from_ref(report)));
    }
    let all: Vec<Report> = experiments.iter().map(|(_, report)| report.clone()).collect();
    write_line(&mut table, "all", cells(&all));
    for (name, report) in experiments {
        for problem in &report.problems {
            // Writing to a string cannot fail.
            writeln!(table, "PROBLEM: {name}: {problem}").ok();
        }
    }
    for (name, problem) in failed {
        writeln!(table, "PROBLEM: {name}: not judged: {problem}").ok();
    }
    table
}

fn cells(reports: &[Report]) -> [String; 7] {
    let sum = |of: fn(&Report) -> u64| reports.iter().map(of).sum::<u64>();
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let mut ready: Vec<u64> = reports.iter().flat_map(|report| report.ready_ms.clone()).collect();
    ready.sort_unstable();
    [
        reports.iter().map(|report| report.lost).sum::<usize>().to_string(),
        (sum(|report| report.duplicates)
            + reports.iter().map(|report| count(report.told_twice)).sum::<u64>())
        .to_string(),
        reports.iter().map(|report| report.reexecutions).sum::<usize>().to_string(),
        reports.iter().map(|report| report.stall_ms_max).max().unwrap_or(0).to_string(),
        if ready.is_empty() { "–".to_owned() } else { percentile(&ready, 99).to_string() },
        format!("{:.0}", reports.iter().map(|report| report.seconds).sum::<f64>()),
        reports.iter().map(|report| report.problems.len()).sum::<usize>().to_string(),
    ]
}

fn write_line(table: &mut String, name: &str, cells: [String; 7]) {
    let mut line = format!("{name:<28}");
    for cell in cells {
        write!(line, "{cell:>14}").ok();
    }
    writeln!(table, "{line}").ok();
}
