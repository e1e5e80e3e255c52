//! Names of message headers. NATS headers are case-sensitive.

/// A publish succeeds only if this is the sequence of the last message on its subject; 0 = none.
pub const EXPECTED_LAST_SUBJECT_SEQUENCE: &str = "Nats-Expected-Last-Subject-Sequence";
/// Has the expected sequence be that of the last message on any subject that matches this one.
pub const EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT: &str =
    "Nats-Expected-Last-Subject-Sequence-Subject";
/// Deduplicates within the stream's window.
pub const MESSAGE_ID: &str = "Nats-Msg-Id";
/// When the server is to publish a scheduled message: `@at <RFC 3339>`.
pub const SCHEDULE: &str = "Nats-Schedule";
/// Where it is to publish it.
pub const SCHEDULE_TARGET: &str = "Nats-Schedule-Target";
/// Attempts already used up before this message was published, in decimal; absent = 0.
pub const ATTEMPTS_USED: &str = "Mf-Attempts-Used";
/// On a record `failed`: sequence of its dead letter, in decimal.
pub const DEAD_LETTER: &str = "Mf-Dead-Letter";
/// The media type of an artefact.
pub const CONTENT_TYPE: &str = "Content-Type";
/// W3C trace context.
pub const TRACE_PARENT: &str = "traceparent";
/// W3C trace state.
pub const TRACE_STATE: &str = "tracestate";
/// Marks a deleted key of a bucket: `DEL` or `PURGE`.
pub const KV_OPERATION: &str = "KV-Operation";
/// Status of a message without payload that the server sends to a puller.
pub const STATUS: &str = "Status";

/// The server's code for "the last sequence on this subject is another one".
pub const WRONG_LAST_SEQUENCE: u64 = 10071;
