//! The clock of a worker jumps. Nobody is away, and nothing that anybody sees may come of it.

use anyhow::Context as _;

use crate::chaos::experiment::Chaos;

impl Chaos {
    /// Has the clock of a worker show so many seconds more than the right time.
    pub(super) fn turn_clock(&mut self, number: usize, jump: i64) -> anyhow::Result<()> {
        self.workers.get(number).context("a worker")?.turn_clock(jump)?;
        self.done.clock_jumps += 1;
        Ok(())
    }
}
