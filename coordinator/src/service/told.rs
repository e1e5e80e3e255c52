//! Which outcomes a new leader tells subscribers of, after what the leader before it told; pure.
//!
//! An outcome is told after its record is stored, many of them at the same time. So some may be
//! untold although a later one was told; these are told again, and the broker drops what it has
//! seen. It remembers for two minutes only, which is why age counts besides the number.

/// Records before the last one that was told of which some may not have been told.
const RESEND: u64 = 2_000;
/// The same as a time: who is to tell of a record has tried for less long than this before the last
/// one was told, in nanoseconds.
const RESEND_WITHIN: i64 = 60 * 1_000_000_000;

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
    pub(super) fn follow_from(self, last: u64) -> u64 {
        let until = match self {
            Self::Until { revision, .. } => revision.min(last),
            Self::Nothing { .. } => last,
        };
        until.saturating_sub(RESEND) + 1
    }

    /// Whether subscribers are to be told of a record.
    pub(super) fn is_due(self, revision: u64, stored_at: i64) -> bool {
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
}
