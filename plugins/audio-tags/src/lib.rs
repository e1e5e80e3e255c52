#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod file;
mod read;
mod tags;

use worker_sdk::{Context, Failure, Manifest, OpenError, Outcome, Plugin};

use crate::read::ReadError;

/// Reads the tags of music.
#[derive(Debug)]
pub struct AudioTags;

impl Plugin for AudioTags {
    fn manifest(&self) -> Manifest {
        worker_sdk::manifest(include_str!("../manifest.json"))
    }

    async fn process(&self, ctx: &Context) -> Result<Outcome, Failure> {
        let file = ctx.local_path().await.map_err(OpenError::failure)?;
        let (path, cancelled) = (file.to_owned(), ctx.cancelled().clone());
        let reading = tokio::task::spawn_blocking(move || read::read(&path, cancelled));
        match reading.await {
            Ok(Ok(found)) => Ok(Outcome::Completed(tags::meta(&found))),
            Ok(Err(ReadError::Unknown)) => Ok(Outcome::skipped(ReadError::Unknown.to_string())),
            Ok(Err(error @ ReadError::Io(_))) => Err(Failure::retryable(error)),
            Ok(Err(error @ ReadError::Broken(_))) => Err(Failure::permanent(error)),
            Err(panic) => Err(Failure::retryable(panic)),
        }
    }
}
