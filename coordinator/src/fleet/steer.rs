//! How the API steers plugins: what it asks of the keeper of the plan, and what it is told.
//!
//! One actor (`fleet::reload`) changes what runs, so that a change through the API, a changed
//! `plugins.yml` and a restart never meet.

use std::sync::Arc;

use broker_config::PluginId;
use tokio::sync::{mpsc, oneshot, watch};

use super::plugins::Known;
use crate::config::overrides::{Change, Refusal};

/// Requests that may wait; whoever finds no place is told to come again.
const WAITING: usize = 16;

/// What somebody wants of a plugin.
#[derive(Clone, Debug)]
pub enum Order {
    /// Something about it is to be different from now on, also after the next start.
    Change(PluginId, Change),
    /// Its instances on this machine are to be stopped and started anew.
    Restart(PluginId),
}

/// An order, and who waits for the answer.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) order: Order,
    pub(super) answer: oneshot::Sender<Result<InEffect, Refusal>>,
}

/// Told when an order that was taken is carried out.
pub type InEffect = oneshot::Receiver<()>;

/// Why nobody has said what becomes of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotHeard {
    /// Too many wait already.
    #[error("too many changes wait; try again in a moment")]
    Busy,
    /// The fleet is stopping.
    #[error("the fleet is stopping")]
    Stopping,
}

/// Gives orders, and shows what is in effect; cheap to clone.
#[derive(Clone, Debug)]
pub struct Steering {
    requests: mpsc::Sender<Request>,
    known: watch::Receiver<Arc<Known>>,
}

impl Steering {
    /// A handle, and the ends that belong to the keeper of the plan.
    pub(super) fn new(
        known: Arc<Known>,
    ) -> (Self, mpsc::Receiver<Request>, watch::Sender<Arc<Known>>) {
        let (requests, receiver) = mpsc::channel(WAITING);
        let (shown, known) = watch::channel(known);
        (Self { requests, known }, receiver, shown)
    }

    /// What a person says of plugins, as it is in effect.
    #[must_use]
    pub fn known(&self) -> Arc<Known> {
        self.known.borrow().clone()
    }

    /// Follows it.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<Known>> {
        self.known.clone()
    }

    /// Gives an order; returns when it is taken, or refused, which changes nothing.
    ///
    /// # Errors
    ///
    /// [`NotHeard`] when nobody listens.
    ///
    /// # Cancel safety
    ///
    /// An order that was given is carried out whether or not somebody waits for the answer.
    pub async fn give(&self, order: Order) -> Result<Result<InEffect, Refusal>, NotHeard> {
        let (answer, answered) = oneshot::channel();
        self.requests.try_send(Request { order, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => NotHeard::Busy,
            mpsc::error::TrySendError::Closed(_) => NotHeard::Stopping,
        })?;
        answered.await.map_err(|_| NotHeard::Stopping)
    }
}
