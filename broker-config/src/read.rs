//! Reading a stream directly, without a consumer: many messages in one request.

use async_nats::{Client, HeaderMap, Subscriber};
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
    answers(client, stream, &serde_json::json!({ "multi_last": filters })).await
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
    one(client, stream, &serde_json::json!({ "seq": sequence })).await
}

/// Reads the first message that has this sequence or a later one and whose subject matches `filter`.
///
/// # Errors
///
/// As [`last_messages`].
pub async fn next_message(
    client: &Client,
    stream: &str,
    filter: &str,
    sequence: u64,
) -> Result<Option<Stored>, ReadError> {
    one(client, stream, &serde_json::json!({ "seq": sequence, "next_by_subj": filter })).await
}

async fn one(
    client: &Client,
    stream: &str,
    request: &serde_json::Value,
) -> Result<Option<Stored>, ReadError> {
    let mut answers = ask(client, stream, request).await?;
    // One message is all there is; nothing says that none follows.
    Ok(match read(&mut answers, stream).await? {
        Answer::Message(stored) => Some(stored),
        Answer::End | Answer::Other => None,
    })
}

/// Asks a stream directly and collects the messages of its answer until the server says that it is
/// whole; for every request that may be answered by several messages (`multi_last`, `batch`).
///
/// # Errors
///
/// As [`last_messages`].
pub async fn answers(
    client: &Client,
    stream: &str,
    request: &serde_json::Value,
) -> Result<Vec<Stored>, ReadError> {
    let mut answers = ask(client, stream, request).await?;
    let mut found = Vec::new();
    loop {
        match read(&mut answers, stream).await? {
            Answer::Message(stored) => found.push(stored),
            Answer::End => return Ok(found),
            Answer::Other => {}
        }
    }
}

async fn ask(
    client: &Client,
    stream: &str,
    request: &serde_json::Value,
) -> Result<Subscriber, ReadError> {
    let inbox = client.new_inbox();
    let answers = client.subscribe(inbox.clone()).await.map_err(|_| ReadError::Closed)?;
    client
        .publish_with_reply(
            format!("$JS.API.DIRECT.GET.{stream}"),
            inbox,
            Bytes::from(request.to_string()),
        )
        .await
        .map_err(|_| ReadError::Closed)?;
    Ok(answers)
}

/// One message of an answer.
enum Answer {
    Message(Stored),
    /// There is no more.
    End,
    /// Something that no server sends.
    Other,
}

async fn read(answers: &mut Subscriber, stream: &str) -> Result<Answer, ReadError> {
    let timed_out = |_| ReadError::TimedOut { stream: stream.to_owned() };
    let answer = tokio::time::timeout(SILENCE, answers.next()).await.map_err(timed_out)?;
    let answer = answer.ok_or(ReadError::Closed)?;
    if let Some(status) = answer.status {
        return match status.as_u16() {
            204 | 404 => Ok(Answer::End),
            413 => Err(ReadError::TooMany),
            status => Err(ReadError::Refused {
                stream: stream.to_owned(),
                status,
                description: answer.description.unwrap_or_default(),
            }),
        };
    }
    let Some(headers) = answer.headers else { return Ok(Answer::Other) };
    let text = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
    Ok(match (text("Nats-Subject"), text("Nats-Sequence").map(|text| text.parse())) {
        (Some(subject), Some(Ok(sequence))) => {
            Answer::Message(Stored { subject, sequence, headers, payload: answer.payload })
        }
        _ => Answer::Other,
    })
}
