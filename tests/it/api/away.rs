//! What the API says while the broker is away, and many changes at once.

use integration_tests::api::{Api, problem};
use integration_tests::cli::Up;
use integration_tests::{Server, eventually, heavy};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{odd_home, pids};

#[tokio::test]
async fn health_and_answers_tell_that_the_broker_is_away_and_back() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let server = Server::start().await?;
    let home = odd_home(&["completes"], &json!({}), 0)?;
    let (up, _look) = Up::fleet_with(&home, 1, &["--nats", &server.url()]).await?;
    let api = Api::of(&home)?;
    let health = async || api.send_as("GET", "/api/health", &[], "").await;
    assert_eq!(health().await?.status, 200);

    server.kill()?;

    let away = async || Ok((health().await?.status == 503).then_some(()));
    eventually("the fleet to notice", away).await?;
    let answer = api.send("GET", "/api/plugins", "").await?;
    assert_eq!(answer.status, 503);
    problem(&answer)?;
    server.restart().await?;
    let back = async || {
        let is_healthy = health().await?.body.starts_with(br#"{"status":"healthy""#);
        Ok(is_healthy.then_some(()))
    };
    eventually("the fleet to be healthy again", back).await?;
    api.until("odd", "its plugin to serve", |plugin| plugin["status"] == "healthy").await?;
    up.stop().await
}

#[tokio::test]
async fn of_many_changes_at_once_the_last_one_holds() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let home = odd_home(&["completes"], &json!({}), 0)?;
    let (up, _look) = Up::fleet(&home, 1).await?;
    let api = Api::of(&home)?;

    let mut asking = JoinSet::new();
    for n in 1..=8 {
        let api = api.clone();
        asking.spawn(async move {
            let (path, body) = match n {
                1..=4 => ("scale", json!({ "instances": n })),
                5 | 6 => ("disable", Value::Null),
                _ => ("enable", Value::Null),
            };
            let body = body.to_string();
            api.send("POST", &format!("/api/plugins/odd/{path}"), &body).await
        });
    }
    for answer in asking.join_all().await {
        assert!([200, 202].contains(&answer?.status));
    }

    api.post("/api/plugins/odd/enable", &Value::Null).await?;
    let kept: Value = serde_json::from_slice(&std::fs::read(home.data().join("overrides.json"))?)?;
    let count = kept["plugins"]["odd"]["instances"].as_u64().unwrap_or(1);
    let as_kept =
        |plugin: &Value| pids(plugin).len() as u64 == count && plugin["instances"] == count;
    api.until("odd", "what runs to be what is kept", as_kept).await?;
    up.stop().await
}
