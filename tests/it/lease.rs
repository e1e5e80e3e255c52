//! Workers that die, hang or come back from the dead while they hold a task.

use std::time::Duration;

use broker_config::Queue;
use broker_config::retry::SPARE_DELIVERIES;
use broker_config::topology::LEASE;
use broker_config::wire::dead::Cause;
use broker_config::wire::event::{Fact, Outcome};
use broker_config::wire::instance::InstanceState;
use coordinator::engine::SUBMISSION_LEASE;
use futures_util::StreamExt as _;
use integration_tests::{Call, Fleet, LIMIT, Script, Wire, eventually, manifest};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Holds the tasks of one worker until the gate opens; all others complete at once.
fn one_is_stuck(stuck: &str, gate: &CancellationToken) -> Script {
    let (stuck, gate) = (stuck.to_owned(), gate.clone());
    Script::new(move |call: Call| {
        let (stuck, gate) = (stuck.clone(), gate.clone());
        async move {
            if call.instance == stuck {
                gate.cancelled().await;
            }
            Ok(call.done())
        }
    })
}

#[tokio::test]
async fn the_tasks_of_a_worker_that_dies_run_elsewhere_within_ten_seconds() -> anyhow::Result<()> {
    // The lease is the one that is shipped.
    let (fleet, _lead) = Fleet::start_with(|options| options.lease = LEASE).await?;
    let wire = Wire::to(fleet.server.address()).await?;
    let script = one_is_stuck("w0", &CancellationToken::new());
    let probe = manifest("probe", &json!({}))?;
    let dies = fleet.worker_with(&probe, &script, |options| options.url = wire.url()).await?;
    let run = fleet.submit("film").await?;
    script.begun(1).await?;
    let _lives = fleet.worker(&probe, &script).await?;

    wire.cut();
    let died = Instant::now();
    script.begun(2).await?;

    let took = script.calls()[1].at - died;
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(script.calls()[1].attempt, 2);
    assert_eq!(fleet.settled(run).await?.of("probe"), Some(Outcome::Completed));
    let lost = fleet
        .fact("the dead worker to be missed", |fact| match fact {
            Fact::InstanceLost { instance, .. } => Some(instance.to_string()),
            _ => None,
        })
        .await?;
    assert_eq!(lost, dies.instance);
    Ok(())
}

#[tokio::test]
async fn a_handler_that_takes_longer_than_the_lease_keeps_its_task() -> anyhow::Result<()> {
    let lease = Duration::from_secs(1);
    let (fleet, _lead) = Fleet::start_with(|options| options.lease = lease).await?;
    let script = Script::new(move |call: Call| async move {
        sleep(lease * 3).await;
        Ok(call.done())
    });
    let probe = manifest("probe", &json!({}))?;
    let _one = fleet.worker(&probe, &script).await?;
    let _two = fleet.worker(&probe, &script).await?;

    let settled = fleet.run("film").await?;

    assert_eq!(settled.of("probe"), Some(Outcome::Completed));
    assert_eq!(script.calls().len(), 1, "{script:?}");
    assert_eq!(fleet.recorded("film", "probe").await?.attempt, 1);
    Ok(())
}

#[tokio::test]
async fn a_file_that_takes_longer_than_the_lease_of_its_submission_stays_in_one_hand()
-> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start_with(|options| options.lease = LEASE).await?;
    let gate = CancellationToken::new();
    let script = Script::waits_for(&gate);
    let manifest = manifest("probe", &json!({ "timeout": 120_000 }))?;
    let _worker = fleet.worker(&manifest, &script).await?;
    let run = fleet.submit("film").await?;
    script.begun(1).await?;

    sleep(SUBMISSION_LEASE + Duration::from_secs(2)).await;

    let stream = fleet.js.get_stream(fleet.names.submit_stream()).await?;
    let mut consumers = stream.consumers();
    let mut delivered = 0;
    while let Some(consumer) = consumers.next().await {
        let consumer = consumer?;
        assert_eq!(consumer.num_redelivered, 0, "{consumer:?}");
        delivered += consumer.delivered.consumer_sequence;
    }
    assert_eq!(delivered, 1);
    gate.cancel();
    assert_eq!(fleet.settled(run).await?.of("probe"), Some(Outcome::Completed));
    assert_eq!(script.calls().len(), 1, "{script:?}");
    Ok(())
}

#[tokio::test]
async fn of_two_workers_that_finish_one_task_the_first_counts_and_the_other_changes_nothing()
-> anyhow::Result<()> {
    let lease = Duration::from_secs(1);
    let (fleet, _lead) = Fleet::start_with(|options| options.lease = lease).await?;
    let wire = Wire::to(fleet.server.address()).await?;
    let gate = CancellationToken::new();
    let script = one_is_stuck("w0", &gate);
    let probe = manifest("probe", &json!({}))?;
    let zombie = fleet.worker_with(&probe, &script, |options| options.url = wire.url()).await?;
    let run = fleet.submit("film").await?;
    script.begun(1).await?;
    let second = fleet.worker(&probe, &script).await?;
    wire.cut();
    fleet.settled(run).await?;
    let (first, revision, _) = fleet.record("film", "probe").await?.unwrap();

    wire.mend();
    gate.cancel();
    eventually("the late outcome to be turned away", async || {
        let said = fleet.instance_is(&probe.id, &zombie.instance, InstanceState::Ready).await?;
        Ok((said.totals.superseded == 1).then_some(()))
    })
    .await?;

    assert_eq!(first.instance.as_ref().map(ToString::to_string), Some(second.instance.clone()));
    let (kept, kept_revision, _) = fleet.record("film", "probe").await?.unwrap();
    assert_eq!((kept, kept_revision), (first, revision));
    let told = fleet.facts().await?;
    let tasks = told.iter().filter(|fact| matches!(fact, Fact::TaskSettled { .. })).count();
    let files = told.iter().filter(|fact| matches!(fact, Fact::FileSettled { .. })).count();
    assert_eq!((tasks, files), (1, 1));
    fleet.quiet().await
}

