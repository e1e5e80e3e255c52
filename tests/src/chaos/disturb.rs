//! Kills and other faults: each meets something that goes on, however fast the machine is.
//!
//! A plan counts executions, and a fast machine may have none left when the time of a kill has come.
//! So some files are held back for each kill and handed in right before it: a worker dies in the
//! middle of an execution, a coordinator with files in hand, a broker with submissions on their way.

mod absence;
mod clock;
mod crash;
mod deleted;
mod links;
mod nodes;
mod power;
mod room;

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use self::crash::Crashing;
use self::deleted::Gone;
use self::links::Broken;
use super::check::{Kill, Victim};
use super::experiment::{Chaos, LOOK, STILL};
use super::now;
use super::plan::{Place, Planned, Target};
use super::process::Process;
use super::submitter::Progress;

/// How long a kill waits for something that it can interrupt; so long nothing goes on while the
/// broker is away, and then it falls into that absence.
const WAIT: Duration = Duration::from_secs(2);

/// What is to happen at a time.
enum Due {
    Kill(Planned),
    /// `records`: where the stream of records was, for faults of a cluster.
    KillInTheMiddle {
        planned: Planned,
        begun: usize,
        records: Option<u64>,
        until: Instant,
    },
    WorkerStart {
        role: String,
        url: String,
        kill: usize,
    },
    BrokerKill {
        kill: usize,
        away: Duration,
    },
    BrokerStart {
        kill: usize,
    },
    WorkerGoesOn {
        worker: Box<Process>,
        kill: usize,
    },
    CoordinatorGoesOn {
        kill: usize,
    },
    NodeStart {
        kill: usize,
        node: usize,
        roll: Option<Duration>,
    },
    Link(Broken),
    Crashing(Crashing),
    Gone(Gone),
    DiskFree {
        kill: usize,
    },
    PowerBack {
        kill: usize,
    },
    Whole {
        kill: usize,
        until: Instant,
        roll: Option<(usize, Duration)>,
    },
}

impl Chaos {
    /// Kills as planned while files are handed in; false if nothing moves any more.
    pub(super) async fn disturb(
        &mut self,
        planned: Vec<Planned>,
        progress: &watch::Sender<Progress>,
        submitting: &mut JoinSet<anyhow::Result<()>>,
    ) -> anyhow::Result<bool> {
        let mut planned = planned.into_iter().peekable();
        let mut due: Vec<(Instant, Due)> = Vec::new();
        let started = Instant::now();
        let mut moved = started;
        loop {
            let begun = self.ledgers.read()?;
            if progress.borrow().begun != begun {
                moved = Instant::now();
            }
            let elapsed = started.elapsed();
            progress.send_replace(Progress { begun, kills: self.begun_kills, elapsed });
            self.observe(begun);
            if moved.elapsed() > STILL {
                return Ok(false);
            }
            while let Some(ended) = submitting.try_join_next() {
                ended??;
            }
            let reached = self.reached(begun);
            while let Some(next) = planned.next_if(|next| reached >= next.after) {
                due.push((Instant::now() + next.delay, Due::Kill(next)));
            }
            let now = Instant::now();
            while let Some(at) = due.iter().position(|(at, _)| *at <= now) {
                let (_, next) = due.swap_remove(at);
                due.extend(self.perform(next, begun).await?);
            }
            if due.is_empty() && planned.peek().is_none() && submitting.is_empty() {
                return Ok(true);
            }
            sleep(LOOK).await;
        }
    }

