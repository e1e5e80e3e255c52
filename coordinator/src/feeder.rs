//! Takes submissions out of their stream while there are places, and hands them to the engine with
//! what is recorded of their files.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Message;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use broker_config::apply::make_consumer;
use broker_config::pull::{Pulled, Puller};
use broker_config::read::next_message;
use broker_config::wire::event::Fact;
use broker_config::wire::submission::MAX_DEPTH;
use broker_config::{Queue, RunId, Submission};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::broker::api::DEPOSED;
use crate::broker::deliver::{Answer, answer, place_of};
use crate::broker::records::READ_BATCH;
use crate::broker::{Broker, trace_of};
use crate::dispatcher::Event;
use crate::engine::{EngineHandle, Input, SUBMISSION_LEASE};
use crate::run::Opening;
use crate::slots::Slots;
use crate::spans::of_run;
use crate::strays::Standing;

/// Batches of files whose records are read at the same time, per queue.
const READS: usize = 4;
/// How long to look for more submissions before a small batch is read.
const GATHER: Duration = Duration::from_micros(300);
/// Pause before trying again what the server refused.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a submission waits that came while another queue goes first.
const HELD_BACK: Duration = Duration::from_millis(500);
/// Deliveries of one queue at once; places are counted here, so this only must not be less.
const MAX_ACK_PENDING: i64 = 100_000;

/// Feeds the engine from one queue.
#[derive(Debug)]
pub struct Feeder {
    /// The connection.
    pub broker: Broker,
    /// Where submissions go.
    pub engine: EngineHandle,
    /// How many.
    pub slots: Arc<Slots>,
    /// From where.
    pub queue: Queue,
    /// The leadership in whose name; it is in the consumer's name, so that what a deposed leader
    /// still acknowledges hits nothing.
    pub epoch: u64,
}

