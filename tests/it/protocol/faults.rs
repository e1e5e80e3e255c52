//! Workers in Python that are killed, stopped, overtaken or cut off.

use std::time::Duration;

use anyhow::Context as _;
use async_nats::HeaderMap;
use async_nats::jetstream::consumer::pull;
use broker_config::header::EXPECTED_LAST_SUBJECT_SEQUENCE;
use broker_config::topology::LEASE;
use broker_config::wire::instance::InstanceState;
use integration_tests::proxy::{Fault, Proxy};
use integration_tests::{Fleet, eventually, json_of};
use rustix::process::Signal;
use serde_json::json;
use tokio::time::Instant;

use super::python::{Home, Python};

#[tokio::test]
async fn the_task_of_a_killed_worker_is_finished_by_another_within_ten_seconds()
-> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start_with(|options| options.lease = LEASE).await?;
    let home = Home::new()?;
    let gate = home.path("gate");
    let mut killed = Python::scripted(&fleet, &home, "a", &json!({})).await?;
    let run = home.hand_in(&fleet, "x", "x", format!("wait {}", gate.display())).await?;
    home.called("x", 1).await?;
    let _other = Python::scripted(&fleet, &home, "b", &json!({})).await?;

    killed.signal(Signal::KILL)?;
    let begun = Instant::now();
    killed.ended().await?;
    std::fs::write(&gate, "")?;
    fleet.settled(run).await?;

    let took = begun.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    let record = fleet.recorded("x", "script").await?;
    assert_eq!(record.instance.map(String::from).as_deref(), Some("b"));
    assert_eq!(record.attempt, 2);
    Ok(())
}

#[tokio::test]
async fn a_long_task_keeps_its_lease() -> anyhow::Result<()> {
    let lease = Duration::from_millis(900);
    let (fleet, _lead) = Fleet::start_with(|options| options.lease = lease).await?;
    let home = Home::new()?;
    let gate = home.path("gate");
    let _worker = Python::scripted(&fleet, &home, "a", &json!({})).await?;
    let _other = Python::scripted(&fleet, &home, "b", &json!({})).await?;

    let run = home.hand_in(&fleet, "x", "x", format!("wait {}", gate.display())).await?;
    home.called("x", 1).await?;
    tokio::time::sleep(lease * 4).await;
    std::fs::write(&gate, "")?;
    fleet.settled(run).await?;

    assert_eq!(home.calls("x")?.len(), 1, "nobody else got it");
    assert_eq!(fleet.recorded("x", "script").await?.attempt, 1);
    Ok(())
}

#[tokio::test]
async fn sigterm_finishes_what_runs_and_leaves_the_rest_to_others() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let home = Home::new()?;
    let gate = home.path("gate");
    let mut drained = Python::scripted(&fleet, &home, "a", &json!({})).await?;
    home.hand_in(&fleet, "x", "x", format!("wait {}", gate.display())).await?;
    home.called("x", 1).await?;
    let rest = home.hand_in(&fleet, "y", "y", "complete").await?;

    drained.signal(Signal::TERM)?;
    drained.is(&fleet, InstanceState::Draining).await?;
    std::fs::write(&gate, "")?;

    assert_eq!(drained.ended().await?.code(), Some(0), "{}", drained.said());
    assert_eq!(fleet.recorded("x", "script").await?.attempt, 1);
    assert!(!drained.is_there(&fleet).await?, "it took its sign of life down");
    assert!(home.calls("y")?.is_empty(), "it began nothing more");
    let _other = Python::scripted(&fleet, &home, "b", &json!({})).await?;
    fleet.settled(rest).await?;
    assert_eq!(fleet.recorded("y", "script").await?.attempt, 1);
    Ok(())
}

#[tokio::test]
async fn what_outlasts_the_grace_period_is_given_back_even_on_its_last_attempt()
-> anyhow::Result<()> {
    for (max_attempts, attempt) in [(2, 2), (1, 1)] {
        let (fleet, _lead) = Fleet::start_with(|options| options.lease = LEASE).await?;
        let home = Home::new()?;
        let gate = home.path("gate");
        let change = json!({"retry": {"maxAttempts": max_attempts, "delaysMs": [50]}});
        let env = [("METAFLEET_GRACE", "200ms")];
        let mut drained = Python::spawn_scripted(&fleet, &home, "a", &change, &env).await?;
        drained.is(&fleet, InstanceState::Ready).await?;
        let script = format!("wait {}\ncomplete", gate.display());
        let run = home.hand_in(&fleet, "x", "x", script).await?;
        home.called("x", 1).await?;

        drained.signal(Signal::TERM)?;
        assert_eq!(drained.ended().await?.code(), Some(0), "{}", drained.said());
        let begun = Instant::now();
        let _other = Python::scripted(&fleet, &home, "b", &change).await?;
        fleet.settled(run).await?;

        assert!(begun.elapsed() < LEASE / 2, "it was not left to its lease");
        assert_eq!(fleet.recorded("x", "script").await?.attempt, attempt);
        assert!(fleet.dead_letters().await?.is_empty());
    }
    Ok(())
}

