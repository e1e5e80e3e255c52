//! Coordinators and brokers that are killed in mid graph.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use broker_config::wire::event::Fact;
use broker_config::wire::lease::{LEASE_KEY, Lease};
use broker_config::{Names, RunId};
use integration_tests::{Call, Fleet, Lead, Running, Script, eventually, heavy};
use tokio::time::{Duration, Instant, sleep};

use crate::seed::six_plugins;

/// Files in each of these tests.
const FILES: usize = 30;

/// A fleet in the middle of its work.
struct Busy {
    fleet: Fleet,
    script: Script,
    runs: Vec<RunId>,
    random: fastrand::Rng,
    _workers: Vec<Running>,
}

impl Busy {
    /// Starts six plugins and hands in the files; returns once some tasks are settled and most
    /// are not.
    async fn start(seed: u64) -> anyhow::Result<(Self, Lead)> {
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let (fleet, lead) = Fleet::start_with(|options| options.node = "one".to_owned()).await?;
        let script = Script::new(|call: Call| async move {
            sleep(Duration::from_millis(5)).await;
            Ok(call.done())
        });
        let workers = six_plugins(&fleet, &script).await?;
        let runs = fleet.submit_many("film", FILES).await?;
        script.begun(random.usize(5..FILES * 3)).await?;
        Ok((Self { fleet, script, runs, random, _workers: workers }, lead))
    }

    async fn coordinator(&self, node: &str) -> anyhow::Result<Lead> {
        self.fleet.coordinator(|options| options.node = node.to_owned()).await
    }

    /// Waits until everything is settled; says how often a handler ran for nothing.
    async fn finished(&self) -> anyhow::Result<usize> {
        let limit = Duration::from_secs(90);
        for run in &self.runs {
            let settled = self.fleet.settled_within(limit, *run).await?;
            assert_eq!(settled.plugins.len(), 6, "{settled:?}");
            assert_eq!((settled.tasks.failed, settled.tasks.skipped), (0, 0), "{settled:?}");
        }
        integration_tests::within(limit, "all submissions to be gone", async || {
            let left = self.fleet.state(&self.fleet.names.submit_stream()).await?.0;
            Ok((left == 0).then_some(()))
        })
        .await?;
        self.fleet.quiet().await?;
        let records = self.fleet.stored(&self.fleet.names.record_stream()).await?;
        let subjects: BTreeSet<&str> = records.iter().map(|s| s.subject.as_str()).collect();
        assert_eq!((records.len(), subjects.len()), (FILES * 6, FILES * 6));
        let written = self.fleet.state(&self.fleet.names.record_stream()).await?.1;
        assert_eq!(written, (FILES * 6) as u64, "no outcome replaced another");
        let mut settled: BTreeMap<RunId, usize> = BTreeMap::new();
        for fact in self.fleet.facts().await? {
            if let Fact::FileSettled { run_id, .. } = fact {
                *settled.entry(run_id).or_default() += 1;
            }
        }
        assert!(settled.len() == FILES && settled.values().all(|&n| n == 1), "{settled:?}");
        assert_eq!(self.fleet.dead_letters().await?, []);
        Ok(self.script.calls().len() - FILES * 6)
    }
}

#[tokio::test]
async fn a_killed_coordinator_is_followed_by_itself_at_once_and_nothing_settled_runs_again()
-> anyhow::Result<()> {
    let _place = heavy().await?;
    let (mut busy, mut lead) = Busy::start(fastrand::u64(..)).await?;
    for _ in 0..4 {
        lead.kill();
        let dead = Instant::now();
        lead = busy.coordinator("one").await?;
        lead.leading().await?;
        assert!(dead.elapsed() < Duration::from_secs(3), "{:?}", dead.elapsed());
        let more = busy.script.calls().len() + busy.random.usize(5..30);
        busy.script.begun(more.min(FILES * 6)).await?;
    }

    let again = busy.finished().await?;

    assert_eq!(again, 0, "workers lived, so nothing had to run twice");
    Ok(())
}

