//! The harness of the integration tests: real brokers, real coordinators, scripted plugins.
//!
//! A [`fleet::Fleet`] is one private nats-server with a connection of the test's own. Coordinators
//! ([`lead::Lead`]) and workers ([`plugin::Running`]) each have a runtime and a connection of
//! theirs, so that any of them can vanish between two instructions while the test looks on.
//! Everything is waited for with `eventually`, never slept for.

#![expect(
    clippy::missing_errors_doc,
    reason = "a helper fails with what went wrong, and the test with it"
)]

pub mod api;
pub mod bridge;
pub mod canary;
pub mod chaos;
pub mod cli;
pub mod cluster;
pub mod docker;
pub mod eventually;
pub mod far;
pub mod fleet;
pub mod fuzz;
pub mod lead;
pub mod nats;
pub mod operator;
pub mod plugin;
pub mod proxy;
pub mod read;
pub mod simulation;
pub mod submit;
pub mod terminal;
pub mod wire;

pub use cluster::Cluster;
pub use eventually::{LIMIT, eventually, within};
pub use fleet::Fleet;
pub use lead::Lead;
pub use nats::Server;
pub use operator::Operator;
pub use plugin::{Call, Running, Script, done, manifest};
pub use read::Settled;
pub use submit::{file, json_of};
pub use wire::Wire;

/// Tests that keep both processors busy take one of these for as long as they run.
static HEAVY: tokio::sync::Semaphore = tokio::sync::Semaphore::const_new(2);

/// Waits for a place among the heavy tests.
pub async fn heavy() -> anyhow::Result<tokio::sync::SemaphorePermit<'static>> {
    Ok(HEAVY.acquire().await?)
}

/// Waits for both places at once: a test that took them one by one could wait for ever for another
/// that does so, too.
pub async fn heaviest() -> anyhow::Result<tokio::sync::SemaphorePermit<'static>> {
    Ok(HEAVY.acquire_many(2).await?)
}
