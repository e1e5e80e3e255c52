//! Hands files in while the experiment runs, and again until the broker has acknowledged them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_nats::HeaderMap;
use broker_config::Queue;
use broker_config::header::MESSAGE_ID;
use broker_config::publish::PublishError;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::{GRAPH, Sabotage};
use crate::{Fleet, file, json_of};

/// Files handed in at the same time.
const AT_ONCE: usize = 32;
/// Of the files, this part is ahead of the workers, so that files are handed in for most of the
/// experiment.
const AHEAD: usize = 5;
/// Pause before something is handed in again.
const PAUSE: Duration = Duration::from_millis(200);

/// How far the experiment is, as far as the handing in of files goes by it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Executions that have begun.
    pub begun: usize,
    /// Files to hand in whatever has begun.
    pub extra: usize,
}

/// The content id of a file of the experiment.
#[must_use]
pub fn cid(number: usize) -> String {
    format!("chaos-{number:06}")
}

/// Hands in `files` files, not much faster than the executions show that they are worked on.
pub async fn submit(
    fleet: Arc<Fleet>,
    files: usize,
    mut progress: watch::Receiver<Progress>,
    sabotage: Option<Sabotage>,
) -> anyhow::Result<()> {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    for number in 0..files {
        let due = |now: &Progress| number < now.begun / GRAPH.len() + now.extra + files / AHEAD;
        progress.wait_for(due).await?;
        let place = places.clone().acquire_owned().await?;
        let fleet = fleet.clone();
        running.spawn(async move {
            let _place = place;
            hand_in(&fleet, number, sabotage).await
        });
        while let Some(ended) = running.try_join_next() {
            ended??;
        }
    }
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    Ok(())
}

async fn hand_in(fleet: &Fleet, number: usize, sabotage: Option<Sabotage>) -> anyhow::Result<()> {
    let cid = cid(number);
    let body = json_of(&file(&cid)?)?;
    let mut headers = HeaderMap::new();
    // What was stored without our hearing of it is not stored again.
    headers.insert(MESSAGE_ID, cid.as_str());
    let run = loop {
        let subject = fleet.names.submit(Queue::Fast);
        match fleet.publisher.publish(subject, headers.clone(), body.clone()).await {
            Ok(run) => break run,
            Err(error) if sabotage == Some(Sabotage::SubmitOnce) => {
                tracing::debug!(%error, "not handed in again");
                return Ok(());
            }
            Err(PublishError::Closed) => anyhow::bail!("the connection is closed"),
            Err(error @ PublishError::TooLarge { .. }) => return Err(error.into()),
            Err(error) => tracing::debug!(%error, cid, "handed in again"),
        }
        tokio::time::sleep(PAUSE).await;
    };
    if sabotage == Some(Sabotage::ForgetFiles) {
        tokio::time::sleep(PAUSE).await;
        fleet
            .delete_message(&fleet.names.submit_stream(), run)
            .await
            .context("forget a submission")
            .ok();
    }
    Ok(())
}
