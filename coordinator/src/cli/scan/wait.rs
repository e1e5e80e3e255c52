//! Scanning and waiting at the same time, and telling a person how far it is.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::super::App;
use super::super::exit::{Exit, Failure};
use super::super::progress::{Meter, Reading};
use super::{Attempt, Job, Mode};
use crate::fleet::follow::{Follower, Tally};
use crate::fleet::library::Scanned;
use crate::process::{ProcessHandle, ProcessState};
use crate::service::{CoordinatorHandle, Phase};
use crate::source::Progress;
use crate::store::{Store, StoreError};

/// Opened runs that wait to be noted; when it is full the scan waits too.
const RUNS: usize = 4096;
/// How often settled files are looked for.
const LOOK: Duration = Duration::from_millis(50);
/// Batches read in one look.
const BATCHES: usize = 20;
/// After this long without anything settled, lost runs are looked for.
const QUIET: Duration = Duration::from_secs(2);
/// After this long, a person is told what is waited for.
const LONG: Duration = Duration::from_secs(10);

/// A scan and all that comes of it.
pub(super) struct Waiting<'a> {
    pub(super) job: &'a Job<'a>,
    pub(super) attempt: &'a Attempt,
    pub(super) store: &'a Store,
    pub(super) progress: &'a watch::Sender<Progress>,
}

/// How it ended.
pub(super) enum Ended {
    /// Everything that was handed in is settled.
    Settled(Box<Scanned>, Tally),
    /// Ctrl-C or SIGTERM.
    Interrupted,
    /// The time is up.
    TimedOut {
        /// Files that had not settled.
        waiting: usize,
    },
}

