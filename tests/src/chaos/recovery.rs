//! How long the tasks of killed workers waited until another worker began them; pure.

use std::collections::BTreeMap;

use super::check::{Kill, Victim};
use super::ledger::Execution;

/// A time, from and until.
type Span = (i64, i64);

/// One task that a killed worker was in the middle of, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// From the kill until it began again.
    pub ms: u64,
    /// The longest stretch of it in which the broker and some worker of the plugin were there: a broker
    /// that comes back counts the lease of what it had delivered anew.
    pub attended_ms: u64,
}

/// All of them, for executions by file and plugin, oldest first.
#[must_use]
pub fn recoveries(
    by_pair: &BTreeMap<(&str, &str), Vec<&Execution>>,
    kills: &[Kill],
) -> Vec<Recovery> {
    let killed: BTreeMap<u32, &Kill> = kills
        .iter()
        .filter_map(|kill| match kill.victim {
            Victim::Worker(pid) => Some((pid, kill)),
            Victim::Coordinator
            | Victim::Broker
            | Victim::Absent(_)
            | Victim::Deposed
            | Victim::Unreachable => None,
        })
        .collect();
    let broker = kills.iter().filter(|kill| kill.victim == Victim::Broker);
    let broker: Vec<Span> = broker.map(|kill| (kill.at, kill.back)).collect();
    let mut absent: BTreeMap<u32, Vec<Span>> = BTreeMap::new();
    for kill in kills {
        if let Victim::Absent(pids) = &kill.victim {
            for pid in pids {
                absent.entry(*pid).or_default().push((kill.at, kill.back));
            }
        }
    }
    let served = served(by_pair, &killed, absent);
    let mut found = Vec::new();
    for ((_, plugin), executions) in by_pair {
        for cut_short in executions.iter().filter(|execution| execution.ended.is_none()) {
            let Some(kill) = killed.get(&cut_short.pid) else { continue };
            // Without one the task is lost, or somebody else had done it: the records say which.
            let Some(again) = executions.iter().find(|other| other.began > kill.at) else {
                continue;
            };
            let waited = (kill.at, again.began);
            let served = served.get(plugin).map_or(&[][..], Vec::as_slice);
            let mut absences = between(waited, served);
            absences.extend(&broker);
            found.push(Recovery {
                ms: millis(again.began - kill.at),
                attended_ms: millis(longest_stretch(waited, absences)),
            });
        }
    }
    found
}

/// When workers of each plugin served, in order: from the first execution of each to its kill, but
/// not while it was absent.
fn served<'a>(
    by_pair: &BTreeMap<(&'a str, &'a str), Vec<&Execution>>,
    killed: &BTreeMap<u32, &Kill>,
    mut absent: BTreeMap<u32, Vec<Span>>,
) -> BTreeMap<&'a str, Vec<Span>> {
    let mut first: BTreeMap<(&str, u32), i64> = BTreeMap::new();
    for ((_, plugin), executions) in by_pair {
        for execution in executions {
            let began = first.entry((plugin, execution.pid)).or_insert(execution.began);
            *began = execution.began.min(*began);
        }
    }
    let mut served: BTreeMap<&str, Vec<Span>> = BTreeMap::new();
    for ((plugin, pid), began) in first {
        let until = killed.get(&pid).map_or(i64::MAX, |kill| kill.at);
        let mut absences = absent.remove(&pid).unwrap_or_default();
        absences.sort_unstable();
        served.entry(plugin).or_default().extend(between((began, until), &absences));
    }
    for spans in served.values_mut() {
        spans.sort_unstable();
    }
    served
}

/// The times within one that none of some spans covers.
fn between((from, until): Span, spans: &[Span]) -> Vec<Span> {
    let (mut found, mut at) = (Vec::new(), from);
    for &(begin, end) in spans.iter().filter(|span| span.0 < until) {
        if begin > at {
            found.push((at, begin));
        }
        at = at.max(end);
    }
    if at < until {
        found.push((at, until));
    }
    found
}

/// The longest time within one that none of the absences touches.
fn longest_stretch((from, until): Span, mut absences: Vec<Span>) -> i64 {
    absences.retain(|(gone, back)| *back > from && *gone < until);
    absences.sort_unstable();
    let (mut longest, mut since) = (0, from);
    for (gone, back) in absences {
        longest = longest.max(gone - since);
        since = since.max(back);
    }
    longest.max(until - since)
}

/// Milliseconds, of microseconds.
pub(super) fn millis(micros: i64) -> u64 {
    u64::try_from(micros / 1_000).unwrap_or(0)
}