    /// Does what is due; returns what follows from it.
    async fn perform(&mut self, due: Due, begun: usize) -> anyhow::Result<Option<(Instant, Due)>> {
        let kill = self.kills.len();
        match due {
            Due::Kill(planned) if self.must_wait(planned.target) => {
                return Ok(Some((Instant::now() + planned.away, Due::Kill(planned))));
            }
            Due::Kill(planned) => {
                let records = match planned.target.is_of_cluster() {
                    false => None,
                    true => match self.records().await {
                        None => return Ok(Some((Instant::now() + LOOK, Due::Kill(planned)))),
                        records => records,
                    },
                };
                self.begun_kills += 1;
                self.strikes_cluster |= planned.target.is_of_cluster();
                if planned.target != Target::Broker {
                    let until = Instant::now() + WAIT;
                    let next = Due::KillInTheMiddle { planned, begun, records, until };
                    return Ok(Some((Instant::now() + LOOK, next)));
                }
                // From here on nothing that is sent to it is safe.
                self.kills.push(Kill { victim: Victim::Broker, at: now(), back: i64::MAX });
                self.fleet.server.hang()?;
                let dies = Due::BrokerKill { kill, away: planned.away };
                return Ok(Some((Instant::now() + planned.hangs, dies)));
            }
            Due::KillInTheMiddle { planned, begun: before, records, until } => {
                let something_began = begun > before;
                // A cluster is struck again only when the fleet has gone on after the last time, and something
                // was stored: what it takes to do so is what is to be seen.
                let is_time = match records {
                    Some(_) => something_began && self.records().await > records,
                    None => something_began || Instant::now() > until,
                };
                match planned.target {
                    target if !target.is_of_cluster() && self.must_wait(target) => {}
                    Target::Worker(number) => {
                        if let Some(number) = self.victim(number)
                            && (self.is_busy(number) || Instant::now() > until)
                        {
                            return self.kill_worker(number, planned.away).await.map(Some);
                        }
                    }
                    Target::PausedWorker(number) => {
                        let number = number % self.workers.len();
                        if self.is_busy(number) || Instant::now() > until {
                            return self.pause_worker(number, planned.away).map(Some);
                        }
                    }
                    Target::Coordinator if is_time => {
                        return self.kill_coordinator().await.map(|()| None);
                    }
                    Target::PausedCoordinator if is_time => {
                        return self.pause_coordinator(planned.away).await.map(Some);
                    }
                    Target::Leader(number) if is_time => {
                        if let Some(next) = self.kill_leader(number, planned.away).await? {
                            return Ok(Some(next));
                        }
                    }
                    Target::StepDown(number) if is_time => {
                        return self.step_down(number).await.map(Some);
                    }
                    Target::EveryServer if is_time => {
                        return self.roll(0, planned.away).await.map(Some);
                    }
                    Target::Link(place, partition) if is_time => {
                        return self.break_link(place, partition, planned.away).await.map(Some);
                    }
                    Target::Crash(crash) if is_time => {
                        return self.crash(crash).await.map(Some);
                    }
                    Target::Deleted(number) if is_time => {
                        if let Some(next) = self.delete(number).await? {
                            return Ok(Some(next));
                        }
                    }
                    Target::FullDisk if is_time => {
                        return self.fill_disk(planned.away).map(Some);
                    }
                    Target::Power if is_time => {
                        return self.cut_power(planned.away).map(Some);
                    }
                    Target::Clock(number, jump) => {
                        let number = number % self.workers.len();
                        if self.is_busy(number) || Instant::now() > until {
                            return self.turn_clock(number, jump).map(|()| None);
                        }
                    }
                    Target::Coordinator
                    | Target::Power
                    | Target::FullDisk
                    | Target::Deleted(_)
                    | Target::Link(..)
                    | Target::Crash(_)
                    | Target::PausedCoordinator
                    | Target::Broker
                    | Target::Leader(_)
                    | Target::StepDown(_)
                    | Target::EveryServer => {}
                }
                let again = Due::KillInTheMiddle { planned, begun: before, records, until };
                return Ok(Some((Instant::now() + LOOK, again)));
            }
            Due::BrokerKill { kill, away } => {
                self.fleet.server.kill()?;
                self.killed.broker += 1;
                return Ok(Some((Instant::now() + away, Due::BrokerStart { kill })));
            }
            Due::WorkerStart { role, url, kill } => {
                self.workers.push(self.starter.worker(&role, &url)?);
                self.is_back(kill);
            }
            Due::BrokerStart { kill } => {
                self.fleet.server.restart().await?;
                self.is_back(kill);
            }
            Due::WorkerGoesOn { worker, kill } => self.worker_goes_on(*worker, kill)?,
            Due::NodeStart { kill, node, roll } => {
                return self.start_node(kill, node, roll).await.map(Some);
            }
            Due::DiskFree { kill } => self.free_disk(kill).await?,
            Due::PowerBack { kill } => self.power_is_back(kill).await?,
            Due::Gone(gone) => return self.look_at_gone(gone).await,
            Due::Link(broken) => return self.look_at_link(broken),
            Due::Crashing(crashing) => return self.go_on_crashing(crashing).await,
            Due::Whole { kill, until, roll } => return self.whole(kill, until, roll).await,
            Due::CoordinatorGoesOn { kill } => self.coordinator_goes_on(kill)?,
        }
        Ok(None)
    }

    /// Whether the worker of this number is in the middle of an execution.
    fn is_busy(&self, number: usize) -> bool {
        self.workers.get(number).is_some_and(|worker| self.ledgers.is_busy(worker.pid))
    }

    /// Whether there is nobody to kill just now.
    fn must_wait(&self, target: Target) -> bool {
        match target {
            // One after the other; files for the next one are handed in when it is its turn.
            _ if target.is_of_cluster() => self.strikes_cluster,
            Target::Worker(_) => self.victim(0).is_none(),
            Target::PausedWorker(_) | Target::Clock(..) => self.workers.is_empty(),
            // Somebody must be there to lead.
            Target::Coordinator
            | Target::PausedCoordinator
            | Target::Link(Place::Coordinator(_), _) => self.deposed.is_some() || self.is_crashing,
            Target::Crash(_) => self.is_crashing,
            // What is gone cannot be deleted.
            Target::Deleted(_) | Target::FullDisk | Target::Power => {
                self.kills.iter().any(|kill| kill.back == i64::MAX)
            }
            Target::Link(Place::Workers(_), _) => self
                .kills
                .iter()
                .any(|kill| matches!(kill.victim, Victim::Absent(_)) && kill.back == i64::MAX),
            Target::Leader(_)
            | Target::StepDown(_)
            | Target::EveryServer
            | Target::Link(Place::Server(_), _) => false,
            Target::Broker => {
                let is_away = |kill: &Kill| kill.victim == Victim::Broker && kill.back == i64::MAX;
                self.kills.iter().any(is_away)
            }
        }
    }

    fn is_back(&mut self, kill: usize) {
        if let Some(kill) = self.kills.get_mut(kill) {
            kill.back = now();
        }
    }
}
