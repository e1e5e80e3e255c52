//! Gradual: a rising share of the files goes to the new version.

use std::collections::{BTreeMap, BTreeSet};

use broker_config::wire::event::{Fact, Outcome};
use coordinator::transition::share::takes;
use coordinator::transition::{How, Plan, Steps, Way};
use integration_tests::plugin::manifest;
use integration_tests::{Fleet, Script, eventually};
use serde_json::json;
use worker_sdk::Failure;

use super::{NEW, OLD, begin, ended, files, is_tidy, records, store, version, versions};

fn plan(steps: Vec<u8>, tasks: u32) -> anyhow::Result<Plan> {
    let steps = Steps::try_from(steps).map_err(anyhow::Error::msg)?;
    Ok(Plan { how: How::Gradual, steps, tasks, step_ms: 0 })
}

/// Of `<stem>-0` to `<stem>-<count - 1>`: those in this share.
fn share(stem: &str, count: usize, percent: u8) -> anyhow::Result<BTreeSet<String>> {
    let mut share = BTreeSet::new();
    for cid in (0..count).map(|n| format!("{stem}-{n}")) {
        if takes(percent, &cid.parse()?) {
            share.insert(cid);
        }
    }
    Ok(share)
}

/// Waits until a share is in effect.
async fn is_at(store: &coordinator::store::Store, percent: u8) -> anyhow::Result<()> {
    eventually(&format!("a share of {percent} %"), async || {
        let Some(transition) = versions(store).await?.transition else { return Ok(None) };
        let Way::Gradual(gradual) = transition.way else { return Ok(None) };
        let is_there = transition.candidate.is_some() && gradual.percent() == percent;
        Ok(is_there.then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_share_of_the_files_goes_to_the_new_version_and_rises_to_all() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let store = store(&fleet).await?;
    let (old, new) = (Script::completes(), Script::completes());
    let _old = fleet.worker(&version(OLD)?, &old).await?;
    begin(&store, &plan(vec![25, 60, 100], 10)?).await?;
    let _new = fleet.worker(&version(NEW)?, &new).await?;
    is_at(&store, 25).await?;

    // Too few for the next step.
    let few = share("a", 30, 25)?;
    assert!(few.len() < 10 && !few.is_empty(), "{few:?}");
    for run in fleet.submit_many("a", 30).await? {
        assert_eq!(fleet.settled(run).await?.of("probe"), Some(Outcome::Completed));
    }
    assert_eq!(files(&new), few);
    assert_eq!(files(&old).len(), 30 - few.len());
    let of_new: BTreeSet<String> = records(&fleet)
        .await?
        .into_iter()
        .filter(|(_, record)| record.plugin_version == NEW)
        .map(|(cid, _)| cid.to_string())
        .collect();
    assert_eq!(of_new, few, "each record says whose it is");

    // Steady work, until the new version has it all.
    let mut runs = Vec::new();
    for round in 0..100 {
        if versions(&store).await?.transition.is_none() {
            break;
        }
        for run in fleet.submit_many(&format!("b{round}"), 10).await? {
            fleet.settled(run).await?;
            runs.push(run);
        }
    }
    let decided = ended(&store).await?;
    assert_eq!(decided.current.to_string(), NEW);
    assert_eq!(decided.previous.map(|it| it.to_string()).as_deref(), Some(OLD));
    let (before, after) = (old.calls().len(), fleet.submit_many("c", 12).await?);
    for run in after {
        fleet.settled(run).await?;
    }
    assert_eq!(old.calls().len(), before, "the old version has nothing to do any more");
    let all = records(&fleet).await?;
    assert_eq!(all.len(), 30 + runs.len() + 12);
    // What the new version holds at the switch may be done once more, and nothing else.
    let mut calls: BTreeMap<String, usize> = BTreeMap::new();
    for call in old.calls().into_iter().chain(new.calls()) {
        *calls.entry(call.cid).or_default() += 1;
    }
    assert_eq!(calls.len(), all.len());
    let twice = calls.iter().filter(|(_, count)| **count > 1);
    let rounds: BTreeSet<&str> =
        twice.filter_map(|(cid, _)| Some(cid.split_once('-')?.0)).collect();
    assert!(rounds.len() <= 1, "more than what was in hand at the switch ran twice: {calls:?}");
    let shares: Vec<u8> = fleet
        .facts()
        .await?
        .iter()
        .filter_map(|fact| match fact {
            Fact::TransitionAdvanced { percent, .. } => Some(*percent),
            _ => None,
        })
        .collect();
    assert_eq!(shares, [60, 100]);
    is_tidy(&fleet, &store).await?;
    fleet.quiet().await
}

#[tokio::test]
async fn under_steady_load_no_file_is_lost_and_none_has_an_outcome_of_both_versions()
-> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let store = store(&fleet).await?;
    let (old, new) = (Script::completes(), Script::completes());
    let _old = fleet.worker(&version(OLD)?, &old).await?;
    begin(&store, &plan(vec![20, 50, 100], 15)?).await?;
    let _new = fleet.worker(&version(NEW)?, &new).await?;
    is_at(&store, 20).await?;

    // There is always something under way, until the switch is some time ago.
    let (mut runs, mut rounds_after) = (BTreeSet::new(), 0);
    while rounds_after < 3 {
        let before = runs.last().copied();
        runs.extend(fleet.submit_many(&format!("f{}", runs.len()), 20).await?);
        if let Some(before) = before {
            fleet.settled(before).await?;
        }
        rounds_after += usize::from(versions(&store).await?.transition.is_none());
        anyhow::ensure!(runs.len() < 6_000, "no switch");
    }

    eventually("every file to be settled", async || {
        let facts = fleet.facts().await?;
        let done = facts.iter().filter_map(|fact| match fact {
            Fact::FileSettled { run_id, plugins, .. } => {
                let is_done = plugins.values().eq([&Outcome::Completed]);
                is_done.then_some(*run_id)
            }
            _ => None,
        });
        let done: BTreeSet<_> = done.collect();
        Ok((done == runs).then_some(()))
    })
    .await?;
    let records = records(&fleet).await?;
    assert_eq!(records.len(), runs.len());
    for (cid, record) in &records {
        let value = record.meta.values().next().map(broker_config::MetaValue::to_flat);
        assert_eq!(value.as_deref(), Some(&*record.plugin_version), "{cid}");
    }
    let by_new = records.values().filter(|record| record.plugin_version == NEW).count();
    assert!(by_new > 0 && by_new < records.len(), "{by_new} of {}", records.len());
    is_tidy(&fleet, &store).await?;
    fleet.quiet().await
}

#[tokio::test]
async fn a_new_version_that_fails_more_is_rolled_back_by_itself() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let store = store(&fleet).await?;
    let old = Script::completes();
    let new = Script::new(|_| async { Err(Failure::permanent("the new version is broken")) });
    let _old = fleet.worker(&version(OLD)?, &old).await?;
    begin(&store, &plan(vec![50, 100], 1_000)?).await?;
    let _new = fleet.worker(&version(NEW)?, &new).await?;
    is_at(&store, 50).await?;

    for round in 0..100 {
        if versions(&store).await?.transition.is_none() {
            break;
        }
        for run in fleet.submit_many(&format!("r{round}"), 10).await? {
            fleet.settled(run).await?;
        }
    }

    let decided = ended(&store).await?;
    assert_eq!(decided.current.to_string(), OLD);
    let reason = decided.last.and_then(|last| last.reverted).unwrap();
    assert!(reason.contains("it fails more"), "{reason}");
    let told = |fact: &Fact| match fact {
        Fact::TransitionReverted { automatic, to, .. } => Some((*automatic, to.clone())),
        _ => None,
    };
    assert_eq!(fleet.fact("the roll back", told).await?, (true, NEW.to_owned()));
    is_tidy(&fleet, &store).await?;
    // Its files are outdated: what has failed is done by the old version when it comes again.
    let failed: Vec<String> = records(&fleet)
        .await?
        .into_iter()
        .filter(|(_, record)| record.status == broker_config::RecordStatus::Failed)
        .map(|(cid, _)| cid.to_string())
        .collect();
    assert!(failed.len() >= 10, "{failed:?}");
    for cid in failed {
        assert_eq!(fleet.run(&cid).await?.of("probe"), Some(Outcome::Completed), "{cid}");
    }
    Ok(())
}

#[tokio::test]
async fn a_leader_that_is_lost_in_the_middle_changes_nothing() -> anyhow::Result<()> {
    let (fleet, lead) = Fleet::start().await?;
    let store = store(&fleet).await?;
    let (old, new) = (Script::completes(), Script::completes());
    let _old = fleet.worker(&version(OLD)?, &old).await?;
    begin(&store, &plan(vec![40, 100], 1_000)?).await?;
    let _new = fleet.worker(&version(NEW)?, &new).await?;
    is_at(&store, 40).await?;
    for run in fleet.submit_many("before", 10).await? {
        fleet.settled(run).await?;
    }

    lead.kill();
    let runs = fleet.submit_many("while-away", 40).await?;
    let lead = fleet.coordinator(|_| {}).await?;
    lead.leading().await?;

    for run in runs {
        assert_eq!(fleet.settled(run).await?.of("probe"), Some(Outcome::Completed));
    }
    let expected: BTreeSet<String> =
        share("before", 10, 40)?.into_iter().chain(share("while-away", 40, 40)?).collect();
    assert_eq!(files(&new), expected, "the split is the same");
    let counted = eventually("all to be counted", async || {
        let Some(transition) = versions(&store).await?.transition else { return Ok(None) };
        let Way::Gradual(gradual) = transition.way else { return Ok(None) };
        let is_all = usize::try_from(gradual.new.done)? >= share("while-away", 40, 40)?.len();
        Ok(is_all.then_some(gradual))
    });
    assert_eq!(counted.await?.percent(), 40);
    assert_eq!(old.calls().len() + new.calls().len(), 50, "each once");
    Ok(())
}

#[tokio::test]
async fn a_new_version_with_other_dependencies_is_refused_and_the_old_one_goes_on()
-> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let store = store(&fleet).await?;
    let (old, new) = (Script::completes(), Script::completes());
    let _needed = fleet.worker(&manifest("needed", &json!({}))?, &Script::completes()).await?;
    let _old = fleet.worker(&version(OLD)?, &old).await?;
    begin(&store, &plan(vec![50, 100], 1)?).await?;
    let needs = manifest("probe", &json!({"version": NEW, "dependencies": ["needed"]}))?;
    let _new = fleet.spawn_worker(&needs, &new, |_| {})?;

    fleet
        .fact("the reason to be told", |fact| match fact {
            Fact::PluginRejected { reasons, .. } => reasons
                .iter()
                .any(|reason| reason.contains("depends on other plugins"))
                .then_some(()),
            _ => None,
        })
        .await?;

    for run in fleet.submit_many("file", 8).await? {
        assert_eq!(fleet.settled(run).await?.of("probe"), Some(Outcome::Completed));
    }
    assert_eq!(files(&old).len(), 8);
    assert!(new.calls().is_empty(), "{new:?}");
    let transition = versions(&store).await?.transition;
    assert!(transition.is_some_and(|transition| transition.candidate.is_none()));
    Ok(())
}
