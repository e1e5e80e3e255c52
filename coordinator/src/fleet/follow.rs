//! Waiting until everything a scan handed in is settled.
//!
//! The events of settled files are read from the stream, from a place before the first submission
//! on, so none is missed, whatever restarts. A file is counted by its run: the same content handed
//! in twice settles twice.

use std::collections::{BTreeMap, HashSet};

use broker_config::PluginId;
use broker_config::wire::event::{Event, Fact, TaskCounts};
use tracing::debug;

use crate::store::cursor::{Cursor, Start};
use crate::store::{Store, StoreError};

/// What has come of the files of one scan.
#[derive(Debug)]
pub struct Follower {
    store: Store,
    scan_id: String,
    settled: Cursor,
    rejected: Cursor,
    /// Runs that were opened and have not settled.
    open: HashSet<u64>,
    /// Runs that have settled, also those we have not heard of yet.
    seen: HashSet<u64>,
    /// The sum so far.
    pub tally: Tally,
}

/// Outcomes, summed up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Runs settled.
    pub settled: u64,
    /// By plugin.
    pub plugins: BTreeMap<PluginId, TaskCounts>,
    /// Files that the coordinator would not take.
    pub rejected: u64,
}

impl Tally {
    /// All plugins together.
    #[must_use]
    pub fn tasks(&self) -> TaskCounts {
        let mut all = TaskCounts::default();
        self.plugins.values().for_each(|counts| all.add(*counts));
        all
    }
}

impl Follower {
    /// Begins to listen; call it before the first file is handed in.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the broker does not answer.
    pub async fn open(store: &Store, scan_id: &str) -> Result<Self, StoreError> {
        let names = store.names();
        let stream = names.event_stream();
        let next = store.stream_state(&stream).await?.last_seq + 1;
        let cursor = |name| store.cursor(stream.clone(), names.event(name), Start::Sequence(next));
        Ok(Self {
            settled: cursor("file.settled"),
            rejected: cursor("submission.rejected"),
            store: store.clone(),
            scan_id: scan_id.to_owned(),
            open: HashSet::new(),
            seen: HashSet::new(),
            tally: Tally::default(),
        })
    }

    /// Notes a run that a submission opened.
    pub fn opened(&mut self, run: u64) {
        if !self.seen.contains(&run) {
            self.open.insert(run);
        }
    }

    /// Runs that have not settled.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.open.len()
    }

    /// Reads what has settled since; whether anything has.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the same call may be made again.
    pub async fn read(&mut self) -> Result<bool, StoreError> {
        let found = self.settled.read().await?;
        for stored in &found {
            if let Ok(Event { what: Fact::FileSettled { run_id, scan_id, plugins, .. }, .. }) =
                serde_json::from_slice(&stored.payload)
                && scan_id.as_deref() == Some(self.scan_id.as_str())
                && self.settles(run_id.0)
            {
                for (plugin, outcome) in plugins {
                    self.tally.plugins.entry(plugin).or_default().count(outcome);
                }
            }
        }
        Ok(!found.is_empty())
    }

    /// Looks for runs that ended without saying so: refused ones, and those whose submission is
    /// gone from its stream although no event told of it.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the same call may be made again.
    pub async fn look_for_lost(&mut self) -> Result<(), StoreError> {
        for stored in self.rejected.read().await? {
            if let Ok(Event { what: Fact::SubmissionRejected { run_id, reason }, .. }) =
                serde_json::from_slice(&stored.payload)
                && self.open.contains(&run_id.0)
            {
                debug!(run.id = %run_id, reason, "submission rejected");
                self.settles(run_id.0);
                self.tally.rejected += 1;
            }
        }
        let oldest = self.store.stream_state(&self.store.names().submit_stream()).await?.first_seq;
        // A submission is acknowledged after its event is stored: what is gone has been told.
        while self.read().await? {}
        let gone: Vec<u64> = self.open.iter().copied().filter(|run| *run < oldest).collect();
        for run in gone {
            debug!(run.id = run, "a submission is gone without an event");
            self.settles(run);
        }
        Ok(())
    }

    /// Notes that a run has settled; `false` if that was known.
    fn settles(&mut self, run: u64) -> bool {
        self.open.remove(&run);
        let is_new = self.seen.insert(run);
        self.tally.settled += u64::from(is_new);
        is_new
    }
}

#[cfg(test)]
mod tests {
    use async_nats::HeaderMap;
    use broker_config::RunId;
    use broker_config::wire::event::Outcome;
    use bytes::Bytes;

    use super::*;
    use crate::store::testing::TestBroker;

    async fn settle(store: &Store, run: u64, scan: &str) -> anyhow::Result<()> {
        let plugins = [("a", Outcome::Completed), ("b", Outcome::Failed)];
        let fact = Fact::FileSettled {
            cid: "c".parse()?,
            run_id: RunId(run),
            path: "/x".into(),
            scan_id: Some(scan.into()),
            tasks: TaskCounts::default(),
            plugins: plugins.map(|(id, outcome)| (id.parse().unwrap(), outcome)).into(),
            duration_ms: 1,
        };
        store.tell(fact).await?;
        Ok(())
    }

    #[tokio::test]
    async fn each_run_of_the_scan_counts_once_whatever_restarts() -> anyhow::Result<()> {
        let (mut broker, store) = TestBroker::start().await?;
        let submit = store.names().submit(broker_config::Queue::Fast);
        let mut runs = Vec::new();
        for _ in 0..3 {
            let body = Bytes::from_static(b"{}");
            runs.push(store.publisher().publish(submit.clone(), HeaderMap::new(), body).await?);
        }
        settle(&store, runs[0], "before").await?;
        let mut follower = Follower::open(&store, "s").await?;

        settle(&store, runs[0], "other").await?;
        settle(&store, runs[0], "s").await?;
        assert!(follower.read().await?);
        runs.iter().for_each(|run| follower.opened(*run));
        assert_eq!(follower.waiting(), 2, "the first settled before we knew of it");

        broker.restart()?;
        store.client().flush().await?;
        let again = settle(&store, runs[0], "s").await;
        if again.is_err() {
            settle(&store, runs[0], "s").await?;
        }
        settle(&store, runs[1], "s").await?;
        while follower.read().await? {}

        assert_eq!(follower.waiting(), 1);
        assert_eq!(follower.tally.settled, 2);
        let tasks = follower.tally.tasks();
        assert_eq!((tasks.completed, tasks.failed), (2, 2));
        Ok(())
    }

    #[tokio::test]
    async fn a_run_whose_submission_is_gone_is_not_waited_for() -> anyhow::Result<()> {
        let (_broker, store) = TestBroker::start().await?;
        let mut follower = Follower::open(&store, "s").await?;
        let submit = store.names().submit(broker_config::Queue::Fast);
        let body = Bytes::from_static(b"{}");
        let run = store.publisher().publish(submit, HeaderMap::new(), body).await?;
        follower.opened(run);

        follower.look_for_lost().await?;
        assert_eq!(follower.waiting(), 1, "it is still there");

        store.delete_message(&store.names().submit_stream(), run).await?;
        follower.look_for_lost().await?;
        assert_eq!(follower.waiting(), 0);
        Ok(())
    }
}
