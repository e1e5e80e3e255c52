//! PURE: when an instance of an HTTP plugin may get tasks, and when it is given up.
//!
//! | state | next check | ready | not ready | no answer, or `unhealthy` |
//! |---|---|---|---|---|
//! | starting | 1 s | serving | after 30 s lost | after 30 s lost |
//! | serving | 30 s | serving | held | the third in a row: lost |
//! | held | 1 s, 5 s after no answer | serving | held | the third in a row: lost |
//! | lost | 5 s | serving | lost | lost |
//!
//! An instance is configured each time it begins to serve. Lost means that its tasks go elsewhere
//! and that whoever runs it is asked to start it anew.

use std::time::Duration;

/// How often an instance that starts is asked.
pub const STARTING_CHECK: Duration = Duration::from_secs(1);
/// How long it may take to start.
pub const START_LIMIT: Duration = Duration::from_secs(30);
/// How often an instance that serves is asked.
pub const CHECK: Duration = Duration::from_secs(30);
/// How soon one that gave no answer to a task is asked again.
const SUSPECT_CHECK: Duration = Duration::from_secs(5);
/// How often one that is lost is asked.
const LOST_CHECK: Duration = Duration::from_secs(5);
/// Failed checks in a row that make an instance lost.
const FAILURES: u32 = 3;

/// What a check showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It takes tasks.
    Ready,
    /// It is well, and takes no tasks.
    NotReady,
    /// It is not well, or does not answer.
    Unhealthy(String),
}

/// What follows from a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// When to check again.
    pub wait: Duration,
    /// Whether it may get tasks.
    pub serves: bool,
    /// It was lost just now, for this reason.
    pub lost: Option<String>,
}

/// What is known of one instance.
#[derive(Clone, Debug)]
pub struct Watch {
    state: State,
    failures: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Starting,
    Serving,
    Held,
    Lost,
}

impl Default for Watch {
    fn default() -> Self {
        Self { state: State::Starting, failures: 0 }
    }
}

impl Watch {
    /// Takes what a check showed that was made `age` after the instance was started.
    pub fn on(&mut self, seen: Seen, age: Duration) -> Step {
        let why = match seen {
            Seen::Ready => {
                (self.state, self.failures) = (State::Serving, 0);
                return Step { wait: CHECK, serves: true, lost: None };
            }
            Seen::NotReady => None,
            Seen::Unhealthy(why) => Some(why),
        };
        match self.state {
            State::Starting if age >= START_LIMIT => {
                let why = why.unwrap_or_else(|| "it says that it is not ready".to_owned());
                let seconds = START_LIMIT.as_secs();
                self.lost(format!("not ready within {seconds} s: {why}"))
            }
            State::Starting => Step { wait: STARTING_CHECK, serves: false, lost: None },
            State::Lost => Step { wait: LOST_CHECK, serves: false, lost: None },
            State::Serving | State::Held => match why {
                None => {
                    (self.state, self.failures) = (State::Held, 0);
                    Step { wait: STARTING_CHECK, serves: false, lost: None }
                }
                Some(why) => {
                    self.failures += 1;
                    if self.failures >= FAILURES {
                        return self.lost(format!("{FAILURES} checks failed, the last: {why}"));
                    }
                    let serves = self.state == State::Serving;
                    Step { wait: if serves { CHECK } else { SUSPECT_CHECK }, serves, lost: None }
                }
            },
        }
    }

    /// It gave no answer to a task: it may have died, so it gets none until it was checked.
    pub fn suspect(&mut self) {
        if self.state == State::Serving {
            self.state = State::Held;
        }
    }

    fn lost(&mut self, why: String) -> Step {
        (self.state, self.failures) = (State::Lost, 0);
        Step { wait: LOST_CHECK, serves: false, lost: Some(why) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sick() -> Seen {
        Seen::Unhealthy("HTTP 500".to_owned())
    }

    /// Seconds to the next check, whether it serves, whether it was lost just now.
    fn walk(watch: &mut Watch, age: u64, seen: Seen) -> (u64, bool, bool) {
        let step = watch.on(seen, Duration::from_secs(age));
        (step.wait.as_secs(), step.serves, step.lost.is_some())
    }

    #[test]
    fn a_start_is_awaited_for_thirty_seconds() {
        let mut watch = Watch::default();
        for (age, seen, expected) in [
            (0, sick(), (1, false, false)),
            (29, Seen::NotReady, (1, false, false)),
            (30, Seen::NotReady, (5, false, true)),
            (35, sick(), (5, false, false)),
            (40, Seen::Ready, (30, true, false)),
        ] {
            assert_eq!(walk(&mut watch, age, seen.clone()), expected, "{seen:?} at {age}");
        }
    }

    #[test]
    fn three_failed_checks_in_a_row_lose_an_instance_and_one_good_one_begins_anew() {
        let mut watch = Watch::default();
        for (n, (seen, expected)) in [
            (Seen::Ready, (30, true, false)),
            (sick(), (30, true, false)),
            (sick(), (30, true, false)),
            (Seen::Ready, (30, true, false)),
            (sick(), (30, true, false)),
            (sick(), (30, true, false)),
            (sick(), (5, false, true)),
            (sick(), (5, false, false)),
            (Seen::Ready, (30, true, false)),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(walk(&mut watch, 60, seen), expected, "check {n}");
        }
    }

    #[test]
    fn what_is_not_ready_or_suspect_gets_nothing_until_it_is_ready_again() {
        let mut watch = Watch::default();
        assert_eq!(walk(&mut watch, 1, Seen::Ready), (30, true, false));
        assert_eq!(walk(&mut watch, 31, Seen::NotReady), (1, false, false));
        assert_eq!(walk(&mut watch, 900, Seen::NotReady), (1, false, false), "however long");
        assert_eq!(walk(&mut watch, 901, Seen::Ready), (30, true, false));
        watch.suspect();
        assert_eq!(walk(&mut watch, 902, sick()), (5, false, false));
        assert_eq!(walk(&mut watch, 907, sick()), (5, false, false));
        let step = watch.on(sick(), Duration::from_secs(912));
        assert_eq!(step.lost.as_deref(), Some("3 checks failed, the last: HTTP 500"));
    }
}