#[tokio::test]
async fn another_node_takes_over_when_the_lease_has_run_out() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let (busy, lead) = Busy::start(fastrand::u64(..)).await?;
    let other = busy.coordinator("two").await?;
    assert_eq!(*other.handle.phase().borrow(), coordinator::service::Phase::Waiting);

    lead.kill();
    let dead = Instant::now();
    other.leading().await?;

    let took = dead.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}");
    busy.finished().await?;
    let mut leaders = Vec::new();
    for fact in busy.fleet.facts().await? {
        if let Fact::CoordinatorLeading { holder, epoch } = fact {
            leaders.push((holder, epoch));
        }
    }
    assert_eq!(leaders, [("one".to_owned(), 1), ("two".to_owned(), 2)]);
    Ok(())
}

#[tokio::test]
async fn who_waits_for_the_lead_makes_the_lease_anew_that_the_broker_has_lost() -> anyhow::Result<()>
{
    let (busy, lead) = Busy::start(fastrand::u64(..)).await?;
    let other = busy.coordinator("two").await?;
    lead.kill();
    let lease = Names::bucket_stream(&busy.fleet.names.lease_bucket());
    busy.fleet.js.delete_stream(&lease).await?;

    other.leading().await?;

    assert_eq!(busy.finished().await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_coordinator_that_stops_in_good_order_lets_another_node_lead_at_once()
-> anyhow::Result<()> {
    let (busy, lead) = Busy::start(fastrand::u64(..)).await?;
    let other = busy.coordinator("two").await?;

    lead.stop().await?;

    let bucket = busy.fleet.names.lease_bucket();
    let (stream, key) = (Names::bucket_stream(&bucket), Names::key_subject(&bucket, LEASE_KEY));
    let found = busy.fleet.last(&stream, &key).await?.context("a lease")?;
    let lease: Lease = serde_json::from_slice(&found.payload)?;
    assert!(lease.ttl_ms == 0 || lease.holder == "two", "nobody has to wait for it: {lease:?}");
    other.leading().await?;
    assert_eq!(busy.finished().await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_killed_broker_comes_back_and_everything_is_finished() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let (mut busy, _lead) = Busy::start(fastrand::u64(..)).await?;
    for _ in 0..2 {
        busy.fleet.server.kill()?;
        busy.fleet.server.restart().await?;
        let more = busy.script.calls().len() + busy.random.usize(1..20);
        busy.script.begun(more.min(FILES * 6)).await?;
    }

    let again = busy.finished().await?;

    // Acknowledgements that were lost on the way bring tasks back, never more than were out.
    println!("{again} attempts ran for nothing");
    assert!(again <= 2 * 6 * 4, "{again}");
    Ok(())
}

#[tokio::test]
async fn broker_and_coordinator_are_killed_together_and_everything_is_finished()
-> anyhow::Result<()> {
    let _place = heavy().await?;
    let (busy, lead) = Busy::start(fastrand::u64(..)).await?;

    busy.fleet.server.kill()?;
    lead.kill();
    busy.fleet.server.restart().await?;
    let lead = busy.coordinator("one").await?;
    lead.leading().await?;

    let again = busy.finished().await?;
    println!("{again} attempts ran for nothing");
    assert!(again <= 6 * 4, "{again}");
    Ok(())
}

#[tokio::test]
async fn files_handed_in_while_nobody_leads_are_done_when_somebody_does() -> anyhow::Result<()> {
    let (fleet, lead) = Fleet::start().await?;
    let script = Script::completes();
    let _workers = six_plugins(&fleet, &script).await?;
    lead.kill();
    let runs = fleet.submit_many("film", 5).await?;

    let _lead = fleet.coordinator(|_| {}).await?;

    for run in runs {
        assert_eq!(fleet.settled(run).await?.tasks.completed, 6);
    }
    eventually("the submissions to be gone", async || {
        Ok((fleet.state(&fleet.names.submit_stream()).await?.0 == 0).then_some(()))
    })
    .await
}
