//! The leases of all deliveries that this instance holds, renewed by one task.
//!
//! The broker lends a delivery for the length of the lease; unless it is renewed, the task goes to
//! another worker. Renewal runs beside the handlers, on the thread that talks to the broker, so a
//! handler that blocks its thread does not lose its task. It ends when the task has had its time
//! ([`Held::hold_until`]): a handler that hangs for ever must lose the task.
//!
//! The broker may deliver a task again that still runs here, after a restart or a reconnect. The
//! running attempt then takes over the new delivery ([`Leases::adopt`]) and ends that one; it is
//! not run a second time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::Subject;
use broker_config::wire::instance::Running;
use broker_config::{Cid, TaskId};
use bytes::Bytes;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::connect::Link;

/// Most tasks that a sign of life lists.
const LISTED: usize = 16;
/// Lease until the coordinator has said how long it is.
const FIRST_GUESS: Duration = Duration::from_secs(3);

/// One delivery that is held.
#[derive(Debug)]
pub(crate) struct Held {
    subject: Subject,
    since: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    reply: Subject,
    delivered: u32,
    renewed: Instant,
    until: Instant,
    task: Option<(TaskId, Cid)>,
    fraction: Option<f32>,
}

impl Held {
    fn state(&self) -> MutexGuard<'_, State> {
        // No step leaves it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where to answer the broker, and how often it has delivered the task.
    pub(crate) fn latest(&self) -> (Subject, u32) {
        let state = self.state();
        (state.reply.clone(), state.delivered)
    }

    /// Keeps the lease until then, and no longer.
    pub(crate) fn hold_until(&self, until: Instant) {
        self.state().until = until;
    }

    /// Says which task it is, for people.
    pub(crate) fn name(&self, task: TaskId, cid: Cid) {
        self.state().task = Some((task, cid));
    }

    /// Notes how far the task has got.
    pub(crate) fn progress(&self, fraction: f32) {
        self.state().fraction = Some(fraction);
    }
}

/// All deliveries that are held, by the subject of their task.
#[derive(Debug)]
pub(crate) struct Leases {
    lease: Mutex<Duration>,
    held: Mutex<BTreeMap<Subject, Arc<Held>>>,
}

impl Leases {
    pub(crate) fn new() -> Self {
        Self { lease: Mutex::new(FIRST_GUESS), held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<Subject, Arc<Held>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the broker lends a delivery.
    pub(crate) fn set_lease(&self, lease: Duration) {
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner) = lease;
    }

    fn lease(&self) -> Duration {
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a repeated delivery to the attempt that still runs; false if there is none, or if
    /// that one has had its time.
    pub(crate) fn adopt(&self, subject: &Subject, reply: &Subject, delivered: u32) -> bool {
        let Some(held) = self.held().get(subject).cloned() else { return false };
        let mut state = held.state();
        let now = Instant::now();
        if state.until <= now {
            return false;
        }
        state.reply = reply.clone();
        state.delivered = delivered;
        state.renewed = now;
        true
    }

    /// Begins to renew a delivery, until `until` at most.
    pub(crate) fn begin(
        &self,
        subject: Subject,
        reply: Subject,
        delivered: u32,
        until: Instant,
    ) -> Arc<Held> {
        let now = Instant::now();
        let state = State { reply, delivered, renewed: now, until, task: None, fraction: None };
        let held =
            Arc::new(Held { subject: subject.clone(), since: now, state: Mutex::new(state) });
        self.held().insert(subject, held.clone());
        held
    }

    /// Ends the renewal.
    pub(crate) fn end(&self, held: &Arc<Held>) {
        let mut all = self.held();
        // A later delivery of the same task may have taken the place of a handler that hangs.
        if all.get(&held.subject).is_some_and(|current| Arc::ptr_eq(current, held)) {
            all.remove(&held.subject);
        }
    }

    /// What runs, oldest first as far as listed.
    pub(crate) fn running(&self) -> Vec<Running> {
        let now = Instant::now();
        let mut running: Vec<Running> = self
            .held()
            .values()
            .filter_map(|held| {
                let state = held.state();
                let (task_id, cid) = state.task.clone()?;
                let for_ms = millis(now.saturating_duration_since(held.since));
                Some(Running { task_id, cid, for_ms, fraction: state.fraction })
            })
            .collect();
        running.sort_by_key(|running| std::cmp::Reverse(running.for_ms));
        running.truncate(LISTED);
        running
    }

    /// Renews every lease before a third of it has passed, until `stop`.
    pub(crate) async fn renew(&self, link: &Link, stop: &CancellationToken) {
        loop {
            let lease = self.lease();
            let tick = (lease / 9).min(Duration::from_secs(1));
            if stop.run_until_cancelled(sleep(tick)).await.is_none() {
                return;
            }
            for reply in self.due(Instant::now(), lease / 3, tick) {
                let renewal = crate::tell(&link.client, reply, Bytes::from_static(b"+WPI"));
                if let Err(error) = renewal.await {
                    warn!(error = %error, "could not renew a lease");
                }
            }
        }
    }

    /// The reply subjects of the leases that would be renewed too late at the next tick.
    fn due(&self, now: Instant, every: Duration, tick: Duration) -> Vec<Subject> {
        let held = self.held();
        let due = held.values().filter_map(|held| {
            let mut state = held.state();
            if state.until <= now || state.renewed + every > now + tick {
                return None;
            }
            state.renewed = now;
            Some(state.reply.clone())
        });
        due.collect()
    }
}

/// Whole milliseconds; absurdly long times are cut.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_renewed_every_third_until_its_time_is_up() {
        let leases = Leases::new();
        let start = Instant::now();
        leases.begin("task".into(), "reply".into(), 1, start + SECOND * 10);

        let renewed: Vec<u32> = (1..20_u32)
            .filter(|&s| !leases.due(start + SECOND * s, SECOND * 3, SECOND).is_empty())
            .collect();

        assert_eq!(renewed, [2, 4, 6, 8]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_running_attempt_adopts_a_repeated_delivery() {
        let leases = Leases::new();
        let held = leases.begin("task".into(), "first".into(), 1, Instant::now() + SECOND);

        assert!(leases.adopt(&"task".into(), &"second".into(), 2));
        assert!(!leases.adopt(&"other".into(), &"x".into(), 1));
        assert_eq!(held.latest(), ("second".into(), 2));

        tokio::time::advance(SECOND * 2).await;
        assert!(!leases.adopt(&"task".into(), &"third".into(), 3), "it has had its time");
    }

    #[tokio::test(start_paused = true)]
    async fn ending_a_hung_attempt_leaves_its_successor_alone() {
        let leases = Leases::new();
        let until = Instant::now() + SECOND;
        let hung = leases.begin("task".into(), "first".into(), 1, until);
        let next = leases.begin("task".into(), "second".into(), 2, until);

        leases.end(&hung);
        assert!(leases.adopt(&"task".into(), &"third".into(), 3));
        leases.end(&next);
        assert!(!leases.adopt(&"task".into(), &"fourth".into(), 4));
    }
}
