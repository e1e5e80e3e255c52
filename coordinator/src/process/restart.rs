//! PURE: when a process that has died is started again.

use std::time::Duration;

/// How soon a process is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// The pause after the first failure; it doubles with each further one.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
    /// A process that has lived this long has nothing to do with the failures before it.
    pub healthy_after: Duration,
    /// Failures in a row that make a crash loop.
    pub crash_loop: u32,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(250),
            longest: Duration::from_secs(60),
            healthy_after: Duration::from_secs(60),
            crash_loop: 5,
        }
    }
}

impl RestartPolicy {
    /// How many failures in a row there are when one more process has ended that lived `lived`.
    #[must_use]
    pub fn failures(&self, before: u32, lived: Duration) -> u32 {
        if lived >= self.healthy_after { 1 } else { before.saturating_add(1) }
    }

    /// The pause after that many failures in a row.
    #[must_use]
    pub fn delay(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        self.first.saturating_mul(1 << doublings).min(self.longest)
    }

    /// Whether that many failures in a row are a crash loop.
    #[must_use]
    pub fn is_crash_loop(&self, failures: u32) -> bool {
        failures >= self.crash_loop
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_begin_anew_after_health() {
        let policy = RestartPolicy::default();
        for (failures, ms) in
            [(0, 250), (1, 250), (2, 500), (3, 1_000), (8, 32_000), (9, 60_000), (u32::MAX, 60_000)]
        {
            assert_eq!(policy.delay(failures), Duration::from_millis(ms), "{failures}");
        }
        assert_eq!(policy.failures(7, Duration::from_secs(59)), 8);
        assert_eq!(policy.failures(7, Duration::from_secs(60)), 1);
        assert_eq!(policy.failures(u32::MAX, Duration::ZERO), u32::MAX);
        assert!(!policy.is_crash_loop(4) && policy.is_crash_loop(5));
    }
}
