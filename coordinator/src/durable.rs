//! Works through a stream with a durable consumer: each message is handled, then acknowledged.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Message;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use broker_config::pull::{Pulled, Puller};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::broker::deliver::{Answer, answer};

/// Messages handled at the same time.
const AT_ONCE: usize = 64;
/// A message that was not handled in this time, or could not be, comes again.
const AGAIN: Duration = Duration::from_secs(15);
/// Pause before trying again what the server refused.
const PAUSE: Duration = Duration::from_millis(500);
/// The name of the consumer on every stream.
pub const NAME: &str = "coordinator";

/// Handles every message of `stream` until `stop`; a handler that returns `false` gets its
/// message again.
pub async fn work<H, F>(broker: Broker, stream: String, stop: CancellationToken, handler: H)
where
    H: Fn(Arc<Message>) -> F,
    F: Future<Output = bool> + Send + 'static,
{
    while !stop.is_cancelled() {
        let worked = stop.run_until_cancelled(follow(&broker, &stream, &handler)).await;
        if let Some(Err(error)) = worked {
            tracing::warn!(error, stream, "stream cannot be read, trying again");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn follow<H, F>(broker: &Broker, stream: &str, handler: &H) -> Result<(), String>
where
    H: Fn(Arc<Message>) -> F,
    F: Future<Output = bool> + Send + 'static,
{
    let config = pull::Config {
        durable_name: Some(NAME.to_owned()),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        ack_wait: AGAIN,
        max_ack_pending: 10_000,
        ..pull::Config::default()
    };
    let created = broker.js.create_consumer_on_stream(config, stream.to_owned()).await;
    created.map_err(|error| error.to_string())?;
    let mut puller = Puller::open(broker.client.clone(), stream, NAME)
        .await
        .map_err(|error| error.to_string())?;
    let mut handling = JoinSet::new();
    loop {
        puller.set_room(AT_ONCE.saturating_sub(handling.len()));
        let message = tokio::select! {
            Some(ended) = handling.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, stream, "a message was not handled; it comes again");
                }
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
            if handled.await
                && let Some(reply) = &message.reply
            {
                answer(&client, reply, Answer::Ack).await;
            }
        });
    }
}
