//! Hands files in while the experiment runs, and again until the broker has acknowledged them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use async_nats::HeaderMap;
use broker_config::Queue;
use broker_config::header::MESSAGE_ID;
use broker_config::publish::PublishError;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::{GRAPH, Sabotage, now};
use crate::{Fleet, file, json_of};

/// Files handed in at the same time.
const AT_ONCE: usize = 32;
/// Of the files, this part is ahead of the workers, so that files are handed in for most of the
/// experiment.
const AHEAD: usize = 5;
/// Files that are handed in when the time of a kill has come, if there are enough of them.
const FOR_A_KILL: usize = 16;
/// Pause before something is handed in again.
const PAUSE: Duration = Duration::from_millis(200);
/// Pause before a submission is taken away: soon enough that its file is not settled.
const FORGET: Duration = Duration::from_millis(5);

/// How far the experiment is, as far as the handing in of files goes by it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Executions that have begun.
    pub begun: usize,
    /// Kills of which the time has come.
    pub kills: usize,
    /// The time that has passed.
    pub elapsed: Duration,
}

/// How many files are handed in when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amounts {
    files: usize,
    kills: usize,
    for_a_kill: usize,
    /// In a soak the time between two files, whatever becomes of them.
    between: Option<Duration>,
}

impl Amounts {
    /// At most half of the `files` are held back for `kills`.
    #[must_use]
    pub fn of(files: usize, kills: usize) -> Self {
        let for_a_kill = (files / 2).checked_div(kills).unwrap_or(0).min(FOR_A_KILL);
        Self { files, kills, for_a_kill, between: None }
    }

    /// One file after the other at a steady pace.
    #[must_use]
    pub const fn paced(files: usize, between: Duration) -> Self {
        Self { files, kills: 0, for_a_kill: 0, between: Some(between) }
    }

    /// Files that no kill is waited for with.
    #[must_use]
    pub const fn without_kills(self) -> usize {
        self.files - self.kills * self.for_a_kill
    }

    /// How many files may have been handed in by now.
    #[must_use]
    pub fn due(self, now: Progress) -> usize {
        if let Some(between) = self.between {
            let due = now.elapsed.as_nanos() / between.as_nanos().max(1);
            return usize::try_from(due).map_or(self.files, |due| self.files.min(due + 1));
        }
        let for_kills = now.kills * self.for_a_kill;
        let by_progress = now.begun / GRAPH.len() + for_kills + self.files / AHEAD;
        by_progress.min(self.without_kills() + for_kills)
    }
}

/// The content id of a file of the experiment.
#[must_use]
pub fn cid(number: usize) -> String {
    format!("chaos-{number:06}")
}

/// When each file was taken by the broker, in microseconds.
pub type Handed = Arc<Mutex<BTreeMap<String, i64>>>;

/// Hands files in, not much faster than the executions show that they are worked on.
pub async fn submit(
    fleet: Arc<Fleet>,
    amounts: Amounts,
    mut progress: watch::Receiver<Progress>,
    sabotage: Option<Sabotage>,
    handed: Handed,
) -> anyhow::Result<()> {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut running: JoinSet<anyhow::Result<()>> = JoinSet::new();
    for number in 0..amounts.files {
        progress.wait_for(|now| number < amounts.due(*now)).await?;
        let place = places.clone().acquire_owned().await?;
        let (fleet, handed) = (fleet.clone(), handed.clone());
        running.spawn(async move {
            let _place = place;
            hand_in(&fleet, number, sabotage).await?;
            let mut handed = handed.lock().unwrap_or_else(PoisonError::into_inner);
            handed.insert(cid(number), now());
            Ok(())
        });
        while let Some(ended) = running.try_join_next() {
            ended??;
        }
    }
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    Ok(())
}

async fn hand_in(fleet: &Fleet, number: usize, sabotage: Option<Sabotage>) -> anyhow::Result<()> {
    let cid = cid(number);
    let body = json_of(&file(&cid)?)?;
    let mut headers = HeaderMap::new();
    // What was stored without our hearing of it is not stored again.
    headers.insert(MESSAGE_ID, cid.as_str());
    let run = loop {
        let subject = fleet.names.submit(Queue::Fast);
        match fleet.publisher.publish(subject, headers.clone(), body.clone()).await {
            Ok(run) => break run,
            Err(error) if sabotage == Some(Sabotage::SubmitOnce) => {
                tracing::debug!(%error, "not handed in again");
                return Ok(());
            }
            Err(PublishError::Closed) => anyhow::bail!("the connection is closed"),
            Err(error @ PublishError::TooLarge { .. }) => return Err(error.into()),
            Err(error) => tracing::debug!(%error, cid, "handed in again"),
        }
        tokio::time::sleep(PAUSE).await;
    };
    if sabotage == Some(Sabotage::ForgetFiles) {
        tokio::time::sleep(FORGET).await;
        fleet
            .delete_message(&fleet.names.submit_stream(), run)
            .await
            .context("forget a submission")
            .ok();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_held_back_until_the_time_of_their_kill() {
        let amounts = Amounts::of(600, 2);
        let due = |begun, kills| amounts.due(Progress { begun, kills, ..Progress::default() });

        assert_eq!(amounts.without_kills(), 568);
        for (begun, kills, files) in [
            (0, 0, 120),
            (600, 0, 220),
            (568 * 6, 0, 568),
            (568 * 6, 1, 584),
            (600, 2, 252),
            (600 * 6, 2, 600),
        ] {
            assert_eq!(due(begun, kills), files, "{begun} executions, {kills} kills");
        }
        assert_eq!(Amounts::of(20, 5).without_kills(), 10);
        assert_eq!(Amounts::of(20, 0).without_kills(), 20);
    }

    #[test]
    fn a_steady_pace_goes_by_time_alone() {
        let amounts = Amounts::paced(100, Duration::from_millis(50));
        for (elapsed, begun, files) in
            [(0, 0, 1), (49, 600, 1), (50, 0, 2), (1_000, 3, 21), (60_000, 0, 100)]
        {
            let elapsed = Duration::from_millis(elapsed);
            let now = Progress { begun, elapsed, ..Progress::default() };
            assert_eq!(amounts.due(now), files, "{elapsed:?}");
        }
    }
}
