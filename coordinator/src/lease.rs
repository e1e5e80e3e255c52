//! Which coordinator leads: a key in the broker, changed by compare-and-set only.
//!
//! Whoever writes the key leads until it was not renewed for its time to live. No clock is shared:
//! a candidate watches the key and takes it when it has not changed for as long as it says. The
//! node that held it last takes it back at once, because it knows that its earlier self is gone.
//! Every change of hands raises the epoch, which is in the names of the leader's consumers: what a
//! deposed leader still acknowledges hits nothing, and its tasks and records are fenced by the
//! sequence of what they replace. For everything else that it writes there is its warrant, which runs
//! out before anybody can take its place, also while it is stopped: it looks at the clock right before
//! each write.

use std::time::Duration;

use async_nats::HeaderMap;
use broker_config::planted::{Bug, planted};
use broker_config::publish::PublishError;
use broker_config::read::last_messages;
use broker_config::warrant::Warrant;
use broker_config::wire::lease::{LEASE_KEY, Lease, LeaseType};
use broker_config::{Chain, Names};
use tokio::time::{Instant, sleep, timeout};

use crate::broker::{Broker, json};

/// How long a lease lasts without renewal. A candidate counts it from when it has seen the last one, so that another
/// one leads within 5 s.
pub const TTL: Duration = Duration::from_secs(4);
/// How much earlier its holder stops writing: what it has sent by then is stored before another one can lead, and
/// the clocks of two machines may differ in speed.
const MARGIN: Duration = Duration::from_secs(1);
/// How often it is renewed, and how long one renewal may take.
const RENEW: Duration = Duration::from_millis(800);
/// Leases in a row that the broker did not take, until that is told again; each takes some seconds.
const TOLD_AGAIN: u32 = 12;
/// How often a candidate looks.
const LOOK: Duration = Duration::from_millis(100);

/// The lease, held.
#[derive(Debug)]
pub struct Held {
    broker: Broker,
    lease: Lease,
    revision: u64,
    /// When the renewal was sent that was the last to be stored.
    renewed: Instant,
    warrant: Warrant,
}

/// What a candidate does about what it sees; pure.
#[derive(Debug, PartialEq, Eq)]
pub enum Move {
    /// It tries to write the key, in its name and with this epoch.
    Take {
        /// One more than any before.
        epoch: u64,
    },
    /// Somebody leads.
    Wait,
}

/// `revision` is that of what was found; 0 = nothing ever was there.
#[must_use]
pub fn decide(found: Option<&Lease>, revision: u64, node: &str, unchanged_for: Duration) -> Move {
    match found {
        // Deleted or overwritten, perhaps. Each epoch was written, so none of them was higher.
        None => Move::Take { epoch: revision + 1 },
        Some(lease)
            if lease.holder == node
                || unchanged_for >= Duration::from_millis(lease.ttl_ms)
                || planted(Bug::LeaseTooSoon) =>
        {
            Move::Take { epoch: lease.epoch + 1 }
        }
        Some(_) => Move::Wait,
    }
}

/// Waits until this node leads.
///
/// # Cancel safety
///
/// When dropped, the lease may have been taken; the same node takes it again at once.
pub async fn acquire(broker: &Broker, node: &str) -> Held {
    let mut seen: Option<(u64, Instant)> = None;
    let mut untaken = Untaken::default();
    loop {
        match read(broker).await {
            Ok((revision, found)) => {
                let since = match seen {
                    Some((same, since)) if same == revision => since,
                    _ => Instant::now(),
                };
                seen = Some((revision, since));
                let decided = decide(found.as_ref(), revision, node, since.elapsed());
                if let Move::Take { epoch } = decided {
                    let ttl_ms = u64::try_from(TTL.as_millis()).unwrap_or(u64::MAX);
                    let holder = node.to_owned();
                    let lease = Lease { kind: LeaseType::V1, holder, epoch, ttl_ms };
                    let renewed = Instant::now();
                    match write(broker, &lease, revision).await {
                        Ok(revision) => {
                            let warrant = Warrant::until(renewed + TTL - MARGIN);
                            let broker = broker.clone();
                            return Held { broker, lease, revision, renewed, warrant };
                        }
                        Err(error) => {
                            tracing::debug!(error = %Chain(&error), "lease not taken");
                            untaken.note(&error);
                        }
                    }
                }
            }
            Err(error) => tracing::debug!(error, "lease cannot be read"),
        }
        sleep(LOOK).await;
    }
}

/// Leases that the broker did not take although it answers what is read.
///
/// A nats-server whose disk was full keeps its streams shut until it is started again, also when there
/// is room, and answers nothing that is to be stored.
#[derive(Debug, Default)]
struct Untaken(u32);

