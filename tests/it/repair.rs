//! The queue never stops silently: lost tasks are found, stalls are told.

use std::collections::BTreeMap;

use broker_config::wire::event::{Fact, Outcome};
use integration_tests::{Fleet, Script, manifest};
use serde_json::json;

#[tokio::test]
async fn a_task_that_was_lost_is_published_again_and_told() -> anyhow::Result<()> {
    let (fleet, lead) = Fleet::start().await?;
    let probe = manifest("probe", &json!({}))?;
    fleet.announce(&probe).await?;
    let run = fleet.submit("film").await?;
    let (lost, stored) = fleet.task_waits("probe", "film").await?;

    fleet.delete_message(&fleet.names.task_stream(), stored.sequence).await?;
    let repaired = fleet
        .fact("the repair to be told", |fact| match fact {
            Fact::TaskRepaired { cid, plugin_id } => Some(format!("{cid} {plugin_id}")),
            _ => None,
        })
        .await?;
    let (found, _) = fleet.task_waits("probe", "film").await?;

    assert_eq!(repaired, "film probe");
    assert_eq!(found, lost, "the same work");
    assert_eq!(lead.handle.metrics().plugins()[&probe.id].repaired, 1);
    let _worker = fleet.worker(&probe, &Script::completes()).await?;
    assert_eq!(fleet.settled(run).await?.of("probe"), Some(Outcome::Completed));
    Ok(())
}

#[tokio::test]
async fn a_stream_of_tasks_that_somebody_has_deleted_is_made_anew_with_its_tasks()
-> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let probe = manifest("probe", &json!({}))?;
    fleet.announce(&probe).await?;
    let run = fleet.submit("film").await?;
    let (lost, _) = fleet.task_waits("probe", "film").await?;

    fleet.js.delete_stream(fleet.names.task_stream()).await?;
    let (found, _) = fleet.task_waits("probe", "film").await?;

    assert_eq!(found, lost, "the same work");
    let _worker = fleet.worker(&probe, &Script::completes()).await?;
    assert_eq!(fleet.settled(run).await?.of("probe"), Some(Outcome::Completed));
    Ok(())
}

#[tokio::test]
async fn a_worker_goes_on_when_its_stream_was_deleted() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let _worker = fleet.worker(&manifest("probe", &json!({}))?, &Script::completes()).await?;
    fleet.run("before").await?;

    fleet.js.delete_stream(fleet.names.task_stream()).await?;

    assert_eq!(fleet.run("after").await?.of("probe"), Some(Outcome::Completed));
    Ok(())
}

#[tokio::test]
async fn when_nothing_moves_an_alarm_says_what_is_waited_for_and_its_end_is_told()
-> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start_with(|options| options.timing.stall_after = 700).await?;
    let absent = manifest("absent", &json!({}))?;
    fleet.announce(&absent).await?;
    fleet.submit_many("film", 3).await?;

    let (open, waits_for) = fleet
        .fact("the alarm", |fact| match fact {
            Fact::FleetStalled { open_files, waiting_for, for_ms } => {
                assert!(*for_ms >= 700, "{for_ms}");
                Some((*open_files, waiting_for.clone()))
            }
            _ => None,
        })
        .await?;
    assert_eq!((open, waits_for), (3, BTreeMap::from([("absent".parse()?, 3)])));

    let _worker = fleet.worker(&absent, &Script::completes()).await?;
    let end = |fact: &Fact| matches!(fact, Fact::FleetRecovered { .. }).then_some(());
    fleet.fact("the end of the alarm", end).await?;
    fleet.quiet().await?;
    let facts = fleet.facts().await?;
    let alarms = facts.iter().filter(|fact| matches!(fact, Fact::FleetStalled { .. })).count();
    assert_eq!(alarms, 1, "one alarm for one stall");
    Ok(())
}