#[tokio::test]
async fn who_comes_second_writes_nothing_and_acknowledges() -> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let home = Home::new()?;
    let gate = home.path("gate");
    let worker = Python::scripted(&fleet, &home, "a", &json!({})).await?;
    let run = home.hand_in(&fleet, "x", "x", format!("wait {}", gate.display())).await?;
    home.called("x", 1).await?;
    let (task, _) = fleet.task("script", "x").await?.context("the task")?;
    let first = json!({
        "type": "metafleet.record.v1", "taskId": task.task_id, "pluginId": "script", "cid": "x",
        "status": "completed", "fingerprint": task.fingerprint, "meta": {"script/cid": "of another"},
    });
    let mut headers = HeaderMap::new();
    headers.insert(EXPECTED_LAST_SUBJECT_SEQUENCE, "0");

    let subject = fleet.names.record(&task.cid, &task.plugin_id);
    fleet.put(subject, headers, json_of(&first)?).await?;
    std::fs::write(&gate, "")?;

    fleet.settled(run).await?;
    fleet.quiet().await?;
    let record = fleet.recorded("x", "script").await?;
    assert_eq!(serde_json::to_value(record.meta)?, json!({"script/cid": "of another"}));
    assert!(
        worker.control(&fleet, &json!({"action": "drain"})).await?["success"].as_bool()
            == Some(true)
    );
    Ok(())
}

#[tokio::test]
async fn it_goes_on_when_the_broker_comes_back() -> anyhow::Result<()> {
    let (fleet, lead) = Fleet::start().await?;
    let home = Home::new()?;
    let gate = home.path("gate");
    let _worker = Python::scripted(&fleet, &home, "a", &json!({})).await?;
    let run = home.hand_in(&fleet, "x", "x", format!("wait {}", gate.display())).await?;
    home.called("x", 1).await?;

    fleet.server.kill()?;
    std::fs::write(&gate, "")?;
    fleet.server.restart().await?;

    fleet.settled(run).await?;
    assert_eq!(home.calls("x")?.len(), 1, "the finished task waited for the broker");
    lead.leading().await?;
    let next = home.hand_in(&fleet, "y", "y", "complete").await?;
    fleet.settled(next).await?;
    fleet.quiet().await
}

/// A link to the broker of a fleet, and its URL.
async fn link(fleet: &Fleet) -> anyhow::Result<(Proxy, String)> {
    let server = fleet.server.url().trim_start_matches("nats://").parse()?;
    let link = Proxy::to(server, "$JS.API.CONSUMER.MSG.NEXT.").await?;
    let url = format!("nats://{}", link.address());
    Ok((link, url))
}

#[tokio::test]
async fn a_failure_that_is_told_late_does_not_end_the_delivery_of_another_worker()
-> anyhow::Result<()> {
    let (fleet, _lead) = Fleet::start().await?;
    let home = Home::new()?;
    let (link, url) = link(&fleet).await?;
    let (fail, finish) = (home.path("fail"), home.path("finish"));
    let twice = json!({"retry": {"maxAttempts": 2, "delaysMs": [50]}});
    let first = Python::spawn_scripted(&fleet, &home, "a", &twice, &[("NATS_URL", &url)]).await?;
    first.is(&fleet, InstanceState::Ready).await?;
    let script = format!("late {}\nwait {}", fail.display(), finish.display());
    let run = home.hand_in(&fleet, "x", "x", script).await?;
    home.called("x", 1).await?;
    let _second = Python::scripted(&fleet, &home, "b", &twice).await?;

    link.set(Fault::Held { up: true, down: true });
    home.called("x", 2).await?;
    std::fs::write(&fail, "")?;
    link.set(Fault::None);
    // It stores its report first, and then would send its answer.
    eventually("the first to leave it", async || {
        Ok(first.said().contains("leaving it to its lease").then_some(()))
    })
    .await
    .with_context(|| first.said())?;
    tokio::time::sleep(LEASE / 4).await;
    assert!(fleet.record("x", "script").await?.is_none(), "it was settled while it ran");
    std::fs::write(&finish, "")?;

    fleet.settled(run).await?;
    let record = fleet.recorded("x", "script").await?;
    let by = record.instance.map(String::from);
    assert_eq!((by.as_deref(), record.attempt), (Some("b"), 2));
    assert!(fleet.dead_letters().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_broker_whose_answers_are_late_gives_no_more_than_there_are_places_for()
-> anyhow::Result<()> {
    const FILES: u32 = 6;
    let (fleet, _lead) = Fleet::start_with(|options| options.lease = LEASE).await?;
    let home = Home::new()?;
    let (link, url) = link(&fleet).await?;
    let worker =
        Python::spawn_scripted(&fleet, &home, "a", &json!({}), &[("NATS_URL", &url)]).await?;
    worker.is(&fleet, InstanceState::Ready).await?;

    link.set(Fault::Held { up: false, down: true });
    let mut runs = Vec::new();
    for number in 0..FILES {
        let name = format!("x-{number}");
        runs.push(home.hand_in(&fleet, &name, &name, "complete").await?);
    }
    // Longer than three requests are waited for.
    let until = Instant::now() + Duration::from_millis(7_500);
    let mut most = 0;
    while Instant::now() < until {
        let held = fleet.js.get_consumer_from_stream::<pull::Config, _, _>(
            "script_fast",
            fleet.names.task_stream(),
        );
        most = most.max(held.await?.cached_info().num_ack_pending);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    link.set(Fault::None);

    assert!(most <= 1, "{most}, and it has one place: {}", worker.said());
    for run in runs {
        fleet.settled(run).await?;
    }
    for number in 0..FILES {
        assert_eq!(fleet.recorded(&format!("x-{number}"), "script").await?.attempt, 1, "{number}");
    }
    Ok(())
}
