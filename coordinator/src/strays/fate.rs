//! What has become of a task that its consumer will not deliver any more.
//!
//! There are two ways to get there. Its deliveries ran out: then it is given up. Or the broker has lost
//! its last moments: its consumer remembers what the stream has forgotten, and passes over the task.
//! Then nobody was given it, or what came of that is lost, and it is published again.
//!
//! How often one message was delivered cannot be asked. But the server counts those that it has
//! delivered more than once and that are not settled; those that ran out are among them, and nobody
//! holds them.

use std::time::Duration;

use async_nats::jetstream::consumer::{Info, pull};
use broker_config::read::{ReadError, Stored, message_at, next_message};

use super::{MOST, done_up_to};
use crate::broker::Broker;

/// How long an acknowledged task may take to leave its stream.
pub const LEAVING: Duration = Duration::from_millis(500);

/// How a consumer stands with its tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Deliveries that are held.
    pub held: usize,
    /// The sequence of the last delivery.
    pub delivered: u64,
    /// The sequence up to which all is settled.
    pub floor: u64,
    /// Tasks that were delivered more than once and are not settled.
    pub redelivered: usize,
    /// How often each is delivered at most.
    pub max_deliver: i64,
}

/// What has become of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is held by somebody, or will be delivered.
    Comes,
    /// It was delivered as often as it may be.
    RanOut,
    /// Nobody will be given it, though it was not delivered as often as it may be.
    PassedOver,
}

impl From<&Info> for Standing {
    fn from(consumer: &Info) -> Self {
        Self {
            held: consumer.num_ack_pending,
            delivered: consumer.delivered.stream_sequence,
            floor: consumer.ack_floor.stream_sequence,
            redelivered: consumer.num_redelivered,
            max_deliver: consumer.config.max_deliver,
        }
    }
}

impl Standing {
    /// The sequence up to which nothing is delivered any more.
    #[must_use]
    pub const fn behind(self) -> u64 {
        done_up_to(self.held, self.delivered, self.floor)
    }

    /// How many tasks have surely run out of deliveries. Pure.
    const fn ran_out(self) -> usize {
        // The server does not count those that are delivered only once.
        if self.max_deliver == 1 { usize::MAX } else { self.redelivered.saturating_sub(self.held) }
    }

    /// What has become of the task with this sequence, where so many tasks are `lying` up to
    /// [`Standing::behind`]; `later` is how the consumer stood after these were counted. Pure.
    ///
    /// When it cannot be told, it was passed over: to be tried a few times more does less harm than to
    /// be given up by mistake, and the reconciler does not publish it for ever.
    #[must_use]
    pub fn fate(self, later: Self, sequence: u64, lying: usize) -> Fate {
        if sequence > self.behind() {
            Fate::Comes
        } else if lying <= self.ran_out().min(later.ran_out()) {
            Fate::RanOut
        } else {
            Fate::PassedOver
        }
    }
}

impl Broker {
    /// How the consumer of this name stands, and what it filters; `None` when it cannot be said.
    pub(crate) async fn standing(&self, consumer: &str) -> Option<(Standing, String)> {
        let stream = self.names.task_stream();
        let found = self.js.get_consumer_from_stream::<pull::Config, _, _>(consumer, &stream).await;
        let found = found.ok()?;
        let info = found.cached_info();
        Some((info.into(), info.config.filter_subject.clone()))
    }

    /// What has become of those tasks, by their sequence, that the consumer did not deliver any more and that
    /// are still there: to be asked [`LEAVING`] after that, for one that was just acknowledged is leaving its
    /// stream. `standing` is how the consumer stood then, with what it filters.
    ///
    /// # Errors
    ///
    /// [`ReadError`]
    pub(crate) async fn fates(
        &self,
        consumer: &str,
        (standing, filter): (Standing, &str),
        tasks: &[u64],
    ) -> Result<Vec<(Stored, Fate)>, ReadError> {
        let behind = standing.behind();
        let stuck: Vec<u64> = tasks.iter().copied().filter(|task| *task <= behind).collect();
        let mut found = Vec::new();
        if stuck.is_empty() {
            return Ok(found);
        }
        let lying = self.lying(filter, behind).await?;
        let Some((later, _)) = self.standing(consumer).await else { return Ok(found) };
        for sequence in stuck {
            let stored = message_at(&self.client, &self.names.task_stream(), sequence).await?;
            let fate = standing.fate(later, sequence, lying);
            found.extend(stored.map(|stored| (stored, fate)));
        }
        Ok(found)
    }

    /// How many tasks of a consumer lie in their stream up to a sequence; counts no more than `MOST`.
    async fn lying(&self, filter: &str, behind: u64) -> Result<usize, ReadError> {
        let stream = self.names.task_stream();
        let (mut count, mut from) = (0, 1);
        while count < MOST {
            let next = next_message(&self.client, &stream, filter, from).await?;
            let Some(stored) = next.filter(|stored| stored.sequence <= behind) else { break };
            from = stored.sequence + 1;
            count += 1;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_given_up_only_where_all_that_lie_there_have_surely_run_out() {
        use Fate::{Comes, PassedOver, RanOut};
        // held, last delivery, floor, redelivered, most deliveries; the task; how many lie there.
        for (case, standing, sequence, lying, expected) in [
            ("not delivered yet", (0, 4, 4, 0, 6), 5, 0, Comes),
            ("held, or before one that is", (1, 9, 4, 0, 6), 5, 0, Comes),
            ("nothing was delivered twice", (0, 9, 9, 0, 6), 5, 1, PassedOver),
            (
                "below what is held, and nothing was delivered twice",
                (2, 9, 6, 0, 6),
                5,
                1,
                PassedOver,
            ),
            ("one ran out, and lies there", (0, 9, 9, 1, 6), 5, 1, RanOut),
            ("three ran out, and lie there", (0, 9, 9, 3, 6), 5, 3, RanOut),
            ("one ran out, which of the two is not known", (0, 9, 9, 1, 6), 5, 2, PassedOver),
            ("those that came twice are held", (2, 9, 6, 2, 6), 5, 1, PassedOver),
            ("more came twice than are held", (2, 9, 6, 3, 6), 5, 1, RanOut),
            ("what is delivered once only is not counted", (0, 9, 9, 0, 1), 5, 1, RanOut),
        ] {
            let (held, delivered, floor, redelivered, max_deliver) = standing;
            let now = Standing { held, delivered, floor, redelivered, max_deliver };
            assert_eq!(now.fate(now, sequence, lying), expected, "{case}");
        }
    }

    #[test]
    fn what_ran_out_between_two_looks_says_nothing_of_what_lay_there_before() {
        let now = Standing { delivered: 9, floor: 9, max_deliver: 6, ..Standing::default() };
        let then = Standing { redelivered: 1, ..now };

        assert_eq!(now.fate(then, 5, 1), Fate::PassedOver, "another one has run out meanwhile");
        assert_eq!(then.fate(now, 5, 1), Fate::PassedOver, "the other one has been given up");
        assert_eq!(then.fate(then, 5, 1), Fate::RanOut);
    }
}
