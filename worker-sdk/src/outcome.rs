//! What a handler says about a task: an [`Outcome`], or a [`Failure`] whose kind it must choose.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use broker_config::{Chain, PluginId};

use crate::meta::Meta;

/// How a task ended, in the words of the plugin.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The metadata of this file; it replaces what the plugin wrote about it before.
    Completed(Meta),
    /// The plugin has nothing to say about this file.
    Skipped {
        /// Why, for the person who looks at the file.
        reason: String,
    },
    /// Not now: an outside service asks to wait. Costs no attempt.
    RetryLater {
        /// The earliest time to try again, from now.
        after: Duration,
        /// Who asked to wait, for the person who looks at the file.
        reason: String,
    },
    /// The work goes on elsewhere: with another file, or with another plugin.
    Forward(Forward),
}

impl Outcome {
    /// Nothing to say about this file, because of `reason`.
    #[must_use]
    pub fn skipped(reason: impl Into<String>) -> Self {
        Self::Skipped { reason: reason.into() }
    }

    /// Try again after `after`; costs no attempt.
    #[must_use]
    pub fn retry_later(after: Duration, reason: impl Into<String>) -> Self {
        Self::RetryLater { after, reason: reason.into() }
    }
}

/// Where the work goes on, and what the plugin itself found out before it handed over.
#[derive(Debug, Clone, PartialEq)]
pub struct Forward {
    pub(crate) to: Destination,
    pub(crate) meta: Meta,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Destination {
    File(PathBuf),
    Plugin(PluginId),
}

impl Forward {
    /// Submits another file, e.g. one that the plugin has just written.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { to: Destination::File(path.into()), meta: Meta::new() }
    }

    /// Hands this file to another plugin and what that depends on; their filters still apply.
    #[must_use]
    pub fn plugin(id: PluginId) -> Self {
        Self { to: Destination::Plugin(id), meta: Meta::new() }
    }

    /// Keeps `meta` as this plugin's own metadata; without it the record says `skipped`.
    #[must_use]
    pub fn with_meta(mut self, meta: Meta) -> Self {
        self.meta = meta;
        self
    }
}

/// A task that did not succeed, and whether trying again can help.
///
/// There is no conversion from other errors: either default would be wrong half of the time. Use
/// [`Failure::retryable`], [`Failure::permanent`] or [`Classify`] on a result.
#[derive(Debug)]
pub struct Failure {
    retryable: bool,
    error: Box<dyn Error + Send + Sync>,
}

impl Failure {
    /// The same call may succeed later: a time-out, a busy service, a full disk.
    #[must_use]
    pub fn retryable(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { retryable: true, error: error.into() }
    }

    /// Trying again cannot help: the file is broken, the settings are wrong.
    #[must_use]
    pub fn permanent(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { retryable: false, error: error.into() }
    }

    /// Whether the task is to be tried again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }

    /// What went wrong.
    #[must_use]
    pub fn error(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.error
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Chain(&*self.error).fmt(f)
    }
}

/// Turns the error of a result into a [`Failure`] of the chosen kind.
///
/// # Examples
///
/// ```
/// use worker_sdk::{Classify, Failure};
///
/// fn first_line(text: Result<String, std::io::Error>) -> Result<String, Failure> {
///     Ok(text.retryable()?.lines().next().unwrap_or_default().to_owned())
/// }
/// ```
pub trait Classify<T> {
    /// Trying again may help.
    ///
    /// # Errors
    ///
    /// The error of `self` as a retryable [`Failure`].
    fn retryable(self) -> Result<T, Failure>;

    /// Trying again cannot help.
    ///
    /// # Errors
    ///
    /// The error of `self` as a permanent [`Failure`].
    fn permanent(self) -> Result<T, Failure>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> Classify<T> for Result<T, E> {
    fn retryable(self) -> Result<T, Failure> {
        self.map_err(Failure::retryable)
    }

    fn permanent(self) -> Result<T, Failure> {
        self.map_err(Failure::permanent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_the_whole_chain_once() {
        let error: Result<(), _> = "x".parse::<u8>().map(drop);
        let failure = error.permanent().unwrap_err();
        assert!(!failure.is_retryable());
        assert_eq!(failure.to_string(), "invalid digit found in string");
        assert!(Failure::retryable("busy").is_retryable());
    }
}
