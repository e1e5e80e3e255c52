//! Fleets on one server, and servers that cannot carry one.

use std::sync::Arc;
use std::time::Duration;

use broker_config::apply::{ApplyError, Change, apply};
use broker_config::topology::Topology;
use broker_config::{Chain, Names};
use integration_tests::{Fleet, Script, Server, manifest};
use serde_json::json;

#[tokio::test]
async fn two_fleets_on_one_server_do_not_see_each_other() -> anyhow::Result<()> {
    let server = Arc::new(Server::start().await?);
    let mut fleets = Vec::new();
    for prefix in ["mf", "mf-two"] {
        let fleet = Fleet::on(&server, Names::new(prefix.parse()?)).await?;
        let lead = fleet.coordinator(|_| {}).await?;
        lead.leading().await?;
        let script = Script::completes();
        let worker = fleet.worker(&manifest("probe", &json!({}))?, &script).await?;
        fleets.push((fleet, lead, script, worker));
    }

    for (number, (fleet, ..)) in fleets.iter().enumerate() {
        fleet.run("both-have-it").await?;
        fleet.run(&format!("only-{number}")).await?;
    }

    for (number, (fleet, _, script, _)) in fleets.iter().enumerate() {
        let cids: Vec<String> = script.calls().into_iter().map(|call| call.cid).collect();
        assert_eq!(cids, ["both-have-it".to_owned(), format!("only-{number}")]);
        assert_eq!(fleet.state(&fleet.names.record_stream()).await?.0, 2);
    }
    assert_eq!(fleets[0].0.all_streams().await?.len(), 26);
    Ok(())
}

#[tokio::test]
async fn applying_the_topology_twice_changes_nothing() -> anyhow::Result<()> {
    let fleet = Fleet::empty().await?;
    let topology = Topology::of(&fleet.names, 1);

    let first = apply(&fleet.js, &topology).await?;
    let second = apply(&fleet.js, &topology).await?;

    assert!(first.iter().all(|(_, change)| *change == Change::Create), "{first:?}");
    assert!(second.iter().all(|(_, change)| *change == Change::Unchanged), "{second:?}");
    assert_eq!(first.len(), topology.streams.len());
    Ok(())
}

#[tokio::test]
async fn a_change_that_would_lose_messages_is_refused_by_name_and_nothing_is_lost()
-> anyhow::Result<()> {
    let fleet = Fleet::empty().await?;
    let topology = Topology::of(&fleet.names, 1);
    apply(&fleet.js, &topology).await?;
    let stream = fleet.names.event_stream();
    // Somebody keeps the events for ever.
    let mut config = fleet.js.get_stream(&stream).await?.cached_info().config.clone();
    config.max_age = Duration::ZERO;
    fleet.js.update_stream(config).await?;
    fleet.put(fleet.names.event("file.settled"), Default::default(), "{}".into()).await?;

    let refused = apply(&fleet.js, &topology).await;

    let Err(ApplyError::WouldLose { stream: named, reasons }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(named, stream);
    assert!(reasons[0].contains("age would shrink"), "{reasons:?}");
    let kept = fleet.js.get_stream(&stream).await?.cached_info().config.max_age;
    assert_eq!((kept, fleet.state(&stream).await?.0), (Duration::ZERO, 1));

    let mut lead = fleet.coordinator(|_| {}).await?;
    let error = lead.ended().await?.unwrap_err();
    let text = Chain(&error).to_string();
    assert!(text.contains(&stream) && text.contains("age would shrink"), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_harmless_difference_is_mended() -> anyhow::Result<()> {
    let fleet = Fleet::empty().await?;
    let topology = Topology::of(&fleet.names, 1);
    apply(&fleet.js, &topology).await?;
    let stream = fleet.names.event_stream();
    let mut config = fleet.js.get_stream(&stream).await?.cached_info().config.clone();
    config.max_consumers = 10;
    config.description = Some("mine".to_owned());
    fleet.js.update_stream(config).await?;

    let changes = apply(&fleet.js, &topology).await?;

    let changed: Vec<&str> = changes
        .iter()
        .filter(|(_, change)| matches!(change, Change::Update { .. }))
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(changed, [stream.as_str()]);
    let now = fleet.js.get_stream(&stream).await?.cached_info().config.max_consumers;
    assert_eq!(now, 20_000);
    Ok(())
}

#[tokio::test]
async fn a_server_without_jetstream_is_named_as_the_reason() -> anyhow::Result<()> {
    let server = Arc::new(Server::without_jetstream().await?);
    let fleet = Fleet::on(&server, Names::default()).await?;
    let mut lead = fleet.coordinator(|_| {}).await?;

    let error = lead.ended().await?.unwrap_err();

    let text = Chain(&error).to_string();
    assert!(text.contains("is JetStream enabled for this account?"), "{text}");
    Ok(())
}
