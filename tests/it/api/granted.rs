//! A plugin process that wants what it is not granted.

use integration_tests::api::Api;
use integration_tests::cli::{Home, Up};
use integration_tests::{eventually, heavy};
use serde_json::{Value, json};
use std::path::Path;

use super::{pids, plugins};

#[tokio::test]
async fn what_is_not_granted_is_shown_as_not_started_until_it_is() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let mut home = Home::new()?;
    let program = Path::new(env!("CARGO_BIN_EXE_odd-plugin"));
    let wants = json!({"permissions": ["network.http", "system.exec"]});
    home.add_plugin("odd", program, &["completes"], &wants)?;
    home.write_many(1)?;
    // Of two that it wants, one is not enough.
    plugins(&home, "plugins:\n  odd: {permissions: [network.http]}\n")?;
    let (up, _look) = Up::fleet(&home, 0).await?;
    let api = Api::of(&home)?;
    let reason = "not started: it wants `system.exec`, which plugins.yml does not grant";

    let of = |status: &Value| {
        let all = status["plugins"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|plugin| plugin["id"] == "odd").unwrap_or_default()
    };
    let shown = eventually("the reason in the status", async || {
        let status: Value = home.json(&["status"]).await?;
        Ok(Some(of(&status)).filter(|odd| odd["errors"].to_string().contains(reason)))
    });
    assert_eq!(shown.await?["failing"], 1);
    let text = home.run(&["status"]).await?.ok()?.out;
    assert!(text.contains(&format!("plugin-odd-1: {reason}")), "{text}");
    let odd = api.get("/api/plugins/odd").await?;
    assert_eq!(odd["status"], "unhealthy", "{odd:#}");
    let one = &odd["containers"][0];
    assert_eq!((&one["status"], &one["pid"]), (&json!("blocked"), &Value::Null), "{odd:#}");
    assert!(one["note"].as_str().is_some_and(|note| note.starts_with(reason)), "{odd:#}");
    assert_eq!(odd["containers"].as_array().map(Vec::len), Some(1));
    home.run(&["plugin", "logs", "odd"]).await?.ended(3)?.says("no instance of odd")?;

    plugins(&home, "plugins:\n  odd: {permissions: [network.http, system.exec]}\n")?;
    let runs = |plugin: &Value| plugin["status"] == "healthy" && pids(plugin).len() == 1;
    api.until("odd", "it to be started", runs).await?;
    let status: Value = home.json(&["status"]).await?;
    assert_eq!(of(&status)["errors"], json!([]));
    up.stop().await
}
