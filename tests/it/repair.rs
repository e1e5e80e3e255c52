//! The queue never stops silently: lost tasks are found, stalls are told.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use anyhow::Context as _;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::{Config, RetentionPolicy};
use broker_config::apply::make_consumer;
use broker_config::wire::event::{Fact, Outcome};
use broker_config::{Names, Queue};
use futures_util::StreamExt as _;
use integration_tests::{Fleet, Script, Server, manifest};
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

#[tokio::test]
async fn a_task_that_its_consumer_passes_over_is_given_to_a_worker_and_not_given_up()
-> anyhow::Result<()> {
    let (fleet, lead) = Fleet::start().await?;
    let probe = manifest("probe", &json!({}))?;
    fleet.announce(&probe).await?;
    let run = fleet.submit("film").await?;
    let (lost, stored) = fleet.task_waits("probe", "film").await?;

    // As after a power cut: the consumer remembers that it is done with the task.
    let (stream, consumer) = (fleet.names.task_stream(), Names::consumer(&probe.id, Queue::Fast));
    let reset = format!("$JS.API.CONSUMER.RESET.{stream}.{consumer}");
    let after = json!({ "seq": stored.sequence + 1 }).to_string();
    let answer = fleet.client.request(reset, after.into()).await?;
    assert!(!String::from_utf8_lossy(&answer.payload).contains("error"), "{answer:?}");
    let _worker = fleet.worker(&probe, &Script::completes()).await?;

    assert_eq!(fleet.settled(run).await?.of("probe"), Some(Outcome::Completed), "{lost:?}");
    assert!(fleet.dead_letters().await?.is_empty());
    assert_eq!(lead.handle.metrics().plugins()[&probe.id].repaired, 1);
    fleet.quiet().await
}

#[tokio::test]
async fn a_consumer_that_is_made_anew_passes_over_nothing_whatever_a_power_cut_left_of_it()
-> anyhow::Result<()> {
    // What is left of how far it had come, besides what it has really written.
    for (case, left) in [("it can be read", None), ("it cannot be read", Some("garbage"))] {
        let store = tempfile::tempdir()?;
        let server = Arc::new(Server::with_store(store.path(), "1s").await?);
        let fleet = Fleet::on(&server, Names::default()).await?;
        let stream = Config {
            name: "S".to_owned(),
            subjects: vec!["s.*".to_owned()],
            retention: RetentionPolicy::WorkQueue,
            ..Config::default()
        };
        fleet.js.create_stream(stream).await?;
        let config = pull::Config {
            durable_name: Some("c".to_owned()),
            ack_policy: AckPolicy::Explicit,
            ..pull::Config::default()
        };
        let consumer = make_consumer(&fleet.js, "S", config.clone()).await?;
        for number in 0..3 {
            fleet.js.publish(format!("s.{number}"), "".into()).await?.await?;
        }
        let mut messages = consumer.batch().max_messages(3).messages().await?;
        while let Some(message) = messages.next().await {
            let message = message.map_err(anyhow::Error::msg)?;
            let reply = message.reply.clone().context("a reply")?;
            fleet.client.request(reply, "+ACK".into()).await?;
        }
        server.stop().await?;
        let folder = store.path().join("jetstream/$G/streams/S");
        let of_consumer = folder.join("obs/c");
        fs::remove_dir_all(folder.join("msgs"))?;
        for file in ["meta.inf", "meta.sum"] {
            fs::remove_file(of_consumer.join(file))?;
        }
        let state = of_consumer.join("o.dat");
        assert!(state.exists(), "{case}");
        if let Some(left) = left {
            fs::write(state, left)?;
        }
        server.restart().await?;
        fleet.js.publish("s.new", "".into()).await?.await?;

        for turn in ["made", "changed"] {
            let consumer = make_consumer(&fleet.js, "S", config.clone()).await?;
            assert_eq!(consumer.cached_info().num_pending, 1, "{case}, {turn}");
        }
        server.kill()?;
        server.restart().await?;
        let again = make_consumer(&fleet.js, "S", config).await?;
        assert_eq!(again.cached_info().num_pending, 1, "{case}, after another start");
    }
    Ok(())
}
