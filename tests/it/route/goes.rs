//! Who gets which file, and who is told what.

use broker_config::wire::event::{Fact, Outcome};
use broker_config::wire::instance::InstanceState;
use broker_config::{AnnounceReply, Queue};
use coordinator::transition::state::Moment;
use coordinator::transition::{How, Plan, Versions};
use integration_tests::plugin::manifest;
use integration_tests::{Script, eventually};
use serde_json::json;

use super::{asked, at, film, films, numbers, once, reason, serves, start, store};

#[tokio::test]
async fn each_file_goes_to_the_worker_that_can_do_it_and_each_once() -> anyhow::Result<()> {
    let (fleet, _lead) = start().await?;
    let probe = manifest("probe", &json!({}))?;
    let after = manifest("after", &json!({"dependencies": ["probe"]}))?;
    let (plain, gpu, text, next) =
        (Script::completes(), Script::completes(), Script::completes(), Script::completes());
    let _plain = fleet.worker(&probe, &plain).await?;
    let _gpu = fleet.worker_with(&probe, &gpu, serves("gpu")).await?;
    let _text = fleet.worker_with(&probe, &text, serves("text")).await?;
    let _after = fleet.worker(&after, &next).await?;

    let mut runs = films(&fleet, "film", 8).await?;
    for number in 0..8 {
        for (stem, folder, size, extension) in [
            ("small", "/films", (1 << 20) - 1, "mkv"),
            ("elsewhere", "/films2", 1 << 20, "mkv"),
            ("sub", "/films", 1 << 20, "srt"),
        ] {
            let submission = at(&format!("{stem}-{number}"), folder, size, extension)?;
            let queue = Queue::ALL[number % 2];
            runs.push(fleet.hand_in(queue, &submission).await?);
        }
    }

    for run in &runs {
        let settled = fleet.settled(*run).await?;
        for plugin in ["probe", "after"] {
            assert_eq!(settled.of(plugin), Some(Outcome::Completed), "{settled:?}");
        }
    }
    assert_eq!(asked(&gpu), once("film", 8));
    assert_eq!(asked(&text), once("sub", 8));
    let mut others = once("small", 8);
    others.extend(once("elsewhere", 8));
    assert_eq!(asked(&plain), others);
    assert_eq!(next.calls().len(), 32);
    for call in next.calls() {
        assert!(
            call.existing.contains_key("probe/done"),
            "what depends on it sees what was written: {call:?}"
        );
    }

    // Again: whoever did it, it is done.
    let before = fleet.tasks_published().await?;
    for run in [film("film-0")?, at("sub-0", "/films", 1 << 20, "srt")?] {
        let run = fleet.hand_in(Queue::Fast, &run).await?;
        assert_eq!(fleet.settled(run).await?.of("probe"), Some(Outcome::Cached));
    }
    // It moved to where another route is: that is no reason to do it again.
    let run = fleet.hand_in(Queue::Fast, &at("film-1", "/films2", 1 << 20, "mkv")?).await?;
    assert_eq!(fleet.settled(run).await?.of("probe"), Some(Outcome::Cached));
    assert_eq!(fleet.tasks_published().await?, before);
    let facts = serde_json::to_string(&fleet.facts().await?)?;
    assert!(!facts.contains("gpu"), "subscribers see no route");
    fleet.quiet().await
}

#[tokio::test]
async fn a_route_that_nobody_serves_holds_its_files_only_and_says_why() -> anyhow::Result<()> {
    let (fleet, _lead) = start().await?;
    let store = store(&fleet).await?;
    let probe = manifest("probe", &json!({}))?;
    let (plain, gpu) = (Script::completes(), Script::completes());
    let plain_worker = fleet.worker(&probe, &plain).await?;

    let films = films(&fleet, "film", 3).await?;
    let small = fleet.hand_in(Queue::Fast, &at("small", "/films", 1, "mkv")?).await?;

    assert_eq!(fleet.settled(small).await?.of("probe"), Some(Outcome::Completed));
    reason(&store, "gpu", "3 tasks wait: nobody serves the route `gpu`; start a worker of probe")
        .await?;
    let of_probe = numbers(&store).await?.unwrap();
    assert_eq!((of_probe.pending, of_probe.ready), (3, 1));
    assert_eq!(asked(&plain).len(), 1);

    let _gpu = fleet.worker_with(&probe, &gpu, serves("gpu")).await?;
    for run in films {
        assert_eq!(fleet.settled(run).await?.of("probe"), Some(Outcome::Completed));
    }
    assert_eq!(asked(&gpu), once("film", 3));
    eventually("the route to be served", async || {
        let routes = numbers(&store).await?.unwrap().routes;
        let gpu = routes.into_iter().find(|route| route.name == "gpu").unwrap();
        Ok((gpu.ready == 1 && gpu.pending == 0 && gpu.reason.is_none()).then_some(()))
    })
    .await?;

    // The other way round: the files that go no route wait for a worker without one.
    plain_worker.stop().await?;
    let small = fleet.hand_in(Queue::Fast, &at("small-2", "/films", 1, "mkv")?).await?;
    reason(&store, "main", "1 task waits: every worker of probe serves a route").await?;
    let _plain = fleet.worker(&probe, &plain).await?;
    assert_eq!(fleet.settled(small).await?.of("probe"), Some(Outcome::Completed));
    Ok(())
}