/// Pulls every task of a plugin and never says a word, like a worker that crashes each time.
async fn crash_forever(fleet: &Fleet, plugin: &str) -> anyhow::Result<JoinSet<()>> {
    let consumer = broker_config::Names::consumer(&plugin.parse()?, Queue::Fast);
    let consumer: async_nats::jetstream::consumer::PullConsumer =
        fleet.js.get_consumer_from_stream(consumer, fleet.names.task_stream()).await?;
    let mut crashing = JoinSet::new();
    crashing.spawn(async move {
        loop {
            let pulled = consumer.batch().max_messages(8).expires(Duration::from_millis(200));
            if let Ok(mut messages) = pulled.messages().await {
                while messages.next().await.is_some() {}
            }
        }
    });
    Ok(crashing)
}

#[tokio::test]
async fn a_task_whose_workers_always_crash_becomes_a_dead_letter_by_the_advisory()
-> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start_with(|options| {
        options.lease = Duration::from_millis(500);
        // Nobody sweeps.
        options.timing.check_every = 3_600_000;
    })
    .await?;
    let poison = manifest("poison", &json!({ "retry": {"maxAttempts": 2} }))?;
    fleet.announce(&poison).await?;
    let _crashing = crash_forever(&fleet, "poison").await?;

    let settled = fleet.run("film").await?;

    assert_eq!(settled.of("poison"), Some(Outcome::Failed));
    let letter = fleet.dead_letter("poison").await?;
    let deliveries = 2 + SPARE_DELIVERIES;
    assert_eq!((letter.cause, letter.attempts), (Cause::Exhausted, deliveries));
    assert!(letter.error.contains("died, hung or lost its lease"), "{}", letter.error);
    fleet.quiet().await
}

#[tokio::test]
async fn deliveries_that_nobody_answers_use_up_no_task_that_would_succeed() -> anyhow::Result<()> {
    let lease = Duration::from_millis(500);
    let (fleet, _lead) = Fleet::start_with(|options| options.lease = lease).await?;
    let once = manifest("once", &json!({ "retry": {"maxAttempts": 1} }))?;
    fleet.announce(&once).await?;
    let consumer = broker_config::Names::consumer(&once.id, Queue::Fast);
    let consumer: async_nats::jetstream::consumer::PullConsumer =
        fleet.js.get_consumer_from_stream(consumer, fleet.names.task_stream()).await?;
    let run = fleet.submit("film").await?;
    for _ in 0..SPARE_DELIVERIES {
        eventually("a delivery that gets lost", async || {
            let mut pulled = consumer.batch().max_messages(1).expires(lease).messages().await?;
            Ok(pulled.next().await)
        })
        .await?
        .map_err(|error| anyhow::anyhow!(error))?;
    }

    let _worker = fleet.worker(&once, &Script::completes()).await?;

    assert_eq!(fleet.settled(run).await?.of("once"), Some(Outcome::Completed));
    assert_eq!(fleet.recorded("film", "once").await?.attempt, 1 + SPARE_DELIVERIES);
    fleet.quiet().await
}

#[tokio::test]
async fn the_sweep_finds_what_the_advisories_did_not_say() -> anyhow::Result<()> {
    let change = |options: &mut coordinator::service::CoordinatorOptions| {
        options.lease = Duration::from_millis(500);
    };
    let (fleet, lead) = Fleet::start_with(change).await?;
    let poison = manifest("poison", &json!({ "retry": {"maxAttempts": 2} }))?;
    fleet.announce(&poison).await?;
    let run = fleet.submit("film").await?;
    fleet.task_waits("poison", "film").await?;
    lead.kill();
    let crashing = crash_forever(&fleet, "poison").await?;
    let advisories = fleet.names.advisory_stream();
    eventually("the server to give up", async || {
        Ok((fleet.state(&advisories).await?.0 > 0).then_some(()))
    })
    .await?;
    drop(crashing);
    fleet.js.get_stream(&advisories).await?.purge().await?;

    let _lead = fleet.coordinator(change).await?;

    assert_eq!(fleet.settled(run).await?.of("poison"), Some(Outcome::Failed));
    assert_eq!(fleet.dead_letter("poison").await?.cause, Cause::Exhausted);
    assert_eq!(fleet.state(&advisories).await?.0, 0);
    fleet.quiet().await
}

#[tokio::test]
async fn a_worker_that_is_told_to_stop_gives_back_what_it_cannot_finish() -> anyhow::Result<()> {
    // Nobody could wait for this one.
    let lease = Duration::from_secs(60);
    let (fleet, _lead) = Fleet::start_with(|options| options.lease = lease).await?;
    let script = one_is_stuck("w0", &CancellationToken::new());
    let probe = manifest("probe", &json!({}))?;
    let grace = Duration::from_millis(200);
    let leaves = fleet.worker_with(&probe, &script, |options| options.grace = grace).await?;
    let run = fleet.submit("film").await?;
    script.begun(1).await?;
    let stays = fleet.worker(&probe, &script).await?;
    let began = Instant::now();

    leaves.stop().await?;
    timeout(LIMIT, fleet.settled(run)).await??;

    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(fleet.recorded("film", "probe").await?.instance, Some(stays.instance.parse()?));
    Ok(())
}
