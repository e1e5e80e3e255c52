//! Plugins that come and go while the broker runs.

use std::sync::atomic::Ordering;

use async_nats::connection::State;
use broker_config::wire::event::Outcome;
use integration_tests::{Script, eventually, manifest};
use serde_json::json;
use worker_sdk::Credentials;

use super::stage::{Walls, accounts_of, configuration, fleet_with, login};

#[tokio::test]
async fn a_plugin_comes_and_goes_while_the_others_keep_their_connections() -> anyhow::Result<()> {
    let one = accounts_of(&["first"], Walls::Rendered)?;
    let both = accounts_of(&["first", "second"], Walls::Rendered)?;
    let (fleet, _lead) = fleet_with(one.clone()).await?;
    let first = login(&fleet, "first").await?;
    assert!(login(&fleet, "second").await.is_err(), "it is not let in as yet");

    fleet.server.reconfigure(|store| configuration(store, &both)).await?;

    let script = Script::completes();
    let credentials =
        Credentials::User { name: "second".to_owned(), password: "second".to_owned() };
    let plugin = manifest("second", &json!({}))?;
    let worker = fleet.worker_with(&plugin, &script, |options| options.credentials = credentials);
    let worker = worker.await?;
    assert_eq!(fleet.run("film").await?.of("second"), Some(Outcome::Completed));
    worker.stop().await?;
    let second = login(&fleet, "second").await?;

    fleet.server.reconfigure(|store| configuration(store, &one)).await?;

    eventually("the one that went to be cut off", async || {
        Ok((second.connection_state() != State::Connected).then_some(()))
    })
    .await?;
    assert!(login(&fleet, "second").await.is_err(), "it is not let in any more");
    for client in [&first, &fleet.client] {
        client.flush().await?;
        assert_eq!(client.statistics().connects.load(Ordering::Relaxed), 1);
    }
    Ok(())
}