impl Feeder {
    /// Feeds until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut has_led = false;
        while !stop.is_cancelled() {
            let fed = stop.run_until_cancelled(self.feed(&mut has_led)).await;
            if let Some(Err(error)) = fed {
                tracing::warn!(error, queue = %self.queue, "submissions cannot be read, trying again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn feed(&self, has_led: &mut bool) -> Result<(), String> {
        let stream = self.broker.names.submit_stream();
        let consumer = self.broker.through(|| self.take_over(&stream, *has_led)).await?;
        *has_led = true;
        let client = self.broker.client.clone();
        let mut puller =
            Puller::open(client, &stream, &consumer).await.map_err(|error| error.to_string())?;
        let mut reads = JoinSet::new();
        let ended = self.feed_from(&mut puller, &mut reads).await;
        // What was taken has taken a place; it must reach the engine.
        while reads.join_next().await.is_some() {}
        ended
    }

    async fn feed_from(&self, puller: &mut Puller, reads: &mut JoinSet<()>) -> Result<(), String> {
        let permits = Arc::new(Semaphore::new(READS));
        loop {
            let room = self.slots.room(self.queue);
            puller.set_room(room);
            let first = tokio::select! {
                pulled = puller.next() => match pulled {
                    Pulled::Message(message) => *message,
                    Pulled::Refused(status) => return Err(format!("refused with status {status}")),
                    Pulled::Closed => return Err("the connection is closed".to_owned()),
                },
                () = self.slots.freed() => continue,
                () = tokio::time::sleep(PAUSE), if room == 0 => continue,
                Some(_) = reads.join_next() => continue,
            };
            let mut batch = vec![first];
            let more = tokio::time::sleep(GATHER);
            tokio::pin!(more);
            while batch.len() < READ_BATCH {
                match puller.try_next() {
                    Some(message) => batch.push(message),
                    // One look later is enough: whoever comes alone is not to wait.
                    None if batch.len() == 1 || more.is_elapsed() => break,
                    None => more.as_mut().await,
                }
            }
            let permit = permits.clone().acquire_owned().await.map_err(|e| e.to_string())?;
            let opened = self.parse(batch).await;
            let (broker, engine) = (self.broker.clone(), self.engine.clone());
            reads.spawn(async move {
                open(&broker, &engine, opened).await;
                drop(permit);
            });
        }
    }

    /// Makes a consumer of our own; the one of an earlier leader goes, and with it all that was
    /// delivered to it is delivered to us, at once. So does our own, where it passes over any.
    ///
    /// Who had a consumer already (`has_led`) and finds one of a later leader has lost the lead and
    /// only not heard of it yet; that one stays.
    async fn take_over(&self, stream: &str, has_led: bool) -> Result<String, String> {
        use futures_util::StreamExt as _;

        let name = consumer(self.queue, self.epoch);
        let handle = self.broker.js.get_stream(stream).await.map_err(|error| error.to_string())?;
        let mut names = handle.consumer_names();
        while let Some(found) = names.next().await {
            let found = found.map_err(|error| error.to_string())?;
            let Some(epoch) = epoch_of(self.queue, &found) else { continue };
            if is_of_later(self.epoch, epoch, has_led) {
                return Err(format!("there is a later leader, of epoch {epoch}"));
            }
            if epoch != self.epoch || self.passes_over(stream, &found).await? {
                self.still_leads().await?;
                handle.delete_consumer(&found).await.map_err(|error| error.to_string())?;
            }
        }
        let config = pull::Config {
            durable_name: Some(name.clone()),
            filter_subjects: self.broker.names.submits_of(self.queue).to_vec(),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::Explicit,
            ack_wait: SUBMISSION_LEASE,
            max_ack_pending: MAX_ACK_PENDING,
            ..pull::Config::default()
        };
        self.still_leads().await?;
        let made = Box::pin(make_consumer(&self.broker.js, stream, config)).await;
        made.map_err(|error| error.to_string())?;
        Ok(name)
    }

    /// Whether there are submissions that our consumer does not deliver any more: a broker that has lost
    /// its last moments may remember that they were acknowledged, and not that they are gone.
    async fn passes_over(&self, stream: &str, consumer: &str) -> Result<bool, String> {
        let broker = &self.broker;
        let found =
            broker.js.get_consumer_from_stream::<pull::Config, _, _>(consumer, stream).await;
        let found = found.map_err(|error| error.to_string())?;
        let behind = Standing::from(found.cached_info()).behind();
        for filter in broker.names.submits_of(self.queue) {
            let first = next_message(&broker.client, stream, &filter, 1).await;
            let first = first.map_err(|error| error.to_string())?;
            if first.is_some_and(|stored| stored.sequence <= behind) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn still_leads(&self) -> Result<(), String> {
        if self.broker.may_write().await { Ok(()) } else { Err(DEPOSED.to_owned()) }
    }

    /// Reads submissions; one that is not readable is ended and told of.
    async fn parse(&self, batch: Vec<Message>) -> Vec<(Arc<Opening>, String)> {
        let mut opened = Vec::with_capacity(batch.len());
        for message in batch {
            let (Some(place), Some(reply)) = (place_of(&message), message.reply.clone()) else {
                continue;
            };
            // It was asked for before a fast file came.
            if self.slots.is_held_back(self.queue) {
                answer(&self.broker.client, &reply, Answer::Nak(HELD_BACK)).await;
                continue;
            }
            self.slots.take(self.queue);
            match read(&message.payload) {
                Ok(mut submission) => {
                    // Whoever it is about, the subject says who it is from.
                    let by = self.broker.names.submitter(&message.subject);
                    submission.origin = by.or(submission.origin);
                    let id = RunId(place.stream_sequence);
                    let trace = trace_of(message.headers.as_ref());
                    let opening = Opening {
                        id,
                        queue: self.queue,
                        submitted_at: place.stored_at,
                        trace: of_run(id, submission.cid.as_str(), trace),
                        submission,
                    };
                    opened.push((Arc::new(opening), reply.into_string()));
                }
                Err(reason) => {
                    self.slots.release(self.queue);
                    let run_id = RunId(place.stream_sequence);
                    tracing::warn!(run.id = %run_id, reason, "a submission cannot be read");
                    let fact = Fact::SubmissionRejected { run_id, reason };
                    let id = Some(format!("rejected.{run_id}"));
                    if self.broker.tell(fact, id).await.is_ok() {
                        answer(&self.broker.client, &reply, Answer::Term("")).await;
                    }
                }
            }
        }
        opened
    }
}

/// Whether the consumer of epoch `found` is that of a leader after the one of epoch `own`, who had a
/// consumer already if it `has_led`; any other consumer is in the way.
#[must_use]
pub const fn is_of_later(own: u64, found: u64, has_led: bool) -> bool {
    found > own && has_led
}

/// The name of a leader's consumer.
fn consumer(queue: Queue, epoch: u64) -> String {
    format!("coordinator_{queue}_{epoch}")
}

/// The epoch in the name of a leader's consumer of this queue; `None` for any other consumer.
fn epoch_of(queue: Queue, consumer: &str) -> Option<u64> {
    consumer
        .strip_prefix("coordinator_")?
        .strip_prefix(queue.as_str())?
        .strip_prefix('_')?
        .parse()
        .ok()
}

fn read(payload: &[u8]) -> Result<Submission, String> {
    let submission: Submission =
        serde_json::from_slice(payload).map_err(|error| error.to_string())?;
    if submission.depth > MAX_DEPTH {
        return Err(format!("made from a file that was made from a file, over {MAX_DEPTH} times"));
    }
    Ok(submission)
}

async fn open(broker: &Broker, engine: &EngineHandle, opened: Vec<(Arc<Opening>, String)>) {
    let cids: Vec<_> = opened.iter().map(|(o, _)| o.submission.cid.clone()).collect();
    engine.tell(Input::Event(Event::Opening { cids: cids.clone() })).await;
    let found = broker.records_of_patiently(&cids).await;
    for (opening, reply) in opened {
        let records = found.get(&opening.submission.cid).cloned().unwrap_or_default();
        engine.tell(Input::Opened { opening, records, reply }).await;
    }
}

#[cfg(test)]
mod tests {
    use broker_config::Names;
    use broker_config::warrant::Warrant;
    use tokio::time::Instant;

    use super::*;
    use crate::advisories::Witness;
    use crate::dispatcher::Timing;
    use crate::engine::Engine;
    use crate::journal::Journal;
    use crate::metrics::Metrics;
    use crate::presence::PresenceHandle;
    use crate::store::testing::TestBroker;

    #[test]
    fn the_epoch_of_a_leader_is_read_from_its_consumer_only() {
        for (name, expected) in [
            ("coordinator_fast_12", Some(12)),
            ("coordinator_background_12", None),
            ("coordinator_fast_", None),
            ("coordinator_fastest_1", None),
            ("somebody_fast_1", None),
        ] {
            assert_eq!(epoch_of(Queue::Fast, name), expected, "{name}");
        }
        assert_eq!(epoch_of(Queue::Fast, &consumer(Queue::Fast, 7)), Some(7));
    }

    #[tokio::test]
    async fn a_leader_that_was_deposed_leaves_the_consumer_of_its_successor_alone()
    -> anyhow::Result<()> {
        let (server, store) = TestBroker::start().await?;
        let broker = Broker::open(server.client().await?, Names::default()).await?;
        let slots = Arc::new(Slots::new(8, false));
        let witness = Witness {
            presence: PresenceHandle::default(),
            journal: Journal::default(),
            lease: Duration::from_secs(9),
        };
        let metrics = Arc::new(Metrics::default());
        let (_engine, engine) =
            Engine::new(broker.clone(), slots.clone(), metrics, witness, Timing::default());
        let leader = |epoch| Feeder {
            broker: broker.clone(),
            engine: engine.clone(),
            slots: slots.clone(),
            queue: Queue::Fast,
            epoch,
        };
        let stream = broker.names.submit_stream();
        let consumers = async || -> anyhow::Result<Vec<String>> {
            Ok(store.consumers(&stream).await?.into_keys().collect())
        };

        leader(1).take_over(&stream, false).await.map_err(anyhow::Error::msg)?;
        assert_eq!(consumers().await?, ["coordinator_fast_1"]);
        leader(2).take_over(&stream, false).await.map_err(anyhow::Error::msg)?;
        assert_eq!(consumers().await?, ["coordinator_fast_2"]);

        let deposed = leader(1).take_over(&stream, true).await;
        assert_eq!(deposed, Err("there is a later leader, of epoch 2".to_owned()));
        assert_eq!(consumers().await?, ["coordinator_fast_2"]);

        // It had the lease and was stopped before it had a consumer.
        let warrant = Warrant::until(Instant::now());
        warrant.end();
        let late = Feeder { broker: broker.under(warrant), ..leader(1) };
        assert_eq!(late.take_over(&stream, false).await, Err(DEPOSED.to_owned()));
        assert_eq!(consumers().await?, ["coordinator_fast_2"]);
        Ok(())
    }
}
