//! The right to write, for a time: who has it renews it, and who writes under it asks first.
//!
//! A leader that was paused does not know that time has passed until it looks at a clock. So it looks
//! right before each write: while its warrant holds, nobody else can have taken its place; once it has
//! run out, writes wait for the renewal; once it is ended, they fail.

use tokio::sync::watch;
use tokio::time::Instant;

use crate::planted::{Bug, planted};

/// Until when somebody may write; clones are the same warrant.
#[derive(Clone, Debug)]
pub struct Warrant(watch::Sender<State>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Held until then, unless it is extended.
    Until(Instant),
    /// Never held again.
    Ended,
}

impl State {
    fn holds(self) -> bool {
        match self {
            Self::Until(until) => Instant::now() < until,
            Self::Ended => false,
        }
    }
}

impl Warrant {
    /// A warrant that holds until then.
    #[must_use]
    pub fn until(until: Instant) -> Self {
        Self(watch::Sender::new(State::Until(until)))
    }

    /// Lets it hold until then; one that is ended stays so.
    pub fn extend(&self, until: Instant) {
        self.0.send_if_modified(|state| match state {
            State::Until(before) => {
                *before = until;
                true
            }
            State::Ended => false,
        });
    }

    /// Ends it: whoever waits for it fails now.
    pub fn end(&self) {
        self.0.send_replace(State::Ended);
    }

    /// Whether it holds at this moment.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.0.borrow().holds()
    }

    /// Waits until it holds; `false` = it never will again.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn held(&self) -> bool {
        // Nearly always; without the cost of a subscription.
        if self.holds() || planted(Bug::NoWarrant) {
            return true;
        }
        let mut states = self.0.subscribe();
        loop {
            let state = *states.borrow_and_update();
            if state.holds() {
                return true;
            }
            // Only a change can let it hold, and this very clone keeps the sender alive.
            if state == State::Ended || states.changed().await.is_err() {
                return false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{advance, timeout};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn whoever_writes_waits_for_a_renewal_and_fails_when_there_is_none_to_come() {
        let warrant = Warrant::until(Instant::now() + SECOND);
        assert!(warrant.held().await, "new");

        advance(SECOND).await;
        assert!(!warrant.holds(), "run out");
        assert!(timeout(SECOND, warrant.held()).await.is_err(), "nobody renews it");

        let (writer, renewed) = (warrant.clone(), Instant::now() + SECOND * 9);
        let waits = async { writer.held().await };
        let renews = async {
            advance(SECOND).await;
            warrant.extend(renewed);
        };
        assert!(tokio::join!(waits, renews).0, "renewed meanwhile");

        warrant.end();
        assert!(!warrant.held().await, "ended");
        warrant.extend(Instant::now() + SECOND);
        assert!(!warrant.held().await, "and it stays so");
    }
}
