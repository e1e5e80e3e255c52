//! The plugin `full-hash`: checksums of the whole file, in the background.

pub mod digests;
pub mod pass;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use worker_sdk::{Classify as _, Context, Failure, Manifest, Meta, OpenError, Outcome, Plugin};

use crate::digests::Digests;

/// The plugin; it has no state and no settings.
#[derive(Clone, Copy, Debug, Default)]
pub struct FullHash;

/// How often progress is reported.
const REPORT: Duration = Duration::from_secs(1);

impl Plugin for FullHash {
    fn manifest(&self) -> Manifest {
        worker_sdk::manifest(include_str!("../manifest.json"))
    }

    async fn process(&self, ctx: &Context) -> Result<Outcome, Failure> {
        let size = ctx.file().size;
        let done = Arc::new(AtomicU64::new(0));
        let stop = ctx.cancelled().child_token();
        // The thread ends also when this future is dropped without having been cancelled.
        let _stop_with_us = stop.clone().drop_guard();
        let reader = ctx.open().await.map_err(OpenError::failure)?.into_blocking().await;
        let mut pass = {
            let (path, done) = (ctx.path().to_owned(), done.clone());
            tokio::task::spawn_blocking(move || {
                let cancelled = || stop.is_cancelled();
                match reader.file() {
                    Some(_) => pass::pass(&path, size, &done, cancelled),
                    None => pass::pass_from(reader, (&path, size), &done, cancelled),
                }
            })
        };
        let mut ticks = interval(REPORT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let digests = loop {
            tokio::select! {
                biased;
                ended = &mut pass => break ended.retryable()?,
                _ = ticks.tick() => {
                    ctx.progress(fraction(done.load(Ordering::Relaxed), size), "reading").await;
                }
            }
        };
        match digests {
            Ok(digests) => Ok(Outcome::Completed(describe(&digests))),
            Err(error) if error.is_retryable() => Err(Failure::retryable(error)),
            Err(error) => Err(Failure::permanent(error)),
        }
    }
}

fn describe(digests: &Digests) -> Meta {
    let mut meta = Meta::new();
    meta.text("hash/sha256", &digests.sha256)
        .text("hash/sha1", &digests.sha1)
        .text("hash/md5", &digests.md5)
        .text("hash/crc32", &digests.crc32);
    meta
}

/// How much of the file is done, from 0 to 1; exact to a thousandth.
fn fraction(done: u64, size: u64) -> f32 {
    let thousandths = done.saturating_mul(1000).checked_div(size).unwrap_or(1000).min(1000);
    f32::from(u16::try_from(thousandths).unwrap_or(1000)) / 1000.0
}

#[cfg(test)]
mod tests;
