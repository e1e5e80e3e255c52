//! What a fleet says of the number of instances of its plugins, for `status` to show anywhere.
//!
//! Each fleet writes one entry, in its own name, and again every few seconds; one that has become
//! old says nothing any more.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::HeaderMap;
use broker_config::{Names, PluginId};
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Store, StoreError};

/// What keys begin with, in the bucket of the lease.
const KEY: &str = "scale";
/// How often an entry is to be written.
pub const REFRESH: Duration = Duration::from_secs(10);
/// An entry that is older counts no longer.
const OLD: Duration = Duration::from_secs(60);

/// How many instances of a plugin there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scaled {
    /// So many there should be now.
    pub number: u32,
    /// So many more finish what they hold.
    pub draining: u32,
    /// The fewest.
    pub min: u32,
    /// The most.
    pub max: u32,
    /// Whether a person has set the number.
    pub by_hand: bool,
    /// Why there are not as many as wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    at: Timestamp,
    plugins: BTreeMap<PluginId, Scaled>,
}

impl Store {
    /// Says how many instances there are in the fleet on this node.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the broker does not take it.
    pub async fn tell_scaled(
        &self,
        node: &str,
        plugins: &BTreeMap<PluginId, Scaled>,
    ) -> Result<(), StoreError> {
        let what = "numbers of instances";
        let entry = Entry { at: Timestamp::now(), plugins: plugins.clone() };
        let body = serde_json::to_vec(&entry)
            .map_err(|cause| StoreError::Unreadable { what: what.to_owned(), cause })?;
        let subject = Names::key_subject(&self.names.lease_bucket(), &format!("{KEY}.{node}"));
        let sent = self.publisher.publish(subject, HeaderMap::new(), Bytes::from(body)).await;
        sent.map(drop).map_err(|error| StoreError::of_publish(what, error))
    }

    /// What all fleets that run say; where two speak of one plugin, the one that refuses counts.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the bucket cannot be read.
    pub async fn scaled(&self) -> Result<BTreeMap<PluginId, Scaled>, StoreError> {
        let bucket = self.names.lease_bucket();
        let filter = Names::key_subject(&bucket, &format!("{KEY}.*"));
        let found = self.all(Names::bucket_stream(&bucket), filter).await?;
        let now = Timestamp::now();
        let mut all: BTreeMap<PluginId, Scaled> = BTreeMap::new();
        for stored in found {
            // Whatever else is there is nobody's number.
            let Ok(entry) = serde_json::from_slice::<Entry>(&stored.payload) else { continue };
            if now.duration_since(entry.at).unsigned_abs() > OLD {
                continue;
            }
            for (plugin, scaled) in entry.plugins {
                let is_told = all.get(&plugin).is_some_and(|told| told.refused.is_some());
                if !is_told {
                    all.insert(plugin, scaled);
                }
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::TestBroker;

    #[tokio::test]
    async fn what_fleets_say_of_their_numbers_is_read_by_whoever_asks() -> anyhow::Result<()> {
        let (_broker, store) = TestBroker::start().await?;
        assert_eq!(store.scaled().await?, BTreeMap::new());
        let scaled = |number, refused: Option<&str>| Scaled {
            number,
            draining: 0,
            min: 0,
            max: 4,
            by_hand: false,
            refused: refused.map(str::to_owned),
        };
        let said = |id: &str, scaled: Scaled| [(id.parse::<PluginId>().unwrap(), scaled)].into();
        store.tell_scaled("aaaa", &said("x", scaled(1, Some("full")))).await?;
        store.tell_scaled("bbbb", &said("x", scaled(2, None))).await?;
        store.tell_scaled("bbbb", &said("y", scaled(3, None))).await?;
        store.tell_scaled("bbbb", &said("x", scaled(2, None))).await?;

        let all = store.scaled().await?;

        assert_eq!(all, said("x", scaled(1, Some("full"))), "the last word of each counts");
        Ok(())
    }
}
