//! Which coordinator leads.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

super::message_type!(
    /// `metafleet.lease.v1`
    LeaseType = "metafleet.lease.v1"
);

/// The key of the lease in its bucket.
pub const LEASE_KEY: &str = "coordinator";

/// The value of the lease: it belongs to `holder` until it was not renewed for `ttlMs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// `metafleet.lease.v1`
    #[serde(rename = "type")]
    pub kind: LeaseType,
    /// The stable id of the node; the same node may take its own lease back at once.
    pub holder: String,
    /// Rises with every change of hands; names what a deposed leader may no longer touch.
    pub epoch: u64,
    /// How long it lasts without renewal, in milliseconds.
    pub ttl_ms: u64,
}
