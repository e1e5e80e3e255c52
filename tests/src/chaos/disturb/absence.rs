//! Processes that are killed, or stopped so long that others take their place.

use std::time::Duration;

use anyhow::Context as _;
use broker_config::Names;
use broker_config::wire::lease::{LEASE_KEY, Lease};
use tokio::time::Instant;

use super::Due;
use crate::chaos::check::{Kill, Victim};
use crate::chaos::experiment::Chaos;
use crate::chaos::now;
use crate::chaos::process::Process;

impl Chaos {
    pub(super) async fn kill_worker(
        &mut self,
        number: usize,
        away: Duration,
    ) -> anyhow::Result<(Instant, Due)> {
        let kill = self.kills.len();
        let worker = self.workers.swap_remove(number);
        let (role, url, victim) =
            (worker.role.clone(), worker.url.clone(), Victim::Worker(worker.pid));
        self.kill(worker, victim).await?;
        self.killed.workers += 1;
        Ok((Instant::now() + away, Due::WorkerStart { role, url, kill }))
    }

    /// Kills the coordinator that leads; its like is there at once.
    pub(super) async fn kill_coordinator(&mut self) -> anyhow::Result<()> {
        let leader = self.leader().await;
        let place = self.coordinators.get_mut(leader).context("a coordinator")?;
        let next = self.starter.coordinator(&place.role, &place.url)?;
        let coordinator = std::mem::replace(place, next);
        self.kill(coordinator, Victim::Coordinator).await?;
        self.killed.coordinator += 1;
        Ok(())
    }

    pub(super) async fn kill(
        &mut self,
        mut process: Process,
        victim: Victim,
    ) -> anyhow::Result<()> {
        self.note_end(&mut process)?;
        let at = now();
        process.kill().await?;
        self.kills.push(Kill { victim, at, back: now() });
        Ok(())
    }

    pub(super) fn pause_worker(
        &mut self,
        number: usize,
        away: Duration,
    ) -> anyhow::Result<(Instant, Due)> {
        let kill = self.kills.len();
        let worker = Box::new(self.workers.swap_remove(number));
        self.kills.push(Kill {
            victim: Victim::Absent(vec![worker.pid]),
            at: now(),
            back: i64::MAX,
        });
        worker.pause()?;
        self.done.worker_pauses += 1;
        Ok((Instant::now() + away, Due::WorkerGoesOn { worker, kill }))
    }

    pub(super) fn worker_goes_on(&mut self, worker: Process, kill: usize) -> anyhow::Result<()> {
        // It may begin something before this program goes on.
        self.is_back(kill);
        worker.go_on()?;
        self.workers.push(worker);
        Ok(())
    }

    pub(super) async fn pause_coordinator(
        &mut self,
        away: Duration,
    ) -> anyhow::Result<(Instant, Due)> {
        let leader = self.leader().await;
        let kill = self.kills.len();
        self.kills.push(Kill { victim: Victim::Deposed, at: now(), back: i64::MAX });
        self.coordinators.get(leader).context("a coordinator")?.pause()?;
        self.deposed = Some(leader);
        self.done.coordinator_pauses += 1;
        Ok((Instant::now() + away, Due::CoordinatorGoesOn { kill }))
    }

    pub(super) fn coordinator_goes_on(&mut self, kill: usize) -> anyhow::Result<()> {
        let deposed = self.deposed.take().context("somebody was stopped")?;
        self.is_back(kill);
        self.coordinators.get(deposed).context("a coordinator")?.go_on()?;
        Ok(())
    }

    /// Which of the coordinators has the lease; the first one when that cannot be read.
    pub(super) async fn leader(&self) -> usize {
        if self.coordinators.len() < 2 {
            return 0;
        }
        let bucket = self.fleet.names.lease_bucket();
        let (stream, key) = (Names::bucket_stream(&bucket), Names::key_subject(&bucket, LEASE_KEY));
        let Ok(Some(found)) = self.fleet.last(&stream, &key).await else { return 0 };
        let Ok(lease) = serde_json::from_slice::<Lease>(&found.payload) else { return 0 };
        self.coordinators.iter().position(|it| it.role == lease.holder).unwrap_or(0)
    }
}
