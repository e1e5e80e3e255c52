//! Where the submissions in hand are to be acknowledged; pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use broker_config::{Queue, RunId};

use crate::run::Opening;

/// What a delivery of a submission is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// The first one.
    New,
    /// Another one of a submission that is open, or the first one of another submission with the
    /// same number.
    Open {
        /// The queue in which the delivery before has a place, which is to be given back.
        place: Queue,
    },
    /// Another one of a submission that waits for its turn, or that is settled and not acknowledged
    /// yet; it must not be opened anew.
    Closing {
        /// As above.
        place: Queue,
    },
}

/// The submissions in hand; `R` is where to answer a delivery.
#[derive(Debug)]
pub struct Replies<R> {
    in_hand: BTreeMap<RunId, (Arc<Opening>, R)>,
}

impl<R> Default for Replies<R> {
    fn default() -> Self {
        Self { in_hand: BTreeMap::new() }
    }
}

impl<R> Replies<R> {
    /// Takes note of a delivery; of one that is not the first, only where to answer is new.
    /// `holds` = a run of it is open.
    #[must_use]
    pub fn take(&mut self, opening: &Arc<Opening>, reply: R, holds: bool) -> Again {
        let known = self.in_hand.insert(opening.id, (opening.clone(), reply));
        let Some((known, _)) = known else { return Again::New };
        let place = known.queue;
        if known.is_same(opening) && !holds {
            Again::Closing { place }
        } else {
            Again::Open { place }
        }
    }

    /// Where to answer the latest delivery.
    #[must_use]
    pub fn of(&self, id: RunId) -> Option<&R> {
        self.in_hand.get(&id).map(|(_, reply)| reply)
    }

    /// Where to answer all that is in hand.
    pub fn all(&self) -> impl Iterator<Item = &R> {
        self.in_hand.values().map(|(_, reply)| reply)
    }

    /// Lets go of a submission that was acknowledged.
    pub fn close(&mut self, id: RunId) -> Option<Arc<Opening>> {
        self.in_hand.remove(&id).map(|(opening, _)| opening)
    }

    /// How many are in hand.
    #[must_use]
    pub fn len(&self) -> usize {
        self.in_hand.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.in_hand.is_empty()
    }
}
