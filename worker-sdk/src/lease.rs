//! The leases of all deliveries that this instance holds, renewed by one task.
//!
//! The broker lends a delivery for the length of the lease; unless it is renewed, the task goes to
//! another worker. Renewal runs beside the handlers, on the thread that talks to the broker, so a
//! handler that blocks its thread does not lose its task. It ends when the task has had its time
//! ([`Held::hold_until`]): a handler that hangs for ever must lose the task.
//!
//! The broker may deliver a task again that still runs here, after a restart or a reconnect. The
//! running attempt then takes over the new delivery ([`Leases::begin`]) and ends that one; it is
//! not run a second time. Nor is one that was settled here a moment ago: its answer was lost, or
//! was still on its way, and is given again.
//!
//! That a lease is surely held ([`Leases::is_held`]) is known by an echo: a message to ourselves that
//! is sent behind the renewals comes back when the broker has taken them.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::connection::State as Connection;
use async_nats::{Subject, SubscribeError};
use broker_config::delivery::{Answer, Place};
use broker_config::wire::instance::Running;
use broker_config::{Cid, TaskId};
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::connect::Link;
use crate::echo::Echo;

/// Most tasks that a sign of life lists.
const LISTED: usize = 16;
/// Settled tasks that are remembered: some seconds' worth for a busy worker.
const REMEMBERED: usize = 16_384;
/// Lease until the coordinator has said how long it is.
const FIRST_GUESS: Duration = Duration::from_secs(3);

/// One message of a stream, also across a stream that was deleted and made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct MessageKey {
    sequence: u64,
    stored_at: i64,
}

impl MessageKey {
    fn of(place: Place) -> Self {
        Self { sequence: place.stream_sequence, stored_at: place.stored_at }
    }
}

/// One delivery that is held.
#[derive(Debug)]
pub(crate) struct Held {
    subject: Subject,
    message: MessageKey,
    since: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    reply: Subject,
    delivered: u32,
    /// When it was delivered or renewed last.
    renewed: Instant,
    /// The last such time that the broker knows of.
    known: Instant,
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

/// What is to be done with a delivery.
#[derive(Debug)]
pub(crate) enum Begun {
    /// Run it.
    New(Arc<Held>),
    /// Nothing: the attempt that runs answers for it.
    Running,
    /// Answer once more: it was settled here.
    Settled,
}

/// All deliveries that are held, by the subject of their task.
#[derive(Debug)]
pub(crate) struct Leases {
    lease: Mutex<Duration>,
    held: Mutex<BTreeMap<Subject, Arc<Held>>>,
    settled: Mutex<Settled>,
    /// Held while renewals are sent, and by what they must not overtake.
    sending: tokio::sync::Mutex<()>,
}

/// The tasks that were settled last.
#[derive(Debug, Default)]
struct Settled {
    order: VecDeque<MessageKey>,
    all: HashSet<MessageKey>,
}

impl Leases {
    pub(crate) fn new() -> Self {
        Self {
            lease: Mutex::new(FIRST_GUESS),
            held: Mutex::default(),
            settled: Mutex::default(),
            sending: tokio::sync::Mutex::default(),
        }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<Subject, Arc<Held>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settled(&self) -> MutexGuard<'_, Settled> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the broker lends a delivery.
    pub(crate) fn set_lease(&self, lease: Duration) {
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner) = lease;
    }

    pub(crate) fn lease(&self) -> Duration {
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to renew a delivery, until `until` at most; unless the same message runs here or
    /// was settled here. An attempt that has had its time does not count as running.
    pub(crate) fn begin(
        &self,
        subject: Subject,
        reply: Subject,
        place: Place,
        until: Instant,
    ) -> Begun {
        let now = Instant::now();
        let message = MessageKey::of(place);
        if self.settled().all.contains(&message) {
            return Begun::Settled;
        }
        let mut all = self.held();
        if let Some(held) = all.get(&subject).filter(|held| held.message == message) {
            let mut state = held.state();
            if state.until > now {
                state.reply = reply;
                state.delivered = place.delivered;
                (state.renewed, state.known) = (now, now);
                return Begun::Running;
            }
        }
        let delivered = place.delivered;
        let (task, fraction) = (None, None);
        let state = State { reply, delivered, renewed: now, known: now, until, task, fraction };
        let state = Mutex::new(state);
        let held = Arc::new(Held { subject: subject.clone(), message, since: now, state });
        all.insert(subject, held.clone());
        Begun::New(held)
    }

    /// Remembers that a delivery was settled.
    pub(crate) fn remember(&self, held: &Held) {
        let mut settled = self.settled();
        if settled.all.insert(held.message) {
            settled.order.push_back(held.message);
        }
        if settled.order.len() > REMEMBERED
            && let Some(oldest) = settled.order.pop_front()
        {
            settled.all.remove(&oldest);
        }
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
    ///
    /// While the connection is away nothing is sent: it would reach the broker when the task may
    /// be somebody else's.
    pub(crate) async fn renew(
        &self,
        link: &Link,
        stop: &CancellationToken,
    ) -> Result<(), SubscribeError> {
        let inbox = link.client.new_inbox();
        let mut echoes = link.client.subscribe(inbox.clone()).await?;
        let mut last = Echo::default();
        loop {
            let lease = self.lease();
            let tick = (lease / 9).min(Duration::from_secs(1));
            if stop.run_until_cancelled(sleep(tick)).await.is_none() {
                return Ok(());
            }
            while let Some(Some(echo)) = echoes.next().now_or_never() {
                if let Some(sent) = last.came_back(&echo) {
                    self.reached(sent, Instant::now());
                }
            }
            if link.client.connection_state() != Connection::Connected {
                continue;
            }
            let _sending = self.sending.lock().await;
            let now = Instant::now();
            let due = self.due(now, lease / 3, tick);
            let some = !due.is_empty();
            let renewals = due.into_iter().map(|reply| (reply, Answer::Progress.body()));
            let echo = some.then(|| (inbox.clone().into(), last.send(now)));
            for (to, body) in renewals.chain(echo) {
                if let Err(error) = crate::tell(&link.client, to, body).await {
                    warn!(error = %error, "could not renew a lease");
                }
            }
        }
    }

    /// What was renewed by `sent` has reached the broker by `now`. One that came when the lease was
    /// over already does not count: the task may have been somebody else's by then.
    fn reached(&self, sent: Instant, now: Instant) {
        let lease = self.lease();
        for held in self.held().values() {
            let mut state = held.state();
            if state.renewed <= sent && now < state.known + lease {
                state.known = state.renewed;
            }
        }
    }

    /// Whether the task is surely lent to this delivery and to no other one, and will be when what is
    /// sent now has arrived.
    pub(crate) fn is_held(&self, held: &Held) -> bool {
        Instant::now() < held.state().known + self.lease() * 8 / 9
    }

    /// Keeps renewals from being sent meanwhile. One that was read from the list before, and is
    /// sent behind a nak, would make a whole lease of the nak's delay.
    pub(crate) async fn no_renewals(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.sending.lock().await
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
mod tests;
