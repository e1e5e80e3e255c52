//! What a handler gets: the task, the file, what is known of it, and how much time is left.

use std::fmt;
use std::future::Future;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use broker_config::{FileFacts, MetaMap, Task};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::plugin::Settings;

/// One attempt at one task, as the handler sees it.
#[derive(Debug)]
pub struct Context {
    pub(crate) task: Task,
    pub(crate) path: PathBuf,
    pub(crate) settings: Arc<Settings>,
    pub(crate) attempt: NonZeroU32,
    pub(crate) deadline: Instant,
    pub(crate) cancelled: CancellationToken,
    /// When progress was reported last, or the attempt began.
    pub(crate) got_on: Mutex<Instant>,
    pub(crate) port: Box<dyn Port>,
}

impl Context {
    /// The task as it came, with the identity that its subject says.
    #[must_use]
    pub fn task(&self) -> &Task {
        &self.task
    }

    /// Where the file is; its exact bytes, also for names that are not UTF-8.
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

    fn progress<'a>(&'a self, task: &'a Task, fraction: f32, note: &'a str) -> BoxFuture<'a, ()>;
}
