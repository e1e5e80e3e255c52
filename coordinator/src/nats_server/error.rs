//! Why the broker does not start.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// The broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The operating system refuses.
    #[error("could not use {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another server works on the store.
    #[error("another nats-server works on {path}, and did not stop")]
    StoreInUse {
        /// The folder.
        path: PathBuf,
    },
    /// An older version has kept streams beside those of this one.
    #[error(
        "there are streams in {old} and in {new}; an older version has run since the change to \
         accounts: move one of the two folders away"
    )]
    TwoStores {
        /// The folder of the older version.
        old: PathBuf,
        /// The folder of this one.
        new: PathBuf,
    },
    /// The program could not be started at all.
    #[error("could not start {path}")]
    Spawn {
        /// The program.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It ended before it answered.
    #[error("nats-server ended ({status}){}", because(.said))]
    Ended {
        /// How.
        status: ExitStatus,
        /// The last lines it wrote.
        said: String,
    },
    /// It runs and does not answer.
    #[error("nats-server did not answer in time{}", because(.said))]
    Silent {
        /// The last lines it wrote, and why the last attempt to connect failed.
        said: String,
    },
    /// All ports that were tried are taken.
    #[error("no free port on 127.0.0.1 from {from} to {to}")]
    NoPort {
        /// First port tried.
        from: u16,
        /// Port after the last.
        to: u16,
    },
}

pub(super) fn because(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

impl StartError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}
