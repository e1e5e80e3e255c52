//! Routes come, change and go while the fleet runs.

use broker_config::Queue;
use broker_config::wire::event::{Fact, Outcome};
use broker_config::wire::instance::InstanceState;
use coordinator::registry::Word;
use integration_tests::plugin::manifest;
use integration_tests::{Script, eventually};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use worker_sdk::Outcome as Answer;

use super::{
    ROUTES, asked, film, films, is_gone, once, reason, routes, serves, start, store, word,
};

#[tokio::test]
async fn removing_a_route_while_its_tasks_wait_loses_none() -> anyhow::Result<()> {
    let (fleet, lead) = start().await?;
    let store = store(&fleet).await?;
    let probe = manifest("probe", &json!({}))?;
    let plain = Script::completes();
    let _plain = fleet.worker(&probe, &plain).await?;
    let runs = films(&fleet, "film", 20).await?;
    reason(&store, "gpu", "20 tasks wait").await?;
    assert!(plain.calls().is_empty());

    lead.handle.say(Word::default());

    for run in runs {
        assert_eq!(fleet.settled(run).await?.of("probe"), Some(Outcome::Completed));
    }
    assert_eq!(asked(&plain), once("film", 20));
    is_gone(&fleet, &store, "gpu").await?;
    fleet.quiet().await
}

#[tokio::test]
async fn a_task_that_is_held_when_its_route_goes_has_one_outcome() -> anyhow::Result<()> {
    let (fleet, lead) = start().await?;
    let store = store(&fleet).await?;
    let probe = manifest("probe", &json!({}))?;
    let gate = CancellationToken::new();
    let (plain, gpu) = (Script::completes(), Script::waits_for(&gate));
    let _plain = fleet.worker(&probe, &plain).await?;
    let gpu_worker = fleet.worker_with(&probe, &gpu, serves("gpu")).await?;
    let runs = films(&fleet, "film", 6).await?;
    // As many as it has permits for.
    gpu.begun(4).await?;

    lead.handle.say(Word::default());

    for run in runs {
        assert_eq!(fleet.settled(run).await?.of("probe"), Some(Outcome::Completed));
    }
    fleet.instance_is(&probe.id, &gpu_worker.instance, InstanceState::Paused).await?;
    gate.cancel();
    eventually("it to hold nothing", async || {
        let said =
            fleet.instance_is(&probe.id, &gpu_worker.instance, InstanceState::Paused).await?;
        let is_done = said.running.is_empty() && said.totals.superseded == 4;
        Ok(is_done.then_some(()))
    })
    .await?;
    assert_eq!(asked(&plain), once("film", 6));
    assert_eq!(gpu.calls().len(), 4, "nothing more after the route went");
    let completed = |facts: &[Fact]| {
        let of_probe = |fact: &&Fact| matches!(fact, Fact::TaskSettled { .. });
        facts.iter().filter(of_probe).count()
    };
    assert_eq!(completed(&fleet.facts().await?), 6, "one outcome each");
    is_gone(&fleet, &store, "gpu").await?;
    fleet.quiet().await
}

#[tokio::test]
async fn a_route_that_comes_is_served_at_once_and_may_come_back() -> anyhow::Result<()> {
    let (fleet, lead) = start().await?;
    let store = store(&fleet).await?;
    let probe = manifest("probe", &json!({}))?;
    let (plain, gpu) = (Script::completes(), Script::completes());
    let _plain = fleet.worker(&probe, &plain).await?;
    let gpu_worker = fleet.worker_with(&probe, &gpu, serves("gpu")).await?;

    for round in 0..3 {
        lead.handle.say(Word::default());
        is_gone(&fleet, &store, "gpu").await?;
        fleet.instance_is(&probe.id, &gpu_worker.instance, InstanceState::Paused).await?;
        let stem = format!("without-{round}");
        for run in films(&fleet, &stem, 3).await? {
            assert_eq!(fleet.settled(run).await?.of("probe"), Some(Outcome::Completed));
        }
        lead.handle.say(word(ROUTES)?);
        fleet.instance_is(&probe.id, &gpu_worker.instance, InstanceState::Ready).await?;
        let stem = format!("with-{round}");
        for run in films(&fleet, &stem, 3).await? {
            assert_eq!(fleet.settled(run).await?.of("probe"), Some(Outcome::Completed));
        }
    }

    let all = |stem: &str| {
        let rounds = (0..3).flat_map(|round| once(&format!("{stem}-{round}"), 3));
        rounds.collect::<std::collections::BTreeMap<_, _>>()
    };
    assert_eq!(asked(&plain), all("without"));
    assert_eq!(asked(&gpu), all("with"));
    fleet.quiet().await
}

