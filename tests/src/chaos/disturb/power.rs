//! The machine of the broker loses its power, and gets it again.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::Instant;

use super::Due;
use crate::chaos::check::{Kill, Victim};
use crate::chaos::experiment::Chaos;
use crate::chaos::now;

impl Chaos {
    /// Cuts the power: server and disk stop at the same moment.
    pub(super) fn cut_power(&mut self, away: Duration) -> anyhow::Result<(Instant, Due)> {
        let kill = self.kills.len();
        self.cuts.push(kill);
        // Tasks go with what is not synced, and are to be missed.
        self.may_repair |= self.options.sync.forgets() > 0;
        self.kills.push(Kill { victim: Victim::Broker, at: now(), back: i64::MAX });
        // It may not go on against a disk that is not there any more.
        self.fleet.server.hang()?;
        self.disk.as_ref().context("a disk")?.cut()?;
        self.fleet.server.kill()?;
        self.done.power_cuts += 1;
        Ok((Instant::now() + away, Due::PowerBack { kill }))
    }

    /// Starts the server on what the disk still has.
    pub(super) async fn power_is_back(&mut self, kill: usize) -> anyhow::Result<()> {
        self.disk.as_ref().context("a disk")?.mount_again()?;
        self.fleet.server.restart().await?;
        self.is_back(kill);
        Ok(())
    }
}
