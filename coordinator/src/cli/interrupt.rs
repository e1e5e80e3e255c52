//! Commands that end in order when they are interrupted.

use std::future::Future;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::exit::{Exit, Failure};
use crate::shutdown::StopSignals;

/// Does the work to its end; `drain` is cancelled when the first signal comes, so that it ends soon.
pub(crate) async fn in_order(
    drain: CancellationToken,
    work: impl Future<Output = Result<Exit, Failure>>,
) -> Result<Exit, Failure> {
    let signals = StopSignals::listen()
        .map_err(|error| Failure::because(Exit::Failure, "listen for signals", &error))?;
    let done = CancellationToken::new();
    let mut beside = JoinSet::new();
    beside.spawn({
        let done = done.clone();
        async move {
            signals.run(drain, done).await;
        }
    });
    let ended = work.await;
    done.cancel();
    beside.shutdown().await;
    ended
}
