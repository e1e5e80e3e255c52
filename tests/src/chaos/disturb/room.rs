//! The broker's disk is full for a while.
//!
//! A stream that could not be written to stays as it is until its server is started again, also
//! when there is room (nats-server 2.14 and later). Who has made room restarts it, as an operator
//! has to.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::Instant;

use super::Due;
use crate::chaos::check::{Kill, Victim};
use crate::chaos::experiment::Chaos;
use crate::chaos::now;

impl Chaos {
    /// Fills the disk.
    pub(super) fn fill_disk(&mut self, away: Duration) -> anyhow::Result<(Instant, Due)> {
        let kill = self.kills.len();
        self.kills.push(Kill { victim: Victim::Broker, at: now(), back: i64::MAX });
        self.disk.as_ref().context("a disk")?.fill()?;
        self.done.full_disks += 1;
        Ok((Instant::now() + away, Due::DiskFree { kill }))
    }

    /// Makes room, and restarts the server.
    pub(super) async fn free_disk(&mut self, kill: usize) -> anyhow::Result<()> {
        self.disk.as_ref().context("a disk")?.free()?;
        self.fleet.server.stop().await?;
        self.fleet.server.restart().await?;
        self.is_back(kill);
        Ok(())
    }
}
