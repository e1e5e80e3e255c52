//! PURE: whether the new version of a plugin fails more than the old one.
//!
//! Worse means: even by a careful estimate, its share of failed tasks is more than five points above
//! that of the old version. Careful is the lower end of the Wilson interval at 95 % (one side), so that
//! one failure among few tasks condemns nobody, and a version that fails most of them is found out
//! after ten.

use super::state::Tally;

/// Tasks of the new version without which nothing is said of it.
const LEAST: u32 = 10;
/// How much more than the old version it may fail, as a share of its tasks.
const MARGIN: f64 = 0.05;
/// One side of 95 %.
const Z: f64 = 1.645;

/// What is to be said of the new version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing yet.
    TooFew,
    /// It fails as often as the old one, or hardly more often.
    AsGood,
    /// It fails more often.
    Worse,
}

/// Compares the failures of two versions; only those count that were given up on, not attempts.
#[must_use]
pub fn judge(old: Tally, new: Tally) -> Verdict {
    if new.done < LEAST {
        return Verdict::TooFew;
    }
    if at_least(new) > rate(old) + MARGIN { Verdict::Worse } else { Verdict::AsGood }
}

/// The share that has failed.
#[must_use]
pub fn rate(tally: Tally) -> f64 {
    if tally.done == 0 { 0.0 } else { f64::from(tally.failed) / f64::from(tally.done) }
}

/// The lower end of the Wilson interval.
fn at_least(tally: Tally) -> f64 {
    let (n, share) = (f64::from(tally.done), rate(tally));
    let middle = share + Z * Z / (2.0 * n);
    let width = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    (middle - width) / (1.0 + Z * Z / n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_surely_fails_more_is_worse() {
        use Verdict::{AsGood, TooFew, Worse};
        let tally = |done, failed| Tally { done, failed };
        for (case, old, new, expected) in [
            ("nothing yet", tally(0, 0), tally(0, 0), TooFew),
            ("all fail, but few", tally(100, 0), tally(9, 9), TooFew),
            ("all fail", tally(100, 0), tally(10, 10), Worse),
            ("one of ten", tally(100, 0), tally(10, 1), AsGood),
            ("two of ten", tally(100, 0), tally(10, 2), Worse),
            ("none", tally(100, 0), tally(1_000, 0), AsGood),
            ("both fail", tally(100, 50), tally(100, 50), AsGood),
            ("a little more", tally(100, 10), tally(100, 14), AsGood),
            ("much more", tally(100, 10), tally(100, 30), Worse),
            ("better", tally(100, 50), tally(100, 10), AsGood),
            ("the old one had nothing to do", tally(0, 0), tally(20, 6), Worse),
            ("six in a hundred", tally(1_000, 0), tally(100, 6), AsGood),
            ("six in a hundred, surely", tally(1_000, 0), tally(10_000, 600), Worse),
        ] {
            assert_eq!(judge(old, new), expected, "{case}");
        }
    }
}