#[tokio::test]
async fn a_worker_of_a_route_that_there_is_not_waits_and_does_no_other_task() -> anyhow::Result<()>
{
    let (fleet, _lead) = start().await?;
    let store = store(&fleet).await?;
    let probe = manifest("probe", &json!({}))?;
    let (plain, lost) = (Script::completes(), Script::completes());
    let waits = fleet.spawn_worker(&probe, &lost, serves("tape"))?;
    fleet.instance_is(&probe.id, &waits.instance, InstanceState::Paused).await?;
    let run = fleet.submit("film").await?;
    eventually("the status to say why", async || {
        let errors = numbers(&store).await?.map(|plugin| plugin.errors).unwrap_or_default();
        Ok(errors.iter().any(|error| error.contains("it says the route `tape`")).then_some(()))
    })
    .await?;

    let _plain = fleet.worker(&probe, &plain).await?;

    assert_eq!(fleet.settled(run).await?.of("probe"), Some(Outcome::Completed));
    assert!(lost.calls().is_empty());
    Ok(())
}

#[tokio::test]
async fn what_fails_on_a_route_is_tried_again_and_given_up_there() -> anyhow::Result<()> {
    let (fleet, _lead) = start().await?;
    let probe = manifest("probe", &json!({}))?;
    let (plain, gpu) = (Script::completes(), Script::fails("no memory"));
    let _plain = fleet.worker(&probe, &plain).await?;
    let _gpu = fleet.worker_with(&probe, &gpu, serves("gpu")).await?;

    let run = fleet.hand_in(Queue::Fast, &film("film")?).await?;

    assert_eq!(fleet.settled(run).await?.of("probe"), Some(Outcome::Failed));
    let attempts: Vec<u32> = gpu.calls().iter().map(|call| call.attempt).collect();
    assert_eq!(attempts, [1, 2, 3]);
    assert!(plain.calls().is_empty());
    assert_eq!(fleet.dead_letter("probe").await?.error, "no memory");
    Ok(())
}

#[tokio::test]
async fn versions_side_by_side_and_routes_are_refused_together() -> anyhow::Result<()> {
    let (fleet, _lead) = start().await?;
    let store = store(&fleet).await?;
    let old = manifest("probe", &json!({}))?;
    let script = Script::completes();
    let _old = fleet.worker(&old, &script).await?;
    let _gpu = fleet.worker_with(&old, &script, serves("gpu")).await?;
    // Somebody has begun one all the same.
    let now = Moment { ms: 0, text: "2026-01-01T00:00:00Z".to_owned() };
    let plan = Plan { how: How::Gradual, ..Plan::default() };
    let begun = Versions::new("1.0.0".parse()?).begin("2.0.0".parse()?, &plan, &now);
    let versions = begun.map_err(anyhow::Error::msg)?;
    store
        .put_versions(
            &old.id,
            &coordinator::store::versions::KnownVersions { versions, revision: 0 },
        )
        .await?;

    let answer = eventually("the new version to be judged", async || {
        let answer = fleet.announce(&manifest("probe", &json!({"version": "2.0.0"}))?).await?;
        let is_known = matches!(&answer, AnnounceReply::Rejected { .. });
        Ok(is_known.then_some(answer))
    })
    .await?;

    let AnnounceReply::Rejected { reasons } = answer else { anyhow::bail!("{answer:?}") };
    assert!(
        matches!(&reasons[..], [one] if one.contains("has `routes`, so there can be no gradual")),
        "{reasons:?}"
    );
    let run = fleet.hand_in(Queue::Fast, &film("film")?).await?;
    assert_eq!(fleet.settled(run).await?.of("probe"), Some(Outcome::Completed));
    let rejected = |fact: &Fact| matches!(fact, Fact::PluginRejected { .. }).then_some(());
    fleet.fact("the refusal", rejected).await
}

#[tokio::test]
async fn a_new_version_takes_over_gracefully_on_every_route() -> anyhow::Result<()> {
    let (fleet, _lead) = start().await?;
    let (old, new) =
        (manifest("probe", &json!({}))?, manifest("probe", &json!({"version": "2.0.0"}))?);
    let (plain, gpu) = (Script::completes(), Script::completes());
    let plain_old = fleet.worker(&old, &plain).await?;
    let gpu_old = fleet.worker_with(&old, &gpu, serves("gpu")).await?;
    let run = fleet.hand_in(Queue::Fast, &film("before")?).await?;
    assert_eq!(fleet.settled(run).await?.of("probe"), Some(Outcome::Completed));

    let (plain_new, gpu_new) = (Script::completes(), Script::completes());
    let _gpu = fleet.spawn_worker(&new, &gpu_new, serves("gpu"))?;
    let _plain = fleet.spawn_worker(&new, &plain_new, |_| {})?;
    plain_old.stop().await?;
    gpu_old.stop().await?;

    let runs = films(&fleet, "film", 4).await?;
    let small = fleet.hand_in(Queue::Fast, &at("small", "/films", 1, "mkv")?).await?;
    for run in runs.into_iter().chain([small]) {
        assert_eq!(fleet.settled(run).await?.of("probe"), Some(Outcome::Completed));
    }
    // What was handed in while the old one still was the current one may have run with either.
    for call in gpu_new.calls() {
        assert_eq!(call.version, "2.0.0");
        assert!(call.cid.starts_with("film"), "{call:?}");
    }
    assert_eq!(asked(&plain_new).keys().collect::<Vec<_>>(), ["small"]);
    Ok(())
}
