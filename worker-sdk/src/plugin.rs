//! The trait that a plugin author implements.

use std::fmt;
use std::future::{Future, ready};

use broker_config::Manifest;

use crate::context::Context;
use crate::outcome::{Failure, Outcome};

/// A plugin's settings; the defaults of its `configSchema` are filled in.
pub type Settings = serde_json::Map<String, serde_json::Value>;

/// A plugin: says what it is, and turns one file into metadata.
///
/// Only [`manifest`](Plugin::manifest) and [`process`](Plugin::process) are needed. One value
/// serves all tasks of a process, several at the same time, so state is behind a lock.
pub trait Plugin: Send + Sync + 'static {
    /// What the plugin is; usually `worker_sdk::manifest(include_str!("../manifest.json"))`.
    fn manifest(&self) -> Manifest;

    /// Takes the settings, before the first task and whenever they change.
    ///
    /// # Errors
    ///
    /// [`InvalidSettings`] keeps the instance from serving; its text is shown to people. The
    /// instance stays and is configured again when the settings change. A minute without an answer
    /// counts as one.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped when that minute is over, and when the worker drains.
    fn configure(
        &self,
        _settings: &Settings,
    ) -> impl Future<Output = Result<(), InvalidSettings>> + Send {
        ready(Ok(()))
    }

    /// Reads one file and says what it found.
    ///
    /// A panic counts as a failed attempt. Work that blocks its thread belongs into
    /// `tokio::task::spawn_blocking`: the lease is renewed all the same, but only until the
    /// deadline of the task, and a blocked thread cannot be cancelled.
    ///
    /// # Errors
    ///
    /// [`Failure::retryable`] when trying again may help, else [`Failure::permanent`].
    ///
    /// # Cancel safety
    ///
    /// The future is dropped when the deadline of the task passes.
    fn process(&self, ctx: &Context) -> impl Future<Output = Result<Outcome, Failure>> + Send;

    /// Says whether the plugin can do its work; asked before each heartbeat.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped after two seconds; the plugin then counts as unhealthy.
    fn health(&self) -> impl Future<Output = Health> + Send {
        ready(Health::Healthy)
    }

    /// Called when the instance is told to take no more tasks for a while.
    fn on_pause(&self) {}

    /// Called when the instance serves again after a pause.
    fn on_resume(&self) {}

    /// Called once when the instance has finished its last task.
    fn on_stop(&self) {}
}

/// Reads the manifest that is compiled into a plugin.
///
/// # Panics
///
/// When it is not valid, with every reason: a mistake that the plugin's first test or start finds.
#[must_use]
#[expect(clippy::panic, reason = "the text is part of the program, like an array index in it")]
pub fn manifest(text: &str) -> Manifest {
    Manifest::from_json(text).unwrap_or_else(|error| panic!("{error}"))
}

/// The settings cannot be used; the text says why, and is shown to people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSettings(String);

impl InvalidSettings {
    /// Refuses the settings because of `reason`, e.g. `apiKey is required`.
    #[must_use]
    pub fn new(reason: impl fmt::Display) -> Self {
        Self(reason.to_string())
    }
}

/// Whether a plugin can do its work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Health {
    /// It can.
    #[default]
    Healthy,
    /// It cannot, for this reason.
    Unhealthy(String),
}
