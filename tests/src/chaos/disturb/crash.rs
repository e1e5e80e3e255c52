//! The coordinator dies right after a certain message to the broker, and comes back at once.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::Instant;

use super::{Due, WAIT};
use crate::chaos::check::Victim;
use crate::chaos::experiment::{Chaos, LOOK};
use crate::chaos::net::End;
use crate::chaos::plan::Crash;
use crate::chaos::process::Process;

/// How long a coordinator may take to be ready.
const READY: Duration = Duration::from_secs(30);

/// What is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Crashing {
    /// The message; so many times it was waited for before.
    Message { stopped: u64, until: Instant },
    /// The first submissions that are asked for; so many times they were before.
    Ready { since: Instant, pulls: u64 },
}

/// There is one coordinator in these experiments.
const ONLY: usize = 0;

impl Chaos {
    pub(super) async fn crash(&mut self, crash: Crash) -> anyhow::Result<(Instant, Due)> {
        self.is_crashing = true;
        self.done.crashes += 1;
        let stopped = if crash.from_start {
            let process = self.take_coordinator()?;
            self.kill(process, Victim::Coordinator).await?;
            let stopped = self.light(ONLY, crash.messages)?;
            self.start_coordinator()?;
            stopped
        } else {
            self.light(ONLY, crash.messages)?
        };
        let until = Instant::now() + WAIT;
        Ok((Instant::now() + LOOK, Due::Crashing(Crashing::Message { stopped, until })))
    }

    pub(super) async fn go_on_crashing(
        &mut self,
        crashing: Crashing,
    ) -> anyhow::Result<Option<(Instant, Due)>> {
        let sum = |of: fn(&crate::proxy::Proxy) -> u64| {
            self.net.of(End::Coordinator(ONLY)).map(of).sum::<u64>()
        };
        let next = match crashing {
            Crashing::Message { stopped, until } => {
                let is_there = sum(|link| *link.blown().borrow()) > stopped;
                if is_there || Instant::now() > until {
                    let process = self.take_coordinator()?;
                    self.kill(process, Victim::Coordinator).await?;
                    self.net.of(End::Coordinator(ONLY)).for_each(crate::proxy::Proxy::mend);
                    let pulls = self.pulls();
                    let since = Instant::now();
                    self.start_coordinator()?;
                    Crashing::Ready { since, pulls }
                } else {
                    crashing
                }
            }
            Crashing::Ready { since, pulls } => {
                let took = since.elapsed();
                let is_ready = self.pulls() > pulls;
                if is_ready || took > READY {
                    if !is_ready {
                        self.problems.push(format!("a coordinator was not ready in {READY:?}"));
                    }
                    self.ready_ms.push(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
                    self.is_crashing = false;
                    return Ok(None);
                }
                crashing
            }
        };
        Ok(Some((Instant::now() + LOOK, Due::Crashing(next))))
    }

    fn pulls(&self) -> u64 {
        self.net.of(End::Coordinator(ONLY)).map(|link| *link.pulls().borrow()).sum()
    }

    fn take_coordinator(&mut self) -> anyhow::Result<Process> {
        self.coordinators.pop().context("a coordinator")
    }

    fn start_coordinator(&mut self) -> anyhow::Result<()> {
        let url = self.net.url(End::Coordinator(ONLY));
        let coordinator = self.starter.coordinator("coordinator-1", &url)?;
        self.coordinators.push(coordinator);
        Ok(())
    }
}
