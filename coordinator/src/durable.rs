//! Works through a stream with a durable consumer: each message is handled, then acknowledged.
//!
//! Each leader has a consumer of its own, with its epoch in the name, and takes away that of the one before: what that
//! one had in hand comes again at once, and what it still asks for it does not get. A leader that is stopped would
//! otherwise be given messages that nobody handles until they are delivered again.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Message;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::stream::{RetentionPolicy, Stream};
use broker_config::apply::make_consumer;
use broker_config::planted::{Bug, planted};
use broker_config::pull::{Pulled, Puller};
use futures_util::StreamExt as _;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::broker::api::DEPOSED;
use crate::broker::deliver::{Answer, answer};

/// Messages handled at the same time.
const AT_ONCE: usize = 64;
/// A message that was not handled in this time, or could not be, comes again.
const AGAIN: Duration = Duration::from_secs(15);
/// Pause before trying again what the server refused.
const PAUSE: Duration = Duration::from_millis(500);
/// What the names of consumers begin with on every stream.
const NAME: &str = "coordinator";

/// What is to be worked through.
#[derive(Debug)]
pub struct Backlog {
    /// The connection.
    pub broker: Broker,
    /// The stream.
    pub stream: String,
    /// The leadership in whose name.
    pub epoch: u64,
    /// Told when all is handled that was there at the beginning.
    pub caught_up: watch::Sender<bool>,
}

