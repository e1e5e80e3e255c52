//! Hands in files that are known already, for a new version to see.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::HeaderMap;
use broker_config::{PluginId, Queue, Submission};
use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::super::exit::{Exit, Failure};
use crate::source::{Why, look_again};
use crate::store::files::files_of;
use crate::store::{Store, StoreError};

/// How long the new version may take to announce itself.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at it.
const PAUSE: Duration = Duration::from_millis(200);

/// Hands in `count` known files for one plugin when its new version is there; says how many there
/// were.
pub(crate) async fn hand_in(store: &Store, id: &PluginId, count: usize) -> Result<usize, Failure> {
    if count == 0 {
        return Ok(0);
    }
    wait_for_candidate(store, id).await?;
    let mut cursor = store.path_cursor(None);
    let mut seen = BTreeSet::new();
    while seen.len() < count {
        let batch = cursor.read().await?;
        if batch.is_empty() {
            break;
        }
        for entry in files_of(&batch) {
            let is_new = entry.file().is_some_and(|file| !seen.contains(&file.cid));
            if seen.len() == count || !is_new {
                continue;
            }
            let Some(file) = look_again(entry, Why::Forced).await else { continue };
            let submission = Submission { only: vec![id.clone()], ..file.submission() };
            submit(store, &submission).await?;
            seen.insert(submission.cid);
        }
    }
    Ok(seen.len())
}

async fn submit(store: &Store, submission: &Submission) -> Result<(), StoreError> {
    let what = format!("hand in {}", submission.cid);
    let body = serde_json::to_vec(submission)
        .map_err(|cause| StoreError::Unreadable { what: what.clone(), cause })?;
    let subject = store.names().submit(Queue::Fast);
    let sent = store.publisher().publish(subject, HeaderMap::new(), Bytes::from(body)).await;
    sent.map(drop).map_err(|error| StoreError::of_publish(&what, error))
}

async fn wait_for_candidate(store: &Store, id: &PluginId) -> Result<(), Failure> {
    let until = Instant::now() + PATIENCE;
    loop {
        let versions = store.versions().await?.remove(id);
        let transition = versions.and_then(|known| known.versions.transition);
        if transition.is_some_and(|transition| transition.candidate.is_some()) {
            return Ok(());
        }
        if Instant::now() > until {
            let message = format!("the new version of {id} does not announce itself");
            return Err(Failure::new(Exit::TimedOut, message)
                .advise("the transition goes on; nothing was handed in"));
        }
        sleep(PAUSE).await;
    }
}
