//! Judges an experiment by what was seen; pure.
//!
//! A kill may cause again what was *in flight* at that moment, and nothing else: what had begun and
//! had either not ended or ended so shortly before that its acknowledgement may not have been safe
//! yet. For a worker that is what this worker held; for the broker it is all that was in flight, and
//! what began while it was away. The kill of a coordinator is no reason to run anything again.
//!
//! Who was only stopped, or cut off, and comes back does not know that time has passed: a worker may
//! begin what it was given before, though somebody else has done it meanwhile. Right after it is back,
//! that is a reason. A coordinator that was stopped writes under a warrant, which has run out by then: the only
//! reason it is for is what it had begun to send when it was stopped, which leaves it now.

use std::collections::{BTreeMap, BTreeSet};

use broker_config::RecordStatus;

use super::GRAPH;
use super::forgotten::Forgotten;
use super::ledger::Execution;
use super::recovery::{Recovery, millis, recoveries};
use super::stall::longest;

/// After the end of an execution its record is written and acknowledged, then the acknowledgement of
/// its task is to reach the broker. So long it counts as in flight.
pub const SETTLING: i64 = 100_000;
/// How long that may take at worst, on a machine that has too much to do.
pub const SETTLING_SLOWLY: i64 = 1_000_000;
/// Who was away and comes back may do for so long what it would have done then.
pub const WAKING: i64 = 2_000_000;
/// So far the clocks of two ledgers may be apart: each counts from the time of day at which its process began, which
/// somebody corrects meanwhile (0.5 ms were seen after half an hour).
const SKEW: i64 = 2_000;
/// A killed worker's tasks begin elsewhere within this, as long as the broker and another worker are
/// there.
pub const RECOVERED_WITHIN_MS: u64 = 10_000;

/// Who was killed, or away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Victim {
    /// The worker with this process id.
    Worker(u32),
    /// The coordinator.
    Coordinator,
    /// The broker.
    Broker,
    /// The workers with these process ids were stopped or cut off, and came back.
    Absent(Vec<u32>),
    /// The coordinator was stopped for longer than its lease, and came back.
    Deposed,
    /// The coordinator did not hear the broker, or was not heard: what it tried again it tried again.
    Unreachable,
}

/// A kill, or an absence, as it happened; times in microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kill {
    /// Who.
    pub victim: Victim,
    /// When.
    pub at: i64,
    /// When it, or its like, was started again.
    pub back: i64,
}

/// All that was seen of an experiment.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The files handed in.
    pub files: BTreeSet<String>,
    /// By the ledgers.
    pub executions: Vec<Execution>,
    /// By the one who killed.
    pub kills: Vec<Kill>,
    /// Records in the end, by file and plugin.
    pub records: Vec<(String, String, RecordStatus)>,
    /// How many records were ever written.
    pub written: u64,
    /// How often subscribers were told that a file is settled.
    pub settled: BTreeMap<String, usize>,
    /// How many settled files and tasks subscribers were told of more than once.
    pub told_twice: usize,
    /// Submissions in their stream in the end.
    pub submissions_left: u64,
    /// Tasks in their stream in the end.
    pub tasks_left: u64,
    /// Dead letters.
    pub dead_letters: usize,
    /// Tasks that the coordinator missed and published again.
    pub repaired: usize,
    /// Whether tasks were taken away, so that it is to miss some.
    pub may_repair: bool,
    /// How often the clock of a worker was turned.
    pub clock_jumps: usize,
    /// Records that say a time that is far off.
    pub wrong_times: usize,
    /// When each file was taken by the broker.
    pub handed: BTreeMap<String, i64>,
    /// What it may have lost in power cuts.
    pub forgotten: Forgotten,
    /// For each file, when it was handed in and when it was settled.
    pub work: Vec<(i64, i64)>,
    /// When records were written.
    pub written_at: Vec<i64>,
    /// How long nothing may be written although there is work, in milliseconds.
    pub stall_limit_ms: u64,
}

/// What to think of it.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Executions beyond one for each plugin on each file.
    pub reexecutions: usize,
    /// How many the kills may have caused.
    pub bound: usize,
    /// Of those beyond one, how many were begun by who was away, or at its word.
    pub stale: usize,
    /// Executions that no kill explains.
    pub unexplained: usize,
    /// Plugins on files without a completed record.
    pub lost: usize,
    /// Such plugins on files, and files of which nobody said that they are settled, that the broker may have
    /// forgotten in a power cut.
    pub forgotten: usize,
    /// Records that replaced another one.
    pub duplicates: u64,
    /// Files of which nobody said that they are settled.
    pub unsettled: usize,
    /// The longest time in which nothing was written although there was work.
    pub stall_ms: u64,
    /// What became of the tasks of killed workers.
    pub recoveries: Vec<Recovery>,
    /// What is wrong, for people; empty = nothing.
    pub problems: Vec<String>,
}