impl Waiting<'_> {
    pub(super) async fn run(self) -> Result<Ended, Failure> {
        let Job { app, deadline, .. } = self.job;
        let Attempt { scan, cancel, .. } = self.attempt;
        let mut follower = Follower::open(self.store, &scan.id).await?;
        let mut meter = Meter::new(&app.out);
        let (sender, mut runs) = mpsc::channel(RUNS);
        let mut scanning = Box::pin(scan.run(self.store, Some(sender), self.progress, cancel));
        let mut scanned = None;
        let mut quiet = Quiet::new();
        let mut due = interval(LOOK);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ended = loop {
            tokio::select! {
                biased;
                () = super::at(*deadline) => break Ended::TimedOut { waiting: follower.waiting() },
                // While it scans, the scan itself ends first: what it holds is handed in.
                () = cancel.cancelled(), if scanned.is_some() => break Ended::Interrupted,
                Some(run) = runs.recv() => follower.opened(run),
                ended = &mut scanning, if scanned.is_none() => {
                    match ended {
                        Ok(ended) if !ended.report.cancelled => scanned = Some(ended),
                        Ok(_) => break Ended::Interrupted,
                        // It was told to give up waiting for a broker that is away.
                        Err(_) if cancel.is_cancelled() => break Ended::Interrupted,
                        Err(error) => {
                            meter.end();
                            return Err(error.into());
                        }
                    }
                }
                _ = due.tick() => {
                    quiet.look(self.store, &mut follower, &meter).await?;
                    let settled = follower.tally.settled;
                    let all = settled + follower.waiting() as u64;
                    let walked = scanned.is_some();
                    meter.show(Reading { scan: &self.progress.borrow(), walked, settled, all });
                    // The sender is gone with the scan, so an empty channel stays empty.
                    if walked && runs.is_empty() && follower.waiting() == 0
                        && self.nothing_is_left().await?
                        && let Some(scanned) = scanned.take()
                    {
                        break Ended::Settled(Box::new(scanned), follower.tally.clone());
                    }
                }
            }
        };
        meter.end();
        Ok(ended)
    }

    /// Whether the fleet may end, as far as others are concerned: nobody is left afterwards to process
    /// what earlier commands handed in that were interrupted, dead letters tried again, files that
    /// plugins made.
    async fn nothing_is_left(&self) -> Result<bool, Failure> {
        if self.attempt.mode != Mode::Alone {
            return Ok(true);
        }
        match self.store.stream_state(&self.store.names().submit_stream()).await {
            Ok(state) => Ok(state.messages == 0),
            Err(error) if error.is_retryable() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// What is done while nothing happens.
struct Quiet {
    since: Instant,
    looked: Instant,
    told: Instant,
    away: bool,
    waits_for: BTreeSet<String>,
}

impl Quiet {
    fn new() -> Self {
        let now = Instant::now();
        Self { since: now, looked: now, told: now, away: false, waits_for: BTreeSet::new() }
    }

    /// Reads what has settled; an absent broker is waited for.
    async fn look(
        &mut self,
        store: &Store,
        follower: &mut Follower,
        meter: &Meter,
    ) -> Result<(), Failure> {
        match self.try_look(store, follower, meter).await {
            Ok(()) => self.away = false,
            Err(error) if error.is_retryable() => {
                if !self.away {
                    meter.say("the broker does not answer; waiting for it");
                }
                self.away = true;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    async fn try_look(
        &mut self,
        store: &Store,
        follower: &mut Follower,
        meter: &Meter,
    ) -> Result<(), StoreError> {
        for _ in 0..BATCHES {
            if !follower.read().await? {
                break;
            }
            self.since = Instant::now();
        }
        if follower.waiting() == 0 {
            self.since = Instant::now();
        }
        if self.since.elapsed() > QUIET && self.looked.elapsed() > QUIET {
            self.looked = Instant::now();
            follower.look_for_lost().await?;
        }
        if self.since.elapsed() > LONG && self.told.elapsed() > LONG {
            self.told = Instant::now();
            self.tell(store, meter).await?;
        }
        Ok(())
    }

    /// Says which plugins have tasks and nobody to do them, once for each set of them.
    async fn tell(&mut self, store: &Store, meter: &Meter) -> Result<(), StoreError> {
        let overview = store.overview().await?;
        let idle = |plugin: &&crate::store::overview::PluginNumbers| {
            plugin.pending > 0 && (plugin.ready == 0 || plugin.paused)
        };
        let waits_for: BTreeSet<String> = overview
            .plugins
            .iter()
            .filter(idle)
            .map(|plugin| {
                let why = if plugin.paused { "is paused" } else { "has no instance" };
                format!("{} {why} ({} tasks wait)", plugin.id, plugin.pending)
            })
            .collect();
        let plugins: BTreeSet<String> =
            waits_for.iter().filter_map(|text| text.split(' ').next()).map(str::to_owned).collect();
        if plugins != self.waits_for {
            waits_for.iter().for_each(|text| meter.say(&format!("waiting: {text}")));
            self.waits_for = plugins;
        }
        Ok(())
    }
}

/// Waits until the coordinator opens files; the code to end with when it is told to stop before.
pub(super) async fn until_leading(
    app: &App,
    coordinator: CoordinatorHandle,
    processes: ProcessHandle,
    cancel: &CancellationToken,
) -> Option<Exit> {
    let mut phase = coordinator.phase();
    let mut complaints = BTreeSet::new();
    let leading = async {
        loop {
            if *phase.borrow_and_update() == Phase::Leading {
                return;
            }
            let changed = tokio::time::timeout(Duration::from_secs(1), phase.changed()).await;
            if matches!(changed, Ok(Err(_))) {
                // The coordinator has ended; whoever owns it says why.
                std::future::pending::<()>().await;
            }
            for process in processes.list() {
                let is_dying =
                    matches!(process.state, ProcessState::Waiting | ProcessState::CrashLoop);
                if is_dying && complaints.insert(process.name.clone()) {
                    let reason = process.last_exit.map_or_else(String::new, |exit| exit.reason);
                    let log = process.log.display();
                    app.out.say(&format!("{} ended: {reason}; see {log}", process.name));
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = cancel.cancelled() => Some(Exit::Interrupted),
        () = leading => None,
    }
}