#[tokio::test]
async fn under_steady_work_routes_that_come_and_go_lose_no_file() -> anyhow::Result<()> {
    let (fleet, lead) = start().await?;
    let probe = manifest("probe", &json!({}))?;
    let (plain, gpu) = (Script::completes(), Script::completes());
    let _plain = fleet.worker(&probe, &plain).await?;
    let _gpu = fleet.worker_with(&probe, &gpu, serves("gpu")).await?;

    let mut runs = Vec::new();
    for round in 0..8 {
        runs.extend(films(&fleet, &format!("r{round}"), 15).await?);
        let text = if round % 2 == 0 { "plugins: {}" } else { ROUTES };
        lead.handle.say(word(text)?);
    }

    for run in &runs {
        assert_eq!(fleet.settled(*run).await?.of("probe"), Some(Outcome::Completed));
    }
    let facts = fleet.facts().await?;
    let of_probe = |fact: &&Fact| matches!(fact, Fact::TaskSettled { .. });
    assert_eq!(facts.iter().filter(of_probe).count(), runs.len(), "one outcome each");
    fleet.quiet().await
}

#[tokio::test]
async fn a_route_that_went_while_nobody_led_leaves_nothing_behind() -> anyhow::Result<()> {
    let (fleet, lead) = start().await?;
    let store = store(&fleet).await?;
    let probe = manifest("probe", &json!({}))?;
    let plain = Script::completes();
    let _plain = fleet.worker(&probe, &plain).await?;
    let runs = films(&fleet, "film", 10).await?;
    reason(&store, "gpu", "10 tasks wait").await?;

    lead.kill();
    let lead = fleet.coordinator(|_| {}).await?;
    lead.leading().await?;

    for run in runs {
        assert_eq!(fleet.settled(run).await?.of("probe"), Some(Outcome::Completed));
    }
    assert_eq!(asked(&plain), once("film", 10));
    is_gone(&fleet, &store, "gpu").await
}

#[tokio::test]
async fn a_route_outlives_its_leader() -> anyhow::Result<()> {
    let (fleet, lead) = start().await?;
    let store = store(&fleet).await?;
    let probe = manifest("probe", &json!({}))?;
    let (plain, gpu) = (Script::completes(), Script::completes());
    let _plain = fleet.worker(&probe, &plain).await?;
    let runs = films(&fleet, "film", 10).await?;
    reason(&store, "gpu", "10 tasks wait").await?;

    lead.kill();
    let said = word(ROUTES)?;
    let lead = fleet.coordinator(|options| options.word = said).await?;
    lead.leading().await?;
    let _gpu = fleet.worker_with(&probe, &gpu, serves("gpu")).await?;

    for run in runs {
        assert_eq!(fleet.settled(run).await?.of("probe"), Some(Outcome::Completed));
    }
    assert_eq!(asked(&gpu), once("film", 10));
    assert!(plain.calls().is_empty());
    assert_eq!(routes(&fleet, &store).await?.into_iter().collect::<Vec<_>>(), ["gpu", "text"]);
    fleet.quiet().await
}

#[tokio::test]
async fn a_task_that_waits_for_its_time_is_done_when_its_route_goes() -> anyhow::Result<()> {
    let (fleet, lead) = start().await?;
    let store = store(&fleet).await?;
    let probe = manifest("probe", &json!({}))?;
    let later = Script::new(|_| async {
        let after = std::time::Duration::from_secs(3600);
        Ok(Answer::RetryLater { reason: "the GPU is hot".to_owned(), after })
    });
    let plain = Script::completes();
    let _plain = fleet.worker(&probe, &plain).await?;
    let _gpu = fleet.worker_with(&probe, &later, serves("gpu")).await?;
    let run = fleet.hand_in(Queue::Fast, &film("film")?).await?;
    let deferred = |fact: &Fact| matches!(fact, Fact::TaskDeferred { .. }).then_some(());
    fleet.fact("the task to be deferred", deferred).await?;
    eventually("the task to be scheduled", async || {
        Ok((store.overview().await?.tasks.delayed == 1).then_some(()))
    })
    .await?;

    lead.handle.say(Word::default());

    assert_eq!(fleet.settled(run).await?.of("probe"), Some(Outcome::Completed));
    assert_eq!(asked(&plain).len(), 1);
    is_gone(&fleet, &store, "gpu").await?;
    assert_eq!(store.overview().await?.tasks.delayed, 0);
    fleet.quiet().await
}
