//! What a new leader finds and must not undo.

use std::time::Duration;

use broker_config::wire::event::{Fact, Outcome};
use broker_config::{Names, PluginId, Queue};
use coordinator::store::Store;
use integration_tests::{Fleet, Script, eventually, file, manifest};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use worker_sdk::Outcome as Said;

#[tokio::test]
async fn max_in_flight_holds_when_another_coordinator_takes_over() -> anyhow::Result<()> {
    let (fleet, lead) = Fleet::start().await?;
    let gate = CancellationToken::new();
    let script = Script::waits_for(&gate);
    let limited = manifest("limited", &json!({ "maxInFlight": 1 }))?;
    let _worker = fleet.worker(&limited, &script).await?;
    let mut runs = vec![fleet.hand_in(Queue::Background, &file("first")?).await?];
    script.begun(1).await?;
    runs.extend(fleet.submit_many("fast", 12).await?);
    lead.kill();

    let lead = fleet.coordinator(|_| {}).await?;
    lead.leading().await?;
    eventually("all files to be in hand", async || {
        Ok((lead.handle.numbers().open == 13).then_some(()))
    })
    .await?;
    gate.cancel();
    for run in runs {
        fleet.settled(run).await?;
    }

    assert_eq!((script.calls().len(), script.most()), (13, 1), "{script:?}");
    Ok(())
}

#[tokio::test]
async fn a_paused_plugin_stays_paused_when_another_coordinator_takes_over() -> anyhow::Result<()> {
    let (fleet, lead) = Fleet::start().await?;
    let script = Script::completes();
    let _worker = fleet.worker(&manifest("paused", &json!({}))?, &script).await?;
    let store = Store::open(fleet.client.clone(), fleet.names.clone()).await?;
    let paused: PluginId = "paused".parse()?;
    store.hold_tasks(&paused, true).await?;
    lead.stop().await?;

    let lead = fleet.coordinator(|_| {}).await?;
    lead.leading().await?;
    let run = fleet.submit("film").await?;
    fleet.task_waits("paused", "film").await?;

    let consumers = store.consumers(&fleet.names.task_stream()).await?;
    assert!(consumers.values().all(|consumer| consumer.paused), "{consumers:?}");
    assert_eq!(script.calls().len(), 0);
    store.hold_tasks(&paused, false).await?;
    assert_eq!(fleet.settled(run).await?.of("paused"), Some(Outcome::Completed));
    Ok(())
}

/// The revisions that subscribers were told of, once this one is among them.
async fn told_until(fleet: &Fleet, last: u64) -> anyhow::Result<Vec<u64>> {
    eventually("the last outcome to be told", async || {
        let facts = fleet.facts().await?;
        let revision = |fact: &Fact| match fact {
            Fact::TaskSettled { revision, .. } => Some(*revision),
            _ => None,
        };
        let told: Vec<u64> = facts.iter().filter_map(revision).collect();
        Ok(told.contains(&last).then_some(told))
    })
    .await
}

#[tokio::test]
async fn outcomes_that_were_told_are_not_told_again_by_the_next_leader() -> anyhow::Result<()> {
    let (fleet, lead) = Fleet::start().await?;
    let script = Script::completes();
    let _worker = fleet.worker(&manifest("probe", &json!({}))?, &script).await?;
    for run in fleet.submit_many("film", 20).await? {
        fleet.settled(run).await?;
    }
    lead.kill();
    let lead = fleet.coordinator(|_| {}).await?;
    lead.leading().await?;
    fleet.run("one-more").await?;

    let told = told_until(&fleet, 21).await?;
    let mut once = told.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!((told.len(), once.len()), (21, 21), "{told:?}");
    Ok(())
}

#[tokio::test]
async fn outcomes_that_nobody_was_to_tell_of_are_not_told_by_later_leaders() -> anyhow::Result<()> {
    let (fleet, mut lead) = Fleet::start().await?;
    let script = Script::completes();
    let _worker = fleet.worker(&manifest("probe", &json!({}))?, &script).await?;
    // Each does one file; the record of the first has revision 1.
    for (turn, tells) in [true, false, true, true].into_iter().enumerate() {
        if turn > 0 {
            lead.kill();
            lead = fleet.coordinator(|options| options.task_events = tells).await?;
            lead.leading().await?;
        }
        fleet.run(&format!("film-{turn}")).await?;
    }

    let told = told_until(&fleet, 4).await?;
    assert_eq!(told, [1, 3, 4]);
    Ok(())
}

#[tokio::test]
async fn nothing_of_a_removed_plugin_comes_back_when_the_time_of_a_task_has_come()
-> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let wait = Duration::from_secs(2);
    let script = Script::new(move |_| async move { Ok(Said::retry_later(wait, "later")) });
    let worker = fleet.worker(&manifest("gone", &json!({}))?, &script).await?;
    let run = fleet.submit("film").await?;
    let later = fleet.names.later(&"gone".parse()?, &"film".parse()?);
    let stream = fleet.names.task_stream();
    eventually("a task to wait", async || fleet.last(&stream, &later).await).await?;
    worker.stop().await?;

    fleet.delete_key(Names::key_subject(&fleet.names.plugins_bucket(), "gone")).await?;
    assert_eq!(fleet.settled(run).await?.of("gone"), Some(Outcome::Gone));

    fleet.quiet().await
}

#[tokio::test]
async fn plugins_that_do_not_come_in_time_are_not_waited_for() -> anyhow::Result<()> {
    let fleet = Fleet::empty().await?;
    let lead = fleet
        .coordinator(|options| {
            options.word.expected = ["here", "absent"].map(|id| id.parse().unwrap()).into();
            options.expected_timeout = Duration::from_millis(800);
        })
        .await?;
    let _here = fleet.worker(&manifest("here", &json!({}))?, &Script::completes()).await?;
    let waiting = lead.handle.phase().borrow().clone();
    lead.leading().await?;

    assert_eq!(fleet.run("film").await?.of("here"), Some(Outcome::Completed));
    let absent = ["absent".parse()?].into();
    let starting = coordinator::service::Phase::Starting { waiting_for: absent };
    assert_eq!(waiting, starting);
    Ok(())
}
