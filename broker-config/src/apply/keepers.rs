//! Consumers that belong to a stream and that nobody pulls from.

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::{self, stream::ConsumerErrorKind};

use super::{ApplyError, Change, refused};
use crate::topology::StreamSpec;

/// Adds to what is to change those of the stream's keepers that are missing.
pub(super) async fn with_missing(
    js: &jetstream::Context,
    spec: &StreamSpec,
    change: Change,
) -> Result<Change, ApplyError> {
    let mut missing = Vec::new();
    for keeper in &spec.keepers {
        let found = js.get_consumer_from_stream::<pull::Config, _, _>(keeper.name, &spec.name);
        match found.await {
            Ok(found) if found.cached_info().config.filter_subject == keeper.filter => {}
            Ok(_) => missing.push(format!("consumer {}: another filter", keeper.name)),
            Err(error) if is_absent(error.kind()) => {
                missing.push(format!("consumer {}: missing", keeper.name));
            }
            Err(error) => return Err(refused("read", keeper.name, error)),
        }
    }
    Ok(match change {
        Change::Unchanged if missing.is_empty() => Change::Unchanged,
        Change::Unchanged => Change::Update { differences: missing },
        Change::Update { differences } => {
            Change::Update { differences: [differences, missing].concat() }
        }
        Change::Create | Change::Refuse { .. } => change,
    })
}

/// Makes the keepers of a stream.
pub(super) async fn apply(js: &jetstream::Context, spec: &StreamSpec) -> Result<(), ApplyError> {
    for keeper in &spec.keepers {
        let config = pull::Config {
            durable_name: Some(keeper.name.to_owned()),
            filter_subject: keeper.filter.clone(),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::Explicit,
            ..pull::Config::default()
        };
        js.create_consumer_on_stream(config, spec.name.clone())
            .await
            .map_err(|error| refused("create", keeper.name, error))?;
    }
    Ok(())
}

/// Whether there is no such consumer.
pub(super) fn is_absent(kind: ConsumerErrorKind) -> bool {
    match kind {
        ConsumerErrorKind::JetStream(error) => error.code() == 404,
        ConsumerErrorKind::TimedOut
        | ConsumerErrorKind::Request
        | ConsumerErrorKind::InvalidConsumerType
        | ConsumerErrorKind::InvalidName
        | ConsumerErrorKind::Other => false,
    }
}
