//! Which outcomes a new leader tells subscribers of, after what the leader before it told; pure.
//!
//! An outcome is told after its record is stored, many of them at the same time. So some may be
//! untold although a later one was told; these are told again, and the broker drops what it has
//! seen. It remembers for two minutes only, which is why age counts besides the number.
//!
//! Outcomes that came while a leader was not to tell of them are not told by the next one either:
//! there may be millions. So such a leader leaves a mark.

use serde::{Deserialize, Serialize};

/// Records before the last one that was told of which some may not have been told.
const RESEND: u64 = 2_000;
/// The same as a time: who is to tell of a record has tried for less long than this before the last
/// one was told, in nanoseconds.
const RESEND_WITHIN: i64 = 60 * 1_000_000_000;

/// Which outcomes nobody was to tell of; kept for the next leader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Mark {
    /// None of those that come now.
    pub(super) silent: bool,
    /// None up to this revision.
    pub(super) until: u64,
}

impl Mark {
    /// The mark of a leader that finds this one, and records up to revision `last`.
    pub(super) fn next(self, tells: bool, last: u64) -> Self {
        match (self.silent, tells) {
            (true, true) => Self { silent: false, until: last },
            // The records were made anew.
            (false, true) if self.until > last => Self::default(),
            (false, true) => self,
            (_, false) => Self { silent: true, ..self },
        }
    }
}

/// What a leader tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Telling {
    pub(super) told: Told,
    pub(super) mark: Mark,
}

impl Telling {
    /// The revision from which the records are to be followed, if the last one is `last`.
    pub(super) fn follow_from(self, last: u64) -> u64 {
        self.told.follow_from(last).max(self.mark.until.min(last) + 1)
    }

    /// Whether subscribers are to be told of a record.
    pub(super) fn is_due(self, revision: u64, stored_at: i64) -> bool {
        revision > self.mark.until && self.told.is_due(revision, stored_at)
    }
}

/// What subscribers have been told. Times are in nanoseconds of Unix time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// All up to about the record with this revision, told at this time.
    Until { revision: u64, at: i64 },
    /// There is no such event: none was ever sent, or all are older than events are kept.
    Nothing { kept_since: i64 },
}

impl Told {
    /// The revision from which the records are to be followed, if the last one is `last`.
    fn follow_from(self, last: u64) -> u64 {
        let until = match self {
            Self::Until { revision, .. } => revision.min(last),
            Self::Nothing { .. } => last,
        };
        until.saturating_sub(RESEND) + 1
    }

    /// Whether subscribers are to be told of a record.
    fn is_due(self, revision: u64, stored_at: i64) -> bool {
        match self {
            Self::Until { revision: until, at } => {
                revision > until || stored_at >= at.saturating_sub(RESEND_WITHIN)
            }
            Self::Nothing { kept_since } => stored_at >= kept_since,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn what_is_new_is_told_and_what_is_old_is_not_told_again() {
        let until = Told::Until { revision: 5_000, at: 1_000 * SECOND };
        let nothing = Told::Nothing { kept_since: 500 * SECOND };
        for (case, told, revision, second, due) in [
            ("after the last one", until, 5_001, 0, true),
            ("while the last one was told", until, 4_999, 990, true),
            ("long before", until, 4_999, 900, false),
            ("no leader has told any", nothing, 1, 500, true),
            ("all events are too old to be kept", nothing, 1, 499, false),
        ] {
            assert_eq!(told.is_due(revision, second * SECOND), due, "{case}");
        }
    }

    #[test]
    fn the_records_are_not_read_from_the_beginning() {
        let until = |revision| Told::Until { revision, at: 0 };
        let nothing = Told::Nothing { kept_since: 0 };
        for (case, told, last, from) in [
            ("a gap", until(5_000), 9_000, 3_001),
            ("few records", until(10), 12, 1),
            ("the records were made anew", until(5_000), 7, 1),
            ("no record", nothing, 0, 1),
            ("no event", nothing, 1_000_000, 998_001),
        ] {
            assert_eq!(told.follow_from(last), from, "{case}");
        }
    }

    #[test]
    fn what_came_while_nobody_was_to_tell_is_not_told_later() {
        let mark = |silent, until| Mark { silent, until };
        for (case, found, tells, last, next) in [
            ("never switched off", mark(false, 0), true, 9, mark(false, 0)),
            ("switched off", mark(false, 3), false, 9, mark(true, 3)),
            ("still off", mark(true, 3), false, 9, mark(true, 3)),
            ("switched on again", mark(true, 3), true, 9, mark(false, 9)),
            ("the next one after that", mark(false, 9), true, 20, mark(false, 9)),
            ("the records were made anew", mark(false, 9), true, 2, mark(false, 0)),
        ] {
            assert_eq!(found.next(tells, last), next, "{case}");
        }

        let told = Told::Until { revision: 5_000, at: 0 };
        let telling = Telling { told, mark: mark(false, 2_000_000) };
        assert_eq!(telling.follow_from(2_000_007), 2_000_001);
        assert!(!telling.is_due(2_000_000, SECOND) && telling.is_due(2_000_001, SECOND));
        let nothing = Telling { told: Told::Nothing { kept_since: 0 }, ..telling };
        assert!(!nothing.is_due(2_000_000, SECOND) && nothing.is_due(2_000_001, SECOND));
    }
}
