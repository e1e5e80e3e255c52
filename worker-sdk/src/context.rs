//! What a handler gets: the task, the file, what is known of it, and how much time is left.

use std::fmt;
use std::future::Future;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use broker_config::{Artifact, ArtifactName, FileFacts, MetaMap, Task};
use bytes::Bytes;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::artifact::is_media_type;
use crate::files::Files;
use crate::outcome::Failure;
use crate::plugin::Settings;

/// One attempt at one task, as the handler sees it.
pub struct Context {
    pub(crate) task: Task,
    pub(crate) path: PathBuf,
    pub(crate) files: Arc<Files>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) attempt: NonZeroU32,
    pub(crate) deadline: Instant,
    pub(crate) cancelled: CancellationToken,
    /// When progress was reported last, or the attempt began.
    pub(crate) got_on: Mutex<Instant>,
    pub(crate) port: Box<dyn Port>,
}

impl fmt::Debug for Context {
    /// Without the settings: there are secrets among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (task, attempt) = (&self.task.task_id, self.attempt);
        f.debug_struct("Context")
            .field("task", task)
            .field("path", &self.path)
            .field("attempt", &attempt)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// The task as it came, with the identity that its subject says.
    #[must_use]
    pub fn task(&self) -> &Task {
        &self.task
    }

    /// Where the file is on this machine, if it is here; its exact bytes, also for names that are
    /// not UTF-8. What the task calls it, `task().path` says.
    ///
    /// To read it, use [`open`](Self::open) or [`local_path`](Self::local_path): they also find it
    /// elsewhere.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Size, media type, name, sidecars: what its finder said of the file.
    #[must_use]
    pub fn file(&self) -> &FileFacts {
        &self.task.file
    }

    /// What the plugins that this one reads from, and the person, have written about the file.
    #[must_use]
    pub fn existing(&self) -> &MetaMap {
        &self.task.existing_meta
    }

    /// The text that `key` holds; `None` where it holds a set or JSON, or nothing.
    #[must_use]
    pub fn existing_text(&self, key: &str) -> Option<&str> {
        self.task.existing_meta.get(key)?.as_text()
    }

    /// The settings that were in force when the task began.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Number of this attempt, from 1.
    #[must_use]
    pub fn attempt(&self) -> NonZeroU32 {
        self.attempt
    }

    /// Time left until the deadline; zero when it has passed.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Cancelled when the deadline passes or the worker stops at once: stop working, clean up.
    ///
    /// The handler's future is dropped shortly after. Hand a clone to blocking work.
    #[must_use]
    pub fn cancelled(&self) -> &CancellationToken {
        &self.cancelled
    }

    /// Reports how far the task has got, from 0 to 1, with a note for people.
    ///
    /// Best effort, and sent once a second at most: call it as often as you like. Each call begins the
    /// `progressTimeout` anew, where there is one.
    pub async fn progress(&self, fraction: f32, note: &str) {
        let fraction = if fraction.is_finite() { fraction.clamp(0.0, 1.0) } else { 0.0 };
        *self.got_on.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.port.progress(&self.task, fraction, note).await;
    }

    /// Waits until for so long no progress has been reported.
    pub(crate) async fn stalled(&self, limit: Duration) {
        loop {
            let got_on = *self.got_on.lock().unwrap_or_else(PoisonError::into_inner);
            let until = got_on + limit;
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }

    /// Hands in a file that this plugin made, to be processed like any other.
    ///
    /// Returns when the broker has stored the submission. Submitting the same file twice, e.g. in
    /// a second attempt, does no harm.
    ///
    /// # Errors
    ///
    /// [`SubmitError`] when the file cannot be read or the broker does not confirm in time; both
    /// are worth a retryable failure.
    pub async fn submit(&self, file: &Path) -> Result<(), SubmitError> {
        self.port.submit(&self.task, file).await
    }

    /// Keeps something that the plugin made of the file, e.g. a picture, in the broker, where
    /// everybody can read it.
    ///
    /// Returns when the broker has stored it, and what to say of it in the metadata, with
    /// [`Meta::artifact`](crate::Meta::artifact). The same name again takes the place of the one before.
    ///
    /// # Errors
    ///
    /// A retryable [`Failure`] when the broker does not confirm it in time, a permanent one when it
    /// is larger than a message may be, or what is given is no media type.
    pub async fn put_artifact(
        &self,
        name: &ArtifactName,
        media_type: &str,
        bytes: impl Into<Bytes>,
    ) -> Result<Artifact, Failure> {
        if !is_media_type(media_type) {
            let shown = media_type.escape_debug().take(200).collect::<String>();
            return Err(Failure::permanent(format!(
                "`{shown}` is no media type like `image/jpeg`"
            )));
        }
        self.port.artifact(&self.task, name, media_type, bytes.into()).await
    }
}

/// A file could not be handed in.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The file cannot be read, so it has no content id.
    #[error("could not read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The broker did not confirm the submission.
    #[error("the broker did not take {}", path.display())]
    Publish {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Plugins made files from files too often on the way here.
    #[error("{} was made from a file that was made from a file, {depth} times", path.display())]
    TooDeep {
        /// The file.
        path: PathBuf,
        /// How often.
        depth: u32,
    },
}

pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a context can cause outside: a fleet's broker, or the notes of a test bench.
pub(crate) trait Port: fmt::Debug + Send + Sync {
    fn submit<'a>(
        &'a self,
        task: &'a Task,
        file: &'a Path,
    ) -> BoxFuture<'a, Result<(), SubmitError>>;

    fn artifact<'a>(
        &'a self,
        task: &'a Task,
        name: &'a ArtifactName,
        media_type: &'a str,
        bytes: Bytes,
    ) -> BoxFuture<'a, Result<Artifact, Failure>>;

    fn progress<'a>(&'a self, task: &'a Task, fraction: f32, note: &'a str) -> BoxFuture<'a, ()>;
}
