//! Blue-green: the new version gets what the old one gets, and nothing follows from what it says.

use broker_config::wire::event::{Fact, Outcome};
use coordinator::transition::How;
use coordinator::transition::diff::{compare, summary};
use coordinator::transition::state::Asked;
use integration_tests::plugin::{done, manifest};
use integration_tests::{Fleet, Script, eventually};
use serde_json::json;
use worker_sdk::Failure;

use super::{NEW, OLD, ask, begin, ended, files, is_tidy, plan, probe, records, store, version};

/// Says the same as the old version, but of files whose name ends with 3, and fails on those that
/// end with 7.
fn nearly_the_same() -> Script {
    Script::new(|call| async move {
        if call.cid.ends_with('7') {
            return Err(Failure::permanent("not a seven"));
        }
        let value = if call.cid.ends_with('3') { "another" } else { OLD };
        Ok(done(&call.plugin, value))
    })
}

#[tokio::test]
async fn both_versions_run_and_exactly_what_differs_is_shown_until_the_switch() -> anyhow::Result<()>
{
    let (fleet, _lead) = Fleet::start().await?;
    let store = store(&fleet).await?;
    let (old, new, after) = (Script::completes(), nearly_the_same(), Script::completes());
    let _old = fleet.worker(&version(OLD)?, &old).await?;
    let reads = json!({"dependencies": ["probe"], "reads": ["probe/*"]});
    let _after = fleet.worker(&manifest("after", &reads)?, &after).await?;
    assert_eq!(fleet.run("known-3").await?.of("probe"), Some(Outcome::Completed));
    begin(&store, &plan(How::BlueGreen)).await?;
    let _new = fleet.worker(&version(NEW)?, &new).await?;

    for run in fleet.submit_many("file", 10).await? {
        let settled = fleet.settled(run).await?;
        assert_eq!(settled.of("probe"), Some(Outcome::Completed));
        assert_eq!(settled.of("after"), Some(Outcome::Completed));
    }
    // A file that is up to date is compared as well when it comes by.
    assert_eq!(fleet.run("known-3").await?.of("probe"), Some(Outcome::Cached));

    let trials = eventually("everything to be tried", async || {
        let trials = store.trials(&probe()?).await?;
        Ok((trials.len() == 11).then_some(trials))
    })
    .await?;
    let olds = records(&fleet).await?;
    let diffs: Vec<_> = trials.iter().map(|(cid, new)| (cid, compare(&olds[cid], new))).collect();
    let summary = summary(diffs.iter().map(|(_, diff)| diff));
    assert_eq!((summary.compared, summary.different, summary.newly_failed), (11, 3, 1));
    for (cid, diff) in &diffs {
        let differs = ["file-3", "known-3", "file-7"].contains(&cid.as_str());
        assert_eq!(!diff.is_empty(), differs, "{cid}: {diff:?}");
    }
    let changed = ("1.0.0".to_owned(), "another".to_owned());
    let of_three = diffs.iter().find(|(cid, _)| cid.as_str() == "file-3").unwrap();
    assert_eq!(of_three.1.changed, [("probe/done".to_owned(), changed)].into());

    assert!(olds.values().all(|record| record.plugin_version == OLD), "nothing is replaced");
    assert_eq!(after.calls().len(), 11, "nothing downstream ran because of it");
    let dead = |fact: &Fact| matches!(fact, Fact::TaskDead { .. });
    assert!(!fleet.facts().await?.iter().any(dead), "a trial that fails is no dead letter");
    assert_eq!(fleet.state(&fleet.names.dead_stream()).await?.0, 0);

    ask(&store, Asked::Switch).await?;
    assert_eq!(ended(&store).await?.current.to_string(), NEW);
    is_tidy(&fleet, &store).await?;
    let before = new.calls().len();
    assert_eq!(fleet.run("file-3").await?.of("probe"), Some(Outcome::Completed));
    assert_eq!(new.calls().len(), before + 1, "its files are done again, by the new version");
    assert_eq!(after.calls().len(), 12);
    Ok(())
}

#[tokio::test]
async fn a_trial_that_is_ended_leaves_nothing_and_the_new_version_waits() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let store = store(&fleet).await?;
    let (old, new) = (Script::completes(), nearly_the_same());
    let _old = fleet.worker(&version(OLD)?, &old).await?;
    begin(&store, &plan(How::BlueGreen)).await?;
    let tried = fleet.worker(&version(NEW)?, &new).await?;
    fleet.run("film").await?;
    eventually("the trial", async || Ok((store.trials(&probe()?).await?.len() == 1).then_some(())))
        .await?;

    ask(&store, Asked::Revert).await?;

    assert_eq!(ended(&store).await?.current.to_string(), OLD);
    is_tidy(&fleet, &store).await?;
    let paused = broker_config::wire::instance::InstanceState::Paused;
    fleet.instance_is(&probe()?, &tried.instance, paused).await?;
    assert_eq!(fleet.run("other").await?.of("probe"), Some(Outcome::Completed));
    assert_eq!(files(&new).len(), 1);
    assert_eq!(fleet.run("film").await?.of("probe"), Some(Outcome::Cached));
    Ok(())
}
