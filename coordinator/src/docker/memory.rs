//! PURE: what is remembered of an instance from one look at the engine to the next.

use std::time::Duration;

use jiff::Timestamp;

use super::found::{Found, State};
use crate::process::LastExit;
use crate::process::restart::RestartPolicy;

/// Looks at the signs of life, one every [`HEALTH_EVERY`], without one of a container that runs,
/// after which it is started again.
pub const HEALTH_FAILURES: u32 = 3;
/// How often the signs of life are looked at.
pub const HEALTH_EVERY: Duration = Duration::from_secs(30);

/// When a container that has ended is started again.
pub const RESTART: RestartPolicy = RestartPolicy {
    first: Duration::from_millis(500),
    longest: Duration::from_secs(60),
    healthy_after: Duration::from_secs(60),
    crash_loop: 5,
};

/// Time since the runtime began: it never goes back.
pub type Moment = Duration;

/// What has happened to an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Failures in a row.
    pub failures: u32,
    /// Nothing is started before.
    pub not_before: Option<Moment>,
    /// Times it was started again.
    pub restarts: u32,
    /// How it ended last.
    pub last_exit: Option<LastExit>,
    /// What the engine refused last; gone when it runs.
    pub problem: Option<String>,
    /// The container could not be started, so it has to be made anew.
    pub cannot_start: bool,
    /// When the last step was refused; gone when one succeeds.
    pub refused_at: Option<Moment>,
    /// Looks without a sign of life.
    pub silent: u32,
    /// The end that is counted already: container and time.
    pub(super) counted: Option<(String, Option<Timestamp>)>,
}

impl Memory {
    /// Takes in what a look has found; returns the reason of an end that is new.
    pub fn look(&mut self, found: &Found, now: Moment) -> Option<String> {
        match &found.state {
            State::Running => {
                self.problem = None;
                self.cannot_start = false;
                None
            }
            State::Exited(exit) => {
                let end = (found.id.clone(), exit.finished);
                if self.counted.as_ref() == Some(&end) {
                    return None;
                }
                self.counted = Some(end);
                let reason = exit.reason();
                self.failures = RESTART.failures(self.failures, found.lived());
                self.wait(now);
                self.last_exit = Some(LastExit {
                    at: exit.finished.unwrap_or(Timestamp::UNIX_EPOCH),
                    code: i32::try_from(exit.code).ok().filter(|_| exit.signal().is_none()),
                    signal: exit.signal(),
                    reason: reason.clone(),
                    lines: Vec::new(),
                });
                Some(reason)
            }
            State::Created | State::Paused | State::Changing | State::Dead => None,
        }
    }

    /// Takes in that something could not be done.
    pub fn refused(&mut self, problem: String, was_start: bool, now: Moment) {
        self.failures = self.failures.saturating_add(1);
        self.problem = Some(problem);
        self.refused_at = Some(now);
        self.cannot_start |= was_start;
        self.wait(now);
    }

    /// Takes in that it was started.
    pub fn started(&mut self, is_again: bool) {
        self.silent = 0;
        if is_again {
            self.restarts = self.restarts.saturating_add(1);
        }
    }

    /// Takes in a look at the signs of life.
    pub fn sign(&mut self, is_alive: bool) {
        self.silent = if is_alive { 0 } else { self.silent.saturating_add(1) };
    }

    /// Takes in that somebody who knows has seen that it does not serve.
    pub const fn give_up(&mut self) {
        self.silent = HEALTH_FAILURES;
    }

    /// Whether it has been silent for too long.
    #[must_use]
    pub fn is_unhealthy(&self) -> bool {
        self.silent >= HEALTH_FAILURES
    }

    /// Whether it ends soon after each start.
    #[must_use]
    pub fn is_crash_loop(&self) -> bool {
        RESTART.is_crash_loop(self.failures)
    }

    /// Whether a step may be tried after one that was refused; nothing waits for more than `longest`.
    #[must_use]
    pub fn may_act(&self, now: Moment, longest: Duration) -> bool {
        let pause = RESTART.delay(self.failures).min(longest);
        self.refused_at.is_none_or(|at| at + pause <= now)
    }

    /// Whether something may be started.
    #[must_use]
    pub fn is_due(&self, now: Moment) -> bool {
        self.not_before.is_none_or(|at| at <= now)
    }

    fn wait(&mut self, now: Moment) {
        self.not_before = Some(now + RESTART.delay(self.failures));
    }
}

#[cfg(test)]
mod tests {
    use super::super::found::Exit;
    use super::super::reconcile::tests::found;
    use super::*;

    fn exited(id: &str, started: i64, finished: i64) -> Found {
        let at = |second| Timestamp::from_second(second).ok();
        let exit = Exit { code: 3, finished: at(finished), ..Exit::default() };
        Found { started: at(started), state: State::Exited(exit), ..found("a", id) }
    }

    #[test]
    fn each_end_counts_once_and_pauses_grow_until_one_lives_long() {
        let now = Duration::from_secs(1000);
        let mut memory = Memory::default();
        for (n, pause_ms) in (0..).zip([500, 1000, 2000, 4000, 8000]) {
            assert_eq!(
                memory.look(&exited("x", n, n), now).as_deref(),
                Some("ended with exit code 3")
            );
            assert_eq!(memory.look(&exited("x", n, n), now), None, "it counts once");
            let pause = Duration::from_millis(pause_ms);
            assert!(!memory.is_due(now + pause / 2) && memory.is_due(now + pause), "{n}");
        }
        assert!(memory.is_crash_loop());
        memory.look(&exited("x", 100, 200), now);
        assert_eq!((memory.failures, memory.is_crash_loop()), (1, false));
    }

    #[test]
    fn a_step_that_was_refused_is_not_tried_again_at_once() {
        let (now, second) = (Duration::from_secs(1000), Duration::from_secs(1));
        let mut memory = Memory::default();
        assert!(memory.may_act(now, second));
        for _ in 0..5 {
            memory.refused("no".to_owned(), false, now);
        }
        assert!(!memory.may_act(now + second, Duration::MAX));
        assert!(memory.may_act(now + second, second), "who stops does not wait for long");
        assert!(memory.may_act(now + 8 * second, Duration::MAX));
    }

    #[test]
    fn three_looks_without_a_sign_of_life_are_unhealthy() {
        let mut memory = Memory::default();
        for (alive, unhealthy) in [
            (false, false),
            (false, false),
            (true, false),
            (false, false),
            (false, false),
            (false, true),
        ] {
            memory.sign(alive);
            assert_eq!(memory.is_unhealthy(), unhealthy);
        }
        memory.started(true);
        assert_eq!((memory.is_unhealthy(), memory.restarts), (false, 1));
        memory.give_up();
        assert!(memory.is_unhealthy());
    }
}
