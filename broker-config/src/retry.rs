//! What follows from a failed attempt.

use std::num::NonZeroU32;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::planted::{Bug, planted};

/// Delays longer than this wait in the broker's scheduler and hold no in-flight slot.
pub const LONGEST_NAK: Duration = Duration::from_secs(60);

/// How many deliveries of a task may end without an answer before that counts against it.
///
/// The broker counts what it sends, and not what a worker begins: a delivery that goes down with a server, or
/// with the connection that it was on, is one of them. With as many deliveries as attempts, a few losses of servers
/// one after the other make a dead letter of a task that has never failed.
pub const SPARE_DELIVERIES: u32 = 3;

/// How often and after which delays a task is tried; part of every task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetryPolicy {
    /// Attempts in all, the first included.
    pub max_attempts: NonZeroU32,
    /// Delays in milliseconds before the 2nd, 3rd, … attempt; the last one repeats.
    pub delays_ms: Vec<u64>,
}

impl Default for RetryPolicy {
    /// Three attempts, 1 s and 2 s apart.
    fn default() -> Self {
        RetryOptions::default().policy()
    }
}

/// Whether trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Another attempt may succeed.
    Retryable,
    /// It will fail the same way every time.
    Permanent,
}

/// What to do about a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try again after this long; the broker keeps the delivery.
    Retry(Duration),
    /// Try again after this long, which is too long to hold a delivery for.
    RetryScheduled(Duration),
    /// Report the failure; there is no further attempt.
    GiveUp,
}

impl RetryPolicy {
    /// How often the broker delivers a task each time that it is published: its attempts and [`SPARE_DELIVERIES`].
    ///
    /// Failures are counted by workers, against `max_attempts`; only deliveries without an answer come this far.
    #[must_use]
    pub const fn deliveries(&self) -> u32 {
        self.max_attempts.get().saturating_add(SPARE_DELIVERIES)
    }

    /// Decides for the failed attempt whose number is `attempt`, counted from 1.
    #[must_use]
    pub fn verdict(&self, failure: FailureKind, attempt: NonZeroU32) -> Verdict {
        match failure {
            FailureKind::Permanent => Verdict::GiveUp,
            FailureKind::Retryable if attempt >= self.max_attempts && !planted(Bug::NoCap) => {
                Verdict::GiveUp
            }
            FailureKind::Retryable => {
                let delay = self.delay(attempt);
                if delay > LONGEST_NAK {
                    Verdict::RetryScheduled(delay)
                } else {
                    Verdict::Retry(delay)
                }
            }
        }
    }

    /// How long to wait after failed attempt number `attempt`, counted from 1; never zero, because
    /// a task that comes back at once burns its attempts in milliseconds.
    #[must_use]
    pub fn delay(&self, attempt: NonZeroU32) -> Duration {
        let at = usize::try_from(attempt.get() - 1).unwrap_or(usize::MAX);
        let delay =
            self.delays_ms.get(at).or_else(|| self.delays_ms.last()).copied().unwrap_or(1_000);
        Duration::from_millis(delay.max(1))
    }
}

/// The policy as a manifest or `plugins.yml` writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct RetryOptions {
    /// Attempts in all, the first included.
    pub max_attempts: NonZeroU32,
    /// How delays grow when `delaysMs` does not list them.
    pub backoff: Backoff,
    /// The first delay in milliseconds.
    pub initial_delay: u64,
    /// The longest delay in milliseconds.
    pub max_delay: u64,
    /// The delays themselves, in milliseconds; overrides the three fields above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delays_ms: Option<Vec<u64>>,
}

/// How delays grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Backoff {
    /// Each delay is twice the one before.
    #[default]
    Exponential,
    /// All delays are the first one.
    Fixed,
}

impl Default for RetryOptions {
    fn default() -> Self {
        Self {
            max_attempts: NonZeroU32::MIN.saturating_add(2),
            backoff: Backoff::Exponential,
            initial_delay: 1_000,
            max_delay: 30_000,
            delays_ms: None,
        }
    }
}

