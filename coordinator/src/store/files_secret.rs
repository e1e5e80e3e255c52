//! The secret that the tokens for files follow from; one for all coordinators of a fleet.
//!
//! It is a key of the lease's bucket, which no plugin may read on a broker that keeps logins apart.

use async_nats::HeaderMap;
use broker_config::Names;
use broker_config::read::last_messages;
use bytes::Bytes;

use super::{Store, StoreError};
use crate::config::Secret;

/// The key in the bucket of the lease.
pub const KEY: &str = "files";

impl Store {
    /// The secret of the fleet; `made` becomes it where there is none that is as long.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the bucket can be neither read nor written; [`StoreError::Conflict`] when
    /// others write it again and again.
    pub async fn files_secret(&self, made: &str) -> Result<Secret, StoreError> {
        let bucket = self.names.lease_bucket();
        let subject = Names::key_subject(&bucket, KEY);
        let what = "the secret of the files' tokens";
        let mut conflict = None;
        for _ in 0..3 {
            let stream = Names::bucket_stream(&bucket);
            let found = last_messages(&self.client, &stream, std::slice::from_ref(&subject)).await;
            let found = found.map_err(|error| StoreError::of_read(what, error))?.into_iter().next();
            let text = found.as_ref().and_then(|stored| std::str::from_utf8(&stored.payload).ok());
            if let Some(text) = text.filter(|text| text.len() >= made.len()) {
                return Ok(Secret::new(text));
            }
            let last = found.as_ref().map_or(0, |stored| stored.sequence);
            let body = Bytes::copy_from_slice(made.as_bytes());
            let put =
                self.publisher.publish_after(subject.clone(), last, HeaderMap::new(), body).await;
            match put.map_err(|error| StoreError::of_publish(what, error)) {
                Ok(_) => return Ok(Secret::new(made)),
                // Another coordinator was quicker; its secret counts.
                Err(error @ StoreError::Conflict { .. }) => conflict = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(conflict.unwrap_or(StoreError::Conflict { what: what.to_owned() }))
    }
}
