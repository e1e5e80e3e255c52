//! Reading the last messages of many subjects in one request.

use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use futures_util::StreamExt as _;
use std::time::Duration;

use crate::header::KV_OPERATION;

/// Most subjects that one answer may hold; the server refuses more.
pub const MOST_SUBJECTS: usize = 1024;
/// How long the server may be silent in the middle of an answer.
const SILENCE: Duration = Duration::from_secs(5);

/// A message as the stream keeps it.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its subject.
    pub subject: String,
    /// Its sequence in the stream; for a key of a bucket, the revision.
    pub sequence: u64,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub payload: Bytes,
}

impl Stored {
    /// Whether it only marks that a key was deleted.
    #[must_use]
    pub fn is_deletion(&self) -> bool {
        is_deletion(Some(&self.headers))
    }
}

/// Whether these are the headers of a deleted key.
#[must_use]
pub fn is_deletion(headers: Option<&HeaderMap>) -> bool {
    headers.is_some_and(|headers| {
        headers.get(KV_OPERATION).is_some() || headers.get("Nats-Marker-Reason").is_some()
    })
}

/// Why a stream could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// More than [`MOST_SUBJECTS`] subjects match; ask for fewer.
    #[error("more than {MOST_SUBJECTS} subjects match")]
    TooMany,
    /// The server did not answer, or stopped in the middle; asking again is safe.
    #[error("stream {stream} was not answered for in time")]
    TimedOut {
        /// The stream.
        stream: String,
    },
    /// The server said no.
    #[error("stream {stream} cannot be read: {status} {description}")]
    Refused {
        /// The stream.
        stream: String,
        /// Its status code.
        status: u16,
        /// Its words.
        description: String,
    },
    /// The connection is closed.
    #[error("the connection is closed")]
    Closed,
}

impl ReadError {
    /// Whether the same read can succeed later without any other change.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::TimedOut { .. } | Self::Refused { .. } => true,
            Self::TooMany | Self::Closed => false,
        }
    }
}

/// Reads the last message of every subject that matches one of `filters`, deletions included.
///
/// The filters must not overlap. A read may be served by any replica, so it can be behind a write
/// that was just acknowledged; fenced writes are what decides.
///
/// # Errors
///
/// [`ReadError::TooMany`] over [`MOST_SUBJECTS`] matches; the others as they say.
pub async fn last_messages(
    client: &Client,
    stream: &str,
    filters: &[String],
) -> Result<Vec<Stored>, ReadError> {
    let body = serde_json::json!({ "multi_last": filters });
    get(client, stream, &body).await
}

/// Reads the message with this sequence; `None` if it is gone.
///
/// # Errors
///
/// As [`last_messages`].
pub async fn message_at(
    client: &Client,
    stream: &str,
    sequence: u64,
) -> Result<Option<Stored>, ReadError> {
    let body = serde_json::json!({ "seq": sequence });
    Ok(get(client, stream, &body).await?.into_iter().next())
}

async fn get(
    client: &Client,
    stream: &str,
    body: &serde_json::Value,
) -> Result<Vec<Stored>, ReadError> {
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.map_err(|_| ReadError::Closed)?;
    let single = body.get("seq").is_some();
    let request = Bytes::from(body.to_string());
    client
        .publish_with_reply(format!("$JS.API.DIRECT.GET.{stream}"), inbox, request)
        .await
        .map_err(|_| ReadError::Closed)?;
    let mut found = Vec::new();
    loop {
        let timed_out = || ReadError::TimedOut { stream: stream.to_owned() };
        let answer =
            tokio::time::timeout(SILENCE, answers.next()).await.map_err(|_| timed_out())?;
        let answer = answer.ok_or(ReadError::Closed)?;
        if let Some(status) = answer.status {
            return match status.as_u16() {
                204 | 404 => Ok(found),
                413 => Err(ReadError::TooMany),
                other => Err(ReadError::Refused {
                    stream: stream.to_owned(),
                    status: other,
                    description: answer.description.unwrap_or_default(),
                }),
            };
        }
        let Some(headers) = answer.headers else { continue };
        let text = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
        if let (Some(subject), Some(Ok(sequence))) =
            (text("Nats-Subject"), text("Nats-Sequence").map(|text| text.parse()))
        {
            found.push(Stored { subject, sequence, headers, payload: answer.payload });
        }
        if single {
            return Ok(found);
        }
    }
}