impl RetryOptions {
    /// The delays written out, one for each attempt after the first, 32 at most.
    #[must_use]
    pub fn policy(&self) -> RetryPolicy {
        let delays_ms =
            self.delays_ms.clone().filter(|list| !list.is_empty()).unwrap_or_else(|| {
                (0..(self.max_attempts.get() - 1).clamp(1, 32))
                    .map(|step| {
                        let factor = match self.backoff {
                            Backoff::Exponential => 1_u64 << step,
                            Backoff::Fixed => 1,
                        };
                        self.initial_delay.saturating_mul(factor).min(self.max_delay)
                    })
                    .collect()
            });
        RetryPolicy { max_attempts: self.max_attempts, delays_ms }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(attempt: u32) -> NonZeroU32 {
        NonZeroU32::new(attempt).unwrap()
    }

    #[test]
    fn verdicts_follow_the_table() {
        use FailureKind::{Permanent, Retryable};
        let policy = RetryPolicy { max_attempts: at(4), delays_ms: vec![1_000, 3_000] };
        let wait = |s| Verdict::Retry(Duration::from_secs(s));
        for (failure, attempt, expected) in [
            (Permanent, 1, Verdict::GiveUp),
            (Retryable, 1, wait(1)),
            (Retryable, 2, wait(3)),
            (Retryable, 3, wait(3)),
            (Retryable, 4, Verdict::GiveUp),
            (Retryable, 9, Verdict::GiveUp),
        ] {
            assert_eq!(policy.verdict(failure, at(attempt)), expected, "{failure:?} {attempt}");
        }
    }

    #[test]
    fn long_delays_wait_in_the_scheduler() {
        let policy = RetryPolicy { max_attempts: at(9), delays_ms: vec![60_000, 60_001] };
        let verdict = |n| policy.verdict(FailureKind::Retryable, at(n));
        assert_eq!(verdict(1), Verdict::Retry(Duration::from_secs(60)));
        assert_eq!(verdict(2), Verdict::RetryScheduled(Duration::from_millis(60_001)));
    }

    #[test]
    fn the_seed_policy_is_the_default() {
        let options = RetryOptions { max_attempts: at(8), ..RetryOptions::default() };
        assert_eq!(
            options.policy().delays_ms,
            [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]
        );
        assert_eq!(RetryPolicy::default().max_attempts.get(), 3);
        assert_eq!(RetryPolicy::default().delays_ms, [1_000, 2_000]);
    }

    proptest! {
        /// Whatever an author writes: attempts end, delays are bounded and do not shrink.
        #[test]
        fn any_schedule_ends_and_is_bounded(
            attempts in 1_u32..=u32::MAX, exponential: bool, first: u64, longest: u64,
            listed in prop::option::of(prop::collection::vec(any::<u64>(), 0..6)), number in 1_u32..=u32::MAX,
        ) {
            let backoff = if exponential { Backoff::Exponential } else { Backoff::Fixed };
            let options = RetryOptions {
                max_attempts: at(attempts), backoff, initial_delay: first, max_delay: longest,
                delays_ms: listed.clone(),
            };
            let policy = options.policy();
            let number = at(number);
            let is_last = number.get() >= attempts;
            prop_assert_eq!(policy.verdict(FailureKind::Permanent, number), Verdict::GiveUp);
            match policy.verdict(FailureKind::Retryable, number) {
                Verdict::GiveUp => prop_assert!(is_last),
                Verdict::Retry(delay) => prop_assert!(!is_last && !delay.is_zero() && delay <= LONGEST_NAK),
                Verdict::RetryScheduled(delay) => prop_assert!(!is_last && delay > LONGEST_NAK),
            }
            match listed.filter(|list| !list.is_empty()) {
                Some(list) => prop_assert_eq!(policy.delays_ms, list),
                None => {
                    prop_assert!((1..=32).contains(&policy.delays_ms.len()));
                    prop_assert!(policy.delays_ms.is_sorted());
                    prop_assert!(policy.delays_ms.iter().all(|delay| *delay <= longest));
                    prop_assert_eq!(policy.delays_ms[0], first.min(longest));
                }
            }
        }

        /// A task says the same of its attempts to every worker that reads it.
        #[test]
        fn a_schedule_survives_the_wire(attempts in 1_u32..=u32::MAX, delays_ms: Vec<u64>) {
            let policy = RetryPolicy { max_attempts: at(attempts), delays_ms };
            let json = serde_json::to_string(&policy).unwrap();
            prop_assert_eq!(serde_json::from_str::<RetryPolicy>(&json).unwrap(), policy);
        }
    }

    #[test]
    fn no_delay_is_ever_zero() {
        let policy = RetryPolicy { max_attempts: at(3), delays_ms: vec![0] };
        assert!(policy.delay(at(1)) > Duration::ZERO);
    }
}
