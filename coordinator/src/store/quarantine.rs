//! Which instances are out of work because they fail everything, for anybody to see.
//!
//! The coordinator that leads writes it; see [`crate::quarantine`].

use serde::{Deserialize, Serialize};

use super::{Store, StoreError};
use crate::quarantine::Term;

/// The key in the bucket of the lease.
pub const KEY: &str = "quarantine";

/// What is kept there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// All that are out or on trial.
    pub terms: Vec<Term>,
}

impl Store {
    /// All instances that are out of work or on trial.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the bucket cannot be read.
    pub async fn quarantined(&self) -> Result<Vec<Term>, StoreError> {
        let Some(stored) = self.value(&self.names.lease_bucket(), KEY).await? else {
            return Ok(Vec::new());
        };
        let kept: Result<Kept, _> = serde_json::from_slice(&stored.payload);
        let what = || "the list of quarantined instances".to_owned();
        Ok(kept.map_err(|cause| StoreError::Unreadable { what: what(), cause })?.terms)
    }
}