impl Untaken {
    /// Takes note of an error, and tells a person when it is time.
    fn note(&mut self, error: &PublishError) {
        if self.is_to_be_told(matches!(error, PublishError::Unacknowledged { .. })) {
            tracing::error!(
                "the broker answers and stores nothing: if its disk was full, make room and start it again"
            );
        }
    }

    /// PURE: one may get lost; then it is told now and once a minute or so.
    fn is_to_be_told(&mut self, unacknowledged: bool) -> bool {
        self.0 = if unacknowledged { self.0.saturating_add(1) } else { 0 };
        self.0 % TOLD_AGAIN == 2
    }
}

impl Held {
    /// A number that rises whenever the lease changes hands.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.lease.epoch
    }

    /// What its holder writes under; it ends with the lease.
    #[must_use]
    pub fn warrant(&self) -> Warrant {
        self.warrant.clone()
    }

    /// Renews the lease until it is lost; then its warrant has ended.
    pub async fn keep(&mut self) {
        let mut pause = RENEW;
        loop {
            sleep(pause).await;
            pause = RENEW;
            let sent = Instant::now();
            match timeout(RENEW, write(&self.broker, &self.lease, self.revision)).await {
                Ok(Ok(revision)) => {
                    self.revision = revision;
                    self.renewed = sent;
                    self.warrant.extend(sent + TTL - MARGIN);
                }
                Ok(Err(PublishError::WrongLastSequence { .. })) => match read(&self.broker).await {
                    // Ours after all: the acknowledgement of an earlier renewal was lost. When that
                    // one was stored, nobody knows; the next one says.
                    Ok((revision, Some(lease))) if lease == self.lease => {
                        self.revision = revision;
                        pause = Duration::ZERO;
                    }
                    Ok(_) => break,
                    Err(error) => tracing::debug!(error, "lease cannot be read"),
                },
                Ok(Err(error)) => tracing::debug!(error = %Chain(&error), "lease not renewed"),
                Err(_) => tracing::debug!("lease not renewed in time"),
            }
            if self.renewed.elapsed() > TTL {
                break;
            }
        }
        self.warrant.end();
    }

    /// Lets another node lead at once.
    pub async fn release(self) {
        self.warrant.end();
        let lease = Lease { ttl_ms: 0, ..self.lease.clone() };
        if let Err(error) = write(&self.broker, &lease, self.revision).await {
            tracing::debug!(error = %Chain(&error), "lease runs out by itself");
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.warrant.end();
    }
}

async fn read(broker: &Broker) -> Result<(u64, Option<Lease>), String> {
    let bucket = broker.names.lease_bucket();
    let subject = Names::key_subject(&bucket, LEASE_KEY);
    let stream = Names::bucket_stream(&bucket);
    let found = last_messages(&broker.client, &stream, &[subject]).await;
    let found = found.map_err(|error| error.to_string())?.into_iter().next();
    Ok(found.map_or((0, None), |stored| {
        (stored.sequence, serde_json::from_slice(&stored.payload).ok())
    }))
}

async fn write(broker: &Broker, lease: &Lease, revision: u64) -> Result<u64, PublishError> {
    let subject = Names::key_subject(&broker.names.lease_bucket(), LEASE_KEY);
    broker.publisher.publish_after(subject, revision, HeaderMap::new(), json(lease)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_stores_nothing_is_told_of_now_and_then() {
        let mut untaken = Untaken::default();
        let told: Vec<usize> =
            (1..=20).filter(|number| untaken.is_to_be_told(*number != 5)).collect();
        assert_eq!(told, [2, 7, 19]);
    }

    #[test]
    fn a_lease_is_taken_when_free_ours_or_run_out() {
        let lease = |holder: &str, ttl_ms| Lease {
            kind: LeaseType::V1,
            holder: holder.into(),
            epoch: 7,
            ttl_ms,
        };
        let seconds = Duration::from_secs;
        for (case, found, revision, unchanged, expected) in [
            ("free", None, 0, seconds(0), Move::Take { epoch: 1 }),
            ("ours", Some(lease("me", 5_000)), 90, seconds(0), Move::Take { epoch: 8 }),
            ("held", Some(lease("you", 5_000)), 90, seconds(4), Move::Wait),
            ("run out", Some(lease("you", 5_000)), 90, seconds(5), Move::Take { epoch: 8 }),
            ("released", Some(lease("you", 0)), 90, seconds(0), Move::Take { epoch: 8 }),
            ("deleted or junk", None, 90, seconds(0), Move::Take { epoch: 91 }),
        ] {
            assert_eq!(decide(found.as_ref(), revision, "me", unchanged), expected, "{case}");
        }
    }
}
