//! The JSON messages. Plain data: camelCase, a versioned `type`, unknown fields ignored on reading.
//!
//! Identity (which plugin, which file) is read from the subject, never from a body: a body can say
//! anything, a subject only what its sender may publish.

pub mod artifact;
pub mod dead;
pub mod event;
pub mod file;
pub mod files;
pub mod instance;
pub mod lease;
pub mod plugin;
pub mod record;
pub mod signal;
pub mod submission;
pub mod task;

/// Declares the `type` string of a message as a type of its own, so that a message of another kind
/// or version does not deserialise.
macro_rules! message_type {
    ($(#[$doc:meta])* $name:ident = $text:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        pub enum $name {
            /// The only version there is.
            #[default]
            #[serde(rename = $text)]
            V1,
        }
    };
}
pub(crate) use message_type;
