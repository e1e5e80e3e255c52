//! How long the tasks of killed workers waited until another worker began them; pure.

use std::collections::BTreeMap;

use super::check::{Kill, Victim};
use super::ledger::Execution;

/// One task that a killed worker was in the middle of, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// From the kill until it began again.
    pub ms: u64,
    /// The same without the time that the broker was away.
    pub without_broker_ms: u64,
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
            Victim::Coordinator | Victim::Broker => None,
        })
        .collect();
    let mut found = Vec::new();
    for executions in by_pair.values() {
        for cut_short in executions.iter().filter(|execution| execution.ended.is_none()) {
            let Some(kill) = killed.get(&cut_short.pid) else { continue };
            // Without one the task is lost, or somebody else had done it: the records say which.
            let Some(again) = executions.iter().find(|other| other.began > kill.at) else {
                continue;
            };
            let away = kills.iter().filter(|kill| kill.victim == Victim::Broker);
            let away: i64 =
                away.map(|gone| (gone.back.min(again.began) - gone.at.max(kill.at)).max(0)).sum();
            let took = again.began - kill.at;
            found.push(Recovery { ms: millis(took), without_broker_ms: millis(took - away) });
        }
    }
    found
}

fn millis(micros: i64) -> u64 {
    u64::try_from(micros / 1_000).unwrap_or(0)
}