type Pair<'a> = (&'a str, &'a str);
/// The executions of each plugin on each file, by their beginning.
type ByPair<'a> = BTreeMap<Pair<'a>, Vec<&'a Execution>>;

/// Judges what was seen.
#[must_use]
pub fn judge(seen: &Seen) -> Verdict {
    let mut by_pair = ByPair::new();
    for execution in &seen.executions {
        by_pair.entry((&execution.cid, &execution.plugin)).or_default().push(execution);
    }
    for executions in by_pair.values_mut() {
        executions.sort_by_key(|execution| execution.began);
    }
    let done: BTreeSet<Pair<'_>> = seen
        .records
        .iter()
        .filter(|(.., status)| *status == RecordStatus::Completed)
        .map(|(cid, plugin, _)| (cid.as_str(), plugin.as_str()))
        .collect();
    let is_wanted = |(cid, plugin): &Pair<'_>| {
        seen.files.contains(*cid) && GRAPH.iter().any(|(id, ..)| id == plugin)
    };
    let records = as_u64(seen.records.len());
    let Again { stale, unexplained } = again(&by_pair, seen);
    let forgotten = &seen.forgotten;
    let (mut lost, mut unsettled, mut forgiven) = (0, 0, 0);
    for cid in &seen.files {
        let is_unknown = forgotten.may_forget_file(&seen.handed, cid);
        let missing = GRAPH.iter().map(|(id, ..)| (cid.as_str(), *id));
        for pair in missing.filter(|pair| !done.contains(pair)) {
            let may = is_unknown || forgotten.may_forget_end(of_pair(&by_pair, pair));
            *(if may { &mut forgiven } else { &mut lost }) += 1;
        }
        if !seen.settled.contains_key(cid) {
            let all = GRAPH.iter().flat_map(|(id, ..)| of_pair(&by_pair, (cid.as_str(), *id)));
            let may = is_unknown || forgotten.may_forget_end(all);
            *(if may { &mut forgiven } else { &mut unsettled }) += 1;
        }
    }
    let verdict = Verdict {
        reexecutions: seen.executions.len() - by_pair.len(),
        bound: seen
            .kills
            .iter()
            .map(|kill| in_flight(&seen.executions, kill, forgotten.before(kill)).count())
            .sum::<usize>()
            + stale,
        stale,
        unexplained,
        lost,
        forgotten: forgiven,
        duplicates: seen.written.saturating_sub(records),
        unsettled,
        stall_ms: millis(longest(seen.work.clone(), seen.written_at.clone())),
        recoveries: recoveries(&by_pair, &seen.kills),
        problems: Vec::new(),
    };
    let strange = by_pair.keys().filter(|pair| !is_wanted(pair)).count()
        + seen.records.iter().filter(|(cid, plugin, _)| !is_wanted(&(cid, plugin))).count()
        + seen.settled.keys().filter(|cid| !seen.files.contains(*cid)).count();
    let late: Vec<u64> = verdict.recoveries.iter().map(|r| r.attended_ms).collect();
    let late = late.into_iter().filter(|ms| *ms > RECOVERED_WITHIN_MS).count();
    let stalled = Some(verdict.stall_ms).filter(|ms| *ms > seen.stall_limit_ms).unwrap_or(0);
    let unseen = if seen.wrong_times == 0 { seen.clock_jumps } else { 0 };
    let repaired = if seen.may_repair { 0 } else { seen.repaired };
    let counts = [
        (as_u64(verdict.lost), "plugins on files without a completed record"),
        (as_u64(verdict.unsettled), "files of which nobody heard that they are settled"),
        (as_u64(seen.told_twice), "outcomes that subscribers were told of again"),
        (verdict.duplicates, "records that replaced another one"),
        (seen.submissions_left, "submissions left over"),
        (seen.tasks_left, "tasks left over"),
        (as_u64(seen.dead_letters), "dead letters"),
        (as_u64(repaired), "tasks that were gone without a record"),
        (as_u64(strange), "executions, records or events of what nobody handed in"),
        (as_u64(early(&by_pair)), "executions before what they depend on had ended"),
        (as_u64(verdict.reexecutions.saturating_sub(verdict.bound)), "executions over the bound"),
        (as_u64(verdict.unexplained), "executions again that no kill explains"),
        (as_u64(late), "tasks of killed workers that began again too late"),
        (stalled, "ms without a record although there was work"),
        (as_u64(unseen), "turned clocks that no record shows: nobody went by them"),
    ];
    let problems = counts.into_iter().filter(|(count, _)| *count > 0);
    let problems = problems.map(|(count, what)| format!("{count} {what}")).collect();
    Verdict { problems, ..verdict }
}

