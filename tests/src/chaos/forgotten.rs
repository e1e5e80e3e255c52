//! What a broker that does not write before it acknowledges may have lost with its power.
//!
//! That is what it was given in the last moments before the cut: submissions, records, events. A file
//! that was handed in then may be unknown; a record that was written then may be gone, and its file
//! closed; subscribers may not have heard of what was settled then. Nothing else may be missing.

use std::collections::BTreeMap;

use super::check::{Kill, SETTLING_SLOWLY};
use super::ledger::Execution;

/// The cuts of an experiment; times in microseconds.
#[derive(Clone, Debug, Default)]
pub struct Forgotten {
    /// How long before a cut what was acknowledged may be lost.
    pub forgets: i64,
    /// From when until when the power was away.
    pub cuts: Vec<(i64, i64)>,
}

impl Forgotten {
    /// How long before this kill what was acknowledged may be lost: nothing is, but in a power cut.
    #[must_use]
    pub fn before(&self, kill: &Kill) -> i64 {
        let is_cut = self.cuts.iter().any(|(at, _)| *at == kill.at);
        if is_cut { self.forgets } else { 0 }
    }

    /// Whether what was acknowledged at this time, or `late` after it, may be lost.
    fn covers(&self, at: i64, late: i64) -> bool {
        let covers = |(cut, back): &(i64, i64)| {
            (cut.saturating_sub(self.forgets + late)..=*back).contains(&at)
        };
        self.forgets > 0 && self.cuts.iter().any(covers)
    }

    /// Whether a file may be unknown that was handed in then.
    #[must_use]
    pub fn may_forget_file(&self, handed: &BTreeMap<String, i64>, cid: &str) -> bool {
        handed.get(cid).is_some_and(|at| self.covers(*at, 0))
    }

    /// Whether what follows from the end of one of these executions may be lost: its record, and that
    /// its file is settled.
    #[must_use]
    pub fn may_forget_end<'a>(&self, mut of: impl Iterator<Item = &'a Execution>) -> bool {
        of.any(|execution| execution.ended.is_some_and(|ended| self.covers(ended, SETTLING_SLOWLY)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::check::Victim;

    const SECOND: i64 = 1_000_000;

    fn cut(forgets: i64) -> Forgotten {
        Forgotten { forgets: forgets * SECOND, cuts: vec![(10 * SECOND, 12 * SECOND)] }
    }

    #[test]
    fn only_what_came_right_before_a_cut_may_be_forgotten() {
        for (case, forgets, at, file, end) in [
            ("long before", 1, 7, false, false),
            ("a record may be written a little after the end of the work", 1, 8, false, true),
            ("right before", 1, 9, true, true),
            ("while it was away", 1, 12, true, true),
            ("after it", 1, 13, false, false),
            ("it writes first", 0, 10, false, false),
        ] {
            let handed = BTreeMap::from([("a".to_owned(), at * SECOND)]);
            assert_eq!(cut(forgets).may_forget_file(&handed, "a"), file, "{case}");
            let execution = Execution {
                cid: "a".into(),
                plugin: "p".into(),
                task: "t".into(),
                attempt: 1,
                pid: 1,
                began: 0,
                ended: Some(at * SECOND),
            };
            assert_eq!(cut(forgets).may_forget_end([&execution].into_iter()), end, "{case}");
        }
        assert!(!cut(1).may_forget_file(&BTreeMap::new(), "a"), "it was never handed in");
    }

    #[test]
    fn a_kill_takes_nothing_that_was_acknowledged() {
        let kill = |at| Kill { victim: Victim::Broker, at: at * SECOND, back: 12 * SECOND };
        assert_eq!(cut(1).before(&kill(10)), SECOND);
        assert_eq!(cut(1).before(&kill(5)), 0);
    }
}
