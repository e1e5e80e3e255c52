//! The bytes of one answer, read piece by piece as the client takes them.

use std::io;
use std::os::unix::fs::FileExt as _;

use axum::body::Body;
use broker_config::PluginId;
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::spawn_blocking;
use tracing::debug;

use super::library::{Opened, version};

/// Bytes of one read; so many, and one piece more, are in memory for each transfer.
const PIECE: u64 = 256 << 10;

/// What is still to be sent. Dropped when the client goes.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) opened: Opened,
    pub(super) next: u64,
    /// Behind the last byte.
    pub(super) end: u64,
    pub(super) plugin: PluginId,
    /// Its place among the transfers.
    pub(super) _place: OwnedSemaphorePermit,
}

impl Transfer {
    /// The body of the answer; it breaks off where the file is changed meanwhile.
    pub(super) fn body(self) -> Body {
        let (begun, sent) = (self.next, self);
        Body::from_stream(stream::try_unfold(sent, move |transfer| async move {
            if transfer.next >= transfer.end {
                let bytes = transfer.end - begun;
                debug!(plugin.id = %transfer.plugin, bytes, "a file was sent");
                return Ok(None);
            }
            // Where the disk hangs, the place among the transfers stays taken, too.
            spawn_blocking(move || transfer.step()).await.map_err(io::Error::other)?.map(Some)
        }))
    }

    fn step(mut self) -> io::Result<(Bytes, Self)> {
        let length = (self.end - self.next).min(PIECE);
        let mut piece = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        let Opened { file, version: begun } = &self.opened;
        let read = file.read_exact_at(&mut piece, self.next);
        // Bytes of two versions must not go out as one file.
        let changed = version(file)? != Some(*begun);
        if changed || read.is_err() {
            debug!(plugin.id = %self.plugin, changed, "a transfer is broken off");
        }
        read?;
        if changed {
            return Err(io::Error::other("the file was changed while it was read"));
        }
        self.next += length;
        Ok((piece.into(), self))
    }
}