/// Handles every message until `stop`; a handler that returns `false` gets its message again.
pub async fn work<H, F>(backlog: Backlog, stop: CancellationToken, handler: H)
where
    H: Fn(Arc<Message>) -> F,
    F: Future<Output = bool> + Send + 'static,
{
    let mut has_led = false;
    while !stop.is_cancelled() {
        let followed = backlog.follow(&mut has_led, &handler);
        if let Some(Err(error)) = stop.run_until_cancelled(followed).await {
            tracing::warn!(error, stream = backlog.stream, "stream cannot be read, trying again");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Backlog {
    async fn follow<H, F>(&self, has_led: &mut bool, handler: &H) -> Result<(), String>
    where
        H: Fn(Arc<Message>) -> F,
        F: Future<Output = bool> + Send + 'static,
    {
        let (broker, stream) = (&self.broker, self.stream.as_str());
        let (name, mut waiting) = broker.through(|| self.take_over(*has_led)).await?;
        *has_led = true;
        let mut puller = Puller::open(broker.client.clone(), stream, &name)
            .await
            .map_err(|error| error.to_string())?;
        let mut handling = JoinSet::new();
        loop {
            if waiting == 0 {
                self.caught_up.send_replace(true);
            }
            puller.set_room(AT_ONCE.saturating_sub(handling.len()));
            let message = tokio::select! {
                Some(ended) = handling.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, stream, "a message was not handled; it comes again");
                    }
                    waiting = waiting.saturating_sub(1);
                    continue;
                }
                pulled = puller.next() => match pulled {
                    Pulled::Message(message) => Arc::new(*message),
                    Pulled::Refused(status) => return Err(format!("refused with status {status}")),
                    Pulled::Closed => return Err("the connection is closed".to_owned()),
                },
            };
            let client = broker.client.clone();
            let handled = handler(message.clone());
            handling.spawn(async move {
                if planted(Bug::SignalFirst)
                    && let Some(reply) = &message.reply
                {
                    answer(&client, reply, Answer::Ack).await;
                }
                if handled.await
                    && let Some(reply) = &message.reply
                {
                    answer(&client, reply, Answer::Ack).await;
                }
            });
        }
    }

    /// Makes a consumer of our own, which begins where that of an earlier leader was sure to have
    /// handled everything; that one goes. Returns its name and how much waits.
    ///
    /// Who had a consumer already (`has_led`) and finds one of a later leader has lost the lead.
    async fn take_over(&self, has_led: bool) -> Result<(String, u64), String> {
        let name = format!("{NAME}_{}", self.epoch);
        let stream = self.broker.js.get_stream(&self.stream).await;
        let stream = stream.map_err(|error| error.to_string())?;
        let (mut others, mut own) = (Vec::new(), None);
        let mut consumers = stream.consumers();
        while let Some(found) = consumers.next().await {
            let found = found.map_err(|error| error.to_string())?;
            let Some(epoch) = epoch_of(&found.name) else { continue };
            if epoch > self.epoch && has_led {
                return Err(format!("there is a later leader, of epoch {epoch}"));
            }
            if found.name == name {
                own = Some(found.num_pending);
            } else {
                others.push((found.name, found.ack_floor.stream_sequence));
            }
        }
        // Where what is acknowledged is gone, all that is left is to be handled, by one consumer.
        let keeps = stream.cached_info().config.retention != RetentionPolicy::WorkQueue;
        let start = others.iter().map(|(_, floor)| floor + 1).min().filter(|_| keeps);
        if !keeps {
            self.remove(&stream, &others).await?;
        }
        let waiting = match own {
            Some(waiting) => waiting,
            None => {
                let deliver_policy = start.map_or(DeliverPolicy::All, |start_sequence| {
                    DeliverPolicy::ByStartSequence { start_sequence }
                });
                let config = pull::Config {
                    durable_name: Some(name.clone()),
                    deliver_policy,
                    ack_policy: AckPolicy::Explicit,
                    ack_wait: AGAIN,
                    max_ack_pending: 10_000,
                    ..pull::Config::default()
                };
                self.still_leads().await?;
                let made = Box::pin(make_consumer(&self.broker.js, &self.stream, config)).await;
                made.map_err(|error| error.to_string())?.cached_info().num_pending
            }
        };
        if keeps {
            self.remove(&stream, &others).await?;
        }
        Ok((name, waiting))
    }

    async fn remove(&self, stream: &Stream, consumers: &[(String, u64)]) -> Result<(), String> {
        for (name, _) in consumers {
            self.still_leads().await?;
            stream.delete_consumer(name).await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    async fn still_leads(&self) -> Result<(), String> {
        if self.broker.may_write().await { Ok(()) } else { Err(DEPOSED.to_owned()) }
    }
}

/// The epoch in the name of a leader's consumer; `None` for any other consumer.
fn epoch_of(consumer: &str) -> Option<u64> {
    match consumer.strip_prefix(NAME)? {
        // Of a version in which all leaders shared one.
        "" => Some(0),
        rest => rest.strip_prefix('_')?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_nats::HeaderMap;
    use broker_config::Names;
    use bytes::Bytes;
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::store::testing::TestBroker;

    #[test]
    fn the_epoch_of_a_leader_is_read_from_its_consumer_only() {
        for (name, expected) in [
            ("coordinator", Some(0)),
            ("coordinator_12", Some(12)),
            ("coordinator_fast_12", None),
            ("coordinators", None),
            ("mine_1", None),
        ] {
            assert_eq!(epoch_of(name), expected, "{name}");
        }
    }

    #[tokio::test]
    async fn what_an_earlier_leader_had_in_hand_comes_to_the_next_at_once_and_what_it_did_does_not()
    -> anyhow::Result<()> {
        let (server, _store) = TestBroker::start().await?;
        let broker = Broker::open(server.client().await?, Names::default()).await?;
        for (stream, subject) in [
            (broker.names.signal_stream(), broker.names.signal(&"p".parse()?, "failed")),
            (broker.names.advisory_stream(), ADVISED.to_owned()),
        ] {
            let last = async |number: u64| -> anyhow::Result<()> {
                let body = Bytes::from(number.to_string());
                broker.publisher.publish(subject.clone(), HeaderMap::new(), body).await?;
                Ok(())
            };
            for number in 0..3 {
                last(number).await?;
            }
            let start = |epoch, does_all: bool| {
                let (caught_up, caught) = watch::channel(false);
                let backlog =
                    Backlog { broker: broker.clone(), stream: stream.clone(), epoch, caught_up };
                let (stop, seen) = (CancellationToken::new(), Arc::new(Mutex::new(Vec::new())));
                let mut working = JoinSet::new();
                let told = seen.clone();
                working.spawn(work(backlog, stop, move |message| {
                    let text = String::from_utf8_lossy(&message.payload).into_owned();
                    told.lock().unwrap().push(text.clone());
                    async move {
                        if text != "0" && !does_all {
                            std::future::pending::<()>().await;
                        }
                        true
                    }
                }));
                (working, seen, caught)
            };
            let within = Duration::from_secs(5);
            let saw = async |seen: &Mutex<Vec<String>>, all: &[&str]| {
                let look = async {
                    while *seen.lock().unwrap() != all {
                        sleep(Duration::from_millis(20)).await;
                    }
                };
                timeout(within, look).await.map_err(|_| anyhow::anyhow!("{:?}", seen.lock()))
            };

            let (first, seen, _) = start(1, false);
            saw(&seen, &["0", "1", "2"]).await?;
            // Its acknowledgement of the first one is on its way.
            sleep(Duration::from_millis(200)).await;
            let (second, seen, mut caught) = start(2, true);
            // Far sooner than what was delivered is delivered again.
            saw(&seen, &["1", "2"]).await?;
            timeout(within, caught.wait_for(|caught| *caught)).await??;
            last(3).await?;
            saw(&seen, &["1", "2", "3"]).await?;
            drop((first, second));
        }
        Ok(())
    }

    const ADVISED: &str = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.MF_TASKS.p_fast";
}
