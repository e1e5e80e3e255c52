#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod announce;
mod artifact;
mod attempt;
mod connect;
mod context;
mod control;
mod delivery;
mod echo;
mod facts;
mod files;
mod guard;
mod handle;
mod lease;
mod meta;
mod metrics;
mod options;
mod outcome;
mod permit;
mod plugin;
mod presence;
mod process;
mod pull;
mod rim;
mod settle;
pub mod share;
mod standing;
mod submit;
pub mod telemetry;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod vars;
mod worker;

pub use broker_config::{
    Artifact, ArtifactName, Cid, FileFacts, Manifest, MetaKey, MetaMap, MetaValue, PluginId, Queue,
    Task, mime,
};
pub use connect::ConnectError;
pub use context::{Context, SubmitError};
pub use files::{
    BlockingReader, Door, Endpoint, FetchError, FileReader, FilesOptions, InvalidEndpoint,
    LocalFile, OpenError,
};
pub use guard::{Guard, die_with_parent};
pub use meta::Meta;
pub use options::{Credentials, DEFAULT_GRACE, InvalidOptions, WorkerOptions};
pub use outcome::{Classify, Failure, Forward, Outcome};
pub use plugin::{Health, InvalidSettings, Plugin, Settings, manifest};
pub use process::run;
pub use worker::{Worker, WorkerError};

/// Sends a message that nobody acknowledges: an answer to the broker or to a request, a sign of
/// life. What must not be lost goes through the publisher.
async fn tell(
    client: &async_nats::Client,
    subject: async_nats::Subject,
    payload: bytes::Bytes,
) -> Result<(), async_nats::PublishError> {
    #[expect(clippy::disallowed_methods, reason = "losing it does no harm, as its callers say")]
    let sent = client.publish(subject, payload);
    sent.await
}