fn of_pair<'a>(by_pair: &'a ByPair<'a>, pair: Pair<'a>) -> impl Iterator<Item = &'a Execution> {
    by_pair.get(&pair).into_iter().flatten().copied()
}

/// What a kill may cause to run again.
fn in_flight<'a>(
    executions: &'a [Execution],
    kill: &'a Kill,
    forgets: i64,
) -> impl Iterator<Item = &'a Execution> {
    executions.iter().filter(move |execution| was_in_flight(execution, kill, SETTLING + forgets))
}

fn was_in_flight(execution: &Execution, kill: &Kill, settling: i64) -> bool {
    let not_settled = execution.ended.is_none_or(|ended| ended + settling >= kill.at);
    not_settled
        && match &kill.victim {
            Victim::Worker(pid) => execution.pid == *pid,
            Victim::Coordinator | Victim::Deposed | Victim::Unreachable => false,
            Victim::Broker => execution.began <= kill.back,
            Victim::Absent(pids) => pids.contains(&execution.pid) && execution.began <= kill.back,
        }
}

/// Whether it was begun by who has just come back, or at its word.
fn is_stale(by_pair: &ByPair<'_>, execution: &Execution, kill: &Kill) -> bool {
    let woke = (kill.at..=kill.back.saturating_add(WAKING)).contains(&execution.began);
    woke && match &kill.victim {
        Victim::Worker(_) | Victim::Coordinator | Victim::Broker => false,
        Victim::Deposed => {
            execution.began >= kill.back && became_ready(by_pair, execution, kill.at)
        }
        Victim::Unreachable => true,
        Victim::Absent(pids) => pids.contains(&execution.pid),
    }
}

/// Whether all that an execution needs had ended by then, the last of it right before. For what needs nothing
/// nobody noted when it was ready.
fn became_ready(by_pair: &ByPair<'_>, execution: &Execution, at: i64) -> bool {
    let ends = needs(&execution.plugin).iter().map(|needed| {
        let first = first_end(by_pair, (&execution.cid, needed));
        // What never ended was not there by then.
        first.unwrap_or(i64::MAX)
    });
    ends.max().is_none_or(|last| (at - SETTLING_SLOWLY..=at).contains(&last))
}

/// Executions again of what was not in flight at any kill before.
#[derive(Default)]
struct Again {
    stale: usize,
    unexplained: usize,
}

fn again(by_pair: &ByPair<'_>, seen: &Seen) -> Again {
    let kills = &seen.kills;
    let mut found = Again::default();
    for executions in by_pair.values() {
        for (index, again) in executions.iter().enumerate().skip(1) {
            let before = executions.iter().take(index);
            let explained = before.into_iter().any(|earlier| {
                let caused = |kill: &Kill| {
                    let settling = SETTLING_SLOWLY + seen.forgotten.before(kill);
                    kill.at <= again.began && was_in_flight(earlier, kill, settling)
                };
                kills.iter().any(caused)
            });
            let is_stale = !explained && kills.iter().any(|kill| is_stale(by_pair, again, kill));
            found.stale += usize::from(is_stale);
            found.unexplained += usize::from(!explained && !is_stale);
        }
    }
    found
}

/// Executions that began when something they need had not ended.
fn early(by_pair: &ByPair<'_>) -> usize {
    let mut count = 0;
    for ((cid, plugin), executions) in by_pair {
        for needed in needs(plugin) {
            let first = first_end(by_pair, (cid, needed));
            let is_early = |e: &&&Execution| first.is_none_or(|first| first > e.began + SKEW);
            count += executions.iter().filter(is_early).count();
        }
    }
    count
}

/// What a plugin depends on.
fn needs(plugin: &str) -> &'static [&'static str] {
    GRAPH.iter().find(|(id, ..)| *id == plugin).map_or(&[][..], |found| found.2)
}

fn first_end(by_pair: &ByPair<'_>, pair: Pair<'_>) -> Option<i64> {
    by_pair.get(&pair).into_iter().flatten().filter_map(|execution| execution.ended).min()
}

fn as_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
