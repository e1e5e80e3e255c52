//! Immediate and graceful: the new version takes over as a whole.

use broker_config::wire::event::{Fact, Outcome};
use broker_config::wire::instance::InstanceState;
use coordinator::transition::How;
use integration_tests::{Fleet, Script};
use tokio_util::sync::CancellationToken;

use super::{NEW, OLD, begin, ended, files, plan, probe, records, store, version};

#[tokio::test]
async fn graceful_the_old_version_finishes_what_it_holds_before_the_new_one_begins()
-> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let store = store(&fleet).await?;
    let gate = CancellationToken::new();
    let (old, new) = (Script::waits_for(&gate), Script::completes());
    let holds = fleet.worker(&version(OLD)?, &old).await?;
    let held = fleet.submit_many("held", 4).await?;
    old.begun(4).await?;
    let waiting = fleet.submit_many("waiting", 8).await?;

    // Without a word of anybody: the newer version announces itself beside the older one.
    let waits = fleet.spawn_worker(&version(NEW)?, &new, |_| {})?;
    // Both pull nothing now: one still works, the other does not yet.
    for worker in [&waits, &holds] {
        fleet.instance_is(&probe()?, &worker.instance, InstanceState::Paused).await?;
    }
    assert_eq!(new.calls().len(), 0, "the old one still holds four tasks");
    gate.cancel();

    for run in held.iter().chain(&waiting) {
        assert_eq!(fleet.settled(*run).await?.of("probe"), Some(Outcome::Completed));
    }
    let decided = ended(&store).await?;
    assert_eq!(decided.current.to_string(), NEW);
    assert_eq!(files(&old).len(), 4, "{old:?}");
    assert_eq!(new.calls().len(), 8, "what the old one did not hold: {new:?}");
    for (cid, record) in records(&fleet).await? {
        let expected = if cid.as_str().starts_with("held") { OLD } else { NEW };
        assert_eq!(record.plugin_version, expected, "{cid}");
    }
    let told = |fact: &Fact| matches!(fact, Fact::TransitionCompleted { .. }).then_some(());
    fleet.fact("the end to be told", told).await?;
    fleet.quiet().await
}

#[tokio::test]
async fn immediate_what_the_old_version_holds_is_done_by_the_new_one() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let store = store(&fleet).await?;
    let gate = CancellationToken::new();
    let (old, new) = (Script::waits_for(&gate), Script::completes());
    let _old = fleet.worker(&version(OLD)?, &old).await?;
    let runs = fleet.submit_many("file", 6).await?;
    old.begun(4).await?;

    begin(&store, &plan(How::Immediate)).await?;
    let _new = fleet.worker(&version(NEW)?, &new).await?;

    for run in &runs {
        assert_eq!(fleet.settled(*run).await?.of("probe"), Some(Outcome::Completed));
    }
    assert_eq!(ended(&store).await?.current.to_string(), NEW);
    // What the old one finishes now comes too late.
    gate.cancel();
    fleet.quiet().await?;
    for (cid, record) in records(&fleet).await? {
        assert_eq!(record.plugin_version, NEW, "{cid}");
    }
    assert_eq!(files(&new).len(), 6);
    Ok(())
}

#[tokio::test]
async fn what_an_older_version_writes_in_the_name_of_a_newer_one_is_not_taken() -> anyhow::Result<()>
{
    let (fleet, _lead) = Fleet::start().await?;
    let new = Script::completes();
    let gone = fleet.worker(&version(NEW)?, &Script::completes()).await?;
    gone.stop().await?;
    let run = fleet.submit("film").await?;
    let (task, stored) = fleet.task_waits("probe", "film").await?;

    // Somebody who knows nothing of versions has pulled the task and done it in the old way.
    let mut record = coordinator_record(&task);
    record["pluginVersion"] = OLD.into();
    let body = integration_tests::json_of(&record)?;
    let subject = fleet.names.record(&task.cid, &probe()?);
    fleet.put(subject, async_nats::HeaderMap::new(), body).await?;
    fleet.delete_message(&fleet.names.task_stream(), stored.sequence).await?;
    let _new = fleet.worker(&version(NEW)?, &new).await?;

    assert_eq!(fleet.settled(run).await?.of("probe"), Some(Outcome::Completed));
    let record = records(&fleet).await?.remove(&task.cid).unwrap();
    assert_eq!(record.plugin_version, NEW);
    assert_eq!(new.calls().len(), 1);
    Ok(())
}

fn coordinator_record(task: &broker_config::Task) -> serde_json::Value {
    serde_json::json!({
        "type": "metafleet.record.v1", "taskId": task.task_id, "pluginId": "probe",
        "cid": task.cid, "status": "completed", "durationMs": 1, "attempt": 1,
        "pluginVersion": NEW, "fingerprint": task.fingerprint,
        "finishedAt": "2026-01-01T00:00:00Z", "meta": {"probe/done": "in the old way"},
    })
}
