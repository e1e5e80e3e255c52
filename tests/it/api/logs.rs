//! Logs of instances.

use integration_tests::api::{Api, problem};
use integration_tests::bridge::text;
use integration_tests::cli::Up;
use integration_tests::heavy;
use serde_json::{Value, json};

use super::odd_home;

#[tokio::test]
async fn a_log_is_followed_by_line_until_the_fleet_stops() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let home = odd_home(&["tells", "key"], &json!({"key": {"type": "string"}}), 1)?;
    let (up, _look) = Up::fleet(&home, 1).await?;
    let api = Api::of(&home)?;
    let path = "/api/plugins/odd/instances/plugin-odd-1/logs";

    let mut lines = api.log(&format!("{path}?follow=true&tail=50"), "*/*").await?;
    let mut events = api.log(&format!("{path}?follow&tail=0"), "text/event-stream").await?;
    lines.says("started, process").await?;
    events.says("\r\n\r\n").await?;
    assert!(lines.read.contains("content-type: text/plain"), "{}", lines.read);
    assert!(events.read.contains("content-type: text/event-stream"), "{}", events.read);
    assert!(!events.read.contains("started"), "no lines from before: {}", events.read);

    home.scan(&[]).await?;
    lines.says("its key is not set\n").await?;
    events.says("data: its key is not set\n\n").await?;
    api.post("/api/plugins/odd/restart", &Value::Null).await?;
    events.says("data: --- ").await?;
    events.says("started, process").await?;

    let mut last = api.log(&format!("{path}?tail=1"), "*/*").await?;
    last.end().await?;
    assert!(!last.read.contains("its key"), "{}", last.read);
    for (wrong, status) in [
        (format!("{path}?tail=many"), 400),
        (format!("{path}?sicne=1"), 400),
        ("/api/plugins/odd/instances/plugin-odd-2/logs".to_owned(), 404),
        ("/api/plugins/odd/instances/..%2f..%2fetc/logs".to_owned(), 404),
        ("/api/plugins/none/instances/plugin-odd-1/logs".to_owned(), 404),
    ] {
        let answer = api.send("GET", &wrong, "").await?;
        assert_eq!(answer.status, status, "{wrong}: {}", text(&answer));
        problem(&answer)?;
    }
    up.stop().await?;
    lines.end().await?;
    events.end().await
}
