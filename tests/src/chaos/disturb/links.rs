//! Links that are broken for a while.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::Instant;

use super::Due;
use crate::chaos::check::{Kill, Victim};
use crate::chaos::experiment::Chaos;
use crate::chaos::net::End;
use crate::chaos::now;
use crate::chaos::plan::{Partition, Place};

/// How long a link that flaps is there, and is not.
const FLAP: Duration = Duration::from_millis(170);

/// A link that is broken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Broken {
    kill: usize,
    place: Place,
    partition: Partition,
    until: Instant,
    /// Whether it is so just now.
    is_cut: bool,
}

impl Chaos {
    /// Breaks links; of the coordinators it is the one that leads.
    pub(super) async fn break_link(
        &mut self,
        place: Place,
        partition: Partition,
        lasting: Duration,
    ) -> anyhow::Result<(Instant, Due)> {
        let (place, victim) = match place {
            Place::Coordinator(_) => {
                let leader = self.leader().await;
                self.deposed = Some(leader);
                (Place::Coordinator(leader), Victim::Unreachable)
            }
            Place::Workers(half) => {
                let url = self.net.url(End::Workers(half));
                let its = self.workers.iter().filter(|worker| worker.url == url);
                (place, Victim::Absent(its.map(|worker| worker.pid).collect()))
            }
            Place::Server(_) => (place, Victim::Broker),
        };
        let kill = self.kills.len();
        self.kills.push(Kill { victim, at: now(), back: i64::MAX });
        self.net.set(place, Some(partition))?;
        self.done.links.times += 1;
        let until = Instant::now() + lasting;
        let broken = Broken { kill, place, partition, until, is_cut: true };
        Ok((next_look(&broken), Due::Link(broken)))
    }

    /// Mends links when their time has come; those that flap come and go until then.
    pub(super) fn look_at_link(
        &mut self,
        broken: Broken,
    ) -> anyhow::Result<Option<(Instant, Due)>> {
        let Broken { kill, place, partition, until, is_cut } = broken;
        if Instant::now() < until {
            self.net.set(place, (!is_cut).then_some(partition))?;
            let broken = Broken { is_cut: !is_cut, ..broken };
            return Ok(Some((next_look(&broken), Due::Link(broken))));
        }
        self.net.set(place, None)?;
        match place {
            Place::Coordinator(_) => self.deposed = None,
            Place::Workers(_) => {}
            Place::Server(_) => {
                return Ok(Some((Instant::now(), Due::whole(kill))));
            }
        }
        self.is_back(kill);
        Ok(None)
    }

    /// Has every message of the links count for a crash; returns how many were stopped before.
    pub(super) fn light(&self, coordinator: usize, messages: u64) -> anyhow::Result<u64> {
        let mut stopped = 0;
        let mut links = self.net.of(End::Coordinator(coordinator)).peekable();
        links.peek().context("a link of the coordinator")?;
        for link in links {
            stopped += *link.blown().borrow();
            link.stop_after(messages);
        }
        Ok(stopped)
    }
}

fn next_look(broken: &Broken) -> Instant {
    match broken.partition {
        Partition::Flapping => broken.until.min(Instant::now() + FLAP),
        Partition::Both | Partition::To | Partition::From | Partition::Slow => broken.until,
    }
}
