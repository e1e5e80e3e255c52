//! Files that a plugin hands in: those it made, and those it passes on.

use std::path::{Path, PathBuf};

use async_nats::HeaderMap;
use broker_config::header::MESSAGE_ID;
use broker_config::publish::PublishError;
use broker_config::wire::file::FilePath;
use broker_config::wire::submission::MAX_DEPTH;
use broker_config::{Cid, FileFacts, Queue, Submission, Task};
use bytes::Bytes;
use tracing::Span;

use crate::context::SubmitError;
use crate::outcome::{Destination, Failure};
use crate::rim::Rim;
use crate::settle::Attempt;
use crate::telemetry;

/// A forward was not carried out.
#[derive(Debug)]
pub(crate) enum NotForwarded {
    /// It cannot be, or not as things are: the attempt failed.
    Failed(Failure),
    /// It could not be stored although it was tried again and again. The attempt did not fail.
    NotStored(PublishError),
}

impl From<Failure> for NotForwarded {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<PublishError> for NotForwarded {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::TooLarge { .. } => Self::Failed(Failure::permanent(error)),
            PublishError::WrongLastSequence { .. }
            | PublishError::Refused { .. }
            | PublishError::NoStream { .. }
            | PublishError::Unacknowledged { .. }
            | PublishError::Closed => Self::NotStored(error),
        }
    }
}

/// Carries out a forward; returns what the record says about it.
pub(crate) async fn forward(
    attempt: &Attempt<'_>,
    to: &Destination,
    sequence: u64,
) -> Result<String, NotForwarded> {
    let task = attempt.task;
    let (submission, reason) = match to {
        Destination::File(path) => {
            let submission = file(attempt.rim, task, path).await.map_err(|error| match error {
                SubmitError::TooDeep { .. } => Failure::permanent(error),
                SubmitError::Read { .. } | SubmitError::Publish { .. } => Failure::retryable(error),
            })?;
            (submission, format!("forwarded to {}", path.display()))
        }
        Destination::Plugin(plugin) => {
            let path = task.path.clone();
            let mut submission = Submission::new(task.cid.clone(), path, task.file.clone());
            submission.only = vec![plugin.clone()];
            submission.origin = Some(attempt.rim.manifest.id.clone());
            submission.depth = task.depth + 1;
            submission.scan_id.clone_from(&task.scan_id);
            (submission, format!("forwarded to {plugin}"))
        }
    };
    if submission.depth > MAX_DEPTH {
        return Err(Failure::permanent(format!("forwarded {} times", submission.depth)).into());
    }
    let (subject, mut headers, body) = message(attempt.rim, attempt.queue, &submission)?;
    // Nobody is to guess it, who would have it taken for a repetition. Another attempt may hand in once
    // more; then nothing is left to do.
    let secret = fastrand::u128(..);
    headers.insert(MESSAGE_ID, format!("forward.{sequence}.{secret:032x}"));
    telemetry::inject(&Span::current(), attempt.headers, &mut headers);
    attempt.publish(subject, headers, body).await?;
    Ok(reason)
}

/// Hands in a file that the plugin made while it works on `task`.
pub(crate) async fn submit(
    rim: &Rim,
    queue: Queue,
    task: &Task,
    path: &Path,
) -> Result<(), SubmitError> {
    let submission = file(rim, task, path).await?;
    let refused = |source: Box<dyn std::error::Error + Send + Sync>| SubmitError::Publish {
        path: path.to_owned(),
        source,
    };
    let (subject, headers, body) =
        message(rim, queue, &submission).map_err(|error| refused(error.to_string().into()))?;
    rim.link.connected().await;
    let stored: Result<u64, PublishError> = rim.publisher.publish(subject, headers, body).await;
    stored.map(drop).map_err(|error| refused(error.into()))
}

fn message(
    rim: &Rim,
    queue: Queue,
    submission: &Submission,
) -> Result<(String, HeaderMap, Bytes), Failure> {
    let body = serde_json::to_vec(submission).map_err(Failure::permanent)?;
    Ok((rim.names.submit(queue), HeaderMap::new(), body.into()))
}

async fn file(rim: &Rim, task: &Task, path: &Path) -> Result<Submission, SubmitError> {
    let depth = task.depth + 1;
    if depth > MAX_DEPTH {
        return Err(SubmitError::TooDeep { path: path.to_owned(), depth });
    }
    let (path, cid, facts) = look(path.to_owned()).await?;
    let path = rim.files.paths().there(&path);
    let mut submission = Submission::new(cid, FilePath::new(&path), facts);
    submission.origin = Some(rim.manifest.id.clone());
    submission.depth = depth;
    submission.scan_id.clone_from(&task.scan_id);
    Ok(submission)
}

/// Reads a file's content id and facts, away from the handlers' threads.
async fn look(path: PathBuf) -> Result<(PathBuf, Cid, FileFacts), SubmitError> {
    let shown = path.clone();
    let read = tokio::task::spawn_blocking(move || {
        let path = std::path::absolute(&path)?;
        if !std::fs::metadata(&path)?.is_file() {
            let what = "it is not a regular file";
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, what));
        }
        let cid = broker_config::midhash::of_file(&path)?;
        let facts = crate::facts::of_file(&path)?;
        Ok((path, cid, facts))
    });
    let read = read.await.map_err(std::io::Error::other).and_then(|read| read);
    read.map_err(|source| SubmitError::Read { path: shown, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_forward_that_is_too_large_fails_by_not_being_stored() {
        let subject = String::new;
        let full = PublishError::Refused {
            subject: subject(),
            code: 10077,
            description: "maximum bytes exceeded".to_owned(),
        };
        for (error, fails) in [
            (PublishError::TooLarge { subject: subject(), bytes: 2, limit: 1 }, true),
            (full, false),
            (PublishError::NoStream { subject: subject() }, false),
            (PublishError::Unacknowledged { subject: subject() }, false),
            (PublishError::Closed, false),
        ] {
            let said = NotForwarded::from(error.clone());
            assert_eq!(matches!(said, NotForwarded::Failed(_)), fails, "{error}");
        }
    }
}
