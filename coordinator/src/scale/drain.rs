//! PURE: when an instance that is one too many may be stopped.
//!
//! It is told to pause: it asks for no more tasks and finishes what it holds, for as long as that
//! takes. Requests that it has sent before may still be answered for some seconds, and such a task
//! is run as well. Only when it has been idle for longer than that is it stopped, so that nothing
//! is given back and nothing runs twice.

use std::time::Duration;

use broker_config::wire::instance::{Instance, InstanceState};

use super::Moment;

/// For so long requests of a worker for tasks may be open (5 s), and some more.
pub const SETTLED: Duration = Duration::from_secs(7);
/// One that gives no sign of life for so long holds nothing that stopping could disturb.
pub const SILENT: Duration = Duration::from_secs(20);

/// What an instance says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sign<'a> {
    /// When it said so; tells one sign from the next.
    pub at: &'a str,
    /// Whether it asks for no tasks.
    pub is_paused: bool,
    /// Whether it holds none.
    pub is_idle: bool,
}

impl<'a> Sign<'a> {
    /// What a sign of life says of it.
    #[must_use]
    pub fn of(sign: &'a Instance) -> Self {
        Self {
            at: &sign.at,
            is_paused: !matches!(sign.state, InstanceState::Ready | InstanceState::Starting),
            is_idle: sign.running.is_empty(),
        }
    }
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is to be told again; who does not hear it would go on.
    Pause,
    /// It is to be stopped: it holds nothing.
    Stop,
    /// It is to be stopped although it may hold something: it had its time.
    GiveUp,
}

/// An instance that drains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    since: Moment,
    /// Since when it has said at each look that it is paused.
    paused: Option<Moment>,
    /// When it last gave a sign, or began to drain.
    heard: Moment,
    last: String,
}

impl Drain {
    /// It begins.
    #[must_use]
    pub fn new(now: Moment) -> Self {
        Self { since: now, paused: None, heard: now, last: String::new() }
    }

    /// Takes in what it says; `limit` is how long it may take at all.
    pub fn look(&mut self, sign: Option<Sign<'_>>, limit: Duration, now: Moment) -> Step {
        let is_fresh = sign.is_some_and(|sign| sign.at != self.last);
        if let Some(sign) = sign.filter(|_| is_fresh) {
            self.heard = now;
            sign.at.clone_into(&mut self.last);
            self.paused = sign.is_paused.then_some(self.paused.unwrap_or(now));
        }
        // Only a sign that was given after the last request was over says that nothing came of it.
        let is_over = is_fresh
            && sign.is_some_and(|sign| sign.is_idle)
            && self.paused.is_some_and(|since| now.saturating_sub(since) >= SETTLED);
        let is_silent = now.saturating_sub(self.heard) >= SILENT;
        if is_over || is_silent {
            Step::Stop
        } else if now.saturating_sub(self.since) >= limit {
            Step::GiveUp
        } else {
            Step::Pause
        }
    }
}
