//! One hand-over of a task to this instance; it ends once, by construction.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, HeaderMap, Message, Subject};
use broker_config::delivery::{Answer, Place};
use broker_config::header::ATTEMPTS_USED;
use broker_config::planted::{Bug, planted};
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::lease::{Begun, Held, Leases};
use crate::permit::Permit;

/// Delay before a task that is given back is delivered elsewhere; a nak without one would come
/// back at once.
pub(crate) const GIVE_BACK: Duration = Duration::from_millis(100);

/// A task that this instance holds.
///
/// It ends by exactly one of the consuming methods. Dropping it says nothing to the broker: the
/// task is delivered again when the lease runs out, just as after a crash. All of them only send;
/// an answer that is lost has the same effect as a crash, too.
#[derive(Debug)]
pub(crate) struct Delivery {
    client: Client,
    leases: Arc<Leases>,
    held: Arc<Held>,
    /// Attempts that were used up before the task was published.
    used: u32,
    /// Sequence of the task in its stream.
    pub(crate) sequence: u64,
    permit: Permit,
}

/// What is to be done with a message that came.
#[derive(Debug)]
pub(crate) enum Beginning {
    /// Run it.
    Run(Delivery),
    /// Acknowledge it again: it was settled here, but the broker had not heard of that.
    Settled(Subject),
    /// Nothing: an attempt that runs has taken it over, or it is no delivery at all.
    Nothing,
}

impl Delivery {
    /// Takes hold of `message`, for a handler that must have begun by `until`.
    pub(crate) fn begin(
        client: &Client,
        leases: &Arc<Leases>,
        message: &Message,
        permit: Permit,
        until: Instant,
    ) -> Beginning {
        let Some(reply) = message.reply.clone() else { return Beginning::Nothing };
        let Some(place) = Place::parse(&reply) else { return Beginning::Nothing };
        match leases.begin(message.subject.clone(), reply.clone(), place, until) {
            Begun::New(held) => {
                let (client, leases) = (client.clone(), leases.clone());
                let used = attempts_used(message.headers.as_ref());
                let sequence = place.stream_sequence;
                Beginning::Run(Self { client, leases, held, used, sequence, permit })
            }
            Begun::Running => Beginning::Nothing,
            Begun::Settled => Beginning::Settled(reply),
        }
    }

    /// The lease.
    pub(crate) fn held(&self) -> &Arc<Held> {
        &self.held
    }

    /// Waits for one of so many places.
    pub(crate) async fn place(&mut self, places: impl Fn() -> usize) {
        self.permit.begin(places).await;
    }

    /// Number of this attempt, from 1: deliveries, and what was used up before a deferral.
    pub(crate) fn attempt(&self) -> NonZeroU32 {
        let (_, delivered) = self.held.latest();
        NonZeroU32::new(delivered.saturating_add(self.used)).unwrap_or(NonZeroU32::MIN)
    }

    /// The task is settled; call it when its record is acknowledged, never before.
    pub(crate) async fn ack(self) {
        self.leases.remember(&self.held);
        self.end(Answer::Ack).await;
    }

    /// Deliver the task again after `delay`.
    ///
    /// The broker does not look which delivery of the task a nak is for: one that comes late ends the
    /// delivery of another worker, and throws away what that finds. So nothing is said unless the
    /// lease is surely held and nothing keeps the nak from leaving now; the task comes again by itself.
    pub(crate) async fn nak(self, delay: Duration) {
        let leases = self.leases.clone();
        let _alone = leases.no_renewals().await;
        let connected = self.client.connection_state() == State::Connected;
        if connected && leases.is_held(&self.held) || planted(Bug::LateNak) {
            self.end(Answer::Nak(delay)).await;
        } else {
            debug!("the task may be somebody else's by now, leaving it to its lease");
        }
    }

    /// Never deliver the task again; call it when its failure is reported, never before.
    pub(crate) async fn term(self, reason: &str) {
        self.leases.remember(&self.held);
        self.end(Answer::Term(reason)).await;
    }

    async fn end(self, answer: Answer<'_>) {
        let (reply, _) = self.held.latest();
        self.leases.end(&self.held);
        if let Err(error) = crate::tell(&self.client, reply, answer.body()).await {
            warn!(error = %error, "could not answer a delivery");
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.leases.end(&self.held);
    }
}

/// Acknowledges a delivery of a task that was settled here before.
pub(crate) async fn ack_again(client: &Client, reply: Subject) {
    if let Err(error) = crate::tell(client, reply, Answer::Ack.body()).await {
        warn!(error = %error, "could not answer a delivery");
    }
}

fn attempts_used(headers: Option<&HeaderMap>) -> u32 {
    headers
        .and_then(|headers| headers.get(ATTEMPTS_USED))
        .and_then(|value| value.as_str().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes what consumes a delivery, and nothing else.
    fn ends<A>(_: impl AsyncFnOnce(Delivery, A)) {}

    /// Does not compile for what can be cloned: which of the two is meant would not be clear.
    trait ThereIsOne<Which> {
        const HOLDS: bool = true;
    }
    struct Cloned;
    impl<T> ThereIsOne<()> for T {}
    impl<T: Clone> ThereIsOne<Cloned> for T {}

    #[test]
    fn a_delivery_that_has_ended_is_no_value_any_more() {
        ends::<()>(async |delivery, ()| delivery.ack().await);
        ends(Delivery::nak);
        ends::<&str>(Delivery::term);
        const { assert!(<Delivery as ThereIsOne<_>>::HOLDS && <Permit as ThereIsOne<_>>::HOLDS) };
    }
}
