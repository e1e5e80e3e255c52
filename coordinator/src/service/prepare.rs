//! Has the broker carry the fleet before anything else begins: the server is looked at, and streams are
//! made. What passes is waited for; what does not ends the coordinator at once.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use broker_config::Chain;
use broker_config::apply::{ApplyError, apply, check_server};
use broker_config::topology::Topology;
use tokio::time::Instant;

use crate::broker::Broker;

/// Pauses between two attempts, the first and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// No further attempt after this long: somebody should hear of it.
const PATIENCE: Duration = Duration::from_secs(120);

/// Looks at the server and makes the streams, again as long as what is in the way may pass.
///
/// # Errors
///
/// The first [`ApplyError`] that does not pass, or the last one after two minutes.
pub(super) async fn prepare(broker: &Broker, replicas: usize) -> Result<(), ApplyError> {
    let began = Instant::now();
    let pauses = ExponentialBuilder::default()
        .with_min_delay(PAUSES.0)
        .with_max_delay(PAUSES.1)
        .without_max_times();
    let attempt = || broker.through(|| attempt(broker, replicas));
    attempt
        .retry(pauses)
        .when(|error: &ApplyError| error.is_passing() && began.elapsed() < PATIENCE)
        .notify(|error: &ApplyError, _| {
            let error = Chain(error);
            tracing::warn!(%error, "the broker is not ready for the fleet, trying again");
        })
        .await
}

async fn attempt(broker: &Broker, replicas: usize) -> Result<(), ApplyError> {
    let version = broker.client.server_info().version;
    check_server(&broker.js, &version).await?;
    let topology = Topology::of(&broker.names, replicas);
    let changes = apply(&broker.js, &topology).await?;
    tracing::debug!(streams = changes.len(), "topology applied");
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_config::Names;
    use rustix::process::Signal;
    use tokio::time::timeout;

    use super::*;
    use crate::store::testing::TestBroker;

    /// Longer than the client waits for one answer.
    const LONG: Duration = Duration::from_secs(7);

    #[tokio::test]
    async fn a_broker_that_does_not_answer_for_long_is_waited_for() -> anyhow::Result<()> {
        let (server, _store) = TestBroker::start().await?;
        let broker = Broker::open(server.client().await?, Names::default()).await?;
        server.signal(Signal::STOP)?;
        let prepared = prepare(&broker, 1);
        tokio::pin!(prepared);

        assert!(timeout(LONG, &mut prepared).await.is_err(), "it goes on trying");
        server.signal(Signal::CONT)?;

        timeout(Duration::from_secs(60), prepared).await??;
        Ok(())
    }

    #[tokio::test]
    async fn what_does_not_pass_ends_it_at_once() -> anyhow::Result<()> {
        let (server, _store) = TestBroker::start().await?;
        let broker = Broker::open(server.client().await?, Names::default()).await?;
        broker.js.delete_stream(broker.names.task_stream()).await?;
        let other = async_nats::jetstream::stream::Config {
            name: broker.names.task_stream(),
            subjects: vec!["something.else".to_owned()],
            ..Default::default()
        };
        broker.js.create_stream(other).await?;

        let refused = timeout(Duration::from_secs(5), prepare(&broker, 1)).await?;

        assert!(matches!(refused, Err(ApplyError::WouldLose { .. })), "{refused:?}");
        Ok(())
    }
}
