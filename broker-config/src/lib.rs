#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

pub mod accounts;
pub mod apply;
pub mod chain;
pub mod codec;
pub mod delivery;
pub mod filter;
pub mod header;
pub mod id;
pub mod manifest;
pub mod mask;
pub mod meta;
pub mod midhash;
pub mod mime;
pub mod names;
pub mod paths;
pub mod planted;
pub mod publish;
pub mod pull;
pub mod queue;
pub mod read;
pub mod retry;
pub mod schema;
pub mod topology;
pub mod warrant;
pub mod wire;

pub use accounts::Accounts;
pub use apply::{ApplyError, apply};
pub use chain::Chain;
pub use filter::Filter;
pub use id::{ArtifactName, Cid, InstanceId, PluginId, Prefix, RunId, TaskId};
pub use manifest::{InvalidManifest, Manifest};
pub use meta::{MetaKey, MetaMap, MetaValue};
pub use names::{Lane, Names, RouteName};
pub use paths::PathMap;
pub use queue::Queue;
pub use retry::{RetryPolicy, Verdict};
pub use wire::artifact::Artifact;
pub use wire::dead::DeadLetter;
pub use wire::file::{FileFacts, Sidecar};
pub use wire::files::FilesOffer;
pub use wire::record::{Record, RecordStatus};
pub use wire::signal::{Announce, AnnounceReply, Control, Signal};
pub use wire::submission::Submission;
pub use wire::task::Task;
