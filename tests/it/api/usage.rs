//! What processes use.

use std::time::Duration;

use integration_tests::api::Api;
use integration_tests::cli::Up;
use integration_tests::{heavy, within};
use serde_json::{Value, json};

use super::{odd_home, plugins};

/// Two looks, ten seconds apart, on a machine that is busy.
const LOOKS: Duration = Duration::from_secs(120);

#[tokio::test]
async fn what_a_process_uses_is_shown_by_instance_and_by_plugin() -> anyhow::Result<()> {
    let _place = heavy().await?;
    let home = odd_home(&["burns", "100000"], &json!({}), 1)?;
    plugins(&home, "plugins:\n  odd: {resources: {memory: 512m}, timeout: 300000}\n")?;
    let (up, look) = Up::fleet(&home, 1).await?;
    let api = Api::of(&home)?;
    home.run(&["scan", &home.library().to_string_lossy()]).await?.ok()?;

    let shown = within(LOOKS, "what it uses", async || {
        let plugin = api.get("/api/plugins/odd").await?;
        let one = plugin["containers"][0].clone();
        Ok(one["cpu"].as_f64().is_some_and(|cpu| cpu > 0.1).then_some(one))
    });
    let one = shown.await?;

    assert!(one["cpu"].as_f64().is_some_and(|cpu| cpu < 4.0), "one thread burns: {one:#}");
    let memory = one["memoryBytes"].as_u64().unwrap_or_default();
    assert!(((64 << 20)..(512 << 20)).contains(&memory), "{one:#}");
    assert_eq!(one["memoryLimitBytes"], 512 << 20, "{one:#}");
    assert!(one["pids"].as_u64().is_some_and(|pids| pids >= 1), "{one:#}");
    assert!(one["sampledAt"].as_str() >= one["startedAt"].as_str(), "{one:#}");
    let status: Value = home.json(&["status"]).await?;
    assert!(status["usage"]["odd"]["cpu"].as_f64() > Some(0.0), "{status:#}");
    let table = home.run(&["status"]).await?.ok()?.out;
    let line = table.lines().find(|line| line.starts_with("odd ")).unwrap_or_default();
    assert!(table.contains("CPU") && table.contains("MEMORY") && line.contains(" MB"), "{table}");

    std::fs::write(home.plugin_dir("odd", "1.0.0").join("enough"), "")?;
    look.settled().await?;
    api.post("/api/plugins/odd/disable", &Value::Null).await?;
    let gone = |plugin: &Value| plugin["containers"] == json!([]);
    api.until("odd", "its process to be gone", gone).await?;
    up.stop().await
}
